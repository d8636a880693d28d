package main

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lib/pq"
	"golang.org/x/sync/errgroup"
)

const (
	stageTable = `CREATE TEMP TABLE stage (
		key bigint NOT NULL DEFAULT nextval('contacts_id_seq'), remote_id text COLLATE "C", email text, first_name text, last_name text,
		phone text, company text, score integer, active boolean, birthday date, link_id bigint, hash bigint, base text, read_at bigint
	) ON COMMIT DELETE ROWS`
	insertContacts = `INSERT INTO contacts (id, email, first_name, last_name, phone, company, score, active, birthday)
		SELECT key, email, first_name, last_name, phone, company, score, active, birthday FROM stage`
	insertLinks = `INSERT INTO tandem_link (connector_id, remote_id, local_key, id, hash, base, read_at)
		SELECT 1, remote_id, key::text, link_id, hash, base, read_at FROM stage`
	updateContacts = `UPDATE contacts c SET email = s.email, first_name = s.first_name, last_name = s.last_name, phone = s.phone,
		company = s.company, score = s.score, active = s.active, birthday = s.birthday FROM stage s WHERE c.id = s.key`
	updateLinks = `UPDATE tandem_link l SET hash = s.hash, base = s.base, read_at = s.read_at FROM stage s
		WHERE l.connector_id = 1 AND l.remote_id = s.remote_id`
)

var stageColumns = []string{"remote_id", "email", "first_name", "last_name", "phone", "company", "score", "active", "birthday", "link_id", "hash", "base", "read_at"}

// idealPostgres syncs all contacts with the given number of writers.
type idealPostgres struct {
	db      *sql.DB
	resync  bool // compare with the links first
	linkIDs atomic.Int64
	mu      sync.Mutex
	counts  counts
}

func runIdealPostgres(ctx context.Context, url string, r reading, source string, writers int, resync bool) (counts, error) {
	db, err := sql.Open("postgres", url)
	if err != nil {
		return counts{}, err
	}
	defer db.Close()
	p := &idealPostgres{db: db, resync: resync}
	start := time.Now()
	g, ctx := errgroup.WithContext(ctx)
	pages, work := make(chan []byte, 4), make(chan []contact)
	g.Go(func() error { return r.fetch(ctx, source, pages) })
	g.Go(func() error { return r.batches(ctx, pages, work) })
	for range writers {
		g.Go(func() error { return p.writer(ctx, work) })
	}
	err = g.Wait()
	p.counts.Seconds = time.Since(start).Seconds()
	return p.counts, err
}

func (p *idealPostgres) writer(ctx context.Context, work <-chan []contact) (err error) {
	conn, err := p.db.Conn(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	if _, err := conn.ExecContext(ctx, stageTable); err != nil {
		return err
	}
	for batch := range work {
		done, err := p.write(ctx, conn, batch)
		if err != nil {
			return err
		}
		p.mu.Lock()
		p.counts.Read += done.Read
		p.counts.Created += done.Created
		p.counts.Updated += done.Updated
		p.counts.Unchanged += done.Unchanged
		p.mu.Unlock()
	}
	return nil
}

// write writes one batch in one transaction.
func (p *idealPostgres) write(ctx context.Context, conn *sql.Conn, batch []contact) (counts, error) {
	if !p.resync {
		err := p.apply(ctx, conn, batch, nil, insertContacts, insertLinks)
		return counts{Read: len(batch), Created: len(batch)}, err
	}
	changed, keys, err := p.compare(ctx, conn, batch)
	if err == nil && len(changed) > 0 {
		err = p.apply(ctx, conn, changed, keys, updateContacts, updateLinks)
	}
	return counts{Read: len(batch), Updated: len(changed), Unchanged: len(batch) - len(changed)}, err
}

// compare gives the contacts whose hash differs from their link's, with their keys.
func (p *idealPostgres) compare(ctx context.Context, conn *sql.Conn, batch []contact) (changed []contact, keys []string, err error) {
	type head struct {
		key  string
		hash int64
	}
	ids := make([]string, len(batch))
	for i := range batch {
		ids[i] = batch[i].id
	}
	rows, err := conn.QueryContext(ctx, "SELECT remote_id, local_key, hash FROM tandem_link WHERE connector_id = 1 AND remote_id = ANY($1)", pq.Array(ids))
	if err != nil {
		return nil, nil, err
	}
	defer rows.Close()
	links := make(map[string]head, len(batch))
	for rows.Next() {
		var id string
		var h head
		if err := rows.Scan(&id, &h.key, &h.hash); err != nil {
			return nil, nil, err
		}
		links[id] = h
	}
	for _, c := range batch {
		h, ok := links[c.id]
		if !ok {
			return nil, nil, fmt.Errorf("%s has no link: the source has new contacts, which this loop does not expect", c.id)
		}
		if h.hash != c.hash {
			changed, keys = append(changed, c), append(keys, h.key)
		}
	}
	return changed, keys, rows.Err()
}

func (p *idealPostgres) apply(ctx context.Context, conn *sql.Conn, batch []contact, keys []string, statements ...string) error {
	tx, err := conn.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() //nolint:errcheck // after Commit it does nothing
	if err := p.copy(ctx, conn, batch, keys); err != nil {
		return err
	}
	for _, s := range statements {
		if _, err := tx.ExecContext(ctx, s); err != nil {
			return err
		}
	}
	return tx.Commit()
}

// copy fills the stage by COPY, in the text form that COPY reads.
func (p *idealPostgres) copy(ctx context.Context, conn *sql.Conn, batch []contact, keys []string) error {
	columns := stageColumns
	if keys != nil {
		columns = append([]string{"key"}, columns...)
	}
	return conn.Raw(func(raw any) error {
		stmt, err := raw.(driver.Conn).Prepare("COPY stage (" + strings.Join(columns, ", ") + ") FROM STDIN")
		if err != nil {
			return err
		}
		lines := stmt.(interface {
			CopyData(ctx context.Context, line string) (driver.Result, error)
		})
		now := time.Now().UnixMilli()
		link := p.linkIDs.Add(int64(len(batch))) - int64(len(batch))
		var line, base []byte
		for i := range batch {
			line = line[:0]
			if keys != nil {
				line = append(append(line, keys[i]...), '\t')
			}
			base = batch[i].appendBase(base[:0])
			line = appendLine(line, &batch[i], link+int64(i), base, now)
			if _, err := lines.CopyData(ctx, string(line)); err != nil {
				return errors.Join(err, stmt.Close())
			}
		}
		_, err = stmt.Exec(nil) //nolint:staticcheck // the only way to end a COPY
		return errors.Join(err, stmt.Close())
	})
}

func appendLine(b []byte, c *contact, link int64, base []byte, now int64) []byte {
	for i, s := range [...]string{c.id, c.email, c.first, c.last, c.phone, c.company, c.score, c.active, c.birthday} {
		if i > 0 {
			b = append(b, '\t')
		}
		b = appendEscaped(b, s)
	}
	b = appendInt(b, '\t', link)
	b = appendInt(b, '\t', c.hash)
	b = appendEscaped(append(b, '\t'), base)
	return appendInt(b, '\t', now)
}

// appendEscaped writes a text as COPY wants it.
func appendEscaped[T string | []byte](b []byte, s T) []byte {
	for i := range len(s) {
		switch c := s[i]; c {
		case '\\':
			b = append(b, `\\`...)
		case '\t':
			b = append(b, `\t`...)
		case '\n':
			b = append(b, `\n`...)
		case '\r':
			b = append(b, `\r`...)
		default:
			b = append(b, c)
		}
	}
	return b
}
