package entities

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/tandem-sync/tandem/store"
	"github.com/tandem-sync/tandem/sync/record"
)

func withModified(c string) func(*bindOpts) { return func(o *bindOpts) { o.spec.Modified = c } }

// What each kind of column gives for one and the same time, and what is no time.
func TestLoadReadsWhenARowWasModified(t *testing.T) {
	at := time.Date(2026, 3, 4, 5, 6, 7, 250e6, time.UTC)
	whole := at.Truncate(time.Second)
	type kind struct {
		decl, value string
		want        time.Time
	}
	kinds := map[bool][]kind{
		true: {
			{"timestamptz", "'2026-03-04 07:06:07.25+02'", at},
			{"timestamp", "'2026-03-04 05:06:07.25'", at},
			{"timestamp(0)", "'2026-03-04 05:06:07'", whole},
			{"text", "'2026-03-04T06:06:07.25+01:00'", at},
			{"bigint", "1772600767250", at},
			{"integer", "1772600767", whole},
			{"double precision", "1772600767.25", at},
			{"numeric", "1772600767.25", at},
			{"timestamptz", "NULL", time.Time{}},
			{"timestamptz", "'infinity'", time.Time{}},
			{"date", "'2026-03-04'", time.Time{}},
			{"integer", "17", time.Time{}},
			{"text", "'yesterday'", time.Time{}},
		},
		false: {
			{"timestamp", "'2026-03-04 05:06:07.25'", at},
			{"datetime", "'2026-03-04T05:06:07.250Z'", at},
			{"text", "'2026-03-04 05:06:07'", whole},
			{"text", "'1772600767'", whole},
			{"integer", "1772600767", whole},
			{"integer", "1772600767250", at},
			{"integer", "1772600767250000", at},
			{"integer", "1772600767250000000", at},
			{"real", "1772600767.25", at},
			{"real", "julianday('2026-03-04 05:06:07.250')", at},
			{"datetime", "1772600767", whole},
			{"text", "NULL", time.Time{}},
			{"text", "''", time.Time{}},
			{"text", "'2026-03-04'", time.Time{}},
			{"blob", "x'0102'", time.Time{}},
			{"integer", "42", time.Time{}},
			{"integer", "-5", time.Time{}},
		},
	}
	both(t, func(t *testing.T, h *harness) {
		for i, k := range kinds[h.pg] {
			table := fmt.Sprint("t", i)
			h.exec(fmt.Sprintf("CREATE TABLE %s (id integer PRIMARY KEY, name text, changed %s)", table, k.decl),
				fmt.Sprintf("INSERT INTO %s VALUES (1, 'a', %s)", table, k.value))
			b := h.bind(table, "name", withModified("Changed"))
			rows := h.load(b, "1")
			if len(rows) != 1 || !rows[0].Modified.Equal(k.want) {
				t.Errorf("%s %s: read %v, want %v", k.decl, k.value, rows, k.want)
			}
			if len(rows) == 1 && len(rows[0].Values) != 1 {
				t.Errorf("%s: %d values of one mapped column", k.decl, len(rows[0].Values))
			}
		}
	})
}

// A match gives the time as well; without a modified column it is not known.
func TestMatchGivesWhenARowWasModified(t *testing.T) {
	both(t, func(t *testing.T, h *harness) {
		h.exec(h.pick("CREATE TABLE people (id integer PRIMARY KEY, email text, changed integer)",
			"CREATE TABLE people (id integer PRIMARY KEY, email text, changed timestamptz)"),
			h.pick("INSERT INTO people VALUES (1, 'A@x.org', 1772600767)", "INSERT INTO people VALUES (1, 'A@x.org', '2026-03-04 05:06:07Z')"))
		for column, want := range map[string]time.Time{"changed": time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC), "": {}} {
			b := h.bind("people", "email", withModified(column))
			var found [][]Row
			err := h.db.Read(context.Background(), func(ctx context.Context, tx *store.Tx) (err error) {
				found, err = b.Match(ctx, tx, []int{0}, [][]record.Value{txt("a@x.org")})
				return err
			})
			if err != nil || len(found) != 1 || len(found[0]) != 1 || !found[0][0].Modified.Equal(want) {
				t.Errorf("column %q: %v %v, want %v", column, found, err, want)
			}
		}
	})
}
