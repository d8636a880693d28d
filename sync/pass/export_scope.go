package pass

import (
	"context"
	"slices"

	"github.com/tandem-sync/tandem/store"
	"github.com/tandem-sync/tandem/sync/record"
)

// scopes brings the rows of a batch into canonical form and leaves out those
// that the connector's scope does not hold for. A linked row that left the scope
// is taken apart from its record.
func (x *exporter) scopes(ctx context.Context, b *outBatch) error {
	m := x.C.Manual
	for i := range b.items {
		it := &b.items[i]
		if it.row == nil {
			continue
		}
		it.local = make([]record.Value, m.Len())
		if err := m.CanonLocal(it.row.Values, it.local); err != nil {
			return err
		}
	}
	scope := m.ScopeLocal()
	if scope == nil {
		return nil
	}
	further, err := x.unmapped(ctx, b, scope.Names())
	if err != nil {
		return err
	}
	for i := range b.items {
		it := &b.items[i]
		if it.row == nil {
			continue
		}
		row := further[it.key]
		if row == nil {
			row = map[string]record.Value{}
		}
		for f, col := range m.LocalColumns() {
			row[col] = it.local[f]
		}
		ok, err := scope.Holds(row)
		switch {
		case err != nil:
			it.end(fateParked, reasonOf(err), err)
		case ok:
		case it.link != nil && it.link.State == store.Linked:
			it.link.State = store.Unlinked
			it.end(fateSettled, "out_of_scope", nil)
		default:
			it.end(fateSkipped, "out_of_scope", nil)
		}
	}
	return nil
}

// recordScopes finds out for which rows whose pairs were taken apart the remote's
// scope holds: what left the scope on one side may be back on both.
func (x *exporter) recordScopes(ctx context.Context, b *outBatch) error {
	scope := x.C.Manual.ScopeRemote()
	if scope == nil || x.getter == nil {
		return nil
	}
	at := map[string]*outItem{}
	var ids []string
	for i := range b.items {
		if it := &b.items[i]; it.fate == fateOpen && it.row != nil && it.link != nil && it.link.State == store.Unlinked {
			at[it.link.RemoteID] = it
			ids = append(ids, it.link.RemoteID)
		}
	}
	if len(ids) == 0 {
		return nil
	}
	paths := scopePaths(x.C.Manual)
	recs, err := x.getter.Get(ctx, paths, ids)
	if err != nil {
		return err
	}
	for i := range recs {
		r, it := &recs[i], at[recs[i].ID]
		if it == nil || r.Err != nil || r.Deleted || len(r.Values) < len(paths) {
			continue
		}
		vals := make(map[string]record.Value, len(paths))
		for k, path := range paths {
			vals[path] = r.Values[k]
		}
		if it.inScope, err = scope.Holds(vals); err != nil {
			it.end(fateParked, reasonOf(err), err)
		}
	}
	return nil
}

// unmapped reads the columns that the scope looks at and that are not mapped.
func (x *exporter) unmapped(ctx context.Context, b *outBatch, names []string) (map[string]map[string]record.Value, error) {
	var cols, keys []string
	for _, n := range names {
		if !slices.Contains(x.C.Manual.LocalColumns(), n) {
			cols = append(cols, n)
		}
	}
	if len(cols) == 0 {
		return nil, nil
	}
	for i := range b.items {
		if b.items[i].row != nil {
			keys = append(keys, b.items[i].key)
		}
	}
	var out map[string]map[string]record.Value
	err := x.DB.Read(ctx, func(ctx context.Context, tx *store.Tx) (err error) {
		out, err = x.C.Local.Columns(ctx, tx, cols, keys)
		return err
	})
	return out, err
}
