package entities

import (
	"context"

	"github.com/tandem-sync/tandem/store"
	"github.com/tandem-sync/tandem/sync/record"
)

// Columns reads columns that need not be mapped, by key and name: what a scope
// looks at. Values are the database's own text, numbers and booleans by their
// kind. Rows that do not exist are absent; a column that does not exist is a
// configuration error.
func (b *Binding) Columns(ctx context.Context, tx *store.Tx, cols, keys []string) (map[string]map[string]record.Value, error) {
	out := make(map[string]map[string]record.Value, len(keys))
	part := &Binding{t: b.t, m: b.m, deleted: -1, modified: -1, keys: b.keys}
	for _, name := range cols {
		i, err := b.t.need("column of the scope", name)
		if err != nil {
			return nil, wrap(b.t.Spec, err)
		}
		part.fields = append(part.fields, i)
	}
	part.list = part.selectList()
	rows, err := part.Load(ctx, tx, keys)
	for _, r := range rows {
		vals := make(map[string]record.Value, len(cols))
		for i, name := range cols {
			vals[name] = b.t.cols[part.fields[i]].natural(r.Values[i])
		}
		out[r.Key] = vals
	}
	return out, err
}

// natural gives a raw value its kind, so that an expression sees numbers and
// booleans and not their texts.
func (c *column) natural(v record.Value) record.Value {
	if v.Kind != record.Text {
		return v
	}
	switch c.base {
	case "int2", "int4", "int8", "numeric", "float4", "float8":
		return record.N(v.Text)
	case "bool":
		return record.B(v.Text == "t" || v.Text == "true")
	}
	return v
}
