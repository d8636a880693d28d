package entities

import (
	"context"
	"strings"

	"github.com/tandem-sync/tandem/store"
	"github.com/tandem-sync/tandem/sync/mapping"
)

// Introspect reads what the database says about the entity's table: columns,
// how keys are made, unique indexes. A missing table, column or key is an error
// with code config whose hint is the nearest name. A view is described, but
// Bind refuses to write to it.
func Introspect(ctx context.Context, tx *store.Tx, spec Spec) (*Table, error) {
	t, err := introspect(ctx, tx, spec)
	if err != nil {
		return nil, wrap(spec, err)
	}
	return t, nil
}

func introspect(ctx context.Context, tx *store.Tx, spec Spec) (*Table, error) {
	n, err := parseName(spec.Table)
	if err != nil {
		return nil, err
	}
	rel, found, err := lookup(ctx, tx, n)
	if err != nil {
		return nil, err
	}
	if !found {
		return nil, tableMissing(ctx, tx, n)
	}
	t := &Table{
		Spec: spec, Schema: rel.Schema, Name: rel.Name, dialect: tx.Dialect(),
		kind: rel.kind, oid: rel.OID, rules: rel.Rules,
	}
	if t.dialect == store.Postgres {
		err = t.readPostgres(ctx, tx)
	} else {
		err = t.readSQLite(ctx, tx)
	}
	if err != nil {
		return nil, err
	}
	for i := range t.cols {
		t.Columns = append(t.Columns, t.cols[i].Column)
	}
	if err := t.resolveKey(); err != nil {
		return nil, err
	}
	return t, t.checkSpec()
}

// relation is a table as the catalog names it.
type relation struct {
	OID    uint32 `db:"oid"`
	Schema string `db:"nspname"`
	Name   string `db:"relname"`
	Kind   string `db:"relkind"`
	Rules  bool   `db:"relhasrules"`
	kind   tableKind
}

// lookup finds a relation: as written first, then, unless a part was quoted,
// without regard to case when only one fits.
func lookup(ctx context.Context, tx *store.Tx, n name) (relation, bool, error) {
	var all []relation
	var err error
	if tx.Dialect() == store.Postgres {
		all, err = relationsPostgres(ctx, tx, n)
	} else {
		all, err = relationsSQLite(ctx, tx, n)
	}
	if err != nil {
		return relation{}, false, err
	}
	for _, r := range all {
		if r.Name == n.table && (n.schema == "" || r.Schema == n.schema || tx.Dialect() == store.SQLite) {
			return r, true, nil
		}
	}
	if len(all) == 1 && !n.quoted {
		return all[0], true, nil
	}
	if len(all) > 1 && !n.quoted {
		return relation{}, false, configError("table %q fits several tables that differ in letter case", n).
			WithHint(`put the exact name in double quotes: table: '"Name"'`)
	}
	return relation{}, false, nil
}

// tableMissing words the error with the nearest of the visible tables.
func tableMissing(ctx context.Context, tx *store.Tx, n name) error {
	q := `SELECT name FROM sqlite_schema WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite\_%' ESCAPE '\' AND name NOT LIKE 'tandem\_%' ESCAPE '\' ORDER BY name LIMIT 500`
	if tx.Dialect() == store.Postgres {
		q = `SELECT CASE WHEN pg_table_is_visible(c.oid) THEN relname ELSE nspname || '.' || relname END
			FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
			WHERE relkind IN ('r', 'p', 'v', 'f') AND nspname NOT IN ('pg_catalog', 'information_schema') AND nspname NOT LIKE 'pg\_%'
			AND relname NOT LIKE 'tandem\_%' ORDER BY 1 LIMIT 500`
	}
	var names []string
	if err := tx.SelectContext(ctx, &names, q); err != nil {
		return err
	}
	return missing("table", n.String(), " in the database", names)
}

// typeOf maps a database's base type to a value type.
func typeOf(base string, enum, array bool) mapping.Type {
	if array {
		return mapping.TypeList
	}
	if enum {
		return mapping.TypeEnum
	}
	switch base {
	case "int2", "int4", "int8", "oid":
		return mapping.TypeInteger
	case "numeric", "float4", "float8":
		return mapping.TypeDecimal
	case "bool":
		return mapping.TypeBoolean
	case "date":
		return mapping.TypeDate
	case "time", "timetz":
		return mapping.TypeTime
	case "timestamp", "timestamptz":
		return mapping.TypeDatetime
	case "json", "jsonb":
		return mapping.TypeJSON
	}
	return mapping.TypeText
}

// textual are the base types that take staged text without a cast. An explicit
// cast to varchar(n) would cut the text; an assignment refuses it.
func textual(base string) bool { return base == "text" || base == "varchar" || base == "bpchar" }

// isOurs reports a trigger of Tandem's own.
func isOurs(trigger string) bool { return strings.HasPrefix(trigger, "tandem_") }
