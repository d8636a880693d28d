package entities

import (
	"context"
	"strconv"
	"strings"

	"github.com/tandem-sync/tandem/store"
	"github.com/tandem-sync/tandem/sync/record"
)

// insertSQLite makes rows, many per statement as long as all of them come in;
// else the step is repeated row by row.
func (a *apply) insertSQLite(ctx context.Context, lo, hi int) error {
	free := context.WithoutCancel(ctx)
	for p := lo; p < hi; {
		if err := ctx.Err(); err != nil {
			return err
		}
		cols, n := a.shapeSQLite(p, hi)
		if a.slow || a.rowwise {
			if err := a.insertOneSQLite(free, p, cols); err != nil {
				return err
			}
			p++
			continue
		}
		a.args = a.args[:0]
		for i := p; i < p+n; i++ {
			a.rowSQLite(i)
		}
		came, err := a.affected(free, a.insertTextSQLite(cols, n)+" ON CONFLICT DO NOTHING")
		if err != nil && !ofRecord(err) {
			return err
		}
		if err != nil || came != int64(n) {
			a.slow = true
			return errAgain
		}
		p += n
	}
	return nil
}

// shapeSQLite gives the columns of the row at p and how many rows from there
// have the same ones and fit into one statement.
func (a *apply) shapeSQLite(p, hi int) (cols []string, n int) {
	c, _ := a.at(p)
	for k, i := range a.b.keys {
		if by := a.b.makers[k]; by != Given && by != Trigger {
			cols = append(cols, a.b.t.cols[i].Name)
		}
	}
	for i := range a.b.fields {
		if c.New[i].Kind != record.Absent {
			cols = append(cols, a.b.col(i).Name)
		}
	}
	for _, i := range a.b.set {
		cols = append(cols, a.b.t.cols[i].Name)
	}
	most := max(1, chunk/max(1, len(cols)))
	for n = 1; n < most && p+n < hi; n++ {
		d, _ := a.at(p + n)
		for i := range c.New {
			if (c.New[i].Kind == record.Absent) != (d.New[i].Kind == record.Absent) {
				return cols, n
			}
		}
	}
	return cols, n
}

// rowSQLite appends the parameters of a new row.
func (a *apply) rowSQLite(p int) {
	c, _ := a.at(p)
	for k := range a.b.keys {
		if by := a.b.makers[k]; by != Given && by != Trigger {
			a.args = append(a.args, keyPartSQLite(a.keys[p], k, len(a.b.keys)))
		}
	}
	for i := range a.b.fields {
		if c.New[i].Kind != record.Absent {
			a.args = append(a.args, bindSQLite(a.b.col(i), c.New[i]))
		}
	}
	for n, i := range a.b.set {
		a.args = append(a.args, bindSQLite(&a.b.t.cols[i], c.Set[n]))
	}
}

func keyPartSQLite(key string, k, n int) any {
	if n > 1 {
		if parts, err := DecodeKey(key, n); err == nil {
			key = parts[k]
		}
	}
	if i, ok := isInt64(key); ok && strconv.FormatInt(i, 10) == key && n == 1 {
		return i // a text column makes it text again
	}
	return key
}

func (a *apply) insertTextSQLite(cols []string, rows int) string {
	if len(cols) == 0 {
		return "INSERT INTO " + a.b.t.sql() + " DEFAULT VALUES"
	}
	row := "(?" + strings.Repeat(", ?", len(cols)-1) + ")"
	return "INSERT INTO " + a.b.t.sql() + " (" + quoteAll(cols) + ") VALUES " + row + strings.Repeat(", "+row, rows-1)
}

// insertOneSQLite makes one row and settles it.
func (a *apply) insertOneSQLite(ctx context.Context, p int, cols []string) error {
	_, r := a.at(p)
	a.args = a.args[:0]
	a.rowSQLite(p)
	q := a.insertTextSQLite(cols, 1)
	n, err := int64(0), error(nil)
	if a.rowwise {
		n, err = a.insertAndAsk(ctx, p, q)
	} else {
		n, err = a.affected(ctx, q+" ON CONFLICT DO NOTHING")
	}
	if err == nil && n == 0 { // say which constraint it meets
		n, err = a.affected(ctx, q)
		if err == nil && n == 0 {
			r.Outcome, r.Err = Refused, badRecord("", "a trigger of table %s swallowed the new row", a.b.t.full())
		}
	}
	if ofRecord(err) {
		r.Outcome, r.Err = a.verdict(ctx, p, err)
		a.noteForeign(p, err)
		return nil
	}
	return err
}

// insertAndAsk makes a row whose key a trigger makes, and reads the key.
func (a *apply) insertAndAsk(ctx context.Context, p int, q string) (int64, error) {
	s, err := a.statement(ctx, q) //nolint:sqlclosecheck // closeStatements does
	if err != nil {
		return 0, err
	}
	res, err := s.ExecContext(ctx, a.args...)
	if err != nil {
		return 0, err
	}
	id, err := res.LastInsertId()
	if err != nil {
		return 0, err
	}
	cells, dest, parts := make([]any, len(a.b.keys)), make([]any, len(a.b.keys)), make([]string, len(a.b.keys))
	list := make([]string, len(a.b.keys))
	for k, i := range a.b.keys {
		dest[k], list[k] = &cells[k], a.b.t.cols[i].read(store.SQLite)
	}
	err = a.tx.QueryRowContext(ctx, "SELECT "+strings.Join(list, ", ")+" FROM "+a.b.t.sql()+" t WHERE t.rowid = ?", id).Scan(dest...)
	if err != nil {
		return 0, err
	}
	for k := range cells {
		parts[k] = cell(cells[k]).Text
	}
	a.keys[p] = EncodeKey(parts)
	return 1, nil
}

func (a *apply) noteForeign(p int, err error) {
	if sqliteExtended(err) == sqliteForeignKey {
		a.foreign = append(a.foreign, p)
	}
}
