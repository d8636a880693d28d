package main

import (
	"fmt"
	"strings"

	"github.com/tandem-sync/tandem/internal/demo"
)

// demoFile is the configuration of the demo's first remote. %[1]s is the remote's
// address, %[2]s the database.
const demoFile = `# What the demo runs with. Copy it, and change it to your own service.
database: sqlite:%[2]s
listen: 127.0.0.1:8080
network: {allow: [127.0.0.0/8]}
entities:
  contacts:
    table: contacts
    key: id
    create:
      id: integer primary key
      crm_id: text not null unique
      email: text not null unique
      name: text not null
      phone: text
      city: text
      birthday: text
      orders: integer
channels:
  - name: crm
    type: rest
    transport: {base_url: "%[1]s", concurrency: 4}
    schedule: "off"
    connectors:
      - name: contacts
        entity: contacts
        delete: {local: delete}
        mapping:
          - {local: crm_id, remote: id}
          - {local: email, remote: email}
          - {local: name, remote: name}
          - {local: phone, remote: phone}
          - {local: city, remote: address.city}
          - {local: birthday, remote: birthday, type: date}
          - {local: orders, remote: orders, type: integer}
        remote:
          list:
            path: /contacts
            records: items
            page: {by: page, param: page, size_param: per_page, size: 100, total_at: total}
            since: {query: "updated_since={time}", format: rfc3339}
          id: id
          modified: updated
          deleted: {path: /contacts/deleted, records: ids}
          get: {path: "/contacts/{id}", record: ""}
`

// demoEntity is the table of the second remote.
const demoEntity = `  people:
    table: people
    key: id
    create:
      id: integer primary key
      hubspot_id: text not null unique
      email: text not null
      first_name: text
      last_name: text
      phone: text
      city: text
      birthday: text
      orders: integer
`

// demoChannel is the second remote. %[1]s is its address, %[2]s its token.
const demoChannel = `  - name: hub
    type: hubspot
    transport: {base_url: "%[1]s", token: "%[2]s"}
    schedule: "off"
    connectors:
      - name: contacts
        entity: people
        delete: {local: delete}
        mapping:
          - {local: hubspot_id, remote: hs_object_id}
          - {local: email, remote: email}
          - {local: first_name, remote: firstname}
          - {local: last_name, remote: lastname}
          - {local: phone, remote: phone}
          - {local: city, remote: city}
          - {local: birthday, remote: birthday, type: date}
          - {local: orders, remote: orders, type: integer}
`

// demoConfig is the whole configuration of the demo.
func demoConfig(database, listen, crm, hub string, account *demo.Account) string {
	text := fmt.Sprintf(demoFile, crm, database)
	text = strings.Replace(text, "listen: 127.0.0.1:8080\n", "listen: "+listen+"\n", 1)
	text = strings.Replace(text, "\nchannels:\n", "\n"+demoEntity+"channels:\n", 1)
	return text + fmt.Sprintf(demoChannel, hub, account.Token())
}

// The rows of both tables as the remotes' Fields have them.
const (
	crmRows = `SELECT crm_id, email, name, coalesce(phone, ''), coalesce(city, ''),
		coalesce(birthday, ''), coalesce(CAST(orders AS text), '') FROM contacts ORDER BY crm_id`
	hubRows = `SELECT hubspot_id, email, first_name || ' ' || last_name, coalesce(phone, ''), coalesce(city, ''),
		coalesce(birthday, ''), coalesce(CAST(orders AS text), '') FROM people ORDER BY hubspot_id`
)
