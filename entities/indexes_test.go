package entities

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/tandem-sync/tandem/store"
	"github.com/tandem-sync/tandem/sync/mapping"
	"github.com/tandem-sync/tandem/sync/record"
)

// bindMatch maps columns one to one and matches by alternatives.
func (h *harness) bindMatch(t *Table, columns string, match ...[]string) *Binding {
	h.Helper()
	spec := mapping.Spec{Match: match}
	for _, c := range strings.Fields(columns) {
		name, typ, _ := strings.Cut(c, ":")
		spec.Fields = append(spec.Fields, mapping.Field{Local: name, Remote: name, Direction: mapping.ToLocal, Type: mapping.Type(typ)})
	}
	m, problems := mapping.Compile(spec, t.Column)
	if len(problems) > 0 {
		h.Fatalf("mapping: %v", problems)
	}
	b, err := t.Bind(m, "", nil)
	if err != nil {
		h.Fatal(err)
	}
	return b
}

func (h *harness) missing(b *Binding) (list []Index) {
	h.Helper()
	if err := h.db.Read(context.Background(), func(ctx context.Context, tx *store.Tx) (err error) {
		list, err = b.MissingIndexes(ctx, tx)
		return err
	}); err != nil {
		h.Fatal(err)
	}
	return list
}

// plan gives how the database would find the rows of an alternative.
func (h *harness) plan(b *Binding, alt []int, id ...record.Value) string {
	h.Helper()
	lists := make([][]string, len(alt))
	for a := range alt {
		lists[a] = b.spellings(nil, alt[a], id[a])
	}
	q, args := b.matchSQL(alt, lists)
	var out []string
	if err := h.db.Read(context.Background(), func(ctx context.Context, tx *store.Tx) error {
		if h.pg {
			if _, err := tx.ExecContext(ctx, "SET LOCAL enable_seqscan = off"); err != nil {
				return err
			}
			return tx.SelectContext(ctx, &out, "EXPLAIN "+q, args...)
		}
		var rows []struct {
			ID, Parent, NotUsed int64
			Detail              string
		}
		err := tx.SelectContext(ctx, &rows, "EXPLAIN QUERY PLAN "+q, args...)
		for _, r := range rows {
			out = append(out, r.Detail)
		}
		return err
	}); err != nil {
		h.Fatal(err)
	}
	return strings.Join(out, "\n")
}

// TestMissingIndexes asks for the indexes of every alternative, makes them as
// they are worded, and looks whether Match uses them.
func TestMissingIndexes(t *testing.T) {
	both(t, func(t *testing.T, h *harness) {
		h.exec(h.pick(`CREATE TABLE folk (id INTEGER PRIMARY KEY, email text, "Last name" varchar(40), born date, no integer)`,
			`CREATE TABLE folk (id serial PRIMARY KEY, email text, "Last name" varchar(40), born date, no integer)`))
		tab, err := h.introspect(Spec{Name: "folk", Table: "folk"})
		if err != nil {
			t.Fatal(err)
		}
		var fields []mapping.Field
		for _, c := range []string{"email", "Last name", "born", "no"} {
			fields = append(fields, mapping.Field{Local: c, Remote: "r." + strings.Fields(c)[0], Direction: mapping.ToLocal})
		}
		m, problems := mapping.Compile(mapping.Spec{Fields: fields, Match: [][]string{{"email"}, {"Last name", "born"}, {"no"}, {"email"}}}, tab.Column)
		if len(problems) > 0 {
			t.Fatal(problems)
		}
		b, err := tab.Bind(m, "", nil)
		if err != nil {
			t.Fatal(err)
		}
		got := h.missing(b)
		var want []string
		if h.pg {
			want = []string{
				`CREATE INDEX CONCURRENTLY "folk_email_match" ON "public"."folk" (lower(btrim("email")))`,
				`CREATE INDEX CONCURRENTLY "folk_Last name_born_match" ON "public"."folk" (lower(btrim("Last name")), "born")`,
				`CREATE INDEX CONCURRENTLY "folk_no_match" ON "public"."folk" ("no")`,
			}
		} else {
			want = []string{
				`CREATE INDEX "folk_email_match" ON "folk" (lower(trim("email")))`,
				`CREATE INDEX "folk_Last name_born_match" ON "folk" (lower(trim("Last name")), "born")`,
				`CREATE INDEX "folk_no_match" ON "folk" ("no")`,
			}
		}
		var sql []string
		for _, x := range got {
			sql = append(sql, x.SQL)
			if !strings.Contains(x.Why, "reads the whole table") {
				t.Errorf("why: %q", x.Why)
			}
		}
		if !slices.Equal(sql, want) {
			t.Fatalf("%q\nwant %q", sql, want)
		}
		for _, q := range sql {
			h.exec(strings.Replace(q, "CONCURRENTLY ", "", 1)) // the harness works in transactions
		}
		if left := h.missing(b); len(left) > 0 {
			t.Errorf("still missing: %v", left)
		}
		for i, c := range []struct {
			alt []int
			id  []record.Value
		}{{[]int{0}, txt("a@x")}, {[]int{1, 2}, txt("a", "2000-01-02")}, {[]int{3}, []record.Value{record.N("3")}}} {
			name := []string{"folk_email_match", "folk_Last name_born_match", "folk_no_match"}[i]
			if plan := h.plan(b, c.alt, c.id...); !strings.Contains(plan, name) {
				t.Errorf("%v does not use %s:\n%s", c.alt, name, plan)
			}
		}
	})
}

// TestIndexesThatServe tells indexes that serve from those that look like it.
func TestIndexesThatServe(t *testing.T) {
	both(t, func(t *testing.T, h *harness) {
		h.exec("CREATE TABLE a (id integer PRIMARY KEY, email text, last text, born date, no integer UNIQUE)")
		lower := h.pick("lower(trim(%s))", "lower(btrim(%s))")
		e, l := fmt.Sprintf(lower, "email"), fmt.Sprintf(lower, "last")
		tab, err := h.introspect(Spec{Name: "a", Table: "a"})
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range []struct {
			columns string
			served  bool
			match   []string
		}{
			{"email", false, []string{"email"}},
			{"lower(email)", false, []string{"email"}},
			{e + ") WHERE (email <> ''", false, []string{"email"}},
			{"born, " + e, false, []string{"email"}},
			{e, true, []string{"email"}},
			{e + " DESC, born", true, []string{"email"}},
			{e, false, []string{"email", "born"}},
			{"born, " + e + ", id", true, []string{"email", "born"}},
			{"born", false, []string{"email", "born"}},
			{l + ", " + e, true, []string{"email", "last"}},
			{"born", true, []string{"no", "last"}}, // no is unique already
			{"born", true, []string{"id"}},
			{h.pick("LOWER( TRIM ( `Email` ) )", "LOWER( btrim((Email)::text) )"), true, []string{"email"}},
		} {
			h.exec("CREATE INDEX ix ON a (" + c.columns + ")")
			b := h.bindMatch(tab, "id email last born no", c.match)
			if got := len(h.missing(b)) == 0; got != c.served {
				t.Errorf("an index on (%s) for %v: serves %t, want %t", c.columns, c.match, got, c.served)
			}
			h.exec("DROP INDEX ix")
		}
		if h.pg {
			h.exec("CREATE TABLE k (id integer PRIMARY KEY, mood text)", "CREATE TYPE mood AS ENUM ('a')", "ALTER TABLE k ALTER mood TYPE mood USING mood::mood")
			tab, err := h.introspect(Spec{Name: "k", Table: "k"})
			if err != nil {
				t.Fatal(err)
			}
			got := h.missing(h.bindMatch(tab, "id mood", []string{"mood"}))
			if len(got) != 1 || got[0].SQL != "" || !strings.Contains(got[0].Why, "no index can serve: column mood mood") {
				t.Errorf("an enum: %+v", got)
			}
			h.exec("CREATE TABLE p (id integer, email text, PRIMARY KEY (id)) PARTITION BY HASH (id)")
			if tab, err = h.introspect(Spec{Name: "p", Table: "p"}); err != nil {
				t.Fatal(err)
			}
			if got = h.missing(h.bindMatch(tab, "id email", []string{"email"})); len(got) != 1 || strings.Contains(got[0].SQL, "CONCURRENTLY") {
				t.Errorf("a partitioned table: %+v", got)
			}
		}
	})
}

func TestMissingModified(t *testing.T) {
	both(t, func(t *testing.T, h *harness) {
		h.exec("CREATE TABLE a (id integer PRIMARY KEY, changed_at timestamp)")
		look := func(spec Spec) (x *Index) {
			tab, err := h.introspect(spec)
			if err == nil {
				err = h.db.Read(context.Background(), func(ctx context.Context, tx *store.Tx) (err error) {
					x, err = tab.MissingModified(ctx, tx)
					return err
				})
			}
			if err != nil {
				t.Fatal(err)
			}
			return x
		}
		spec := Spec{Name: "a", Table: "a", Modified: "changed_at"}
		x := look(spec)
		if x == nil || !strings.HasSuffix(x.SQL, `("changed_at")`) || !strings.Contains(x.SQL, `"a_changed_at_modified"`) {
			t.Fatalf("%+v", x)
		}
		h.exec(strings.Replace(x.SQL, "CONCURRENTLY ", "", 1))
		if x = look(spec); x != nil {
			t.Errorf("still: %+v", x)
		}
		if x = look(Spec{Name: "a", Table: "a"}); x != nil {
			t.Errorf("no modified column: %+v", x)
		}
	})
}

// TestDeclared compares a declared table with the one that is made of it.
func TestDeclared(t *testing.T) {
	both(t, func(t *testing.T, h *harness) {
		spec := Spec{Name: "d", Table: "d", Key: []string{"id"}, Modified: "changed", Create: []ColumnDecl{
			{"id", h.pick("integer primary key", "bigint generated by default as identity primary key")},
			{"email", "varchar(80) not null"},
			{"no", "integer unique"},
			{"score", "decimal(12,2)"},
			{"born", "date"},
			{"changed", "timestamp"},
			{"on", "boolean default true"},
		}}
		var missing bool
		var sql string
		look := func() {
			t.Helper()
			if err := h.db.Read(context.Background(), func(ctx context.Context, tx *store.Tx) (err error) {
				missing, sql, err = Missing(ctx, tx, spec)
				return err
			}); err != nil {
				t.Fatal(err)
			}
		}
		if look(); !missing || !strings.HasPrefix(sql, `CREATE TABLE "d" (`) {
			t.Fatalf("%t %s", missing, sql)
		}
		declared, err := Declared(map[bool]store.Dialect{false: store.SQLite, true: store.Postgres}[h.pg], spec)
		if err != nil {
			t.Fatal(err)
		}
		before := h.missing(h.bindMatch(declared, "email no born", []string{"email"}, []string{"no"}, []string{"email", "born"}))
		h.exec(sql)
		if look(); missing || sql != "" {
			t.Fatalf("made, and: %t %s", missing, sql)
		}
		made, err := h.introspect(spec)
		if err != nil {
			t.Fatal(err)
		}
		for i, c := range made.Columns {
			d := declared.Columns[i]
			if c.Name != d.Name || c.Type != d.Type || c.NotNull != d.NotNull || c.Key != d.Key || c.HasDefault != d.HasDefault {
				t.Errorf("column %+v declared as %+v", c, d)
			}
		}
		after := h.missing(h.bindMatch(made, "email no born", []string{"email"}, []string{"no"}, []string{"email", "born"}))
		if len(before) != 2 || len(after) != 2 {
			t.Fatalf("before %+v, after %+v", before, after)
		}
		for i := range before {
			bare := strings.NewReplacer("CONCURRENTLY ", "", `"public".`, "").Replace(after[i].SQL)
			if bare != before[i].SQL {
				t.Errorf("declared %s, there %s", before[i].SQL, after[i].SQL)
			}
		}
		if err := h.db.Read(context.Background(), func(ctx context.Context, tx *store.Tx) (err error) {
			missing, sql, err = Missing(ctx, tx, Spec{Name: "x", Table: "nosuch"})
			return err
		}); err != nil || !missing || sql != "" {
			t.Errorf("a table nobody makes: %t %q %v", missing, sql, err)
		}
	})
}
