package entities

import (
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/tandem-sync/tandem/store"
)

// keySQL is the expression that gives a row's key in the form of EncodeKey,
// NULL when a part is NULL: such a row cannot be told apart and is left out.
// row names the row ("t", "NEW"). PostgreSQL's texts of times, intervals,
// floats and blobs follow settings; see keySettings.
func (t *Table) keySQL(row string) string {
	cols := t.keyColumns()
	if t.dialect == store.SQLite {
		return keySQLite(row, cols)
	}
	parts := make([]string, len(cols))
	for i, c := range cols {
		parts[i] = c.textSQL(row)
	}
	if len(parts) == 1 {
		return parts[0]
	}
	for i := range parts {
		// to_json writes exactly the escapes that EncodeKey writes.
		parts[i] = "pg_catalog.to_json(" + parts[i] + ")::text"
	}
	return "'[' || " + strings.Join(parts, " || ',' || ") + " || ']'"
}

// textSQL is a column's text on PostgreSQL, as Load reads it.
func (c *column) textSQL(row string) string {
	q := row + "." + quote(c.Name)
	if c.array {
		return "pg_catalog.array_to_json(" + q + ")::text"
	}
	return q + "::text"
}

func keySQLite(row string, cols []*column) string {
	parts := make([]string, len(cols))
	for i, c := range cols {
		q := row + "." + quote(c.Name)
		parts[i] = "CAST(" + q + " AS TEXT)"
		if c.base == "blob" || c.base == "text" {
			// Any column may hold a blob; these are where people put one.
			parts[i] = "CASE typeof(" + q + ") WHEN 'blob' THEN '\\x' || lower(hex(" + q + ")) ELSE CAST(" + q + " AS TEXT) END"
		}
	}
	if len(parts) == 1 {
		return parts[0]
	}
	return "json_array(" + strings.Join(parts, ", ") + ")"
}

// keyIsNull is the condition that a part of the key is NULL; "" when no part can
// be.
func (t *Table) keyIsNull(row string) string {
	var parts []string
	for _, c := range t.keyColumns() {
		if !c.NotNull {
			parts = append(parts, row+"."+quote(c.Name)+" IS NULL")
		}
	}
	return strings.Join(parts, " OR ")
}

// keySettings are PostgreSQL's settings that the texts of the key's types
// follow, with the values that a session of the store has.
func (t *Table) keySettings() [][2]string {
	var times, blobs, floats bool
	for _, c := range t.keyColumns() {
		switch c.base {
		case "int2", "int4", "int8", "oid", "text", "varchar", "bpchar", "uuid", "bool", "numeric":
		case "bytea":
			blobs = true
		case "float4", "float8":
			floats = true
		default: // times, ranges of times, arrays of anything
			times, blobs, floats = true, true, true
		}
	}
	var out [][2]string
	if times {
		out = append(out, [2]string{"TimeZone", "UTC"}, [2]string{"DateStyle", "ISO, MDY"}, [2]string{"IntervalStyle", "postgres"})
	}
	if blobs {
		out = append(out, [2]string{"bytea_output", "hex"})
	}
	if floats {
		out = append(out, [2]string{"extra_float_digits", "1"})
	}
	return out
}

// jsonString quotes a text as JSON.
func jsonString(s string) string {
	b, err := jsontext.AppendQuote(nil, s)
	if err != nil { // not valid UTF-8: quoted with replacement characters
		return string(b)
	}
	return string(b)
}
