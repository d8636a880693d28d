package entities

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/tandem-sync/tandem/store"
)

func TestKeysInOrder(t *testing.T) {
	both(t, func(t *testing.T, h *harness) {
		h.exec("CREATE TABLE people (id integer PRIMARY KEY, name text)", "CREATE TABLE places (a text NOT NULL, b integer NOT NULL, v text, PRIMARY KEY (a, b))",
			"INSERT INTO people (id) VALUES (10), (9), (-1), (100), (2)",
			`INSERT INTO places VALUES ('x', 10, ''), ('x', 9, ''), ('a"', 3, ''), ('y', 1, '')`)
		if got, want := h.keys(h.bind("people", "name"), 2), []string{"-1", "2", "9", "10", "100"}; !slices.Equal(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
		if got, want := h.keys(h.bind("places", "v"), 2), []string{`["a\"","3"]`, `["x","9"]`, `["x","10"]`, `["y","1"]`}; !slices.Equal(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
	})
}

func TestUnlinked(t *testing.T) {
	both(t, func(t *testing.T, h *harness) {
		h.exec("CREATE TABLE people (id integer PRIMARY KEY, name text, gone boolean)",
			"INSERT INTO people (id, name, gone) VALUES (1, 'a', false), (2, 'b', false), (3, 'c', true), (4, 'd', NULL), (5, 'e', false), (6, 'f', false)")
		b := h.bind("people", "name", withDeleted("gone"))
		h.apply(h.writer(b), []Change{linked("r1", "1"), linked("r2", "5")}, nil)
		h.exec("UPDATE tandem_link SET state = 1 WHERE remote_id = 'r2'")
		unlinked := func(connector int64) []string {
			return h.pages(2, func(ctx context.Context, tx *store.Tx, after string) ([]string, error) {
				return b.Unlinked(ctx, tx, connector, after, 2)
			})
		}
		if got, want := unlinked(connector), []string{"2", "4", "6"}; !slices.Equal(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
		if got, want := unlinked(connector+1), []string{"1", "2", "4", "5", "6"}; !slices.Equal(got, want) {
			t.Errorf("of another connector %q, want %q", got, want)
		}
		if got, want := h.keys(b, 4), []string{"1", "2", "3", "4", "5", "6"}; !slices.Equal(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
	})
}

func TestChangedSince(t *testing.T) {
	at := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	s := func(d time.Duration, layout string) string { return at.Add(d).Format(layout) }
	const sql = "2006-01-02 15:04:05.000"
	for _, c := range []struct {
		dialect store.Dialect
		native  string
		values  func(d time.Duration) string
	}{
		{store.Postgres, "timestamptz", func(d time.Duration) string { return literal(s(d, time.RFC3339Nano)) }},
		{store.Postgres, "timestamp", func(d time.Duration) string { return literal(s(d, sql)) }},
		{store.Postgres, "bigint", func(d time.Duration) string { return fmt.Sprint(at.Add(d).UnixMilli()) }},
		{store.SQLite, "integer", func(d time.Duration) string { return fmt.Sprint(at.Add(d).UnixMilli()) }},
		{store.SQLite, "datetime", func(d time.Duration) string { return literal(s(d, sql)) }},
		{store.SQLite, "text", func(d time.Duration) string { // forms as programs mix them
			if d%2 == 0 {
				return literal(s(d, "2006-01-02T15:04:05.000Z07:00"))
			}
			return literal(at.Add(d).In(time.FixedZone("", 3*3600)).Format("2006-01-02 15:04:05.000-07:00"))
		}},
		{store.SQLite, "real", func(d time.Duration) string { return fmt.Sprintf("%.6f", float64(at.Add(d).UnixMilli())/1000) }},
	} {
		t.Run(c.dialect.String()+" "+c.native, func(t *testing.T) {
			t.Parallel()
			h := open(t, c.dialect)
			h.exec("CREATE TABLE people (id integer PRIMARY KEY, name text, changed " + c.native + ")")
			ms := time.Millisecond
			for id, d := range []time.Duration{5 * ms, 3 * ms, 3 * ms, 3 * ms, 4 * ms, time.Hour, -time.Hour} {
				h.exec(fmt.Sprintf("INSERT INTO people VALUES (%d, 'n', %s)", id+1, c.values(d)))
			}
			h.exec("INSERT INTO people VALUES (99, 'never', NULL)")
			b := h.bind("people", "name", func(o *bindOpts) { o.spec.Modified = "changed" })
			since := func(after time.Time, key string, limit int) (out []string, last Touched) {
				err := h.db.Read(context.Background(), func(ctx context.Context, tx *store.Tx) error {
					list, err := b.ChangedSince(ctx, tx, after, key, limit)
					for _, l := range list {
						out, last = append(out, l.Key), l
					}
					return err
				})
				if err != nil {
					t.Fatal(err)
				}
				return out, last
			}
			if got, _ := since(at.Add(3*ms), "", 100); !slices.Equal(got, []string{"2", "3", "4", "5", "1", "6"}) {
				t.Errorf("since %q", got)
			}
			var all []string
			for last := (Touched{}); ; {
				page, l := since(last.Modified, last.Key, 2)
				all, last = append(all, page...), l
				if len(page) < 2 {
					break
				}
			}
			if !slices.Equal(all, []string{"7", "2", "3", "4", "5", "1", "6"}) {
				t.Errorf("in pages %q", all)
			}
			h.exec("DELETE FROM people")
			if got, _ := since(at, "", 5); len(got) > 0 {
				t.Errorf("of nothing %q", got)
			}
		})
	}
}

func TestChangedSinceNeedsTimes(t *testing.T) {
	t.Parallel()
	h := open(t, store.Postgres)
	h.exec("CREATE TABLE people (id int PRIMARY KEY, name text, day date)")
	for _, c := range [][2]string{{"", "needs the entity's modified column"}, {"name", "does not order by time"}, {"day", "does not order by time"}} {
		table, err := h.introspect(Spec{Name: "people", Table: "people", Modified: c[0]})
		if err != nil {
			t.Fatal(err)
		}
		wantErr(t, table.OrdersByTime(), c[1])
	}
}
