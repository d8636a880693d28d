package store

import (
	"context"
	"database/sql"
	"fmt"
	"testing"
)

// sqliteConnection gives one connection that keeps its statements.
func sqliteConnection(t *testing.T) (context.Context, *sql.Conn, *keepingConn) {
	t.Helper()
	c, err := newSQLiteConnector(sqliteDSN(t.TempDir()+"/kept.db", "immediate"))
	if err != nil {
		t.Fatal(err)
	}
	db := sql.OpenDB(c)
	conn, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	var keeping *keepingConn
	if err := conn.Raw(func(c any) error {
		keeping = c.(*keepingConn) //nolint:errcheck,forcetypeassert // the test fails
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return t.Context(), conn, keeping
}

func execAll(ctx context.Context, t *testing.T, conn *sql.Conn, queries ...string) {
	t.Helper()
	for _, q := range queries {
		if _, err := conn.ExecContext(ctx, q); err != nil {
			t.Fatalf("%s: %v", q, err)
		}
	}
}

// TestKeptStatementsSeeTheTableAsItIs: a statement is kept, whatever happens to
// the table, and may be in use several times at once.
func TestKeptStatementsSeeTheTableAsItIs(t *testing.T) {
	t.Parallel()
	ctx, conn, keeping := sqliteConnection(t)
	execAll(ctx, t, conn, "CREATE TABLE t (a integer)", "INSERT INTO t (a) VALUES (1), (2), (3)")
	const q = "SELECT a FROM t WHERE a > ? ORDER BY a"
	read := func(above int) (out []int) {
		rows, err := conn.QueryContext(ctx, q, above)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = rows.Close() }() // rows.Err says what went wrong
		for rows.Next() {
			var a int
			if err := rows.Scan(&a); err != nil {
				t.Fatal(err)
			}
			out = append(out, a)
		}
		if err := rows.Err(); err != nil {
			t.Fatal(err)
		}
		return out
	}
	for above, want := range []string{"[1 2 3]", "[2 3]", "[3]", "[]"} {
		if got := fmt.Sprint(read(above)); got != want {
			t.Errorf("above %d: %s, want %s", above, got, want)
		}
	}
	if n := keeping.order.Len(); n != 2 {
		t.Errorf("%d statements are kept, want 2", n)
	}
	func() {
		outer, err := conn.QueryContext(ctx, q, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = outer.Close() }() // outer.Err says what went wrong
		if !outer.Next() || fmt.Sprint(read(1)) != "[2 3]" || !outer.Next() || outer.Err() != nil {
			t.Error("a statement in use was disturbed by the same one")
		}
	}()
	execAll(ctx, t, conn, "DROP TABLE t", "CREATE TABLE t (b text, a integer)", "INSERT INTO t (a) VALUES (7)")
	if got := fmt.Sprint(read(0)); got != "[7]" {
		t.Errorf("after the table was made anew: %s", got)
	}
	execAll(ctx, t, conn, "DROP TABLE t")
	if _, err := conn.QueryContext(ctx, q, 0); err == nil { //nolint:rowserrcheck,sqlclosecheck // there are none
		t.Error("a table that is gone was read")
	}
}

// TestKeptStatementsAreBounded: the oldest make room, prepared ones included, and
// what takes effect while it is prepared is not kept.
func TestKeptStatementsAreBounded(t *testing.T) {
	t.Parallel()
	ctx, conn, keeping := sqliteConnection(t)
	for i := range 3 * mostStatements {
		func() {
			s, err := conn.PrepareContext(ctx, fmt.Sprintf("SELECT %d + ?", i))
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = s.Close() }() // goes back to the connection
			var n int
			if err := s.QueryRowContext(ctx, 1).Scan(&n); err != nil || n != i+1 {
				t.Fatalf("%d, %v", n, err)
			}
		}()
	}
	execAll(ctx, t, conn, "PRAGMA cache_size(-100)", "CREATE TABLE t (a)")
	if n := keeping.order.Len(); n != mostStatements || len(keeping.free) != n {
		t.Errorf("%d statements are kept, want %d", n, mostStatements)
	}
}
