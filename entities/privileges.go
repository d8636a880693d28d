package entities

import (
	"context"
	"fmt"
	"regexp"
	"strings"

	"github.com/lib/pq"

	"github.com/tandem-sync/tandem/store"
)

// nextval finds the sequence in a default; the name comes as a literal.
var nextval = regexp.MustCompile(`nextval\(('(?:[^']|'')+')::regclass\)`)

// Use says what a connector does to the rows of its table.
type Use struct {
	Create, Update, Remove bool
}

// Lacking names the privileges that the use needs and the database's user does
// not have, each with the statement that gives it. On SQLite there are none.
func (b *Binding) Lacking(ctx context.Context, tx *store.Tx, use Use) (missing, grants []string, err error) {
	if b.t.dialect == store.SQLite {
		return nil, nil, nil
	}
	var user string
	if err := tx.GetContext(ctx, &user, "SELECT current_user"); err != nil {
		return nil, nil, wrap(b.t.Spec, err)
	}
	read, write := b.touched()
	marks := b.deleted >= 0
	for _, p := range []struct {
		name    string
		needed  bool
		columns []string
	}{
		{"SELECT", true, read},
		{"INSERT", use.Create, write},
		{"UPDATE", use.Update || use.Remove && marks, write},
		{"DELETE", use.Remove && !marks, nil},
	} {
		if !p.needed {
			continue
		}
		ok, err := b.may(ctx, tx, p.name, p.columns)
		if err != nil {
			return nil, nil, wrap(b.t.Spec, err)
		}
		if !ok {
			missing = append(missing, p.name+" on "+b.t.full())
			grants = append(grants, fmt.Sprintf("GRANT %s ON %s TO %s", p.name, b.t.sql(), quote(user)))
		}
	}
	for i, k := range b.keys {
		seq := nextval.FindStringSubmatch(b.t.cols[k].def)
		if !use.Create || seq == nil || b.makers[i] == Given {
			continue
		}
		var ok bool
		if err := tx.GetContext(ctx, &ok, "SELECT has_sequence_privilege("+seq[1]+", 'USAGE')"); err != nil {
			return nil, nil, wrap(b.t.Spec, err)
		}
		if !ok {
			name := strings.ReplaceAll(strings.Trim(seq[1], "'"), "''", "'")
			missing = append(missing, "USAGE on sequence "+name)
			grants = append(grants, fmt.Sprintf("GRANT USAGE ON SEQUENCE %s TO %s", name, quote(user)))
		}
	}
	return missing, grants, nil
}

// touched gives the columns that are read and those that are written.
func (b *Binding) touched() (read, write []string) {
	for n, f := range b.fields {
		if b.inward[n] {
			write = append(write, b.t.cols[f].Name)
		} else {
			read = append(read, b.t.cols[f].Name)
		}
	}
	if b.deleted >= 0 {
		write = append(write, b.t.cols[b.deleted].Name)
	}
	for _, s := range b.set {
		write = append(write, b.t.cols[s].Name)
	}
	read = append(read, write...)
	for _, k := range b.keys {
		read = append(read, b.t.cols[k].Name)
	}
	return read, write
}

// may asks whether the user has a privilege on the table or on every column.
func (b *Binding) may(ctx context.Context, tx *store.Tx, privilege string, columns []string) (ok bool, err error) {
	if len(columns) == 0 {
		err = tx.GetContext(ctx, &ok, "SELECT has_table_privilege($1::oid, $2)", b.t.oid, privilege)
		return ok, err
	}
	err = tx.GetContext(ctx, &ok, `SELECT has_table_privilege($1::oid, $2)
		OR (SELECT bool_and(has_column_privilege($1::oid, c, $2)) FROM unnest($3::text[]) c)`, b.t.oid, privilege, pq.StringArray(columns))
	return ok, err
}
