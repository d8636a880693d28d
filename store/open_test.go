package store_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/internal/clock"
	"github.com/tandem-sync/tandem/internal/testenv"
	"github.com/tandem-sync/tandem/store"
)

func TestOpenErrors(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name, text string) string {
		p := filepath.Join(dir, name)
		if err := os.WriteFile(p, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return p
	}
	link := filepath.Join(dir, "link.db")
	if err := os.Symlink(write("target.db", ""), link); err != nil {
		t.Fatal(err)
	}
	var lc net.ListenConfig
	ln, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	refused := ln.Addr().String()
	if err := ln.Close(); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		url      string
		readOnly bool
		code     string
		names    string // what the error must say
	}{
		{"mysql://x", false, fault.CodeConfig, "sqlite:PATH"},
		{"", false, fault.CodeConfig, "sqlite:PATH"},
		{"sqlite:", false, fault.CodeConfig, "names no file"},
		{"sqlite::memory:", false, fault.CodeConfig, "names no file"},
		{"sqlite:" + link, false, fault.CodeConfig, "symbolic link"},
		{"sqlite:" + dir, false, fault.CodeConfig, "is not a file"},
		{"sqlite:" + dir + "/none/a.db", false, fault.CodeConfig, "none"},
		{"sqlite:" + write("text.db", strings.Repeat("no database ", 100)), false, fault.CodeConfig, "not a database"},
		{"sqlite:" + dir + "/none.db", true, fault.CodeNotFound, "none.db"},
		{"postgres://u:s3cr%2Ft@" + refused + "/x?sslmode=disable", false, fault.CodeUnreachable, refused},
		{"postgres://u:s3cr%2Ft@[::1/x", false, fault.CodeConfig, "cannot be read"},
		{"postgres://u:s3cr%2Ft@" + refused + "/x?sslmode=nonsense", false, fault.CodeConfig, "wrong option"},
		{"postgres://u@" + refused + "/x?sslmode=disable&password=s3cr%2Ft&port=s3cr%2Ft", false, fault.CodeConfig, "wrong option"},
	} {
		db, err := store.Open(t.Context(), store.Config{URL: c.url, ReadOnly: c.readOnly})
		if err == nil {
			t.Errorf("%s: opened", c.url)
			_ = db.Close()
			continue
		}
		text := fmt.Sprintf("%v %+v %s", err, err, fault.HintOf(err))
		if fault.CodeOf(err) != c.code || !strings.Contains(err.Error(), c.names) {
			t.Errorf("%s: %v (code %q)", c.url, err, fault.CodeOf(err))
		}
		if strings.Contains(text, "s3cr") {
			t.Errorf("the error shows the password: %s", text)
		}
	}
}

func TestOpenPostgresRefusal(t *testing.T) {
	t.Parallel()
	address := testenv.Postgres(t)
	missing := address[:strings.LastIndex(address, "/")] + "/no_such_database"
	if _, options, ok := strings.Cut(address, "?"); ok {
		missing += "?" + options
	}
	_, err := store.Open(t.Context(), store.Config{URL: missing})
	if fault.CodeOf(err) != fault.CodeConfig || fault.HintOf(err) == "" || !strings.Contains(err.Error(), "no_such_database") {
		t.Fatalf("%v (code %q)", err, fault.CodeOf(err))
	}
}

func TestSQLiteFileMode(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "a b?#%.db")
	if _, err := store.Open(t.Context(), store.Config{URL: "sqlite:" + path}); fault.CodeOf(err) != fault.CodeConfig {
		t.Fatalf("a question mark: %v", err)
	}
	path = filepath.Join(filepath.Dir(path), "a b#%41ü.db")
	open(t, store.Config{URL: "sqlite:" + path})
	for _, name := range []string{path, path + "-wal"} {
		st, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		if st.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v", name, st.Mode().Perm())
		}
	}
}

func TestSQLiteSettings(t *testing.T) {
	t.Parallel()
	db := openSQLite(t)
	if err := db.Write(t.Context(), "settings", func(ctx context.Context, tx *store.Tx) error {
		for name, want := range map[string]string{"journal_mode": "wal", "synchronous": "2", "busy_timeout": "5000", "foreign_keys": "1"} {
			var got string
			if err := tx.QueryRowxContext(ctx, "PRAGMA "+name).Scan(&got); err != nil {
				return err
			}
			if got != want {
				t.Errorf("%s is %q, want %q", name, got, want)
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

// TestReadOnlyBeside reads a SQLite file that another store writes.
func TestReadOnlyBeside(t *testing.T) {
	t.Parallel()
	url := "sqlite:" + filepath.Join(t.TempDir(), "a.db")
	owner := open(t, store.Config{URL: url})
	reader, err := store.Open(t.Context(), store.Config{URL: url, ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	add := func(ctx context.Context, tx *store.Tx) error {
		return tx.AddOutgoing(ctx, store.Outgoing{Key: "sync"})
	}
	if err := owner.Write(t.Context(), "add", add); err != nil {
		t.Fatal(err)
	}
	if err := reader.Read(t.Context(), func(ctx context.Context, tx *store.Tx) error {
		n, err := tx.OutboxDepth(ctx)
		if n != 1 {
			t.Errorf("depth %d", n)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	_, serr := reader.Session(t.Context())
	for what, err := range map[string]error{
		"write": reader.Write(t.Context(), "add", add), "migrate": reader.Migrate(t.Context()), "session": serr,
	} {
		if fault.CodeOf(err) != fault.CodeConflict {
			t.Errorf("%s: %v", what, err)
		}
	}
	if err := reader.CheckSchema(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestSchemaVersions(t *testing.T) {
	t.Parallel()
	for name, url := range map[string]string{"sqlite": "sqlite:" + filepath.Join(t.TempDir(), "a.db"), "postgres": testenv.Postgres(t)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db, err := store.Open(t.Context(), store.Config{URL: url})
			if err != nil {
				t.Fatal(err)
			}
			defer db.Close()
			if err := db.CheckSchema(t.Context()); fault.CodeOf(err) != fault.CodeSchemaOld || fault.HintOf(err) != "run `tandem migrate`" {
				t.Fatalf("empty: %v", err)
			}
			var wg sync.WaitGroup
			for range 3 { // several processes start at once
				wg.Go(func() {
					if err := db.Migrate(t.Context()); err != nil {
						t.Error(err)
					}
				})
			}
			wg.Wait()
			if err := db.CheckSchema(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := exec(t, db, "UPDATE tandem_schema SET version_id = 999999 WHERE version_id > 0"); err != nil {
				t.Fatal(err)
			}
			if err := db.CheckSchema(t.Context()); fault.CodeOf(err) != fault.CodeSchemaNew {
				t.Fatalf("newer: %v", err)
			}
		})
	}
}

// TestDiskFull fills a SQLite database: the write fails as a whole with the
// code disk_full, reads work, and with room again writes do too.
func TestDiskFull(t *testing.T) {
	t.Parallel()
	db := openSQLite(t)
	fill := func(n int) error {
		return db.Write(t.Context(), "fill", func(ctx context.Context, tx *store.Tx) error {
			for range n {
				if err := tx.AddOutgoing(ctx, store.Outgoing{Key: "sync", Body: []byte(strings.Repeat("x", 4000))}); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := fill(3); err != nil {
		t.Fatal(err)
	}
	var pages int
	if err := db.Write(t.Context(), "limit", func(ctx context.Context, tx *store.Tx) error {
		if err := tx.QueryRowxContext(ctx, "PRAGMA page_count").Scan(&pages); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, fmt.Sprintf("PRAGMA max_page_count = %d", pages+20))
		return err
	}); err != nil {
		t.Fatal(err)
	}
	err := fill(100)
	if fault.CodeOf(err) != store.CodeDiskFull || fault.Of(err) != fault.Retryable || store.IsDataError(err) || errors.Is(err, store.ErrCommitUnknown) {
		t.Fatalf("full: %v (code %q)", err, fault.CodeOf(err))
	}
	if fault.HintOf(err) == "" {
		t.Fatal("no hint")
	}
	if full := db.Full(); fault.CodeOf(full) != store.CodeDiskFull || fault.HintOf(full) == "" {
		t.Fatalf("the database does not remember that it is full: %v", full)
	}
	depth := func() (n int64, sound string) {
		if err := db.Read(t.Context(), func(ctx context.Context, tx *store.Tx) (err error) {
			if n, err = tx.OutboxDepth(ctx); err != nil {
				return err
			}
			return tx.QueryRowxContext(ctx, "PRAGMA integrity_check").Scan(&sound)
		}); err != nil {
			t.Fatal(err)
		}
		return n, sound
	}
	if n, sound := depth(); n != 3 || sound != "ok" {
		t.Fatalf("after the failure: %d messages, %s", n, sound)
	}
	if err := exec(t, db, "PRAGMA max_page_count = 1000000"); err != nil {
		t.Fatal(err)
	}
	if err := fill(100); err != nil {
		t.Fatal(err)
	}
	if n, sound := depth(); n != 103 || sound != "ok" {
		t.Fatalf("with room again: %d messages, %s", n, sound)
	}
	sess, err := db.Session(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer sess.Close() //nolint:errcheck // nothing is open
	err = sess.Write(t.Context(), "batch", func(ctx context.Context, tx *store.Tx) error {
		return tx.AddOutgoing(ctx, store.Outgoing{Key: "sync", Body: []byte("x")})
	})
	if err != nil || db.Full() != nil {
		t.Fatalf("a batch was written (%v), and the database counts as full: %v", err, db.Full())
	}
}

// TestSQLiteClock runs leases on a clock of our own.
func TestSQLiteClock(t *testing.T) {
	t.Parallel()
	base := &clock.Offset{Clock: clock.System{}}
	db := open(t, store.Config{URL: "sqlite:" + filepath.Join(t.TempDir(), "a.db"), Clock: base})
	oneSlice(t, db)
	take := func() (ok bool) {
		if err := db.Write(t.Context(), "take", func(ctx context.Context, tx *store.Tx) (err error) {
			_, ok, err = tx.AcquireLease(ctx, store.LeaseKey{ChannelID: 1, Direction: store.KindSync}, "w", time.Minute)
			return err
		}); err != nil {
			t.Fatal(err)
		}
		return ok
	}
	if !take() || take() {
		t.Fatal("one taker before the time is over")
	}
	base.By = 2 * time.Minute
	if !take() {
		t.Fatal("the lease did not expire by our clock")
	}
}
