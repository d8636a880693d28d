package entities

import (
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/tandem-sync/tandem/store"
	"github.com/tandem-sync/tandem/sync/record"
)

// arrayLiteral writes a JSON array as a PostgreSQL array literal: nested arrays
// stay nested, null is NULL, objects are their JSON text.
func arrayLiteral(s string) (string, bool) {
	d := jsontext.NewDecoder(strings.NewReader(s))
	if d.PeekKind() != '[' {
		return "", false
	}
	b := make([]byte, 0, len(s)+16)
	for {
		k := d.PeekKind()
		if k == 0 {
			return string(b), d.StackDepth() == 0 && len(b) > 0
		}
		if k != ']' && len(b) > 0 && b[len(b)-1] != '{' {
			b = append(b, ',')
		}
		if k == '{' {
			v, err := d.ReadValue()
			if err != nil {
				return "", false
			}
			b = appendElement(b, string(v))
			continue
		}
		t, err := d.ReadToken()
		if err != nil {
			return "", false
		}
		switch k {
		case '[':
			b = append(b, '{')
		case ']':
			b = append(b, '}')
		case 'n':
			b = append(b, "NULL"...)
		case '"':
			b = appendElement(b, t.String())
		default:
			b = append(b, t.String()...)
		}
	}
}

// appendElement quotes an element of an array literal.
func appendElement(b []byte, s string) []byte {
	b = append(b, '"')
	for i := range len(s) {
		if s[i] == '"' || s[i] == '\\' {
			b = append(b, '\\')
		}
		b = append(b, s[i])
	}
	return append(b, '"')
}

// inexact reports a change after which the columns may hold something else than
// what was written, triggers apart: only those are read back.
func (a *apply) inexact(c *Change) bool {
	if c.Op != OpInsert && c.Op != OpUpdate {
		return false
	}
	exact := exactPostgres
	if a.b.t.dialect == store.SQLite {
		exact = exactSQLite
	}
	for i, v := range c.New {
		if v.Kind == record.Absent && c.Op == OpInsert {
			return true // what the default is, the database knows
		}
		if v.Kind > record.Null && !exact(a.b.col(i), v) {
			return true
		}
	}
	return false
}

// exactPostgres reports whether the column keeps the canonical value so that it
// reads back as the same canonical value. In doubt it says no, which costs a
// look at the row.
func exactPostgres(c *column, v record.Value) bool {
	s := v.Text
	switch c.base {
	case "text", "bool", "int2", "int4", "int8", "date", "json":
		return true
	case "varchar":
		return c.MaxLen == 0 || len(s) <= c.MaxLen
	case "bpchar":
		return s == "" || s[len(s)-1] != ' '
	case "uuid":
		return canonicalUUID(s)
	case "numeric":
		return c.scale < 0 || decimals(s) <= c.scale
	case "float4":
		return digits(s) <= 6
	case "float8":
		return digits(s) <= 15
	case "timestamp", "timestamptz", "time":
		return c.precision < 0 || decimals(s) <= c.precision
	case "jsonb":
		return v.Kind == record.JSON && plainNumbers(s)
	}
	return c.category == 'E'
}

// decimals counts the digits after the last point.
func decimals(s string) int {
	i := strings.LastIndexByte(s, '.')
	if i < 0 {
		return 0
	}
	n := 0
	for i++; i < len(s) && s[i] >= '0' && s[i] <= '9'; i++ {
		n++
	}
	return n
}

// plainNumbers reports JSON text whose numbers jsonb keeps as they are written:
// none with an exponent, no negative zero.
func plainNumbers(s string) bool {
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"':
			for i++; i < len(s) && s[i] != '"'; i++ {
				if s[i] == '\\' {
					i++
				}
			}
		case (c == 'e' || c == 'E') && i > 0 && s[i-1] >= '0' && s[i-1] <= '9':
			return false
		case c == '-' && i+1 < len(s) && s[i+1] == '0':
			return false
		}
	}
	return true
}

func canonicalUUID(s string) bool {
	if len(s) != 36 {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if i == 8 || i == 13 || i == 18 || i == 23 {
			if c != '-' {
				return false
			}
		} else if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// keyText is a given key value as the database will show it. Types that may
// show it in another way are asked (see exactKey).
func keyText(c *column, v record.Value) string {
	switch c.base {
	case "bpchar":
		return strings.TrimRight(v.Text, " ")
	case "uuid":
		return strings.ToLower(v.Text)
	}
	return v.Text
}

// exactKey reports whether keyText is certain to be what the database shows.
func exactKey(c *column) bool {
	switch c.base {
	case "int2", "int4", "int8", "text", "varchar", "bpchar", "bool", "date":
		return true
	}
	return false
}
