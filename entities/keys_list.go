package entities

import (
	"context"
	"strings"

	"github.com/tandem-sync/tandem/store"
)

// Keys lists the table's keys in the order of the key columns, at most limit of
// them, after the given key; "" begins. Rows marked as deleted are among them,
// rows whose key has a NULL are not, nor are, on SQLite, those with a blob in a
// key column of another type. limit must be above 1.
func (b *Binding) Keys(ctx context.Context, tx *store.Tx, after string, limit int) ([]string, error) {
	return b.listKeys(ctx, tx, after, limit, nil, "")
}

// Unlinked lists, as Keys does, the rows that the connector knows nothing of:
// without a link and without a tombstone. Rows marked as deleted are not among
// them.
func (b *Binding) Unlinked(ctx context.Context, tx *store.Tx, connectorID int64, after string, limit int) ([]string, error) {
	key := b.t.keySQL("t")
	if b.t.dialect == store.Postgres {
		key = "(" + key + `) COLLATE "C"`
	}
	// Two conditions, because the index of linked keys does not hold tombstones,
	// which are few.
	const known = "NOT EXISTS (SELECT 1 FROM tandem_link l WHERE l.connector_id = ? AND l.local_key = "
	where := known + key + " AND l.state = 0) AND " + known + key + " AND l.state <> 0) AND NOT " + b.gone()
	return b.listKeys(ctx, tx, after, limit, []any{connectorID, connectorID}, where)
}

// listKeys runs a keyset query; where uses ? for args.
func (b *Binding) listKeys(ctx context.Context, tx *store.Tx, after string, limit int, args []any, where string) ([]string, error) {
	q := "SELECT " + b.keyList() + " FROM " + b.t.sql() + " t"
	var conds []string
	if where != "" {
		conds = append(conds, where)
	}
	if null := b.t.keyIsNull("t"); null != "" {
		conds = append(conds, "NOT ("+null+")")
	}
	conds = append(conds, b.noBlobs()...)
	order, beyond := b.keyOrder()
	if after != "" {
		kp, err := DecodeKey(after, len(b.keys))
		if err != nil {
			return nil, wrap(b.t.Spec, err)
		}
		conds = append(conds, beyond)
		for _, p := range kp {
			args = append(args, p)
		}
	}
	if len(conds) > 0 {
		q += " WHERE " + strings.Join(conds, " AND ")
	}
	q += " ORDER BY " + order + " LIMIT ?"
	args = append(args, limit)
	var out []string
	err := b.eachKey(ctx, tx, tx.Rebind(q), args, 0, func(key string, _ []any) { out = append(out, key) })
	return out, wrap(b.t.Spec, err)
}

// keyList reads the key parts.
func (b *Binding) keyList() string {
	s := make([]string, len(b.keys))
	for i, k := range b.keys {
		s[i] = b.t.cols[k].read(b.t.dialect)
	}
	return strings.Join(s, ", ")
}

// keyOrder is the order of the key columns and the condition to come after a key
// whose parts are parameters.
func (b *Binding) keyOrder() (order, beyond string) {
	var cols, params []string
	for _, k := range b.keys {
		c := &b.t.cols[k]
		q, p := "t."+quote(c.Name), "?"
		switch {
		case b.t.dialect == store.Postgres:
			p = c.as("?::text")
		case c.base == "blob":
			// Without an affinity, the text of a number is no number.
			q = "(" + keySQLite("t", []*column{c}) + ")"
		}
		cols, params = append(cols, q), append(params, p)
	}
	order = strings.Join(cols, ", ")
	return order, "(" + order + ") > (" + strings.Join(params, ", ") + ")"
}

// noBlobs leaves out keys whose text names no row on SQLite: a blob in a column
// for texts or numbers.
func (b *Binding) noBlobs() []string {
	var out []string
	for _, k := range b.keys {
		if c := &b.t.cols[k]; b.t.dialect == store.SQLite && c.base != "blob" && c.base != rowidBase {
			out = append(out, "typeof(t."+quote(c.Name)+") <> 'blob'")
		}
	}
	return out
}

// eachKey runs a query whose columns are the key parts and more others.
func (b *Binding) eachKey(ctx context.Context, tx *store.Tx, q string, args []any, more int, fn func(key string, rest []any)) error {
	rows, err := tx.QueryContext(ctx, q, args...)
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }() // rows.Err says what went wrong
	n := len(b.keys)
	cells, dest, parts := make([]any, n+more), make([]any, n+more), make([]string, n)
	for i := range cells {
		dest[i] = &cells[i]
	}
	for rows.Next() {
		if err := rows.Scan(dest...); err != nil {
			return err
		}
		for i := range parts {
			parts[i] = cell(cells[i]).Text
		}
		fn(EncodeKey(parts), cells[n:])
	}
	return rows.Err()
}
