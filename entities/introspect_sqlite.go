package entities

import (
	"context"
	"strconv"
	"strings"

	"github.com/tandem-sync/tandem/store"
	"github.com/tandem-sync/tandem/sync/mapping"
)

// rowidBase is the base of a column that is another name for the rowid.
const rowidBase = "rowid"

func relationsSQLite(ctx context.Context, tx *store.Tx, n name) ([]relation, error) {
	if n.schema != "" && !strings.EqualFold(n.schema, "main") {
		return nil, nil
	}
	const q = `SELECT name AS relname, type AS relkind FROM pragma_table_list WHERE schema = 'main' AND lower(name) = lower(?) AND type <> 'shadow'`
	var all []relation
	if err := tx.SelectContext(ctx, &all, q, n.table); err != nil {
		return nil, err
	}
	for i := range all {
		switch all[i].Kind {
		case "view":
			all[i].kind = view
		case "virtual":
			all[i].kind = virtual
		}
	}
	return all, nil
}

func (t *Table) readSQLite(ctx context.Context, tx *store.Tx) error {
	var rows []struct {
		Name    string  `db:"name"`
		Type    string  `db:"type"`
		NotNull bool    `db:"notnull"`
		Default *string `db:"dflt_value"`
		PK      int     `db:"pk"`
		Hidden  int     `db:"hidden"`
	}
	if err := tx.SelectContext(ctx, &rows, `SELECT name, type, "notnull", dflt_value, pk, hidden FROM pragma_table_xinfo(?)`, t.Name); err != nil {
		return err
	}
	pk := make([]string, 0, 1)
	for n := 1; n <= len(rows); n++ {
		for _, r := range rows {
			if r.PK == n {
				pk = append(pk, r.Name)
			}
		}
	}
	pkIndex, err := t.uniquesSQLite(ctx, tx)
	if err != nil {
		return err
	}
	withoutRowid, err := t.readSQLiteText(ctx, tx)
	if err != nil {
		return err
	}
	for _, r := range rows {
		c := column{base: affinity(r.Type), precision: -1, scale: -1}
		if r.Default != nil {
			c.def = *r.Default
		}
		alias := r.PK == 1 && len(pk) == 1 && !pkIndex && !withoutRowid && strings.EqualFold(r.Type, "INTEGER")
		c.Column = mapping.Column{
			Name: r.Name, Type: typeSQLite(r.Type), NotNull: r.NotNull || alias || withoutRowid && r.PK > 0,
			HasDefault: c.def != "" || alias, Generated: r.Hidden == 2 || r.Hidden == 3, MaxLen: 0, Native: r.Type,
		}
		if alias {
			c.base = rowidBase
		}
		t.cols = append(t.cols, c)
	}
	if len(pk) > 0 && !pkIndex {
		t.Unique = append(t.Unique, Unique{Name: "primary key", Columns: pk, primary: true})
	}
	return nil
}

// uniquesSQLite reads the unique indexes and says whether the primary key has
// one of its own (a rowid alias and a WITHOUT ROWID table have none or list it
// as the table itself).
func (t *Table) uniquesSQLite(ctx context.Context, tx *store.Tx) (pkIndex bool, err error) {
	var rows []struct {
		Name    string  `db:"name"`
		Origin  string  `db:"origin"`
		Partial bool    `db:"partial"`
		Column  *string `db:"col"`
		CID     int     `db:"cid"`
	}
	const q = `SELECT l.name, l.origin, l.partial, x.name AS col, x.cid FROM pragma_index_list(?) l, pragma_index_xinfo(l.name) x
		WHERE l."unique" = 1 AND x.key = 1 ORDER BY l.seq, x.seqno`
	if err := tx.SelectContext(ctx, &rows, q, t.Name); err != nil {
		return false, err
	}
	expr := map[string]bool{}
	for _, r := range rows {
		if n := len(t.Unique); n == 0 || t.Unique[n-1].Name != r.Name {
			t.Unique = append(t.Unique, Unique{Name: r.Name, Partial: r.Partial, primary: r.Origin == "pk"})
		}
		u := &t.Unique[len(t.Unique)-1]
		pkIndex = pkIndex || u.primary
		if r.Column == nil {
			expr[r.Name], u.Columns = true, nil
			continue
		}
		if !expr[r.Name] {
			u.Columns = append(u.Columns, *r.Column)
		}
	}
	return pkIndex, nil
}

// readSQLiteText reads what only the table's statement and the schema say.
func (t *Table) readSQLiteText(ctx context.Context, tx *store.Tx) (withoutRowid bool, err error) {
	var text *string
	if err := tx.GetContext(ctx, &text, `SELECT sql FROM sqlite_schema WHERE name = ? AND type IN ('table', 'view')`, t.Name); err != nil {
		return false, err
	}
	if text != nil {
		upper := strings.ToUpper(*text)
		t.autoinc = strings.Contains(upper, "AUTOINCREMENT")
		if strings.Contains(upper, "DEFERRED") {
			if err := t.readDeferred(ctx, tx); err != nil {
				return false, err
			}
		}
	}
	if err := tx.GetContext(ctx, &withoutRowid, `SELECT wr FROM pragma_table_list WHERE schema = 'main' AND name = ?`, t.Name); err != nil {
		return false, err
	}
	t.triggers, err = t.triggersSQLite(ctx, tx)
	return withoutRowid, err
}

// triggersSQLite reports triggers on the table that are not ours.
func (t *Table) triggersSQLite(ctx context.Context, tx *store.Tx) (bool, error) {
	var found bool
	err := tx.GetContext(ctx, &found, `SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'trigger' AND tbl_name = ? COLLATE NOCASE AND name NOT LIKE 'tandem\_%' ESCAPE '\')`, t.Name)
	return found, err
}

// affinity is SQLite's rule for a declared type, in lower case; "blob" is none.
func affinity(decl string) string {
	d := strings.ToUpper(decl)
	switch {
	case strings.Contains(d, "INT"):
		return "integer"
	case strings.Contains(d, "CHAR"), strings.Contains(d, "CLOB"), strings.Contains(d, "TEXT"):
		return "text"
	case d == "", strings.Contains(d, "BLOB"):
		return "blob"
	case strings.Contains(d, "REAL"), strings.Contains(d, "FLOA"), strings.Contains(d, "DOUB"): //nolint:misspell // SQLite's rule
		return "real"
	}
	return "numeric"
}

// typeSQLite maps a declared type to a value type; declarations are only a hint
// on SQLite, so what is not known is text.
func typeSQLite(decl string) mapping.Type {
	d := strings.ToUpper(decl)
	if i := strings.IndexByte(d, '('); i >= 0 {
		d = d[:i]
	}
	d = strings.TrimSpace(d)
	switch {
	case strings.HasPrefix(d, "BOOL"):
		return mapping.TypeBoolean
	case d == "DATE":
		return mapping.TypeDate
	case d == "TIME":
		return mapping.TypeTime
	case strings.HasPrefix(d, "DATETIME"), strings.HasPrefix(d, "TIMESTAMP"):
		return mapping.TypeDatetime
	case strings.HasPrefix(d, "JSON"):
		return mapping.TypeJSON
	}
	switch affinity(d) {
	case "integer":
		return mapping.TypeInteger
	case "real":
		return mapping.TypeDecimal
	case "numeric":
		if strings.HasPrefix(d, "NUM") || strings.HasPrefix(d, "DEC") || d == "MONEY" {
			return mapping.TypeDecimal
		}
	}
	return mapping.TypeText
}

// digits counts the significant digits of a number's text.
func digits(s string) int {
	n, lead := 0, true
	for i := range len(s) {
		switch c := s[i]; {
		case c == 'e' || c == 'E':
			return n
		case c == '0' && lead:
		case c >= '0' && c <= '9':
			lead = false
			n++
		}
	}
	return n
}

// isInt64 reports a text that is exactly an int64.
func isInt64(s string) (int64, bool) {
	i, err := strconv.ParseInt(s, 10, 64)
	return i, err == nil
}
