package entities

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/tandem-sync/tandem/store"
)

// sqliteEvents are the events of the row triggers on SQLite.
var sqliteEvents = [...]struct{ suffix, event string }{{"_i", "INSERT"}, {"_u", "UPDATE"}, {"_d", "DELETE"}}

// origin of a change on SQLite: the row that store.Tx.SetOrigin writes.
const originSQLite = "(SELECT connector FROM " + store.OriginTable + "), (SELECT undo FROM " + store.OriginTable + ")"

// triggerSQLite words a trigger. An update without any watched column in it is
// still looked at, because a rowid has several names.
func (t *Table) triggerSQLite(entity, suffix, event string, watched []*column) string {
	head := "CREATE TRIGGER " + quote(captureName(entity)+suffix) + " AFTER " + event + " ON " + quote(t.Name)
	log := func(row, op, fields, also string) string {
		where := "(" + t.keySQL(row) + ") IS NOT NULL" + also
		return fmt.Sprintf("INSERT INTO %s (entity, local_key, op, fields, origin, undo) SELECT %s, %s, %s, %s, %s WHERE %s; ",
			store.ChangeLogTable, literal(entity), t.keySQL(row), literal(op), fields, originSQLite, where)
	}
	switch event {
	case "INSERT":
		return head + " BEGIN " + log("NEW", "u", "NULL", "") + "END"
	case "DELETE":
		return head + " BEGIN " + log("OLD", "d", "NULL", "") + "END"
	}
	differ := func(c *column) string {
		return "OLD." + quote(c.Name) + " IS NOT NEW." + quote(c.Name) + " COLLATE BINARY"
	}
	keys := make([]string, len(t.Key))
	for i, c := range t.keyColumns() {
		keys[i] = differ(c)
	}
	moved := "(" + strings.Join(keys, " OR ") + ")"
	when, fields := moved, "''"
	for _, c := range watched {
		when += " OR " + differ(c)
		fields += " || CASE WHEN " + differ(c) + " THEN " + literal(","+jsonString(c.Name)) + " ELSE '' END"
	}
	return head + " WHEN " + when + " BEGIN " + log("OLD", "d", "NULL", " AND "+moved) +
		log("NEW", "u", "CASE WHEN "+moved+" THEN NULL ELSE '[' || substr("+fields+", 2) || ']' END", "") + "END"
}

func (t *Table) captureSQLite(ctx context.Context, tx *store.Tx, entity string, cols []string) (CaptureState, error) {
	var s CaptureState
	watched, dropped := t.watched(cols)
	s.Dropped = dropped
	if t.kind == view || t.kind == virtual {
		s.Problems = append(s.Problems, t.full()+" is no ordinary table")
		return s, nil
	}
	for _, c := range t.keyColumns() {
		if c.base == "real" {
			s.Problems = append(s.Problems, fmt.Sprintf("key column %q is a floating-point number, whose text is not exact", c.Name))
		}
	}
	have, err := triggersNamed(ctx, tx, entity)
	if err != nil {
		return s, err
	}
	s.Installed = len(have) > 0
	missed := false
	for _, e := range sqliteEvents {
		want := t.triggerSQLite(entity, e.suffix, e.event, watched)
		name := captureName(entity) + e.suffix
		i := slices.IndexFunc(have, func(g sqliteTrigger) bool { return g.Name == name })
		switch {
		case i >= 0 && have[i].SQL == want:
			continue
		case i >= 0:
			s.Drift = append(s.Drift, fmt.Sprintf("the trigger %s was made for another mapping", name))
			s.SQL = append(s.SQL, "DROP TRIGGER "+quote(name))
			missed = missed || !strings.EqualFold(have[i].Table, t.Name)
		case s.Installed:
			s.Drift = append(s.Drift, fmt.Sprintf("%s of %s is not seen: its trigger is missing", e.event, t.full()))
			missed = true
		}
		s.SQL = append(s.SQL, want)
	}
	if missed {
		s.SQL = append(s.SQL, fmt.Sprintf("INSERT INTO %s (entity, local_key, op, origin, undo) VALUES (%s, '', 'r', 0, 0)", store.ChangeLogTable, literal(entity)))
	}
	return s, nil
}

type sqliteTrigger struct {
	Name  string `db:"name"`
	Table string `db:"tbl_name"`
	SQL   string `db:"sql"`
}

// triggersNamed lists the entity's triggers.
func triggersNamed(ctx context.Context, tx *store.Tx, entity string) ([]sqliteTrigger, error) {
	n := captureName(entity)
	var out []sqliteTrigger
	err := tx.SelectContext(ctx, &out, "SELECT name, tbl_name, sql FROM sqlite_schema WHERE type = 'trigger' AND name IN (?, ?, ?) ORDER BY name", n+"_i", n+"_u", n+"_d")
	return out, err
}

func removeSQLite(ctx context.Context, tx *store.Tx, entity string) (bool, error) {
	have, err := triggersNamed(ctx, tx, entity)
	for _, g := range have {
		if err == nil {
			_, err = tx.ExecContext(ctx, "DROP TRIGGER "+quote(g.Name))
		}
	}
	return err == nil && len(have) > 0, err
}
