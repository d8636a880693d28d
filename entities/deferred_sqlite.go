package entities

import (
	"context"
	"errors"
	"strings"

	"github.com/tandem-sync/tandem/store"
)

// errDeferred is a foreign key that SQLite would only report at COMMIT, where
// it would cost the whole batch: SQLite cannot make such constraints immediate.
var errDeferred = errors.New("deferred FOREIGN KEY constraint failed")

// readDeferred gathers, for a table that declares deferred foreign keys, the
// condition of a row that breaks one of its foreign keys.
func (t *Table) readDeferred(ctx context.Context, tx *store.Tx) error {
	var rows []struct {
		ID     int    `db:"id"`
		Parent string `db:"parent"`
		From   string `db:"child"`
		To     string `db:"target"`
	}
	const q = `SELECT id, "table" AS parent, "from" AS child, COALESCE("to", (SELECT name FROM pragma_table_info(f."table") WHERE pk = f.seq + 1), '') AS target
		FROM pragma_foreign_key_list(?) f ORDER BY id, seq`
	if err := tx.SelectContext(ctx, &rows, q, t.Name); err != nil {
		return err
	}
	var broken []string
	for i := 0; i < len(rows); {
		var given, match []string
		first := i
		for ; i < len(rows) && rows[i].ID == rows[first].ID; i++ {
			given = append(given, "t."+quote(rows[i].From)+" IS NOT NULL")
			match = append(match, "p."+quote(rows[i].To)+" = t."+quote(rows[i].From))
		}
		broken = append(broken, "("+strings.Join(given, " AND ")+" AND NOT EXISTS (SELECT 1 FROM "+quote(rows[first].Parent)+" p WHERE "+strings.Join(match, " AND ")+"))")
	}
	t.broken = strings.Join(broken, " OR ")
	return nil
}

// checkDeferred looks whether a row that was just written breaks a deferred
// foreign key.
func (a *apply) checkDeferred(ctx context.Context, lo, hi int) error {
	if a.b.t.broken == "" {
		return nil
	}
	var keys []string
	for _, c := range [...][2]int{{classUpdateOld, classUpdateNew}, {classInsertNew, classInsertOld}} {
		l, h := a.cut(lo, hi, c[0], c[1])
		for p := l; p < h; p++ {
			if _, r := a.at(p); r.Outcome == Done {
				keys = append(keys, a.keys[p])
			}
		}
	}
	parts := a.b.possible(keys)
	if len(parts[0]) == 0 {
		return nil
	}
	q, args := a.b.loadSQLite("SELECT count(*) FROM ", parts)
	var n int
	if err := a.tx.GetContext(ctx, &n, q+" AND ("+a.b.t.broken+")", args...); err != nil {
		return err
	}
	if n > 0 {
		return errDeferred
	}
	return nil
}
