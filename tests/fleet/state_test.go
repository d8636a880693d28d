package fleet

import (
	"context"
	"database/sql"
	"strconv"
	"strings"

	_ "github.com/lib/pq"
	_ "modernc.org/sqlite"

	"github.com/tandem-sync/tandem/api"
	"github.com/tandem-sync/tandem/internal/demo"
)

// look opens the database beside Tandem, to read it.
func (w *world) look(fn func(ctx context.Context, db *sql.DB) error) {
	w.t.Helper()
	driver, dsn := "postgres", w.database
	if name, ok := strings.CutPrefix(w.database, "sqlite:"); ok {
		driver, dsn = "sqlite", "file:"+name+"?mode=ro&_pragma=busy_timeout(5000)"
	}
	db, err := sql.Open(driver, dsn)
	if err != nil {
		w.t.Fatal(err)
	}
	defer db.Close() //nolint:errcheck // only read
	if err := fn(w.t.Context(), db); err != nil {
		w.t.Fatalf("read the database: %v", err)
	}
}

// number gives the single number a query answers with.
func (w *world) number(query string, args ...any) int64 {
	w.t.Helper()
	var n sql.NullInt64
	w.look(func(ctx context.Context, db *sql.DB) error { return db.QueryRowContext(ctx, query, args...).Scan(&n) })
	return n.Int64
}

// rows gives the local table.
func (w *world) rows() []demo.Row {
	w.t.Helper()
	var out []demo.Row
	w.look(func(ctx context.Context, db *sql.DB) error {
		rows, err := db.QueryContext(ctx, `SELECT crm_id, email, name, phone, city, birthday, CAST(orders AS text) FROM contacts`)
		if err != nil {
			return err
		}
		defer rows.Close() //nolint:errcheck // Err says it
		for rows.Next() {
			var r demo.Row
			f := &r.Fields
			if err := rows.Scan(&r.RemoteID, &f.Email, &f.Name, &f.Phone, &f.City, &f.Birthday, &f.Orders); err != nil {
				return err
			}
			out = append(out, r)
		}
		return rows.Err()
	})
	return out
}

// agree wants the two sides equal: every good contact once, with its link, and
// nothing else.
func (w *world) agree() {
	w.t.Helper()
	rows := w.rows()
	res := demo.Compare(w.remote.Good(), rows, nil, nil)
	if n := len(res.Differences); n > 0 {
		w.t.Errorf("%d differences, such as: %s", n, strings.Join(res.Differences[:min(n, 10)], "; "))
	}
	if links := w.number("SELECT count(*) FROM tandem_link WHERE state = 0"); links != int64(len(rows)) {
		w.t.Errorf("%d links for %d rows", links, len(rows))
	}
}

// counted wants a run's counters to be exactly these.
func (w *world) counted(r api.Run, read, created int64) {
	w.t.Helper()
	if r.Read != read || r.Created != created || r.Read != r.Created+r.Updated+r.Unchanged+r.Skipped+r.Parked {
		w.t.Errorf("run %d: read %d, created %d, want %d and %d (updated %d, unchanged %d, skipped %d, parked %d)",
			r.ID, r.Read, r.Created, read, created, r.Updated, r.Unchanged, r.Skipped, r.Parked)
	}
}

// settled wants nothing left to do: no live lease, no active slice, an empty
// outbox.
func (w *world) settled() {
	w.t.Helper()
	for what, query := range map[string]string{
		"leases held":       "SELECT count(*) FROM tandem_lease WHERE owner <> ''",
		"slices active":     "SELECT count(*) FROM tandem_slice s JOIN tandem_run r ON r.id = s.run_id WHERE s.state = 'active' AND r.status = 'execution'",
		"runs unfinished":   "SELECT count(*) FROM tandem_run WHERE finished_at IS NULL",
		"ids seen and kept": "SELECT count(*) FROM tandem_seen",
	} {
		if n := w.number(query); n != 0 {
			w.t.Errorf("%s: %d", what, n)
		}
	}
}

// holder gives the process that holds the lease now, of those given.
func (w *world) holder(of ...*process) *process {
	w.t.Helper()
	var owner string
	w.look(func(ctx context.Context, db *sql.DB) error {
		return db.QueryRowContext(ctx, "SELECT coalesce(max(owner), '') FROM tandem_lease WHERE owner <> ''").Scan(&owner)
	})
	for _, p := range of {
		if strings.Contains(owner, "/"+strconv.Itoa(p.pid())+"/") {
			return p
		}
	}
	w.t.Fatalf("the lease is held by %q", owner)
	return nil
}
