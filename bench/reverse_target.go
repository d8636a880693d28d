package main

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/tandem-sync/tandem/internal/testenv"
	"github.com/tandem-sync/tandem/store"
	"github.com/tandem-sync/tandem/sync/mapping"
	"github.com/tandem-sync/tandem/sync/record"
)

// setUpChunk is how many rows a statement of the preparation has.
const setUpChunk = 1000

// reverseTarget is a database with contacts, each linked to a record of the
// remote, in Tandem's tables. The hand-written loop works on the same.
type reverseTarget struct {
	*target
	config    store.Config
	postgres  bool
	records   int
	connector int64
}

// reverseTarget makes the tables and fills them.
func (r *reverseBench) reverseTarget(ctx context.Context, database, form string) (t *reverseTarget, err error) {
	file := reverseRESTFile
	if form == formBatch {
		file = reverseHubFile
	}
	t, err = r.tandemTarget(ctx, database, func(url string) string {
		return fmt.Sprintf(file, url, "api", r.remote.url, reverseConcurrency[form])
	})
	if err != nil {
		return nil, err
	}
	t.records = r.records
	if err := t.fill(ctx); err != nil {
		return nil, errors.Join(err, t.close())
	}
	return t, nil
}

// tandemTarget makes a database with the users' table and Tandem's own, under a
// configuration that is given the database's address.
func (b *bench) tandemTarget(ctx context.Context, database string, file func(url string) string) (t *reverseTarget, err error) {
	dir, err := os.MkdirTemp(b.dir, "target-")
	if err != nil {
		return nil, err
	}
	t = &reverseTarget{target: &target{dir: dir, drop: func(context.Context) error { return nil }}, postgres: database == postgresDB}
	contacts, url := contactsSQLite, ""
	if t.postgres {
		contacts = contactsPostgres
		if t.url, t.drop, err = testenv.FreshPostgres(ctx); err != nil {
			return nil, err
		}
		url = t.url
		t.db, err = sql.Open("postgres", t.url)
	} else {
		t.url = filepath.Join(dir, "bench.db")
		url = "sqlite:" + t.url
		t.db, err = sql.Open("sqlite", "file:"+t.url+sqliteOptions)
	}
	if err != nil {
		return nil, err
	}
	t.config = store.Config{URL: url}
	if err := t.exec(ctx, contacts); err != nil {
		return nil, errors.Join(err, t.close())
	}
	if t.postgres {
		t.postmaster = postmasterOf(ctx, t.db)
		if b.explain > 0 {
			if err := t.exec(ctx, fmt.Sprintf(explainSettings, b.explain.Milliseconds())); err != nil {
				return nil, errors.Join(err, t.close())
			}
		}
	}
	if err := b.configure(ctx, t.target, file(url)); err != nil {
		return nil, errors.Join(err, t.close())
	}
	return t, nil
}

// configure writes a configuration and lets Tandem make it so.
func (b *bench) configure(ctx context.Context, t *target, file string) error {
	secret := make([]byte, 32)
	_, _ = rand.Read(secret)
	port, err := freePort(ctx)
	if err != nil {
		return err
	}
	t.env = []string{"TANDEM_LISTEN=127.0.0.1:" + port, "PATH=" + os.Getenv("PATH"), "HOME=" + t.dir, "TMPDIR=" + t.dir, "TANDEM_SECRET_KEY=" + base64.StdEncoding.EncodeToString(secret)}
	if err := os.WriteFile(filepath.Join(t.dir, "tandem.yaml"), []byte(file), 0o600); err != nil {
		return err
	}
	for _, command := range []string{"migrate", "apply"} {
		if out, err := b.tandemCommand(ctx, t, command).CombinedOutput(); err != nil {
			return fmt.Errorf("tandem %s: %w: %s", command, err, out)
		}
	}
	return nil
}

func (t *reverseTarget) exec(ctx context.Context, statements ...string) error {
	for _, s := range statements {
		if _, err := t.db.ExecContext(ctx, s); err != nil {
			return fmt.Errorf("%.200s: %w", s, err)
		}
	}
	return nil
}

// remoteID is the id of a contact's record: digits, as HubSpot wants it.
func remoteID(i int) string { return strconv.Itoa(idBase + i) }

// fill makes the contacts and their links.
func (t *reverseTarget) fill(ctx context.Context) (err error) {
	if err := t.db.QueryRowContext(ctx, "SELECT id FROM tandem_connector").Scan(&t.connector); err != nil {
		return err
	}
	var channel int64
	if err := t.db.QueryRowContext(ctx, "SELECT id FROM tandem_channel").Scan(&channel); err != nil {
		return err
	}
	db, err := store.Open(ctx, t.config)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	for from := 0; from < t.records; from += setUpChunk {
		if err := t.fillChunk(ctx, db, from, min(from+setUpChunk, t.records)); err != nil {
			return err
		}
	}
	return db.Write(ctx, "bench", func(ctx context.Context, tx *store.Tx) error {
		id, err := tx.StartPass(ctx, channel, t.connector, nil)
		if err != nil {
			return err
		}
		return tx.AdvancePass(ctx, store.PassStep{ID: id, Finished: true})
	})
}

func (t *reverseTarget) fillChunk(ctx context.Context, db *store.DB, from, to int) error {
	var values strings.Builder
	links := make([]store.Link, 0, to-from)
	for i := from; i < to; i++ {
		c := hubContact(i)
		c["score"] = strconv.Itoa(1 + i%100_000) // a zero has a form of its own in the base
		if i > from {
			values.WriteByte(',')
		}
		fmt.Fprintf(&values, "(%d,'%s','%s','%s','%s','%s',%s,%s,'%s')", i+1, c["email"], c["firstname"], strings.ReplaceAll(c["lastname"], "'", "''"),
			c["phone"], c["company"], c["score"], c["active"], c["birthday"])
		base := make([]record.Value, len(hubProperties))
		for k, name := range hubProperties {
			base[k] = record.Value{Kind: record.Text, Text: c[name]}
		}
		base[5].Kind, base[6].Kind = record.Number, record.Bool
		l := store.Link{ConnectorID: t.connector}
		l.ID, l.RemoteID, l.LocalKey, l.Base = int64(i+1), remoteID(i), strconv.Itoa(i+1), mapping.EncodeBase(base, base)
		links = append(links, l)
	}
	return db.Write(ctx, "bench", func(ctx context.Context, tx *store.Tx) error {
		if _, err := tx.ExecContext(ctx, "INSERT INTO contacts (id, email, first_name, last_name, phone, company, score, active, birthday) VALUES "+values.String()); err != nil {
			return err
		}
		collided, err := tx.InsertLinks(ctx, links)
		if err == nil && len(collided) > 0 {
			err = fmt.Errorf("%d links collided", len(collided))
		}
		return err
	})
}

// changeAll gives every contact another phone number and marks it to go out.
func (t *reverseTarget) changeAll(ctx context.Context, n int) error {
	if err := t.exec(ctx, fmt.Sprintf("UPDATE contacts SET phone = '+49 30 ' || id || '.%d'", n)); err != nil {
		return err
	}
	keys := make([]string, t.records)
	for i := range keys {
		keys[i] = strconv.Itoa(i + 1)
	}
	db, err := store.Open(ctx, t.config)
	if err != nil {
		return err
	}
	err = db.Write(ctx, "bench", func(ctx context.Context, tx *store.Tx) error {
		_, err := tx.MarkDirty(ctx, t.connector, keys, "asked")
		return err
	})
	if err = errors.Join(err, db.Close()); err != nil {
		return err
	}
	if !t.postgres {
		return t.exec(ctx, "DELETE FROM tandem_change")
	}
	return t.exec(ctx, "VACUUM ANALYZE contacts", "VACUUM ANALYZE tandem_link", "VACUUM ANALYZE tandem_dirty", "TRUNCATE tandem_change", "CHECKPOINT")
}

// check refuses a measurement of a program that did not do the job.
func (t *reverseTarget) check(ctx context.Context, n int) error {
	var waiting, linked int
	if err := t.db.QueryRowContext(ctx, "SELECT count(*) FROM tandem_dirty").Scan(&waiting); err != nil {
		return err
	}
	// A row's link must say what the remote was told.
	err := t.db.QueryRowContext(ctx, fmt.Sprintf(`SELECT count(*) FROM tandem_link WHERE base LIKE '%%.%d",%%' AND written_at >= %d`, n, time.Now().Add(-time.Hour).UnixMilli())).Scan(&linked)
	if err == nil && (waiting > 0 || linked != t.records) {
		err = fmt.Errorf("%d rows still wait, and %d of %d links know of the change", waiting, linked, t.records)
	}
	return err
}

const reverseMapping = `        mapping:
          - {local: email, remote: email, required: true}
          - {local: first_name, remote: firstname}
          - {local: last_name, remote: lastname}
          - {local: phone, remote: phone}
          - {local: company, remote: company}
          - {local: score, remote: score}
          - {local: active, remote: active}
          - {local: birthday, remote: birthday}
`

// reverseRESTFile is a channel that sends changes one by one. Its parameters are
// the database, how changes are captured, the remote and the calls at a time.
const reverseRESTFile = `database: %s
network: {allow: [127.0.0.0/8]}
entities:
  contacts: {table: contacts, key: id, capture: %s}
channels:
  - name: bench
    type: rest
    transport: {base_url: "%s", concurrency: %d}
    schedule: "off"
    connectors:
      - name: contacts
        entity: contacts
        direction: to_remote
        create: none
        remote:
          list: {path: /contacts, records: items, page: {by: cursor, token_at: next, token_param: cursor}}
          id: id
          modified: updated
          update: {method: PATCH, path: "/contacts/{id}"}
` + reverseMapping

// reverseHubFile is a channel that sends changes in batches.
const reverseHubFile = `database: %s
network: {allow: [127.0.0.0/8]}
entities:
  contacts: {table: contacts, key: id, capture: %s}
channels:
  - name: bench
    type: hubspot
    transport: {base_url: "%s", token: bench, rate_limit: 100000/s, concurrency: %d}
    schedule: "off"
    connectors:
      - name: contacts
        entity: contacts
        direction: to_remote
        create: none
` + reverseMapping
