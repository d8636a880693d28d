package entities

import (
	"context"
	"strings"

	"github.com/lib/pq"

	"github.com/tandem-sync/tandem/store"
	"github.com/tandem-sync/tandem/sync/mapping"
)

func relationsPostgres(ctx context.Context, tx *store.Tx, n name) ([]relation, error) {
	const q = `SELECT c.oid, nspname, relname, relkind::text, relhasrules
		FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE lower(relname) = lower($1) AND relkind IN ('r', 'p', 'v', 'm', 'f')
		AND CASE WHEN $2 = '' THEN pg_table_is_visible(c.oid) ELSE lower(nspname) = lower($2) END`
	var all []relation
	if err := tx.SelectContext(ctx, &all, q, n.table, n.schema); err != nil {
		return nil, err
	}
	for i := range all {
		switch all[i].Kind {
		case "p":
			all[i].kind = partitioned
		case "v", "m":
			all[i].kind = view
		case "f":
			all[i].kind = foreign
		}
	}
	return all, nil
}

// columnsSQL resolves domains to their base type, keeps the modifiers of the
// innermost type that has some, and names the sequence behind an identity.
const columnsSQL = `WITH RECURSIVE col AS (
	SELECT attnum, attname, atttypid, atttypmod, attnotnull, attidentity::text, attgenerated::text, atttypid AS base, atttypmod AS mod, false AS domnotnull, NULL::text COLLATE "default" AS domdefault
	FROM pg_attribute WHERE attrelid = $1::oid AND attnum > 0 AND NOT attisdropped
	UNION ALL
	SELECT attnum, attname, atttypid, atttypmod, attnotnull, attidentity, attgenerated, t.typbasetype, CASE WHEN mod = -1 THEN t.typtypmod ELSE mod END,
		domnotnull OR t.typnotnull, COALESCE(domdefault, pg_get_expr(t.typdefaultbin, 0)) COLLATE "default"
	FROM col JOIN pg_type t ON t.oid = base WHERE t.typtype = 'd')
SELECT attname, format_type(atttypid, atttypmod) AS native, format_type(base, -1) AS basename, format_type(base, mod) AS full, b.typname, mod, b.typtype::text, b.typcategory::text,
	attnotnull OR domnotnull AS notnull, attidentity, attgenerated,
	COALESCE(pg_get_expr(d.adbin, d.adrelid), domdefault, '') AS def,
	COALESCE(CASE WHEN attidentity <> '' THEN pg_get_serial_sequence(format('%I.%I', $2::text, $3::text), attname) END, '') AS seq
FROM col JOIN pg_type b ON b.oid = base LEFT JOIN pg_attrdef d ON d.adrelid = $1::oid AND d.adnum = attnum
WHERE b.typtype <> 'd' ORDER BY attnum`

type columnRow struct {
	Name      string `db:"attname"`
	Native    string `db:"native"`
	BaseName  string `db:"basename"`
	Full      string `db:"full"`
	TypName   string `db:"typname"`
	Mod       int    `db:"mod"`
	TypType   string `db:"typtype"`
	Category  string `db:"typcategory"`
	NotNull   bool   `db:"notnull"`
	Identity  string `db:"attidentity"`
	Generated string `db:"attgenerated"`
	Default   string `db:"def"`
	Sequence  string `db:"seq"`
}

func (t *Table) readPostgres(ctx context.Context, tx *store.Tx) error {
	var rows []columnRow
	if err := tx.SelectContext(ctx, &rows, columnsSQL, t.oid, t.Schema, t.Name); err != nil {
		return err
	}
	for _, r := range rows {
		t.cols = append(t.cols, r.column())
	}
	if err := t.uniquesPostgres(ctx, tx); err != nil {
		return err
	}
	insert, _, _, err := t.userTriggers(ctx, tx)
	t.triggers = insert.before
	return err
}

func (r columnRow) column() column {
	c := column{base: r.TypName, full: r.Native, domain: r.Native != r.Full, def: r.Default, precision: -1, scale: -1, category: r.Category[0]}
	c.array = r.Category == "A"
	if r.Identity != "" {
		c.identity, c.seq = r.Identity[0], literal(r.Sequence)
		c.def = "nextval(" + c.seq + "::regclass)"
	}
	if r.Generated != "" {
		c.def = ""
	}
	if !textual(c.base) {
		c.cast = r.BaseName
	}
	if r.Mod >= 0 {
		switch c.base {
		case "numeric":
			c.precision, c.scale = (r.Mod-4)>>16&0xffff, (r.Mod-4)&0x7ff
		case "timestamp", "timestamptz", "time", "timetz", "interval":
			c.precision = r.Mod
		}
	}
	c.Column = mapping.Column{
		Name: r.Name, Type: typeOf(c.base, r.TypType == "e", c.array), NotNull: r.NotNull,
		HasDefault: c.def != "", Generated: r.Generated != "", Native: r.Native,
	}
	if c.array {
		// Rows give and take arrays as JSON, so a mapping need not know the
		// database's own literals, which the native name would announce.
		c.Native = "array of " + strings.TrimRight(r.Native, "[]")
	}
	if (c.base == "varchar" || c.base == "bpchar") && r.Mod > 4 {
		c.MaxLen = r.Mod - 4
	}
	return c
}

func (t *Table) uniquesPostgres(ctx context.Context, tx *store.Tx) error {
	const q = `SELECT ic.relname, i.indisprimary, NOT i.indimmediate AS deferrable, i.indpred IS NOT NULL AS partial,
		CASE WHEN i.indexprs IS NULL AND NOT i.indisexclusion THEN
			(SELECT array_agg(a.attname::text ORDER BY k.ord) FROM unnest(i.indkey::int2[]) WITH ORDINALITY k(num, ord)
			 JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.num WHERE k.ord <= i.indnkeyatts) END AS columns
		FROM pg_index i JOIN pg_class ic ON ic.oid = i.indexrelid
		WHERE i.indrelid = $1::oid AND (i.indisunique OR i.indisexclusion) AND i.indisvalid ORDER BY i.indisprimary DESC, ic.relname`
	var rows []struct {
		Name       string         `db:"relname"`
		Primary    bool           `db:"indisprimary"`
		Deferrable bool           `db:"deferrable"`
		Partial    bool           `db:"partial"`
		Columns    pq.StringArray `db:"columns"`
	}
	if err := tx.SelectContext(ctx, &rows, q, t.oid); err != nil {
		return err
	}
	for _, r := range rows {
		t.Unique = append(t.Unique, Unique{Name: r.Name, Columns: r.Columns, Deferrable: r.Deferrable, Partial: r.Partial, primary: r.Primary})
	}
	return nil
}

// firing says which user triggers an operation sets off.
type firing struct {
	any    bool
	before bool // a row trigger BEFORE, which may change or swallow the row
}

// userTriggers reads the enabled triggers of the table and its partitions that
// are not ours, and whether ours capture its changes.
func (t *Table) userTriggers(ctx context.Context, tx *store.Tx) (insert, update firing, captured bool, err error) {
	const q = `SELECT tgname, tgtype FROM pg_trigger WHERE NOT tgisinternal AND tgenabled <> 'D'
		AND (tgrelid = $1::oid OR tgrelid IN (SELECT relid FROM pg_partition_tree($1::oid::regclass)))`
	var rows []struct {
		Name string `db:"tgname"`
		Type int    `db:"tgtype"`
	}
	if err := tx.SelectContext(ctx, &rows, q, t.oid); err != nil {
		return insert, update, false, err
	}
	for _, r := range rows {
		if isOurs(r.Name) {
			captured = captured || strings.HasPrefix(r.Name, capturePrefix)
			continue
		}
		const row, before, onInsert, onUpdate = 1, 2, 4, 16
		first := r.Type&row != 0 && r.Type&before != 0
		if r.Type&onInsert != 0 {
			insert.any, insert.before = true, insert.before || first
		}
		if r.Type&onUpdate != 0 {
			update.any, update.before = true, update.before || first
		}
	}
	return insert, update, captured, nil
}

// fallback is the expression for a new row that leaves the column out.
func (c *column) fallback() string {
	if c.def == "" {
		return "NULL"
	}
	return "(" + strings.TrimSpace(c.def) + ")"
}
