package entities

import (
	"context"
	"strings"
	"testing"

	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/store"
	"github.com/tandem-sync/tandem/sync/mapping"
)

func TestIntrospectColumnsPostgres(t *testing.T) {
	t.Parallel()
	h := open(t, store.Postgres)
	h.exec("CREATE SCHEMA sales", "CREATE TYPE mood AS ENUM ('ok', 'bad')", "CREATE DOMAIN short AS varchar(5)", "CREATE DOMAIN shorter AS short NOT NULL DEFAULT 'd' CHECK (VALUE <> '')",
		`CREATE TABLE sales."Mixed Case" ("Id" bigserial PRIMARY KEY, "Ünder" text NOT NULL, v varchar(7), c char(3), i2 smallint, n numeric(6,2), n0 numeric, f real, b boolean,
			d date, tm time, ts timestamp(3), tz timestamptz, e mood, j json, jb jsonb, ta text[], ia int[], u uuid, dom shorter, gen int GENERATED ALWAYS AS (i2 * 2) STORED, by bytea,
			UNIQUE (v, c) DEFERRABLE INITIALLY DEFERRED)`,
		`CREATE UNIQUE INDEX part ON sales."Mixed Case" (u) WHERE b`, `CREATE UNIQUE INDEX expr ON sales."Mixed Case" (lower(v))`)
	table, err := h.introspect(Spec{Table: "Sales.mixed case", Key: []string{"id"}})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]mapping.Column{
		"Id": {Type: mapping.TypeInteger, NotNull: true, HasDefault: true, Key: true, Native: "bigint"}, "Ünder": {Type: mapping.TypeText, NotNull: true, Native: "text"},
		"v": {Type: mapping.TypeText, MaxLen: 7, Native: "character varying(7)"}, "c": {Type: mapping.TypeText, MaxLen: 3, Native: "character(3)"},
		"i2": {Type: mapping.TypeInteger, Native: "smallint"}, "n": {Type: mapping.TypeDecimal, Native: "numeric(6,2)"}, "n0": {Type: mapping.TypeDecimal, Native: "numeric"},
		"f": {Type: mapping.TypeDecimal, Native: "real"}, "b": {Type: mapping.TypeBoolean, Native: "boolean"}, "d": {Type: mapping.TypeDate, Native: "date"},
		"tm": {Type: mapping.TypeTime, Native: "time without time zone"}, "ts": {Type: mapping.TypeDatetime, Native: "timestamp(3) without time zone"},
		"tz": {Type: mapping.TypeDatetime, Native: "timestamp with time zone"}, "e": {Type: mapping.TypeEnum, Native: "mood"},
		"j": {Type: mapping.TypeJSON, Native: "json"}, "jb": {Type: mapping.TypeJSON, Native: "jsonb"}, "ta": {Type: mapping.TypeList, Native: "array of text"},
		"ia": {Type: mapping.TypeList, Native: "array of integer"}, "u": {Type: mapping.TypeText, Native: "uuid"},
		"dom": {Type: mapping.TypeText, NotNull: true, HasDefault: true, MaxLen: 5, Native: "shorter"},
		"gen": {Type: mapping.TypeInteger, Generated: true, Native: "integer"}, "by": {Type: mapping.TypeText, Native: "bytea"},
	}
	if len(table.Columns) != len(want) {
		t.Errorf("%d columns, want %d", len(table.Columns), len(want))
	}
	for name, w := range want {
		w.Name = name
		if got, ok := table.Column(name); !ok || got != w {
			t.Errorf("column %s\n got  %+v\n want %+v", name, got, w)
		}
	}
	if table.Schema != "sales" || table.Name != "Mixed Case" || table.Key[0] != "Id" {
		t.Errorf("table %q.%q key %q", table.Schema, table.Name, table.Key)
	}
	var got []string
	for _, u := range table.Unique {
		got = append(got, strings.Join(u.Columns, "+")+map[bool]string{true: " deferrable"}[u.Deferrable]+map[bool]string{true: " partial"}[u.Partial])
	}
	if strings.Join(got, ", ") != "Id, v+c deferrable, , u partial" {
		t.Errorf("unique: %q", got)
	}
}

func TestIntrospectColumnsSQLite(t *testing.T) {
	t.Parallel()
	h := open(t, store.SQLite)
	h.exec(`CREATE TABLE "Mixed Case" ("Id" INTEGER PRIMARY KEY, email VARCHAR(20) NOT NULL UNIQUE, ok BOOLEAN DEFAULT 0, d DATE, ts DATETIME, n DECIMAL(5,2), r REAL, j JSON, x, gen INT AS (r * 2) STORED, virt TEXT AS (email))`,
		`CREATE UNIQUE INDEX expr ON "Mixed Case" (lower(email))`, `CREATE UNIQUE INDEX part ON "Mixed Case" (n, d) WHERE ok`)
	table, err := h.introspect(Spec{Table: "mixed case"})
	if err != nil {
		t.Fatal(err)
	}
	want := []mapping.Column{
		{Name: "Id", Type: mapping.TypeInteger, NotNull: true, HasDefault: true, Key: true, Native: "INTEGER"},
		{Name: "email", Type: mapping.TypeText, NotNull: true, Native: "VARCHAR(20)"},
		{Name: "ok", Type: mapping.TypeBoolean, HasDefault: true, Native: "BOOLEAN"},
		{Name: "d", Type: mapping.TypeDate, Native: "DATE"},
		{Name: "ts", Type: mapping.TypeDatetime, Native: "DATETIME"},
		{Name: "n", Type: mapping.TypeDecimal, Native: "DECIMAL(5,2)"},
		{Name: "r", Type: mapping.TypeDecimal, Native: "REAL"},
		{Name: "j", Type: mapping.TypeJSON, Native: "JSON"},
		{Name: "x", Type: mapping.TypeText},
		{Name: "gen", Type: mapping.TypeInteger, Generated: true, Native: "INT"},
		{Name: "virt", Type: mapping.TypeText, Generated: true, Native: "TEXT"},
	}
	for i, w := range want {
		if table.Columns[i] != w {
			t.Errorf("column %s\n got  %+v\n want %+v", w.Name, table.Columns[i], w)
		}
	}
}

func TestIntrospectErrors(t *testing.T) {
	both(t, func(t *testing.T, h *harness) {
		h.people()
		h.exec("CREATE VIEW peep AS SELECT * FROM people", "CREATE TABLE keyless (a text, b text)", "CREATE TABLE twins (a integer PRIMARY KEY, note text)")
		for _, c := range []struct {
			spec        Spec
			message     string
			hint        string
			emptyTables bool
		}{
			{spec: Spec{Table: "peoples"}, message: `table "peoples" does not exist`, hint: `"people"`},
			{spec: Spec{Table: "people", Key: []string{"ident"}}, message: `key column "ident" does not exist`},
			{spec: Spec{Table: "people", Key: []string{"emial"}}, message: `"emial"`, hint: `did you mean "email"?`},
			{spec: Spec{Table: "people", Key: []string{"name"}}, message: "no unique index", hint: "CREATE UNIQUE INDEX"},
			{spec: Spec{Table: "people", Key: []string{"id", "id"}}, message: "named twice"},
			{spec: Spec{Table: "people", Modified: "updatd"}, message: `modified column "updatd"`},
			{spec: Spec{Table: "people", Deleted: "nte"}, message: `deleted column "nte"`, hint: "note"},
			{spec: Spec{Table: "keyless"}, message: "no primary key"},
			{spec: Spec{Table: `"People"`}, message: "does not exist"},
			{spec: Spec{Table: "a.b.c"}, message: "more than two parts"},
			{spec: Spec{Table: "people."}, message: "not a table name"},
			{spec: Spec{Table: "nowhere.people"}, message: "does not exist"},
		} {
			c.spec.Name = "contacts"
			_, err := h.introspect(c.spec)
			wantErr(t, err, c.message, "entity contacts")
			if err != nil && (fault.CodeOf(err) != fault.CodeConfig || !strings.Contains(fault.HintOf(err), c.hint)) {
				t.Errorf("%v: code %q, hint %q, want %q", c.spec, fault.CodeOf(err), fault.HintOf(err), c.hint)
			}
		}
		h.testBindErrors(t)
	})
}

func (h *harness) testBindErrors(t *testing.T) {
	h.exec("CREATE TABLE computed (id integer PRIMARY KEY, a integer, b integer GENERATED ALWAYS AS (a * 2) STORED, c text NOT NULL)")
	manual := func(cols ...string) *mapping.Manual {
		var spec mapping.Spec
		for _, c := range cols {
			spec.Fields = append(spec.Fields, mapping.Field{Local: c, Remote: c, Direction: mapping.ToLocal})
		}
		m, problems := mapping.Compile(spec, nil)
		if len(problems) > 0 {
			t.Fatal(problems)
		}
		return m
	}
	view, err := h.introspect(Spec{Name: "v", Table: "peep", Key: []string{"id"}})
	if err != nil {
		t.Fatal(err)
	}
	_, err = view.Bind(manual("email"), "", nil)
	wantErr(t, err, "view")
	table, err := h.introspect(Spec{Name: "c", Table: "computed"})
	if err != nil {
		t.Fatal(err)
	}
	for want, bind := range map[string]func() (*Binding, error){
		`"b" of table`:     func() (*Binding, error) { return table.Bind(manual("b"), "", nil) },
		`"aa" does not`:    func() (*Binding, error) { return table.Bind(manual("aa"), "", nil) },
		"written twice":    func() (*Binding, error) { return table.Bind(manual("a"), "", []string{"A"}) },
		"mark deletions":   func() (*Binding, error) { return table.Bind(manual("a"), "b", nil) },
		`deleted column "`: func() (*Binding, error) { return table.Bind(manual("a"), "zz", nil) },
	} {
		_, err := bind()
		wantErr(t, err, want)
	}
	if h.pg {
		h.exec("CREATE TABLE twice (id integer PRIMARY KEY, no integer GENERATED ALWAYS AS IDENTITY)")
		twice, err := h.introspect(Spec{Name: "t", Table: "twice"})
		if err != nil {
			t.Fatal(err)
		}
		_, err = twice.Bind(manual("id", "no"), "", nil)
		wantErr(t, err, "GENERATED ALWAYS")
	}
	b, err := table.Bind(manual("a"), "", nil)
	if err != nil {
		t.Fatal(err)
	}
	if h.pg {
		wantErr(t, b.Creates(), `key column "id"`)
		res := h.apply(h.writer(b), []Change{insert(0, "x", txt("1")...)}, nil)
		wantOutcomes(t, res, "refused")
		wantErr(t, res[0].Err, `key column "id"`)
		return
	}
	wantErr(t, b.Creates(), "refuses NULL in c")
}

func TestEnsure(t *testing.T) {
	both(t, func(t *testing.T, h *harness) {
		spec := Spec{Name: "contacts", Table: "Contacts", Key: []string{"id"}, Create: []ColumnDecl{{"id", "integer"}, {"email", "text UNIQUE"}, {"Name", "text DEFAULT 'x'"}}}
		for _, want := range []bool{true, false} {
			h.write(func(ctx context.Context, tx *store.Tx) error {
				created, sql, err := Ensure(ctx, tx, spec)
				if created != want || want && !strings.HasPrefix(sql, `CREATE TABLE "Contacts" (`) {
					t.Errorf("created %v by %q, want %v", created, sql, want)
				}
				return err
			})
		}
		table, err := h.introspect(spec)
		if err != nil {
			t.Fatal(err)
		}
		if table.Name != "Contacts" || len(table.Columns) != 3 {
			t.Errorf("table %+v", table)
		}
		for want, bad := range map[string]Spec{
			"no key":       {Table: "other", Create: []ColumnDecl{{"a", "text"}}},
			"is no type":   {Table: "other", Key: []string{"a"}, Create: []ColumnDecl{{"a", "text); DROP TABLE people; --"}}},
			"no type":      {Table: "other", Key: []string{"a"}, Create: []ColumnDecl{{"a", " "}}},
			"create table": {Table: "other", Key: []string{"a"}, Create: []ColumnDecl{{"a", "text) text"}}},
		} {
			err := h.db.Write(context.Background(), "t", func(ctx context.Context, tx *store.Tx) error {
				_, _, err := Ensure(ctx, tx, bad)
				return err
			})
			wantErr(t, err, want)
		}
	})
}

func TestKeyText(t *testing.T) {
	t.Parallel()
	for _, parts := range [][]string{{"a"}, {"a", "b"}, {"", "\"\\[,"}, {"é<>&\u2028", "x"}, {`["a","b"]`}} {
		got, err := DecodeKey(EncodeKey(parts), len(parts))
		if err != nil || strings.Join(got, "\x00") != strings.Join(parts, "\x00") {
			t.Errorf("%q -> %q -> %q, %v", parts, EncodeKey(parts), got, err)
		}
	}
	if k := EncodeKey([]string{"1", "a b"}); k != `["1","a b"]` {
		t.Errorf("key %s", k)
	}
	for _, bad := range []string{"", "x", `["a"]`, `["a",1]`, `["a","b"`, `{"a":"b"}`} {
		if _, err := DecodeKey(bad, 2); fault.CodeOf(err) != fault.CodeBadRecord {
			t.Errorf("%q: %v", bad, err)
		}
	}
}
