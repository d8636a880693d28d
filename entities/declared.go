package entities

import (
	"context"
	"strings"

	"github.com/tandem-sync/tandem/store"
	"github.com/tandem-sync/tandem/sync/mapping"
)

// Missing says whether the entity's table is missing and, if its columns are
// declared, with which statement Ensure would make it. It changes nothing. A
// missing table without columns to create gives an empty statement.
func Missing(ctx context.Context, tx *store.Tx, spec Spec) (missing bool, sql string, err error) {
	n, err := parseName(spec.Table)
	if err != nil {
		return false, "", wrap(spec, err)
	}
	_, found, err := lookup(ctx, tx, n)
	if err != nil || found || len(spec.Create) == 0 {
		return !found && err == nil, "", wrap(spec, err)
	}
	sql, err = createSQL(tx.Dialect(), n, spec)
	return true, sql, wrap(spec, err)
}

// Declared gives the table that Ensure would make, as far as the declared types
// tell: enough to compile a mapping against it and to word its indexes.
func Declared(d store.Dialect, spec Spec) (*Table, error) {
	n, err := parseName(spec.Table)
	if err != nil {
		return nil, wrap(spec, err)
	}
	if d == store.SQLite {
		n.schema = ""
	}
	t := &Table{Spec: spec, Schema: n.schema, Name: n.table, dialect: d, declared: true}
	primary := false
	for _, decl := range spec.Create {
		c := declaredColumn(d, decl)
		t.cols = append(t.cols, c)
		t.Columns = append(t.Columns, c.Column)
		upper := strings.ToUpper(decl.Type)
		if isPrimary := strings.Contains(upper, "PRIMARY KEY"); isPrimary || strings.Contains(upper, "UNIQUE") {
			primary = primary || isPrimary
			t.Unique = append(t.Unique, Unique{Name: decl.Name, Columns: []string{decl.Name}, primary: isPrimary})
		}
	}
	if !primary {
		t.Unique = append(t.Unique, Unique{Name: "primary key", Columns: spec.Key, primary: true})
	}
	if err := t.resolveKey(); err != nil {
		return nil, wrap(spec, err)
	}
	return t, wrap(spec, t.checkSpec())
}

func declaredColumn(d store.Dialect, decl ColumnDecl) column {
	upper := strings.ToUpper(decl.Type)
	c := column{precision: -1, scale: -1}
	c.Column = mapping.Column{
		Name: decl.Name, Native: decl.Type, NotNull: strings.Contains(upper, "NOT NULL") || strings.Contains(upper, "PRIMARY KEY"),
		HasDefault: strings.Contains(upper, "DEFAULT") || strings.Contains(upper, "GENERATED") || strings.Contains(upper, "SERIAL"),
	}
	if c.HasDefault {
		c.def = "NULL" // there is one; which does not matter here
	}
	if d == store.SQLite {
		word, _, _ := strings.Cut(decl.Type, " ")
		c.base, c.Type = affinity(word), typeSQLite(word)
		if strings.HasPrefix(upper, "INTEGER PRIMARY KEY") {
			c.base, c.HasDefault = rowidBase, true
		}
		return c
	}
	c.base, c.array = declaredBase(strings.ToLower(decl.Type))
	c.Type = typeOf(c.base, false, c.array)
	return c
}

// declaredNames are the first words of PostgreSQL's types and how its catalog
// calls them.
var declaredNames = []struct{ word, base string }{
	{"character varying", "varchar"},
	{"varchar", "varchar"},
	{"character", "bpchar"},
	{"char", "bpchar"},
	{"text", "text"},
	{"smallint", "int2"},
	{"int2", "int2"},
	{"bigint", "int8"},
	{"int8", "int8"},
	{"integer", "int4"},
	{"int4", "int4"},
	{"int", "int4"},
	{"bigserial", "int8"},
	{"serial", "int4"},
	{"decimal", "numeric"},
	{"numeric", "numeric"},
	{"real", "float4"},
	{"double precision", "float8"},
	{"boolean", "bool"},
	{"bool", "bool"},
	{"date", "date"},
	{"timestamp with time zone", "timestamptz"},
	{"timestamptz", "timestamptz"},
	{"timestamp", "timestamp"},
	{"timetz", "timetz"},
	{"time", "time"},
	{"jsonb", "jsonb"},
	{"json", "json"},
	{"uuid", "uuid"},
	{"citext", "citext"},
}

func declaredBase(typ string) (base string, array bool) {
	array = strings.Contains(typ, "[")
	for _, n := range declaredNames {
		if rest, ok := strings.CutPrefix(typ, n.word); ok && (rest == "" || strings.ContainsAny(rest[:1], " ([")) {
			return n.base, array
		}
	}
	word, _, _ := strings.Cut(typ, " ")
	return word, array
}
