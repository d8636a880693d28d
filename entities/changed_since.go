package entities

import (
	"context"
	"strings"
	"time"

	"github.com/tandem-sync/tandem/store"
	"github.com/tandem-sync/tandem/sync/mapping"
)

// Touched is a row that says it was modified.
type Touched struct {
	Key      string
	Modified time.Time
}

// ChangedSince lists rows in the order of (modified, key), at most limit of
// them, that come after the given pair; the zero time begins. A row without a
// time is never among them. Times are exact to the microsecond, on SQLite to the
// millisecond unless they are whole numbers; pass on what came back.
//
// A transaction that commits late may bring an earlier time than one that was
// seen already: ask again from a little earlier. Rows that were removed, and
// changes that leave the modified column as it is, are not seen.
func (b *Binding) ChangedSince(ctx context.Context, tx *store.Tx, after time.Time, afterKey string, limit int) ([]Touched, error) {
	if err := b.t.OrdersByTime(); err != nil {
		return nil, err
	}
	out, err := b.changedSince(ctx, tx, after, afterKey, limit)
	return out, wrap(b.t.Spec, err)
}

// OrdersByTime is nil when the entity's modified column can say what changed
// since a time; else an error with code config.
func (t *Table) OrdersByTime() error {
	i, err := t.findModified()
	switch {
	case err != nil:
		return wrap(t.Spec, err)
	case i < 0:
		return wrap(t.Spec, configError("capture: modified needs the entity's modified column").
			WithHint("name it: modified: updated_at"))
	case t.dialect == store.SQLite:
		return nil
	}
	switch t.cols[i].base {
	case "timestamp", "timestamptz", "int4", "int8":
		return nil
	}
	return wrap(t.Spec, configError("modified column %q is of type %s, which does not order by time", t.cols[i].Name, t.cols[i].Native).
		WithHint("use a column of type timestamptz, or capture: triggers"))
}

// moment is how the modified column is ordered and compared.
type moment struct {
	expr  string              // its value, comparable with param
	param string              // the marker of a time
	bind  func(time.Time) any // a time as its parameter
	read  func(any) time.Time // and back
	also  string              // a condition that an index can serve; "" none
	early any                 // the parameter of also
}

func (b *Binding) changedSince(ctx context.Context, tx *store.Tx, after time.Time, afterKey string, limit int) ([]Touched, error) {
	m, found, err := b.moment(ctx, tx, after)
	if err != nil || !found {
		return nil, err
	}
	order, _ := b.keyOrder()
	conds, args := []string{m.expr + " IS NOT NULL"}, []any(nil)
	if null := b.t.keyIsNull("t"); null != "" {
		conds = append(conds, "NOT ("+null+")")
	}
	conds = append(conds, b.noBlobs()...)
	if !after.IsZero() {
		cond, err := b.beyondMoment(m, after, afterKey, &args)
		if err != nil {
			return nil, err
		}
		conds = append(conds, cond)
		if m.also != "" {
			conds, args = append(conds, m.also), append(args, m.early)
		}
	}
	q := "SELECT " + b.keyList() + ", " + m.expr + " FROM " + b.t.sql() + " t WHERE " + strings.Join(conds, " AND ") +
		" ORDER BY " + m.expr + ", " + order + " LIMIT ?"
	var out []Touched
	err = b.eachKey(ctx, tx, tx.Rebind(q), append(args, limit), 1, func(key string, rest []any) {
		if at := m.read(rest[0]); !at.IsZero() {
			out = append(out, Touched{Key: key, Modified: at})
		}
	})
	return out, err
}

// beyondMoment is the condition to come after (time, key).
func (b *Binding) beyondMoment(m moment, after time.Time, afterKey string, args *[]any) (string, error) {
	at := m.bind(after)
	*args = append(*args, at)
	if afterKey == "" {
		return m.expr + " >= " + m.param, nil
	}
	kp, err := DecodeKey(afterKey, len(b.keys))
	if err != nil {
		return "", err
	}
	_, beyond := b.keyOrder()
	*args = append(*args, at, at)
	for _, p := range kp {
		*args = append(*args, p)
	}
	// The first condition is what an index serves.
	return m.expr + " >= " + m.param + " AND (" + m.expr + " > " + m.param + " OR " + m.expr + " = " + m.param + " AND " + beyond + ")", nil
}

// moment finds out how the column keeps its times; found is false when no row
// has one.
func (b *Binding) moment(ctx context.Context, tx *store.Tx, after time.Time) (m moment, found bool, err error) {
	c := &b.t.cols[b.modified]
	q := "t." + quote(c.Name)
	if b.t.dialect == store.Postgres && c.Type == mapping.TypeDatetime {
		return moment{
			expr: q, param: "?::text::" + c.cast, read: cellTime,
			bind: func(t time.Time) any { return t.UTC().Format("2006-01-02 15:04:05.999999Z07:00") },
		}, true, nil
	}
	plus := ""
	if b.t.dialect == store.SQLite {
		plus = "+" // as column.read does
	}
	var last any
	if err := tx.QueryRowContext(ctx, "SELECT max("+plus+q+") FROM "+b.t.sql()+" t").Scan(&last); err != nil || last == nil {
		return m, false, err
	}
	if n, whole := isInt64(cell(last).Text); whole {
		unit := unitOf(n)
		return moment{
			expr: q, param: "?", read: cellTime,
			bind: func(t time.Time) any { return t.UnixNano() / unit },
		}, true, nil
	}
	return b.momentSQLite(q, after), true, nil
}

// unitOf tells by its size how many nanoseconds a number counts; as timeOfNumber
// does.
func unitOf(n int64) int64 {
	switch {
	case n < 1e11:
		return int64(time.Second)
	case n < 1e14:
		return int64(time.Millisecond)
	case n < 1e17:
		return int64(time.Microsecond)
	}
	return 1
}

// sqliteMoment is how SQLite's own functions write a time.
const sqliteMoment = "2006-01-02 15:04:05.000"

// momentSQLite brings texts of any form, fractions of a day and of seconds to
// one comparable text.
func (b *Binding) momentSQLite(q string, after time.Time) moment {
	const form = "'%Y-%m-%d %H:%M:%f'"
	expr := "CASE WHEN typeof(" + q + ") = 'text' THEN strftime(" + form + ", " + q + ") WHEN " + q + " < 2524593.5 THEN strftime(" + form + ", " + q + ")" +
		" WHEN " + q + " < 1e11 THEN strftime(" + form + ", " + q + ", 'unixepoch') ELSE strftime(" + form + ", " + q + " / 1000.0, 'unixepoch') END"
	return moment{
		expr: "(" + expr + ")", param: "?", read: cellTime,
		bind: func(t time.Time) any { return t.UTC().Format(sqliteMoment) },
		// A text begins with its day, in a zone at most a day away; numbers come
		// before all texts.
		also: "(" + q + " >= ? OR " + q + " < '')", early: after.Add(-24 * time.Hour).UTC().Format("2006-01-02"),
	}
}

// HasModified reports whether the entity names a modified column, so that
// Row.Modified may tell a time.
func (b *Binding) HasModified() bool { return b.modified >= 0 }
