package entities

import (
	"context"
	"strings"

	"github.com/tandem-sync/tandem/store"
)

// Ensure makes the entity's table when it is missing and the Spec says with
// which columns; the key becomes its primary key unless a column's type says so
// itself. It returns the statement it ran. A missing table without columns to
// create is left for Introspect to report.
func Ensure(ctx context.Context, tx *store.Tx, spec Spec) (created bool, sql string, err error) {
	n, err := parseName(spec.Table)
	if err != nil {
		return false, "", wrap(spec, err)
	}
	if len(spec.Create) == 0 {
		return false, "", nil
	}
	_, found, err := lookup(ctx, tx, n)
	if err != nil || found {
		return false, "", wrap(spec, err)
	}
	if sql, err = createSQL(tx.Dialect(), n, spec); err != nil {
		return false, "", wrap(spec, err)
	}
	if _, err = tx.ExecContext(ctx, sql); err != nil {
		return false, sql, wrap(spec, configError("create table %s: %w", n, err).
			WithHint("check the types under create: "+sql))
	}
	return true, sql, nil
}

// createSQL words the CREATE TABLE.
func createSQL(d store.Dialect, n name, spec Spec) (string, error) {
	if d == store.SQLite && n.schema == "main" {
		n.schema = ""
	}
	var b strings.Builder
	b.WriteString("CREATE TABLE " + n.sql() + " (")
	primary := false
	for i, c := range spec.Create {
		if c.Name == "" || strings.TrimSpace(c.Type) == "" {
			return "", configError("create: column %d of table %s has no name or no type", i+1, n)
		}
		if strings.ContainsAny(c.Type, ";") || strings.Contains(c.Type, "--") || strings.Contains(c.Type, "/*") {
			return "", configError("create: type %q of column %s is no type", shorten(c.Type), c.Name)
		}
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(quote(c.Name) + " " + c.Type)
		primary = primary || strings.Contains(strings.ToUpper(c.Type), "PRIMARY KEY")
	}
	if !primary {
		if len(spec.Key) == 0 {
			return "", configError("create: table %s has no key", n).
				WithHint("give the entity a key, or a column the type \"… primary key\"")
		}
		b.WriteString(", PRIMARY KEY (" + quoteAll(spec.Key) + ")")
	}
	b.WriteString(")")
	return b.String(), nil
}
