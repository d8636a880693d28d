package entities

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/lib/pq"

	"github.com/tandem-sync/tandem/store"
)

// Index is an index that a table lacks and that a connector's statements want.
type Index struct {
	Columns []string
	// SQL makes the index; "" when none can serve, and Why says the reason.
	SQL string
	Why string
}

// indexParts is an index as it is there: its key parts, plain columns or
// expressions, in the form that part makes.
type indexParts struct {
	parts  []string
	unique bool
}

// MissingIndexes gives, for every match alternative of the mapping, the index
// that Match needs to look its rows up instead of reading the whole table, where
// there is none. Partial and invalid indexes do not count.
func (b *Binding) MissingIndexes(ctx context.Context, tx *store.Tx) ([]Index, error) {
	have, err := b.t.indexes(ctx, tx)
	if err != nil {
		return nil, wrap(b.t.Spec, err)
	}
	var out []Index
	for _, alt := range b.m.Match() {
		idx, parts := b.matchIndex(alt)
		if !b.t.served(have, parts) && !slices.ContainsFunc(out, func(o Index) bool { return slices.Equal(o.Columns, idx.Columns) }) {
			out = append(out, idx)
		}
	}
	return out, nil
}

// MissingModified gives the index that finds changed rows by the entity's
// modified column; nil when there is one, or no such column.
func (t *Table) MissingModified(ctx context.Context, tx *store.Tx) (*Index, error) {
	i := t.find(t.Spec.Modified)
	if t.Spec.Modified == "" || i < 0 {
		return nil, nil
	}
	have, err := t.indexes(ctx, tx)
	col := t.Columns[i].Name
	if err != nil || slices.ContainsFunc(have, func(x indexParts) bool { return x.parts[0] == t.part(col, "") }) {
		return nil, wrap(t.Spec, err)
	}
	return &Index{
		Columns: []string{col}, SQL: t.createIndex([]string{col}, "modified", []string{quote(col)}),
		Why: fmt.Sprintf("without it, finding what changed reads the whole table %s", t.full()),
	}, nil
}

// matchIndex words the index for an alternative and gives its parts.
func (b *Binding) matchIndex(alt []int) (Index, []string) {
	idx := Index{}
	var parts, expr []string
	unable := ""
	for _, i := range alt {
		c := b.col(i)
		idx.Columns = append(idx.Columns, c.Name)
		text, fn := quote(c.Name), ""
		switch {
		case !b.folds(i):
		case b.t.dialect == store.SQLite:
			text, fn = "lower(trim("+text+"))", "lowertrim"
		default:
			if c.base != "text" && c.base != "varchar" {
				text += "::text"
			}
			if !slices.Contains(immutableText, c.base) {
				unable = c.Name + " " + c.Native
			}
			text, fn = "lower(btrim("+text+"))", "lowerbtrim"
		}
		expr, parts = append(expr, text), append(parts, b.t.part(c.Name, fn))
	}
	idx.Why = fmt.Sprintf("without it, matching by %s reads the whole table %s", strings.Join(idx.Columns, ", "), b.t.full())
	if unable != "" {
		idx.Why = fmt.Sprintf("matching by %s reads the whole table %s, and no index can serve: column %s is compared as text", strings.Join(idx.Columns, ", "), b.t.full(), unable)
		return idx, parts
	}
	idx.SQL = b.t.createIndex(idx.Columns, "match", expr)
	return idx, parts
}

// immutableText are PostgreSQL's types whose text depends on no setting, so that
// an index may hold it.
var immutableText = []string{"text", "varchar", "bpchar", "name", "citext", "uuid", "int2", "int4", "int8", "numeric"}

// createIndex words the statement. PostgreSQL keeps the table writable
// meanwhile, except that a partitioned table cannot be done so.
func (t *Table) createIndex(cols []string, what string, expr []string) string {
	name := t.Name + "_" + strings.Join(cols, "_") + "_" + what
	const most = 63 // bytes of a PostgreSQL name
	if len(name) > most {
		name = strings.ToValidUTF8(name[:most-len(what)-1], "") + "_" + what
	}
	how := ""
	if t.dialect == store.Postgres && t.kind != partitioned && t.oid != 0 {
		how = "CONCURRENTLY "
	}
	return "CREATE INDEX " + how + quote(name) + " ON " + t.sql() + " (" + strings.Join(expr, ", ") + ")"
}

// part is a key part in comparable form: the function names, then the column,
// without quotes, brackets, blanks and casts to text, which the databases spell
// in ways of their own. SQLite's names know no letter case.
func (t *Table) part(column, functions string) string { return t.plain(functions + column) }

var unspelled = strings.NewReplacer("::text", "", "(", "", ")", "", `"`, "", " ", "", "`", "", "[", "", "]", "")

func (t *Table) plain(s string) string {
	s = unspelled.Replace(s)
	if t.dialect == store.SQLite {
		s = strings.ToLower(s)
	}
	return s
}

// served reports whether an index finds rows by all parts: they are, in any
// order, what it begins with, or one of them alone is unique.
func (t *Table) served(have []indexParts, parts []string) bool {
	for _, x := range have {
		if x.unique && len(x.parts) == 1 && slices.Contains(parts, x.parts[0]) {
			return true
		}
		if len(x.parts) < len(parts) {
			continue
		}
		first := slices.Clone(x.parts[:len(parts)])
		want := slices.Clone(parts)
		slices.Sort(first)
		slices.Sort(want)
		if slices.Equal(first, want) {
			return true
		}
	}
	return false
}

// indexes reads the usable indexes of the table; those of a declared one are its
// keys.
func (t *Table) indexes(ctx context.Context, tx *store.Tx) ([]indexParts, error) {
	var out []indexParts
	if t.declared {
		for _, u := range t.Unique {
			x := indexParts{unique: true}
			for _, c := range u.Columns {
				x.parts = append(x.parts, t.part(c, ""))
			}
			out = append(out, x)
		}
		return out, nil
	}
	for i := range t.cols {
		if t.cols[i].base == rowidBase {
			out = append(out, indexParts{[]string{t.part(t.cols[i].Name, "")}, true})
		}
	}
	if t.dialect == store.Postgres {
		return t.indexesPostgres(ctx, tx)
	}
	more, err := t.indexesSQLite(ctx, tx)
	return append(out, more...), err
}

func (t *Table) indexesPostgres(ctx context.Context, tx *store.Tx) ([]indexParts, error) {
	const q = `SELECT i.indisunique, (SELECT array_agg(pg_get_indexdef(i.indexrelid, k::int, true) ORDER BY k) FROM generate_series(1, i.indnkeyatts) k) AS parts
		FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_am a ON a.oid = c.relam
		WHERE i.indrelid = $1::oid AND i.indisvalid AND i.indpred IS NULL AND a.amname IN ('btree', 'hash') ORDER BY c.relname`
	var rows []struct {
		Unique bool           `db:"indisunique"`
		Parts  pq.StringArray `db:"parts"`
	}
	if err := tx.SelectContext(ctx, &rows, q, t.oid); err != nil {
		return nil, err
	}
	out := make([]indexParts, len(rows))
	for i, r := range rows {
		out[i].unique = r.Unique
		for _, p := range r.Parts {
			out[i].parts = append(out[i].parts, t.plain(p))
		}
	}
	return out, nil
}

func (t *Table) indexesSQLite(ctx context.Context, tx *store.Tx) ([]indexParts, error) {
	const q = `SELECT l.name, l."unique" AS uniq, x.name AS col, x.coll, coalesce(s.sql, '') AS sql
		FROM pragma_index_list(?) l JOIN pragma_index_xinfo(l.name) x LEFT JOIN sqlite_schema s ON s.type = 'index' AND s.name = l.name
		WHERE l.partial = 0 AND x.key = 1 ORDER BY l.seq, x.seqno`
	var rows []struct {
		Name   string  `db:"name"`
		Unique bool    `db:"uniq"`
		Column *string `db:"col"`
		Coll   string  `db:"coll"`
		SQL    string  `db:"sql"`
	}
	if err := tx.SelectContext(ctx, &rows, q, t.Name); err != nil {
		return nil, err
	}
	var out []indexParts
	last := ""
	for _, r := range rows {
		if r.Name != last {
			last = r.Name
			out = append(out, indexParts{unique: r.Unique})
		}
		x := &out[len(out)-1]
		switch exprs := indexExpressions(r.SQL); {
		case r.Column != nil:
			x.parts = append(x.parts, t.plain(*r.Column))
		case len(x.parts) < len(exprs) && r.Coll == "BINARY":
			x.parts = append(x.parts, t.plain(exprs[len(x.parts)]))
		default:
			x.parts = append(x.parts, "?") // an expression in an order that no comparison here uses
		}
	}
	return out, nil
}

// indexExpressions takes the list of key parts out of a CREATE INDEX.
func indexExpressions(sql string) []string {
	var parts []string
	depth, start := 0, 0
	var quoted byte
	for i := range len(sql) {
		c := sql[i]
		switch {
		case quoted != 0:
			if c == quoted {
				quoted = 0
			}
		case c == '\'' || c == '"' || c == '`':
			quoted = c
		case c == '(':
			if depth++; depth == 1 {
				start = i + 1
			}
		case c == ')' || c == ',' && depth == 1:
			if c == ')' {
				depth--
			}
			if depth == 0 || c == ',' {
				parts = append(parts, keyPart(sql[start:i]))
				start = i + 1
			}
			if depth == 0 {
				return parts
			}
		}
	}
	return parts
}

// keyPart takes the direction off a key part.
func keyPart(s string) string {
	s = strings.TrimSpace(s)
	for _, dir := range []string{" asc", " desc"} {
		if len(s) > len(dir) && strings.EqualFold(s[len(s)-len(dir):], dir) {
			s = strings.TrimSpace(s[:len(s)-len(dir)])
		}
	}
	return s
}
