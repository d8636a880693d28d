package entities

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/tandem-sync/tandem/store"
	"github.com/tandem-sync/tandem/sync/record"
)

func (h *harness) match(b *Binding, alt []int, ids ...[]record.Value) [][]Row {
	h.Helper()
	var out [][]Row
	err := h.db.Read(context.Background(), func(ctx context.Context, tx *store.Tx) (err error) {
		out, err = b.Match(ctx, tx, alt, ids)
		return err
	})
	if err != nil {
		h.Fatal(err)
	}
	return out
}

func names(rows []Row) string {
	var s []string
	for _, r := range rows {
		s = append(s, r.Values[0].Text)
	}
	slices.Sort(s)
	return strings.Join(s, " ")
}

func TestMatch(t *testing.T) {
	both(t, func(t *testing.T, h *harness) {
		h.exec("CREATE TABLE folk ("+h.pick("id INTEGER PRIMARY KEY", "id serial PRIMARY KEY")+", who text, email text, last text, born date, no integer, gone boolean)",
			`INSERT INTO folk (who, email, last, born, no, gone) VALUES
			('one', ' One@X.com ', 'Müller', '2000-01-02', 1, NULL), ('two', 'two@x.com', 'MÜLLER', '2000-01-02', 2, false), ('three', 'dup@x.com', 'Étoile', '2001-01-02', 3, false),
			('four', 'DUP@x.com', NULL, NULL, NULL, false), ('five', 'dup@X.com', '', NULL, NULL, false), ('six', 'dup@x.com ', 'x', NULL, NULL, false), ('gone', 'gone@x.com', 'x', NULL, 9, true)`)
		b := h.bind("folk", "who email last born no", withDeleted("gone"))
		text := func(s string) []record.Value { return []record.Value{record.T(s)} }
		for _, c := range []struct {
			alt  []int
			id   []record.Value
			want string
		}{
			{[]int{1}, text("one@x.COM"), "one"},
			{[]int{1}, text("  two@x.com"), "two"},
			{[]int{1}, text("nobody@x.com"), ""},
			{[]int{1}, text(""), ""},
			{[]int{1}, text("  "), ""},
			{[]int{1}, []record.Value{record.NullValue}, ""},
			{[]int{1}, []record.Value{{}}, ""},
			{[]int{1}, text("gone@x.com"), ""},
			{[]int{2}, text("ÉTOILE"), "three"},
			{[]int{2}, text("e\u0301toile"), "three"},
			{[]int{4}, []record.Value{record.N("3")}, "three"},
			{[]int{2, 3}, []record.Value{record.T("müller"), record.T("2000-01-02")}, "one two"},
			{[]int{2, 3}, []record.Value{record.T("müller"), record.T("2001-01-02")}, ""},
			{[]int{2, 4}, []record.Value{record.T("MÜLLER"), record.N("2")}, "two"},
		} {
			if got := names(h.match(b, c.alt, c.id)[0]); got != c.want {
				t.Errorf("match %v by %v: %q, want %q", c.alt, c.id, got, c.want)
			}
		}
		got := h.match(b, []int{1}, text("one@x.com"), text("nobody"), text("dup@x.com"), text("ONE@x.com"))
		if names(got[0]) != "one" || len(got[1]) != 0 || len(got[2]) != MaxMatches || names(got[3]) != "one" {
			t.Errorf("several at once: %v", got)
		}
	})
}

func TestLoadAndEmpty(t *testing.T) {
	both(t, func(t *testing.T, h *harness) {
		h.people()
		b := h.bind("people", "email name age")
		empty := func() (e bool) {
			if err := h.db.Read(context.Background(), func(ctx context.Context, tx *store.Tx) (err error) {
				e, err = b.Empty(ctx, tx)
				return err
			}); err != nil {
				t.Fatal(err)
			}
			return e
		}
		if !empty() {
			t.Error("not empty")
		}
		h.exec("INSERT INTO people (id, email, name, age) VALUES (1, 'a@x', 'A', NULL), (2, 'b@x', 'B', 5)")
		if empty() {
			t.Error("empty")
		}
		rows := h.load(b, "2", "77", "nonsense", "", "99999999999999999999", "1", "1\x00")
		if len(rows) != 2 || rows[0].Key != "2" || rows[0].Values[2].Text != "5" || rows[1].Values[2] != record.NullValue {
			t.Errorf("rows %v", rows)
		}
		if rows := h.load(b); len(rows) != 0 {
			t.Errorf("rows %v of no key", rows)
		}
	})
}

// TestStorageClassesSQLite: what SQLite's columns hold need not be what they
// declare; it is compared with its storage class.
func TestStorageClassesSQLite(t *testing.T) {
	t.Parallel()
	h := open(t, store.SQLite)
	h.exec("CREATE TABLE loose (id INTEGER PRIMARY KEY, v, n NUMERIC, w TEXT)")
	b := h.bind("loose", "v n w")
	w := h.writer(b)
	for _, c := range []struct{ stored, other string }{
		{"1", "'1'"}, {"'1'", "1"}, {"1.0", "1"}, {"1", "1.0"}, {"NULL", "''"}, {"''", "NULL"}, {"x'00ff'", "x'00'"}, {"'a'", "'A'"}, {"0.1", "0.1000000001"}, {"9007199254740993", "9007199254740992"},
	} {
		h.exec("DELETE FROM loose", "DELETE FROM tandem_link", "INSERT INTO loose (id, v, n, w) VALUES (1, "+c.stored+", 5, 'w')", "INSERT INTO tandem_link (connector_id, remote_id, local_key, id, hash, base, read_at) VALUES (7, 'a', '1', 1, 1, '[]', 1)")
		row := h.load(b, "1")[0]
		h.exec("UPDATE loose SET v = " + c.other)
		change := update(0, "a", row, record.Value{}, record.N("6"), record.Value{})
		wantOutcomes(t, h.apply(w, []Change{change}, nil), "missed")
		h.exec("UPDATE loose SET v = " + c.stored)
		wantOutcomes(t, h.apply(w, []Change{change}, nil), "done")
		h.want("SELECT quote(v) = quote("+c.stored+"), n FROM loose", "1|6")
	}
}

func TestRowidsAreNotUsedAgainSQLite(t *testing.T) {
	t.Parallel()
	h := open(t, store.SQLite)
	h.exec("CREATE TABLE auto (id INTEGER PRIMARY KEY AUTOINCREMENT, v text)", "INSERT INTO auto (id, v) VALUES (41, 'gone')", "DELETE FROM auto")
	res := h.apply(h.writer(h.bind("auto", "v")), []Change{insert(0, "a", txt("x")...)}, nil)
	if res[0].Key != "42" {
		t.Errorf("key %s, want 42", res[0].Key)
	}
}

// A row that was removed may not have been told of everywhere yet: its key is
// not for the next row.
func TestKeysUnderWayAreNotUsedAgainSQLite(t *testing.T) {
	t.Parallel()
	h := open(t, store.SQLite)
	h.exec("CREATE TABLE plain (id INTEGER PRIMARY KEY, v text)", "INSERT INTO plain (id, v) VALUES (6, 'here')",
		"INSERT INTO tandem_change_log (entity, local_key, op) VALUES ('plain', '7', 'd')",
		"INSERT INTO tandem_dirty (connector_id, local_key, shard, version, first_at, at, next_at, attempts, reason) VALUES (1, '9', 0, 1, 0, 0, 0, 0, '')")
	res := h.apply(h.writer(h.bind("plain", "v")), []Change{insert(0, "a", txt("x")...), insert(1, "b", txt("y")...), insert(2, "c", txt("z")...)}, nil)
	if got := res[0].Key + " " + res[1].Key + " " + res[2].Key; got != "8 10 11" {
		t.Errorf("keys %s, want 8 10 11", got)
	}
}

func TestTypesSQLite(t *testing.T) {
	t.Parallel()
	h := open(t, store.SQLite)
	h.exec("CREATE TABLE typed (id INTEGER PRIMARY KEY, i INTEGER, n DECIMAL(10,2), b BOOLEAN, d DATE, ts DATETIME, t TEXT, j JSON, tb TEXT)")
	b := h.bind("typed", "i n b d ts t j")
	w := h.writer(b)
	in := []record.Value{record.N("9007199254740993"), record.N("1.25"), record.B(true), record.T("2026-02-03"), record.T("2026-02-03T04:05:06.5Z"), record.T("007"), record.J(`{"a":[1]}`)}
	big := append([]record.Value(nil), in...)
	big[1] = record.N("12345678901234567890.5")
	res := h.apply(w, []Change{insert(0, "a", in...), insert(1, "b", big...)}, nil)
	wantOutcomes(t, res, "done done")
	if res[0].Stored != nil || res[1].Stored == nil {
		t.Errorf("stored %v, %v", res[0].Stored, res[1].Stored)
	}
	h.want("SELECT typeof(i), typeof(n), +b, d || '', ts || '', t, typeof(t), j FROM typed WHERE id = 1", `integer|real|1|2026-02-03|2026-02-03 04:05:06.5|007|text|{"a":[1]}`)
	canon := make([]record.Value, len(in))
	if err := b.m.CanonLocal(h.load(b, res[0].Key)[0].Values, canon); err != nil {
		t.Fatal(err)
	}
	for i := range in {
		if canon[i] != in[i] {
			t.Errorf("column %d: %v, want %v", i, canon[i], in[i])
		}
	}
}

// TestTriggerMadeKeySQLite: a key that is NULL until a trigger sets it.
func TestTriggerMadeKeySQLite(t *testing.T) {
	t.Parallel()
	h := open(t, store.SQLite)
	h.exec("CREATE TABLE made (code TEXT PRIMARY KEY, v text UNIQUE)",
		"CREATE TRIGGER make AFTER INSERT ON made BEGIN UPDATE made SET code = 'c' || NEW.rowid WHERE rowid = NEW.rowid; END")
	w := h.writer(h.bind("made", "v"))
	res := h.apply(w, []Change{insert(0, "a", txt("x")...), insert(1, "b", txt("x")...), insert(2, "c", txt("z")...)}, nil)
	wantOutcomes(t, res, "done collided done")
	h.want("SELECT remote_id, local_key FROM tandem_link ORDER BY 1", "a|c1", "c|c2")
}

// TestDeferredForeignKeySQLite: SQLite reports it at COMMIT only; it must cost
// its record and not the batch.
func TestDeferredForeignKeySQLite(t *testing.T) {
	t.Parallel()
	h := open(t, store.SQLite)
	h.exec("CREATE TABLE boss (a integer, b text, PRIMARY KEY (a, b))", "INSERT INTO boss VALUES (1, 'x')",
		"CREATE TABLE late (id INTEGER PRIMARY KEY, parent integer REFERENCES late DEFERRABLE INITIALLY DEFERRED, a integer, b text, FOREIGN KEY (a, b) REFERENCES boss (a, b) DEFERRABLE INITIALLY DEFERRED)")
	b := h.bind("late", "id parent a b")
	w := h.writer(b)
	row := func(n int, parent, a, b record.Value) Change {
		return insert(n, strconv.Itoa(n), record.N(strconv.Itoa(n)), parent, a, b)
	}
	null := record.NullValue
	res := h.apply(w, []Change{row(1, record.N("4"), null, null), row(2, record.N("99"), null, null), row(3, null, record.N("1"), record.T("y")), row(4, null, record.N("1"), record.T("x"))}, nil)
	wantOutcomes(t, res, "done refused refused done")
	wantErr(t, res[1].Err, "FOREIGN KEY")
	rows := h.load(b, "1", "4")
	res = h.apply(w, []Change{update(0, "1", rows[0], record.Value{}, record.N("77"), null, null), update(1, "4", rows[1], record.Value{}, record.N("1"), null, null)}, nil)
	wantOutcomes(t, res, "refused done")
	h.want("SELECT id, parent FROM late ORDER BY id", "1|4", "4|1")
}
