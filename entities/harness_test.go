package entities

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/tandem-sync/tandem/internal/testenv"
	"github.com/tandem-sync/tandem/store"
	"github.com/tandem-sync/tandem/sync/mapping"
	"github.com/tandem-sync/tandem/sync/record"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const connector = 7

// harness is a migrated database with what tests do all the time.
type harness struct {
	testing.TB
	db   *store.DB
	sess *store.Session
	pg   bool
	url  string
}

func open(tb testing.TB, d store.Dialect) *harness {
	tb.Helper()
	url := "sqlite:" + filepath.Join(tb.TempDir(), "t.db")
	if d == store.Postgres {
		url = testenv.Postgres(tb)
	}
	ctx := context.Background()
	db, err := store.Open(ctx, store.Config{URL: url})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := db.Close(); err != nil {
			tb.Error(err)
		}
	})
	if err := db.Migrate(ctx); err != nil {
		tb.Fatal(err)
	}
	h := &harness{TB: tb, db: db, pg: d == store.Postgres, url: url}
	h.sess = h.session()
	return h
}

// both runs a test on both databases.
func both(t *testing.T, fn func(t *testing.T, h *harness)) {
	t.Helper()
	t.Parallel()
	for _, d := range []store.Dialect{store.SQLite, store.Postgres} {
		t.Run(d.String(), func(t *testing.T) {
			t.Parallel()
			fn(t, open(t, d))
		})
	}
}

func (h *harness) session() *store.Session {
	h.Helper()
	s, err := h.db.Session(context.Background())
	if err != nil {
		h.Fatal(err)
	}
	h.Cleanup(func() {
		if err := s.Close(); err != nil {
			h.Error(err)
		}
	})
	return s
}

func (h *harness) write(fn func(ctx context.Context, tx *store.Tx) error) {
	h.Helper()
	if err := h.db.Write(context.Background(), "test", fn); err != nil {
		h.Fatal(err)
	}
}

func (h *harness) exec(statements ...string) {
	h.Helper()
	h.write(func(ctx context.Context, tx *store.Tx) error {
		for _, q := range statements {
			if _, err := tx.ExecContext(ctx, q); err != nil {
				return fmt.Errorf("%s: %w", q, err)
			}
		}
		return nil
	})
}

// pick gives the statement of the dialect.
func (h *harness) pick(sqlite, postgres string) string {
	if h.pg {
		return postgres
	}
	return sqlite
}

// rows reads a query as text, "|" between columns.
func (h *harness) rows(q string) []string {
	h.Helper()
	var out []string
	err := h.db.Read(context.Background(), func(ctx context.Context, tx *store.Tx) error {
		rows, err := tx.QueryContext(ctx, q)
		if err != nil {
			return err
		}
		defer func() { _ = rows.Close() }()
		cols, err := rows.Columns()
		if err != nil {
			return err
		}
		cells, dest := make([]any, len(cols)), make([]any, len(cols))
		for i := range cells {
			dest[i] = &cells[i]
		}
		for rows.Next() {
			if err := rows.Scan(dest...); err != nil {
				return err
			}
			line := make([]string, len(cells))
			for i, c := range cells {
				line[i] = "NULL"
				if b, ok := c.([]byte); ok {
					line[i] = string(b)
				} else if c != nil {
					line[i] = fmt.Sprint(c)
				}
			}
			out = append(out, strings.Join(line, "|"))
		}
		return rows.Err()
	})
	if err != nil {
		h.Fatalf("%s: %v", q, err)
	}
	return out
}

func (h *harness) want(q string, want ...string) {
	h.Helper()
	if got := h.rows(q); !slices.Equal(got, want) {
		h.Errorf("%s\n got  %q\n want %q", q, got, want)
	}
}

func (h *harness) introspect(spec Spec) (t *Table, err error) {
	err = h.db.Read(context.Background(), func(ctx context.Context, tx *store.Tx) error {
		t, err = Introspect(ctx, tx, spec)
		return err
	})
	return t, err
}

// bind maps columns one to one.
func (h *harness) bind(table string, columns string, opts ...func(*bindOpts)) *Binding {
	h.Helper()
	o := bindOpts{spec: Spec{Name: table, Table: table}}
	for _, f := range opts {
		f(&o)
	}
	t, err := h.introspect(o.spec)
	if err != nil {
		h.Fatal(err)
	}
	var fields []mapping.Field
	for _, c := range strings.Fields(columns) {
		fields = append(fields, mapping.Field{Local: c, Remote: c, Direction: mapping.ToLocal})
	}
	m, problems := mapping.Compile(mapping.Spec{Fields: fields}, t.Column)
	if len(problems) > 0 {
		h.Fatalf("mapping: %v", problems)
	}
	b, err := t.Bind(m, o.spec.Deleted, o.set)
	if err != nil {
		h.Fatal(err)
	}
	return b
}

type bindOpts struct {
	spec Spec
	set  []string
}

func withKey(key ...string) func(*bindOpts) { return func(o *bindOpts) { o.spec.Key = key } }
func withDeleted(c string) func(*bindOpts)  { return func(o *bindOpts) { o.spec.Deleted = c } }
func withSet(c ...string) func(*bindOpts)   { return func(o *bindOpts) { o.set = c } }

func (h *harness) writer(b *Binding) *Writer {
	h.Helper()
	w := b.Writer(h.sess, connector)
	if err := w.Prepare(context.Background()); err != nil {
		h.Fatal(err)
	}
	return w
}

func (h *harness) apply(w *Writer, changes []Change, rebase func(*Change, []record.Value)) []Result {
	h.Helper()
	var res []Result
	err := w.sess.Write(context.Background(), "test", func(ctx context.Context, tx *store.Tx) (err error) {
		res, err = w.Apply(ctx, tx, changes, rebase)
		return err
	})
	if err != nil {
		h.Fatal(err)
	}
	if len(res) != len(changes) {
		h.Fatalf("%d results for %d changes", len(res), len(changes))
	}
	for i := range res {
		if res[i].N != changes[i].N {
			h.Fatalf("result %d is about change %d, want %d", i, res[i].N, changes[i].N)
		}
	}
	return res
}

// load reads rows by key, in order of the keys asked for.
func (h *harness) load(b *Binding, keys ...string) []Row {
	h.Helper()
	var rows []Row
	err := h.db.Read(context.Background(), func(ctx context.Context, tx *store.Tx) (err error) {
		rows, err = b.Load(ctx, tx, keys)
		return err
	})
	if err != nil {
		h.Fatal(err)
	}
	slices.SortFunc(rows, func(a, b Row) int { return slices.Index(keys, a.Key) - slices.Index(keys, b.Key) })
	return rows
}

// links reads the connector's links as "remote key state base".
func (h *harness) links() []string {
	h.Helper()
	return h.rows(fmt.Sprintf("SELECT remote_id || ' ' || local_key || ' ' || state || ' ' || base FROM tandem_link WHERE connector_id = %d ORDER BY remote_id", connector))
}

// insert is a new row for the remote record of that name.
func insert(n int, remote string, vals ...record.Value) Change {
	return Change{N: n, Op: OpInsert, New: vals, NewLink: true, Link: link(n, remote)}
}

func link(n int, remote string) store.Link {
	return store.Link{LinkHead: store.LinkHead{ID: int64(n) + 1, RemoteID: remote, Hash: int64(n)}, Base: "[]", ReadAt: 5}
}

// update changes a row as it was loaded.
func update(n int, remote string, row Row, vals ...record.Value) Change {
	return Change{N: n, Op: OpUpdate, Key: row.Key, Old: row.Values, New: vals, Link: link(n, remote)}
}

func remove(n int, remote string, row Row) Change {
	c := Change{N: n, Op: OpDelete, Key: row.Key, Old: row.Values, Link: link(n, remote)}
	c.Link.State = store.RemoteDeleted
	return c
}

func txt(vals ...string) []record.Value {
	out := make([]record.Value, len(vals))
	for i, v := range vals {
		out[i] = record.T(v)
	}
	return out
}

func outcomes(res []Result) string {
	s := make([]string, len(res))
	for i, r := range res {
		s[i] = r.Outcome.String()
	}
	return strings.Join(s, " ")
}

func wantOutcomes(tb testing.TB, res []Result, want string) {
	tb.Helper()
	if got := outcomes(res); got != want {
		tb.Errorf("outcomes %q, want %q", got, want)
		for _, r := range res {
			if r.Err != nil {
				tb.Logf("%d: %v", r.N, r.Err)
			}
		}
	}
}

func wantErr(tb testing.TB, err error, parts ...string) {
	tb.Helper()
	if err == nil {
		tb.Errorf("no error, want one with %q", parts)
		return
	}
	for _, p := range parts {
		if !strings.Contains(err.Error(), p) {
			tb.Errorf("error %q lacks %q", err, p)
		}
	}
}
