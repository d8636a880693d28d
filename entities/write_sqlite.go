package entities

import (
	"context"
	"database/sql"
	"encoding/hex"
	"strconv"
	"strings"

	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/sync/mapping"
	"github.com/tandem-sync/tandem/sync/record"
)

// chunk is how many parameters one insert of several rows has at most.
const chunk = 768

// startSQLite does what comes once per batch. The transaction holds the write
// lock, so what is read here stays true.
func (a *apply) startSQLite(ctx context.Context) error {
	triggers, err := a.b.t.triggersSQLite(ctx, a.tx)
	if err != nil {
		return err
	}
	a.onIns.any, a.onUpd.any = triggers, triggers
	if !triggers {
		if err := a.setOrigin(ctx); err != nil {
			return err
		}
	}
	a.cache = map[string]*sql.Stmt{}
	if a.bounds[classes] > a.bounds[classInsertNew] {
		return a.drawKeysSQLite(ctx)
	}
	return nil
}

// drawKeysSQLite gives new rows their keys: rowids above all that are used and
// apart from those that something is still to be told of, or one value of the
// default expression each.
func (a *apply) drawKeysSQLite(ctx context.Context) error {
	lo, hi := a.bounds[classInsertNew], a.bounds[classes]
	drawn := make([][]string, len(a.b.keys))
	for k, by := range a.b.makers {
		var err error
		switch by {
		case Rowid:
			drawn[k], err = a.rowids(ctx, hi-lo)
		case DefaultExpr, Sequence, GeneratedAlways:
			err = a.tx.SelectContext(ctx, &drawn[k], "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?) SELECT CAST(("+
				a.b.t.cols[a.b.keys[k]].def+") AS TEXT) FROM n", hi-lo)
		case Trigger:
			a.rowwise = true
		case NoKey, Given:
		}
		if err != nil {
			return err
		}
	}
	if a.rowwise {
		return nil
	}
	kp := make([]string, len(a.b.keys))
	for p := lo; p < hi; p++ {
		c, _ := a.at(p)
		for k := range kp {
			if drawn[k] != nil {
				kp[k] = drawn[k][p-lo]
			} else {
				kp[k] = a.b.giver(k, c).Text
			}
		}
		a.keys[p] = EncodeKey(kp)
	}
	return nil
}

func (a *apply) rowids(ctx context.Context, n int) ([]string, error) {
	q := "SELECT COALESCE(max(rowid), 0) FROM " + a.b.t.sql()
	if a.b.t.autoinc {
		q = "SELECT max((" + q + "), COALESCE((SELECT seq FROM sqlite_sequence WHERE name = " + literal(a.b.t.Name) + "), 0))"
	}
	var last int64
	if err := a.tx.GetContext(ctx, &last, q); err != nil {
		return nil, err
	}
	out := make([]string, 0, n)
	for len(out) < n {
		// A row that was removed a moment ago may not have been told of everywhere.
		end := last + int64(n-len(out))
		if end < last {
			return nil, fault.New(fault.Permanent, fault.CodeFailed, "", "the keys of %s are used up: the highest is %d", a.b.t.Name, last)
		}
		waiting, err := a.tx.WaitingKeys(ctx, last+1, end)
		if err != nil {
			return nil, err
		}
		for last < end {
			if last++; !waiting[last] {
				out = append(out, strconv.FormatInt(last, 10))
			}
		}
	}
	return out, nil
}

// stepSQLite writes the positions [lo, hi). A statement that fails leaves no
// trace on SQLite, so a bad row is found by itself.
func (a *apply) stepSQLite(ctx context.Context, lo, hi int) (err error) {
	free := context.WithoutCancel(ctx) // else the driver starts a goroutine per statement
	defer func() {
		if cerr := a.closeStatements(); err == nil {
			err = cerr
		}
	}()
	l, h := a.cut(lo, hi, classDelete, classDelete)
	for p := l; p < h && err == nil; p++ {
		err = a.judgedSQLite(free, p)
	}
	l, h = a.cut(lo, hi, classUpdateOld, classUpdateNew)
	for p := l; p < h && err == nil; p++ {
		err = a.judgedSQLite(free, p)
	}
	if err != nil {
		return err
	}
	if l, h = a.cut(lo, hi, classInsertNew, classInsertOld); l < h {
		if err := a.insertSQLite(ctx, l, h); err != nil {
			return err
		}
	}
	if err := a.checkDeferred(ctx, lo, hi); err != nil {
		return err
	}
	if err := a.readBack(ctx, lo, hi); err != nil {
		return err
	}
	return a.linksSQLite(free, lo, hi)
}

func (a *apply) closeStatements() error {
	var first error
	for q, s := range a.cache {
		if err := s.Close(); first == nil {
			first = err
		}
		delete(a.cache, q)
	}
	return first
}

// statement prepares a statement once per step.
func (a *apply) statement(ctx context.Context, q string) (*sql.Stmt, error) {
	if s, ok := a.cache[q]; ok {
		return s, nil
	}
	s, err := a.tx.PrepareContext(ctx, q)
	if err == nil {
		a.cache[q] = s
	}
	return s, err
}

// judgedSQLite updates or deletes one row if it is still what was judged.
func (a *apply) judgedSQLite(ctx context.Context, p int) error {
	c, r := a.at(p)
	var q strings.Builder
	a.args = a.args[:0]
	if !a.headSQLite(&q, c) {
		return nil
	}
	kp, err := DecodeKey(a.keys[p], len(a.b.keys))
	if err != nil {
		return err
	}
	for k, i := range a.b.keys {
		if k > 0 {
			q.WriteString(" AND ")
		}
		q.WriteString("t." + quote(a.b.t.cols[i].Name) + " = ?")
		a.args = append(a.args, kp[k])
	}
	for i := range a.b.fields {
		col := a.b.col(i)
		v, kind := nativeSQLite(col, c.Old[i])
		n := "t." + quote(col.Name)
		q.WriteString(" AND typeof(" + n + ") = ? AND " + n + " IS ? COLLATE BINARY")
		a.args = append(a.args, kind, v)
	}
	n, err := a.affected(ctx, q.String())
	switch {
	case ofRecord(err):
		r.Outcome, r.Err = a.verdict(ctx, p, err)
		a.noteForeign(p, err)
	case err != nil:
		return err
	case n == 0:
		r.Outcome = Missed
	}
	return nil
}

// headSQLite writes the statement up to WHERE; false when there is nothing to
// change.
func (a *apply) headSQLite(q *strings.Builder, c *Change) bool {
	switch {
	case c.Op == OpDelete && a.b.deleted < 0:
		q.WriteString("DELETE FROM " + a.b.t.sql() + " AS t WHERE ")
		return true
	case c.Op == OpDelete:
		q.WriteString("UPDATE " + a.b.t.sql() + " AS t SET " + quote(a.b.t.cols[a.b.deleted].Name) + " = " + a.b.mark() + " WHERE ")
		return true
	}
	q.WriteString("UPDATE " + a.b.t.sql() + " AS t SET ")
	for i := range a.b.fields {
		col := a.b.col(i)
		if c.New[i].Kind == record.Absent || col.Key {
			continue
		}
		if len(a.args) > 0 {
			q.WriteString(", ")
		}
		q.WriteString(quote(col.Name) + " = ?")
		a.args = append(a.args, bindSQLite(col, c.New[i]))
	}
	if len(a.args) == 0 { // nothing to set: the row only has to be as judged
		k := quote(a.b.t.Key[0])
		q.WriteString(k + " = t." + k)
	}
	q.WriteString(" WHERE ")
	return true
}

func (a *apply) affected(ctx context.Context, q string) (int64, error) {
	s, err := a.statement(ctx, q) //nolint:sqlclosecheck // closeStatements does
	if err != nil {
		return 0, err
	}
	res, err := s.ExecContext(ctx, a.args...)
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}

// bindSQLite gives a canonical value as the column's affinity keeps it best.
func bindSQLite(c *column, v record.Value) any {
	switch v.Kind {
	case record.Absent, record.Null:
		return nil
	case record.Bool:
		if c.base != "text" {
			if v.Text == "true" {
				return int64(1)
			}
			return int64(0)
		}
	case record.Number:
		if c.base == "text" {
			return v.Text
		}
		if i, ok := isInt64(v.Text); ok {
			return i
		}
		if f, err := strconv.ParseFloat(v.Text, 64); err == nil && digits(v.Text) <= 15 {
			return f
		}
	case record.Text:
		if c.Type == mapping.TypeDatetime && len(v.Text) > 19 && v.Text[10] == 'T' {
			// what SQLite's own datetime() writes
			return v.Text[:10] + " " + strings.TrimSuffix(v.Text[11:], "Z")
		}
	case record.JSON:
	}
	return v.Text
}

// nativeSQLite gives a raw value as it is stored, with its storage class.
func nativeSQLite(c *column, v record.Value) (any, string) {
	switch v.Kind {
	case record.Absent, record.Null:
		return nil, "null"
	case record.Number:
		if i, ok := isInt64(v.Text); ok {
			return i, "integer"
		}
		if f, err := strconv.ParseFloat(v.Text, 64); err == nil {
			return f, "real"
		}
	case record.Text, record.Bool, record.JSON:
		if h, ok := strings.CutPrefix(v.Text, `\x`); ok && c.base == "blob" {
			if b, err := hex.DecodeString(h); err == nil {
				return b, "blob"
			}
		}
	}
	return v.Text, "text"
}

// exactSQLite reports whether the column keeps the value so that it reads back
// as the same canonical value.
func exactSQLite(c *column, v record.Value) bool {
	switch v.Kind {
	case record.Number:
		if c.base == "text" {
			return true
		}
		if _, ok := isInt64(v.Text); ok && c.base != "real" {
			return true
		}
		return digits(v.Text) <= 15
	case record.JSON:
		return v.Text != "" && (v.Text[0] == '{' || v.Text[0] == '[')
	case record.Text:
		return c.base == "text" || c.base == "blob" || c.Type != mapping.TypeText && v.Text != "" && strings.ContainsAny(v.Text, "-:")
	case record.Absent, record.Null, record.Bool:
	}
	return true
}
