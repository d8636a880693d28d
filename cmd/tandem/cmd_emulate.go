package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/tandem-sync/tandem/emulate/hubspot"
)

func emulateCommand(a *app) *cobra.Command {
	return group("emulate", "Emulate a remote application, to try things out", emulateHubSpot(a))
}

// emulation is what an emulated account is made of.
type emulation struct {
	listen   string
	contacts int
	lag      time.Duration
	faults   bool
}

func emulateHubSpot(a *app) *cobra.Command {
	var e emulation
	cmd := &cobra.Command{
		Use: "hubspot", Short: "Run an emulated HubSpot account", Args: cobra.NoArgs,
		Long: `Runs an emulated HubSpot account with made-up contacts on this machine until
Ctrl-C, and prints its address, its token and a tandem.yaml for it. It has the
limits of a small account, and a search index that lags as HubSpot's does. With
--faults every seventh call goes wrong in one way or another.

It answers HubSpot's own API for contacts, so contacts are created, edited and
archived with curl. Nothing is kept when it ends.`,
		Example: `  tandem emulate hubspot --listen 127.0.0.1:8090 > tandem.yaml &
  curl -X PATCH -H "Authorization: Bearer $TOKEN" -H "Content-Type: application/json" \
    -d '{"properties":{"city":"Paris"}}' http://127.0.0.1:8090/crm/v3/objects/contacts/100051`,
		RunE: run(func(ctx context.Context, _ []string) error {
			if e.contacts < 0 || e.contacts > maxEmulated {
				return usagef("--contacts %d: want 0 to %d", e.contacts, maxEmulated)
			}
			if e.lag < 0 {
				return usagef("--lag %s: want 0 or longer", e.lag)
			}
			return a.emulateHubSpot(ctx, e)
		}),
	}
	f := cmd.Flags()
	f.StringVar(&e.listen, "listen", "127.0.0.1:0", "address to serve at; port 0 is any free one")
	f.IntVar(&e.contacts, "contacts", 1000, "contacts to begin with")
	f.DurationVar(&e.lag, "lag", 5*time.Second, "how long a change takes to show up in searches")
	f.BoolVar(&e.faults, "faults", false, "let every seventh call go wrong")
	return cmd
}

const (
	maxEmulated = 1_000_000 // about 2 KiB of memory each
	faultEvery  = 7
)

// emulatedFile is a whole configuration for the account. %[1]s is its address,
// %[2]s its token.
const emulatedFile = `database: sqlite:tandem.db
network: {allow: [127.0.0.0/8]}
entities:
  contacts:
    table: contacts
    key: id
    create:
      id: integer primary key
      hubspot_id: text
      email: text
      first_name: text
      last_name: text
      phone: text
      city: text
      company: text
      birthday: text
      orders: integer
channels:
  - name: crm
    type: hubspot
    transport: {base_url: "%[1]s", token: "%[2]s"}
    schedule: "@every 1m"
    connectors:
      - name: contacts
        entity: contacts
        match: [[email]]
        delete: {local: delete}
        mapping:
          - {local: hubspot_id, remote: hs_object_id}
          - {local: email, remote: email}
          - {local: first_name, remote: firstname}
          - {local: last_name, remote: lastname}
          - {local: phone, remote: phone}
          - {local: city, remote: city}
          - {local: company, remote: company}
          - {local: birthday, remote: birthday, type: date}
          - {local: orders, remote: orders, type: integer}
`

func (a *app) emulateHubSpot(ctx context.Context, e emulation) (err error) {
	portal := hubspot.New(hubspot.Config{IndexLag: e.lag})
	now := time.Now()
	portal.Populate(e.contacts, now.AddDate(-1, 0, 0), now.AddDate(0, 0, -1), 1)
	if e.faults {
		portal.Trouble(faultEvery)
	}
	url, closeServer, err := serveEmulated(ctx, e.listen, portal)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeServer()) }()
	file := fmt.Sprintf(emulatedFile, url, hubspot.DefaultToken)
	if a.json {
		err = a.printJSON(struct {
			Type     string `json:"type"`
			BaseURL  string `json:"base_url"`
			Token    string `json:"token"`
			Contacts int    `json:"contacts"`
			YAML     string `json:"yaml"`
		}{"hubspot", url, hubspot.DefaultToken, e.contacts, file})
	} else {
		err = a.println(fmt.Sprintf(`# An emulated HubSpot account with %d contacts, until Ctrl-C.
#   base_url  %s
#   token     %s
# A tandem.yaml for it:
%s`, e.contacts, url, hubspot.DefaultToken, file))
	}
	if err != nil {
		return err
	}
	<-ctx.Done()
	a.note("answered %d calls, %d of them with 429", portal.Calls(hubspot.OpAny), portal.Answered(429))
	return nil
}
