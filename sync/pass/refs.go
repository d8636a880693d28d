package pass

import (
	"context"

	"github.com/tandem-sync/tandem/store"
	"github.com/tandem-sync/tandem/sync/mapping"
	"github.com/tandem-sync/tandem/sync/record"
)

// references are the pairs of other connectors' records that a batch refers to:
// a field that holds the key of a row here holds the id of its record there.
type references struct {
	// of is, per reference of the manual, the connector whose links translate it.
	of []int64
	// local and remote are, per connector, the keys by remote id and the other
	// way round.
	local, remote map[int64]map[string]string
}

func newReferences(of []int64) *references {
	return &references{of: of, local: map[int64]map[string]string{}, remote: map[int64]map[string]string{}}
}

func (r *references) add(connector int64, links []store.LinkHead) {
	if r.local[connector] == nil {
		r.local[connector], r.remote[connector] = map[string]string{}, map[string]string{}
	}
	for _, l := range links {
		if l.State == store.Linked {
			r.local[connector][l.RemoteID] = l.LocalKey
			r.remote[connector][l.LocalKey] = l.RemoteID
		}
	}
}

// loadIn looks up the records that values in the remote's terms refer to, as
// Manual.ToLocal gives them.
func (r *references) loadIn(ctx context.Context, tx *store.Tx, m *mapping.Manual, rows [][]record.Value) error {
	for i, ref := range m.Refs() {
		ids := texts(rows, ref.Field)
		heads, err := tx.LinkHeads(ctx, r.of[i], ids)
		if err != nil {
			return err
		}
		r.add(r.of[i], heads)
	}
	return nil
}

// loadOut looks up the records of the rows that local values refer to.
func (r *references) loadOut(ctx context.Context, tx *store.Tx, m *mapping.Manual, rows [][]record.Value) error {
	for i, ref := range m.Refs() {
		links, err := tx.LinksByLocal(ctx, r.of[i], texts(rows, ref.Field))
		if err != nil {
			return err
		}
		heads := make([]store.LinkHead, len(links))
		for k := range links {
			heads[k] = links[k].LinkHead
		}
		r.add(r.of[i], heads)
	}
	return nil
}

func texts(rows [][]record.Value, field int) []string {
	var out []string
	for _, vals := range rows {
		if v := vals[field]; !v.Empty() {
			out = append(out, v.Text)
		}
	}
	return out
}

// toLocal puts keys of rows in the place of remote ids. A reference to a record
// that is not linked becomes Absent, and waits says so: the field waits, the
// record goes on.
func (r *references) toLocal(m *mapping.Manual, vals []record.Value) (waits bool) {
	for i, ref := range m.Refs() {
		v := vals[ref.Field]
		if v.Empty() {
			continue
		}
		key, ok := r.local[r.of[i]][v.Text]
		if !ok {
			vals[ref.Field], waits = record.Value{}, true
			continue
		}
		vals[ref.Field] = m.RefLocal(ref.Field, key)
	}
	return waits
}

// toRemote is the way back: vals are local values on their way to
// Manual.ToRemote.
func (r *references) toRemote(m *mapping.Manual, vals []record.Value) (waits bool) {
	for i, ref := range m.Refs() {
		v := vals[ref.Field]
		if v.Empty() {
			continue
		}
		id, ok := r.remote[r.of[i]][v.Text]
		if !ok {
			vals[ref.Field], waits = record.Value{}, true
			continue
		}
		vals[ref.Field] = record.T(id)
	}
	return waits
}

// refsOut prepares the references of a batch on its way out.
func (x *exporter) refsOut(ctx context.Context, b *outBatch) error {
	m := x.C.Manual
	refs := newReferences(x.C.RefConnectors)
	var rows [][]record.Value
	for i := range b.items {
		if it := &b.items[i]; it.fate == fateOpen {
			it.out, it.refs = it.local, refs
			if len(m.Refs()) > 0 {
				it.out = append([]record.Value(nil), it.local...)
			}
			rows = append(rows, it.out)
		}
	}
	if len(m.Refs()) == 0 || len(rows) == 0 {
		return nil
	}
	err := x.DB.Read(ctx, func(ctx context.Context, tx *store.Tx) error { return refs.loadOut(ctx, tx, m, rows) })
	if err != nil {
		return err
	}
	for i := range b.items {
		if it := &b.items[i]; it.fate == fateOpen {
			it.waits = refs.toRemote(m, it.out)
		}
	}
	return nil
}
