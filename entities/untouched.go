package entities

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/tandem-sync/tandem/store"
	"github.com/tandem-sync/tandem/sync/mapping"
	"github.com/tandem-sync/tandem/sync/record"
)

// constant is a default whose value does not depend on when it is made: it calls
// nothing.
var constant = regexp.MustCompile(`(?i)^[^()]*$`)

var momentary = regexp.MustCompile(`(?i)\b(current_\w+|localtime\w*|session_user|user)\b`)

// Touched finds, of the rows of the given keys, those of which a column that the
// connector does not write holds something that a new row would not: its name is
// the value, by key. Columns that are made anew for each row (a key, a time, a
// computed value) tell nothing and are passed over.
func (b *Binding) Touched(ctx context.Context, tx *store.Tx, keys []string) (map[string]string, error) {
	out := map[string]string{}
	cond := b.differs()
	if len(cond) > 0 {
		part := &Binding{t: b.t, m: b.m, deleted: -1, modified: -1, keys: b.keys, fields: []int{b.keys[0]}}
		var s []string
		for _, i := range b.keys {
			s = append(s, b.t.cols[i].read(b.t.dialect))
		}
		part.list = strings.Join(append(s, "CASE "+strings.Join(cond, " ")+" END", "1 = 0", "NULL"), ", ")
		rows, err := part.Load(ctx, tx, keys)
		if err != nil {
			return nil, err
		}
		for _, r := range rows {
			if v := r.Values[0]; v.Has() && v.Text != "" {
				out[r.Key] = v.Text
			}
		}
	}
	return out, b.setTouched(ctx, tx, keys, out)
}

// differs are the cases in which a column is not at its default.
func (b *Binding) differs() []string {
	var cond []string
	for i := range b.t.cols {
		c := &b.t.cols[i]
		if c.Key || c.Generated || c.identity != 0 || i == b.modified || i == b.deleted || slices.Contains(b.fields, i) || slices.Contains(b.set, i) {
			continue
		}
		name := literal(c.Name)
		q := "t." + quote(c.Name)
		switch {
		case c.def == "":
			cond = append(cond, fmt.Sprintf("WHEN %s IS NOT NULL THEN %s", q, name))
		case !constant.MatchString(c.def) || momentary.MatchString(c.def):
		case b.t.dialect == store.SQLite:
			cond = append(cond, fmt.Sprintf("WHEN %s IS NOT (%s) THEN %s", q, c.def, name))
		default:
			cond = append(cond, fmt.Sprintf("WHEN %s::text IS DISTINCT FROM ((%s)::%s)::text THEN %s", q, c.def, c.full, name))
		}
	}
	return cond
}

// setTouched looks at the columns that are set on create.
func (b *Binding) setTouched(ctx context.Context, tx *store.Tx, keys []string, out map[string]string) error {
	cols, vals := b.m.SetLocal()
	if len(cols) == 0 {
		return nil
	}
	rows, err := b.Columns(ctx, tx, cols, keys)
	for key, row := range rows {
		for i, name := range cols {
			col, ok := b.t.Column(name)
			if ok && !sameSet(col, row[name], vals[i]) {
				out[key] = name
			}
		}
	}
	return err
}

// sameSet compares what a column holds with what it was set to.
func sameSet(col mapping.Column, held, set record.Value) bool {
	if held.Empty() || set.Empty() {
		return held.Kind == set.Kind
	}
	return col.Canon(held).Text == col.Canon(set).Text
}
