package entities

import (
	"context"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/lib/pq"

	"github.com/tandem-sync/tandem/store"
	"github.com/tandem-sync/tandem/sync/record"
)

// Row is a local row as it is stored.
type Row struct {
	// Key stands for the row, in the form of EncodeKey.
	Key string
	// Values are the mapped columns as the database's own text, or Null: what a
	// later update or delete compares with. Arrays are JSON arrays. On SQLite,
	// numbers are Number and a blob is "\x" and hexadecimal digits.
	Values []record.Value
	// Deleted says that the row is marked in the deleted column.
	Deleted bool
	// Modified is what the entity's modified column says; zero is unknown: no
	// such column, or a value that is no time. It is read, never written.
	Modified time.Time
}

// Load reads the rows of the given keys. Rows that do not exist are simply
// absent from the result; its order is not defined. A key that cannot be one of
// this table (text for a number) names no row.
func (b *Binding) Load(ctx context.Context, tx *store.Tx, keys []string) ([]Row, error) {
	parts := b.possible(keys)
	if len(parts[0]) == 0 {
		return nil, nil
	}
	q, args := b.loadSQL(parts)
	rows := make([]Row, 0, len(parts[0]))
	err := b.each(ctx, tx, q, args, func(r Row) { rows = append(rows, r) })
	return rows, wrap(b.t.Spec, err)
}

// possible splits the keys into one list per key column and drops those that
// cannot exist.
func (b *Binding) possible(keys []string) [][]string {
	parts := make([][]string, len(b.keys))
	for _, key := range keys {
		p, err := DecodeKey(key, len(b.keys))
		if err != nil || !b.fits(p) {
			continue
		}
		for i := range p {
			parts[i] = append(parts[i], p[i])
		}
	}
	return parts
}

var uuidForm = regexp.MustCompile(`^[0-9a-fA-F]{8}-?([0-9a-fA-F]{4}-?){3}[0-9a-fA-F]{12}$`)

// fits reports whether the parts can be values of the key columns.
func (b *Binding) fits(parts []string) bool {
	for i, p := range parts {
		if badText(p) != "" {
			return false
		}
		if b.t.dialect == store.SQLite {
			continue
		}
		n, whole := isInt64(p)
		switch b.t.cols[b.keys[i]].base {
		case "int2":
			whole = whole && n >= math.MinInt16 && n <= math.MaxInt16
		case "int4":
			whole = whole && n >= math.MinInt32 && n <= math.MaxInt32
		case "int8":
		case "uuid":
			whole = uuidForm.MatchString(p)
		default:
			whole = true
		}
		if !whole {
			return false
		}
	}
	return true
}

func (b *Binding) loadSQL(parts [][]string) (string, []any) {
	head := "SELECT " + b.list + " FROM "
	if b.t.dialect == store.SQLite {
		return b.loadSQLite(head, parts)
	}
	if len(parts) == 1 {
		k := &b.t.cols[b.keys[0]]
		return head + b.t.sql() + " t WHERE t." + quote(k.Name) + " = ANY($1::text[]" + k.castList() + ")", []any{pq.StringArray(parts[0])}
	}
	var lists, names, on []string
	args := make([]any, len(parts))
	for i := range parts {
		k := &b.t.cols[b.keys[i]]
		p := strconv.Itoa(i + 1)
		lists, names = append(lists, "$"+p+"::text[]"), append(names, "k"+p)
		on = append(on, "t."+quote(k.Name)+" = "+k.as("v.k"+p))
		args[i] = pq.StringArray(parts[i])
	}
	return head + "unnest(" + strings.Join(lists, ", ") + ") v(" + strings.Join(names, ", ") + ") JOIN " + b.t.sql() + " t ON " + strings.Join(on, " AND "), args
}

func (b *Binding) loadSQLite(head string, parts [][]string) (string, []any) {
	if len(parts) == 1 {
		return head + b.t.sql() + " t WHERE t." + quote(b.t.Key[0]) + " IN (SELECT value FROM json_each(?))", []any{jsonTexts(parts[0])}
	}
	rows := make([][]string, len(parts[0]))
	var on []string
	for i := range parts {
		for r := range rows {
			rows[r] = append(rows[r], parts[i][r])
		}
		on = append(on, "t."+quote(b.t.Key[i])+" = j.value ->> "+strconv.Itoa(i))
	}
	return head + "json_each(?) j CROSS JOIN " + b.t.sql() + " t ON " + strings.Join(on, " AND "), []any{jsonTexts(rows)}
}

// jsonTexts is a list as a parameter for json_each.
func jsonTexts[T any](list []T) string {
	b, err := json.Marshal(list)
	if err != nil { // texts and lists of texts always encode
		panic(err)
	}
	return string(b)
}

// as casts a text expression to the column's type.
func (c *column) as(expr string) string {
	if c.cast == "" && c.base != "bpchar" {
		return expr
	}
	if c.base == "bpchar" {
		return expr + "::bpchar"
	}
	return expr + "::" + c.cast
}

// castList is the cast of a list of texts to the column's type.
func (c *column) castList() string {
	if c.base == "bpchar" {
		return "::bpchar[]"
	}
	if c.cast == "" {
		return ""
	}
	return "::" + c.cast + "[]"
}

// each runs a query over the select list. The rows' values come from slabs.
func (b *Binding) each(ctx context.Context, tx *store.Tx, q string, args []any, fn func(Row)) error {
	rows, err := tx.QueryContext(ctx, q, args...)
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }() // rows.Err says what went wrong
	return b.scan(rows, fn)
}

func (b *Binding) scan(rows *sql.Rows, fn func(Row)) error {
	k, n := len(b.keys), len(b.fields)
	cells := make([]any, k+n+2)
	dest := make([]any, len(cells))
	for i := range cells {
		dest[i] = &cells[i]
	}
	var slab []record.Value
	parts := make([]string, k)
	for rows.Next() {
		if err := rows.Scan(dest...); err != nil {
			return err
		}
		if len(slab) < n {
			slab = make([]record.Value, 128*n)
		}
		vals := slab[:n:n]
		slab = slab[n:]
		for i := range n {
			vals[i] = cell(cells[k+i])
		}
		for i := range k {
			parts[i] = cell(cells[i]).Text
		}
		fn(Row{Key: EncodeKey(parts), Values: vals, Deleted: truth(cells[k+n]), Modified: cellTime(cells[k+n+1])})
	}
	return rows.Err()
}

// cell gives what a driver read as a raw value.
func cell(v any) record.Value {
	switch x := v.(type) {
	case nil:
		return record.NullValue
	case string:
		return record.T(x)
	case int64:
		return record.N(strconv.FormatInt(x, 10))
	case float64:
		return record.N(realText(x))
	case []byte:
		return record.T(`\x` + hex.EncodeToString(x))
	case bool:
		return record.B(x)
	}
	return record.NullValue
}

// realText writes a float so that it reads back as the same float and never
// looks like an integer.
func realText(f float64) string {
	s := strconv.FormatFloat(f, 'g', -1, 64)
	if !strings.ContainsAny(s, ".eIN") {
		s += ".0"
	}
	return s
}

func truth(v any) bool {
	switch x := v.(type) {
	case bool:
		return x
	case int64:
		return x != 0
	}
	return false
}

// Empty reports whether the table has no row at all: then nothing can match.
func (b *Binding) Empty(ctx context.Context, tx *store.Tx) (bool, error) {
	var empty bool
	err := tx.QueryRowContext(ctx, "SELECT NOT EXISTS (SELECT 1 FROM "+b.t.sql()+")").Scan(&empty)
	return empty, wrap(b.t.Spec, err)
}
