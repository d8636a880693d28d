// Package entities is the local side: it looks at the tables that users own,
// reads their rows and writes them in sets, together with the links that tie
// them to remote records.
//
// A table is described by Introspect, tied to a mapping by Table.Bind, read by
// the Binding and written by its Writer. A write never overwrites what it did
// not judge: updates and deletes compare the stored text of every mapped column
// with the text that was judged, and creates never touch a row that exists.
// Columns that are not mapped are never written.
package entities

import (
	"fmt"
	"strings"

	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/internal/spelling"
)

// ColumnDecl is a column of a table to create: its name and the type as the
// database spells it, defaults and constraints included.
type ColumnDecl struct {
	Name string
	Type string
}

// Spec declares an entity: which table, and how its rows are told apart.
type Spec struct {
	// Name is the entity's name, for messages.
	Name string
	// Table is "table" or "schema.table". A part in double quotes is taken as
	// it is; any other is looked up as written and then without regard to case.
	// The schema is PostgreSQL's; on SQLite it may only be "main".
	Table string
	// Key lists the columns that identify a row, in order. Empty: the table's
	// primary key.
	Key []string
	// Modified and Deleted name the columns with the time of the last change
	// and of a soft deletion; "" none. Modified is never written.
	Modified, Deleted string
	// Create lists the columns of a table to make when it is missing; empty:
	// a missing table is an error.
	Create []ColumnDecl
}

// name is a table's name as the database knows it. An empty schema is found by
// the search path.
type name struct {
	schema, table string
	quoted        bool // taken as it is, letter case included
}

func (n name) String() string {
	if n.schema == "" {
		return n.table
	}
	return n.schema + "." + n.table
}

// sql gives the quoted name.
func (n name) sql() string {
	if n.schema == "" {
		return quote(n.table)
	}
	return quote(n.schema) + "." + quote(n.table)
}

// quote makes an SQL identifier of any name, for both databases.
func quote(s string) string { return `"` + strings.ReplaceAll(s, `"`, `""`) + `"` }

// quoteAll quotes and joins names with commas.
func quoteAll(names []string) string {
	q := make([]string, len(names))
	for i, n := range names {
		q[i] = quote(n)
	}
	return strings.Join(q, ", ")
}

// literal makes an SQL string literal. It holds for PostgreSQL's
// standard_conforming_strings and for SQLite.
func literal(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }

// parseName takes a configured table name apart.
func parseName(s string) (name, error) {
	var parts []string
	quoted := false
	for rest := s; ; {
		part, tail, q, ok := cutPart(rest)
		if !ok {
			return name{}, configError("table %q is not a table name (want table, schema.table or \"quoted\" parts)", s)
		}
		parts, quoted = append(parts, part), quoted || q
		if tail == "" {
			break
		}
		rest = tail[1:]
	}
	switch len(parts) {
	case 1:
		return name{table: parts[0], quoted: quoted}, nil
	case 2:
		return name{schema: parts[0], table: parts[1], quoted: quoted}, nil
	}
	return name{}, configError("table %q has more than two parts (want schema.table)", s)
}

// cutPart takes one part off the front; tail is "" or begins with a dot.
func cutPart(s string) (part, tail string, quoted, ok bool) {
	if !strings.HasPrefix(s, `"`) {
		i := strings.IndexByte(s, '.')
		if i < 0 {
			i = len(s)
		}
		part = s[:i]
		return part, s[i:], false, part != "" && !strings.ContainsAny(part, "\"\x00") && s[i:] != "."
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		if s[i] != '"' {
			b.WriteByte(s[i])
			continue
		}
		if i+1 < len(s) && s[i+1] == '"' {
			b.WriteByte('"')
			i++
			continue
		}
		tail = s[i+1:]
		good := b.Len() > 0 && !strings.Contains(b.String(), "\x00") && (tail == "" || tail[0] == '.' && len(tail) > 1)
		return b.String(), tail, true, good
	}
	return "", "", true, false
}

// configError is a Permanent error with code config.
func configError(format string, args ...any) *fault.Error {
	return fault.New(fault.Permanent, fault.CodeConfig, "", format, args...)
}

// nearest gives the candidate closest to s when it is close enough to be meant,
// else "".
func nearest(s string, candidates []string) string {
	best, bestD := "", max(2, len(s)/3)+1
	for _, c := range candidates {
		if d := spelling.Distance(strings.ToLower(s), strings.ToLower(c)); d < bestD {
			best, bestD = c, d
		}
	}
	return best
}

// missing words the error about a name that is not there, with the nearest one.
func missing(what, wanted, in string, candidates []string) error {
	e := configError("%s %q does not exist%s", what, wanted, in)
	if n := nearest(wanted, candidates); n != "" {
		return e.WithHint(fmt.Sprintf("did you mean %q?", n))
	}
	if len(candidates) > 0 && len(candidates) <= 20 {
		return e.WithHint("there are: " + strings.Join(candidates, ", "))
	}
	return e
}
