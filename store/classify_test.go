package store_test

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"github.com/lib/pq"
	"github.com/lib/pq/pqerror"

	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/internal/testenv"
	"github.com/tandem-sync/tandem/store"
)

func TestClassify(t *testing.T) {
	t.Parallel()
	state := func(code string) error { return fmt.Errorf("x: %w", &pq.Error{Code: pqerror.Code(code), Message: "m"}) }
	plan := &pq.Error{Code: "0A000", Message: "cached plan must not change result type"}
	op := &net.OpError{Op: "read", Err: errors.New("connection reset by peer")}
	for _, c := range []struct {
		name  string
		err   error
		class fault.Class
		code  string
		data  bool
	}{
		{"serialization failure", state("40001"), fault.Retryable, store.CodeBusy, false},
		{"deadlock", state("40P01"), fault.Retryable, store.CodeBusy, false},
		{"lock timeout", state("55P03"), fault.Retryable, store.CodeBusy, false},
		{"admin shutdown", state("57P01"), fault.Retryable, fault.CodeUnreachable, false},
		{"starting up", state("57P03"), fault.Retryable, fault.CodeUnreachable, false},
		{"connection failure", state("08006"), fault.Retryable, fault.CodeUnreachable, false},
		{"idle in transaction", state("25P03"), fault.Retryable, fault.CodeUnreachable, false},
		{"cached plan", plan, fault.Retryable, store.CodeBusy, false},
		{"feature not supported", state("0A000"), fault.Unknown, "", false},
		{"query cancelled", state("57014"), fault.Retryable, store.CodeTimeout, false},
		{"disk full", state("53100"), fault.Retryable, store.CodeDiskFull, false},
		{"out of memory", state("53200"), fault.Retryable, store.CodeDiskFull, false},
		{"too many connections", state("53300"), fault.Retryable, fault.CodeUnreachable, false},
		{"bad connection", driver.ErrBadConn, fault.Retryable, fault.CodeUnreachable, false},
		{"end of file", io.ErrUnexpectedEOF, fault.Retryable, fault.CodeUnreachable, false},
		{"reset", op, fault.Retryable, fault.CodeUnreachable, false},
		{"bad text", state("22P02"), fault.Permanent, fault.CodeBadRecord, true},
		{"not null", state("23502"), fault.Permanent, fault.CodeBadRecord, true},
		{"check option", state("44000"), fault.Permanent, fault.CodeBadRecord, true},
		{"index row too large", state("54000"), fault.Permanent, fault.CodeBadRecord, true},
		{"raised by a trigger", state("P0001"), fault.Permanent, fault.CodeBadRecord, true},
		{"wrong password", state("28P01"), fault.Permanent, fault.CodeConfig, false},
		{"no such database", state("3D000"), fault.Permanent, fault.CodeConfig, false},
		{"undefined table", state("42P01"), fault.Unknown, "", false},
		{"another error", errors.New("x"), fault.Unknown, "", false},
		{"cancelled", context.Canceled, fault.Unknown, "", false},
		{"deadline", context.DeadlineExceeded, fault.Unknown, "", false},
		{"fenced", store.ErrFenced, fault.Unknown, "", false},
		{"classed already", fault.Wrap(fault.Skip, "mine", "x", state("23505")), fault.Skip, "mine", true},
	} {
		got := store.Classify(c.err)
		if fault.Of(got) != c.class || fault.CodeOf(got) != c.code || store.IsDataError(c.err) != c.data || !errors.Is(got, c.err) {
			t.Errorf("%s: class %v code %q data %v: %v", c.name, fault.Of(got), fault.CodeOf(got), store.IsDataError(c.err), got)
		}
	}
	if store.Classify(nil) != nil || store.SQLState(nil) != "" || store.IsDataError(nil) {
		t.Error("nil is not an error")
	}
	if got := store.SQLState(state("22P02")); got != "22P02" {
		t.Errorf("SQLState: %q", got)
	}
}

// TestClassifySQLite provokes real errors of SQLite.
func TestClassifySQLite(t *testing.T) {
	t.Parallel()
	db := openSQLite(t)
	setup := []string{"CREATE TABLE x (n integer PRIMARY KEY NOT NULL, u text UNIQUE, c integer CHECK (c > 0)) STRICT", "INSERT INTO x VALUES (1, 'a', 1)"}
	for _, q := range setup {
		if err := exec(t, db, q); err != nil {
			t.Fatal(err)
		}
	}
	for q, data := range map[string]bool{
		"INSERT INTO x VALUES (2, 'a', 1)":                  true,
		"INSERT INTO x VALUES (2, 'b', 0)":                  true,
		"INSERT INTO x (rowid) VALUES ('x')":                true,
		"INSERT INTO x VALUES (2, 'b', 'x')":                true,
		"INSERT INTO x VALUES (2, zeroblob(2000000000), 1)": true,
		"INSERT INTO nowhere VALUES (1)":                    false,
		"INSERT INTO tandem_connector (id, channel_id, name, ord, retired) VALUES (9, 9999, 'a', 0,0)": true,
	} {
		err := exec(t, db, q)
		if err == nil || store.IsDataError(err) != data || data && (fault.Of(err) != fault.Permanent || fault.CodeOf(err) != fault.CodeBadRecord) {
			t.Errorf("%s: %v (class %v, code %q)", q, err, fault.Of(err), fault.CodeOf(err))
		}
	}
}

func exec(t *testing.T, db *store.DB, q string) error {
	t.Helper()
	return db.Write(t.Context(), "exec", func(ctx context.Context, tx *store.Tx) error {
		_, err := tx.ExecContext(ctx, q)
		return err
	})
}

// TestWriteRepeatsDeadlock makes two transactions wait for each other: the
// server ends one, and Write runs it again.
func TestWriteRepeatsDeadlock(t *testing.T) {
	t.Parallel()
	db := openPostgres(t)
	for _, q := range []string{"CREATE TABLE x (id integer PRIMARY KEY, n integer)", "INSERT INTO x VALUES (1, 0), (2, 0)"} {
		if err := exec(t, db, q); err != nil {
			t.Fatal(err)
		}
	}
	const parties = 2
	ready := make(chan struct{}, parties)
	calls := make(chan struct{}, 100)
	done := make(chan error, parties)
	for _, order := range [][2]int{{1, 2}, {2, 1}} {
		go func() {
			first := true
			done <- db.Write(t.Context(), "cross", func(ctx context.Context, tx *store.Tx) error {
				calls <- struct{}{}
				if _, err := tx.ExecContext(ctx, "UPDATE x SET n = n + 1 WHERE id = $1", order[0]); err != nil {
					return err
				}
				if first { // both hold one row before either asks for the other
					first = false
					ready <- struct{}{}
					for len(ready) < parties {
						time.Sleep(time.Millisecond)
					}
				}
				_, err := tx.ExecContext(ctx, "UPDATE x SET n = n + 1 WHERE id = $1", order[1])
				return err
			})
		}()
	}
	for range parties {
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	if len(calls) != parties+1 {
		t.Fatalf("%d calls, want one repeat", len(calls))
	}
	var a, b int
	if err := db.Read(t.Context(), func(ctx context.Context, tx *store.Tx) error {
		return tx.QueryRowxContext(ctx, "SELECT min(n), max(n) FROM x").Scan(&a, &b)
	}); err != nil || a != parties || b != parties {
		t.Fatalf("%d %d %v", a, b, err)
	}
}

// TestPostgresSettings reads what a session works with, whatever the role's own
// defaults are.
func TestPostgresSettings(t *testing.T) {
	t.Parallel()
	db := open(t, store.Config{URL: testenv.Postgres(t)})
	if err := db.Read(t.Context(), func(ctx context.Context, tx *store.Tx) error {
		for name, want := range map[string]string{
			"TimeZone": "UTC", "DateStyle": "ISO, MDY", "IntervalStyle": "postgres", "bytea_output": "hex", "statement_timeout": "30s",
			"lock_timeout": "5s", "idle_in_transaction_session_timeout": "30s", "application_name": "tandem", "client_min_messages": "warning",
			"synchronous_commit": "on", "transaction_read_only": "on", "transaction_isolation": "repeatable read",
		} {
			var got string
			if err := tx.QueryRowxContext(ctx, "SELECT current_setting($1)", name).Scan(&got); err != nil {
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

// TestSessionReplaced ends a session's backend: the next write works on a new
// connection and says so by the generation.
func TestSessionReplaced(t *testing.T) {
	t.Parallel()
	db := openPostgres(t)
	s, err := db.Session(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var pid int
	backend := func(ctx context.Context, tx *store.Tx) error {
		return tx.QueryRowxContext(ctx, "SELECT pg_backend_pid()").Scan(&pid)
	}
	if err := s.Write(t.Context(), "pid", backend); err != nil {
		t.Fatal(err)
	}
	old, gen := pid, s.Generation()
	if err := db.Write(t.Context(), "kill", func(ctx context.Context, tx *store.Tx) error {
		_, err := tx.ExecContext(ctx, "SELECT pg_terminate_backend($1, 5000)", old)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if err := s.Write(t.Context(), "pid", backend); err != nil || pid == old || s.Generation() == gen {
		t.Fatalf("%v, backend %d then %d, generation %d then %d", err, old, pid, gen, s.Generation())
	}
	// Killed inside a transaction: that one fails, the next works.
	err = s.Write(t.Context(), "suicide", func(ctx context.Context, tx *store.Tx) error {
		_, err := tx.ExecContext(ctx, "SELECT pg_terminate_backend(pg_backend_pid())")
		return err
	})
	if fault.CodeOf(err) != fault.CodeUnreachable {
		t.Fatalf("killed inside: %v", err)
	}
	if err := s.Write(t.Context(), "pid", backend); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}
