package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"
	_ "modernc.org/sqlite" // the driver "sqlite"
)

// sqliteOptions are Tandem's: a change that was reported is on the disk.
const sqliteOptions = "?_txlock=immediate&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=busy_timeout(5000)&_pragma=foreign_keys(1)"

// idealSQLite syncs all contacts: one writer, prepared statements, batches of
// 2,000 a transaction.
type idealSQLite struct {
	conn    *sql.Conn
	resync  bool
	counts  counts
	contact *sql.Stmt
	link    *sql.Stmt
	head    *sql.Stmt
	linkIDs int64
}

func runIdealSQLite(ctx context.Context, file string, r reading, source string, resync bool) (counts, error) {
	db, err := sql.Open("sqlite", "file:"+file+sqliteOptions)
	if err != nil {
		return counts{}, err
	}
	defer db.Close()
	conn, err := db.Conn(ctx)
	if err != nil {
		return counts{}, err
	}
	defer conn.Close()
	l := &idealSQLite{conn: conn, resync: resync}
	start := time.Now()
	if err := l.prepare(ctx); err != nil {
		return counts{}, err
	}
	g, ctx := errgroup.WithContext(ctx)
	pages, work := make(chan []byte, 4), make(chan []contact)
	g.Go(func() error { return r.fetch(ctx, source, pages) })
	g.Go(func() error { return r.batches(ctx, pages, work) })
	g.Go(func() error {
		for batch := range work {
			if err := l.write(ctx, batch); err != nil {
				return err
			}
		}
		return nil
	})
	err = g.Wait()
	l.counts.Seconds = time.Since(start).Seconds()
	return l.counts, errors.Join(err, l.contact.Close(), l.link.Close(), l.head.Close())
}

func (l *idealSQLite) prepare(ctx context.Context) (err error) {
	contacts, links := "INSERT INTO contacts (email, first_name, last_name, phone, company, score, active, birthday) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
		"INSERT INTO tandem_link (hash, base, read_at, remote_id, local_key, id, connector_id) VALUES (?, ?, ?, ?, ?, ?, 1)"
	if l.resync {
		contacts = "UPDATE contacts SET email = ?, first_name = ?, last_name = ?, phone = ?, company = ?, score = ?, active = ?, birthday = ? WHERE id = ?"
		links = "UPDATE tandem_link SET hash = ?, base = ?, read_at = ? WHERE connector_id = 1 AND remote_id = ?"
	}
	if l.contact, err = l.conn.PrepareContext(ctx, contacts); err != nil {
		return err
	}
	if l.link, err = l.conn.PrepareContext(ctx, links); err != nil {
		return err
	}
	l.head, err = l.conn.PrepareContext(ctx, "SELECT local_key, hash FROM tandem_link WHERE connector_id = 1 AND remote_id = ?")
	return err
}

func (l *idealSQLite) write(ctx context.Context, batch []contact) error {
	tx, err := l.conn.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() //nolint:errcheck // after Commit it does nothing
	now := time.Now().UnixMilli()
	for i := range batch {
		l.counts.Read++
		if l.resync {
			err = l.again(ctx, &batch[i], now)
		} else {
			err = l.first(ctx, &batch[i], now)
		}
		if err != nil {
			return err
		}
	}
	return tx.Commit()
}

func (l *idealSQLite) first(ctx context.Context, c *contact, now int64) error {
	score, active, err := c.typed()
	if err != nil {
		return err
	}
	res, err := l.contact.ExecContext(ctx, c.email, c.first, c.last, c.phone, c.company, score, active, c.birthday)
	if err != nil {
		return err
	}
	key, err := res.LastInsertId()
	if err != nil {
		return err
	}
	l.linkIDs++
	_, err = l.link.ExecContext(ctx, c.hash, string(c.appendBase(nil)), now, c.id, strconv.FormatInt(key, 10), l.linkIDs)
	l.counts.Created++
	return err
}

func (l *idealSQLite) again(ctx context.Context, c *contact, now int64) error {
	var key string
	var hash int64
	if err := l.head.QueryRowContext(ctx, c.id).Scan(&key, &hash); err != nil {
		return fmt.Errorf("link of %s: %w", c.id, err)
	}
	if hash == c.hash {
		l.counts.Unchanged++
		return nil
	}
	score, active, err := c.typed()
	if err != nil {
		return err
	}
	if _, err := l.contact.ExecContext(ctx, c.email, c.first, c.last, c.phone, c.company, score, active, c.birthday, key); err != nil {
		return err
	}
	_, err = l.link.ExecContext(ctx, c.hash, string(c.appendBase(nil)), now, c.id)
	l.counts.Updated++
	return err
}

func (c *contact) typed() (score int64, active bool, err error) {
	score, err = strconv.ParseInt(c.score, 10, 64)
	return score, c.active == "true", err
}
