package fleet

import (
	"context"
	"database/sql"
	"fmt"
	"net/url"
	"strings"
	"syscall"
	"testing"
	"time"

	_ "github.com/lib/pq"

	"github.com/tandem-sync/tandem/internal/demo"
	"github.com/tandem-sync/tandem/messages"
)

// copyDatabase replaces the database to by a copy of from. Nobody may be
// connected to either.
func (w *world) copyDatabase(from, to string) {
	w.t.Helper()
	admin := changed(w.t, w.database, func(u *url.URL) { u.Path = "/postgres" })
	db, err := sql.Open("postgres", admin)
	if err != nil {
		w.t.Fatal(err)
	}
	defer db.Close() //nolint:errcheck // the statements say it
	until(w.t, 20*time.Second, "the connections to "+from+" to end", func() bool {
		var n int
		err := db.QueryRowContext(w.t.Context(), "SELECT count(*) FROM pg_stat_activity WHERE datname = ANY (ARRAY[$1, $2])", from, to).Scan(&n)
		return err == nil && n == 0
	})
	for _, q := range []string{fmt.Sprintf("DROP DATABASE IF EXISTS %q", to), fmt.Sprintf("CREATE DATABASE %q TEMPLATE %q", to, from)} {
		if _, err := db.ExecContext(w.t.Context(), q); err != nil {
			w.t.Fatalf("%s: %v", q, err)
		}
	}
}

// TestRestoredFromAnOlderBackup: the database is put back to what it was before
// the latest runs, as after a disaster, while the broker still holds hints of
// runs that the database no longer knows. The next sync goes on from the
// watermark of the backup: the sides agree, and nothing is there twice.
func TestRestoredFromAnOlderBackup(t *testing.T) {
	t.Parallel()
	w := newFleet(t, demo.Options{Contacts: 500, Seed: 51})
	name := strings.TrimPrefix(must(url.Parse(w.database))(t).Path, "/")
	backup := name + "_backup"
	t.Cleanup(func() { w.dropDatabase(backup) })
	// stopped ends a process as a shutdown for maintenance does.
	stopped := func(list ...*process) {
		t.Helper()
		for _, p := range list {
			p.signal(syscall.SIGTERM)
		}
		for _, p := range list {
			if code := p.exit(60 * time.Second); code != 0 {
				t.Errorf("%s ended with %d", p.name, code)
			}
		}
	}
	all := []*process{w.control(), w.worker()}
	w.counted(w.finished(w.begin(`{}`).ID), 500, 500)
	stopped(all...)
	w.copyDatabase(name, backup)

	all = []*process{w.control(), w.worker()}
	for range 2 { // what the backup does not know
		w.remote.Edit(demo.Edits{Edited: 20, Created: 30, Deleted: 10})
		w.finished(w.begin(`{}`).ID)
	}
	w.agree()
	last := w.runs()[0].ID
	stopped(all...)
	w.copyDatabase(backup, name)
	if n := w.number("SELECT count(*) FROM contacts"); n != 500 {
		t.Fatalf("%d rows in the backup", n)
	}
	f := w.foreign()
	for _, hint := range []string{`"run":%d`, `"run":%d,"slice":%[1]d`} {
		f.publish(messages.KeySync, fmt.Sprintf(`{"v":1,"type":"sync","channel":"crm",`+hint+`}`, last))
	}
	w.remote.Edit(demo.Edits{Edited: 5, Created: 5, Deleted: 5})
	all = []*process{w.control(), w.worker()}
	r := w.finished(w.begin(`{}`).ID)
	if n := w.number("SELECT count(*) FROM contacts"); r.Created == 0 || r.Deleted == 0 || r.Parked != 0 || 500+r.Created-r.Deleted != n {
		t.Errorf("%d rows after the first run since the restore: %+v", n, r)
	}
	w.agree()
	w.settled()
	for _, p := range all {
		p.alive()
	}
}

func (w *world) dropDatabase(name string) {
	admin := changed(w.t, w.database, func(u *url.URL) { u.Path = "/postgres" })
	db, err := sql.Open("postgres", admin)
	if err != nil {
		w.t.Error(err)
		return
	}
	defer db.Close() //nolint:errcheck // the statement says it
	if _, err := db.ExecContext(context.Background(), fmt.Sprintf("DROP DATABASE IF EXISTS %q WITH (FORCE)", name)); err != nil {
		w.t.Error(err)
	}
}

// must gives the value of a call that has to succeed.
func must[T any](v T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}
