package entities

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/tandem-sync/tandem/store"
)

// The key that a trigger logs is the key that Load gives, whatever the type and
// whatever the writer's session says about times and floats.
func TestCaptureKeysEqualLoadedOnes(t *testing.T) {
	every := make([]rune, 0, 0x200)
	for r := rune(1); r < 0x180; r++ {
		every = append(every, r)
	}
	texts := []string{literal(string(every)), "'plain'", "''", `'q"u\o''te/'`, "E'\\b\\f\\n\\r\\t'", "'\u2028\u2029\ufeff'", "'🎉é e\u0301'", "' pad '"}
	sqlite := slices.Clone(texts)
	sqlite[4] = "char(8, 12, 10, 13, 9)"
	for _, c := range []struct {
		dialect store.Dialect
		native  string
		values  []string
	}{
		{store.Postgres, "int", []string{"0", "-2147483648", "2147483647"}},
		{store.Postgres, "smallint", []string{"-1"}},
		{store.Postgres, "bigint", []string{"-9223372036854775808", "9223372036854775807"}},
		{store.Postgres, "uuid", []string{"'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'"}},
		{store.Postgres, "text", texts},
		{store.Postgres, "varchar(500)", texts},
		{store.Postgres, "char(9)", []string{"'ab'", "'a''b\"c\\'", "''", "' é'"}},
		{store.Postgres, "date", []string{"'2026-11-24'", "'infinity'", "'0044-03-15 BC'", "'99999-01-01'"}},
		{store.Postgres, "timestamptz", []string{"'2026-11-24 12:00:00.123456+05:30'", "'2026-03-29 01:30:00Z'", "'-infinity'"}},
		{store.Postgres, "timestamp", []string{"'2026-11-24 12:00:00.5'", "'1999-12-31 23:59:59.999999'"}},
		{store.Postgres, "time", []string{"'12:00:00.25'"}},
		{store.Postgres, "interval", []string{"'1 year 2 days -3 hours'", "'-1.5 seconds'"}},
		{store.Postgres, "numeric", []string{"1.50", "-0.000000000000000000000000000001", "1e30", "'NaN'"}},
		{store.Postgres, "numeric(8,3)", []string{"1.5"}},
		{store.Postgres, "bool", []string{"true", "false"}},
		{store.Postgres, "float8", []string{"0.1::float8 + 0.2::float8", "1e300", "'-Infinity'", "-0.0"}},
		{store.Postgres, "real", []string{"0.1::real"}},
		{store.Postgres, "bytea", []string{`'\x00ff27'`}},
		{store.SQLite, "integer", []string{"0", "-9223372036854775807", "9223372036854775807"}},
		{store.SQLite, "text", sqlite},
		{store.SQLite, "text", []string{"12", "1.5"}},
		{store.SQLite, "blob", []string{"x'00ff27'", "'text'", "12"}},
		{store.SQLite, "numeric", []string{"12", "'abc'", "1.5"}},
		{store.SQLite, "datetime", []string{"'2026-11-24 12:00:00.5'"}},
	} {
		t.Run(c.dialect.String()+" "+c.native, func(t *testing.T) {
			t.Parallel()
			h := open(t, c.dialect)
			h.exec("CREATE TABLE one (k "+c.native+" NOT NULL UNIQUE, v text)",
				"CREATE TABLE two (k "+c.native+" NOT NULL, n int NOT NULL, v text, PRIMARY KEY (k, n))")
			single, double := h.capture("one", "one", "v", withKey("k")), h.capture("two", "two", "v")
			odd := h.pick("", "SET LOCAL TimeZone = 'America/St_Johns'; SET LOCAL DateStyle = 'SQL, DMY'; SET LOCAL IntervalStyle = 'iso_8601'; SET LOCAL bytea_output = 'escape'; SET LOCAL extra_float_digits = 0; ")
			for _, v := range c.values {
				h.exec(odd + "INSERT INTO one VALUES (" + v + ", 'a'); INSERT INTO two VALUES (" + v + ", 1, 'a')")
			}
			h.exec(odd + "UPDATE one SET v = 'b'; UPDATE two SET v = 'b'; DELETE FROM one WHERE false")
			for _, table := range []*captured{single, double} {
				b := h.bind(table.entity, "v", func(o *bindOpts) { o.spec.Key = table.t.Key })
				keys := h.rows("SELECT DISTINCT local_key FROM tandem_change_log WHERE entity = " + literal(table.entity) + " ORDER BY 1")
				if len(keys) != len(c.values) {
					t.Errorf("%s: %d keys logged for %d rows: %q", table.entity, len(keys), len(c.values), keys)
				}
				list := h.keys(b, 3)
				slices.Sort(list)
				slices.Sort(keys)
				if !slices.Equal(keys, list) {
					t.Errorf("%s:\n logged %q\n listed %q", table.entity, keys, list)
				}
				for _, row := range h.load(b, keys...) {
					if !slices.Contains(keys, row.Key) {
						t.Errorf("%s: loaded %q, logged %q", table.entity, row.Key, keys)
					}
				}
			}
		})
	}
}

// keys lists all keys in pages.
func (h *harness) keys(b *Binding, page int) []string {
	h.Helper()
	return h.pages(page, func(ctx context.Context, tx *store.Tx, after string) ([]string, error) {
		return b.Keys(ctx, tx, after, page)
	})
}

func (h *harness) pages(page int, list func(ctx context.Context, tx *store.Tx, after string) ([]string, error)) []string {
	h.Helper()
	var out []string
	err := h.db.Read(context.Background(), func(ctx context.Context, tx *store.Tx) error {
		after := ""
		for {
			more, err := list(ctx, tx, after)
			if err != nil {
				return err
			}
			out = append(out, more...)
			if len(more) < page {
				return nil
			}
			after = more[len(more)-1]
			if len(out) > 10_000 {
				return fmt.Errorf("no end: %s", strings.Join(out[:50], ", "))
			}
		}
	})
	if err != nil {
		h.Fatal(err)
	}
	return out
}
