package pass

import (
	"context"
	"fmt"
	"strconv"

	"github.com/tandem-sync/tandem/channels"
	"github.com/tandem-sync/tandem/entities"
	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/store"
	"github.com/tandem-sync/tandem/sync/record"
)

// unlinked finds the rows of records seen for the first time, alternative by
// alternative, and creates what none of them finds.
func (pl *planner) unlinked(ctx context.Context, items []item) error {
	if len(items) == 0 {
		return nil
	}
	m := pl.s.C.Manual
	n := m.Len()
	pl.expect(len(items))
	slab := make([]record.Value, n*len(items))
	open := items[:0]
	for i := range items {
		it := items[i]
		it.local = slab[i*n : (i+1)*n : (i+1)*n]
		var err error
		if it.waits, err = pl.toLocal(it.rec, it.local); err != nil {
			pl.parkRecord(&it, reasonOf(err), err)
			continue
		}
		if !pl.hook(channels.AfterMapping, &it, it.local, nil) {
			continue
		}
		open = append(open, it)
	}
	taken := map[string]string{} // identity -> remote id, within this batch
	for alt := range m.Match() {
		var err error
		if open, err = pl.match(ctx, alt, open, taken); err != nil {
			return err
		}
	}
	for i := range open {
		pl.create(&open[i], nil)
	}
	return nil
}

// match links what one alternative finds and returns what is still open.
func (pl *planner) match(ctx context.Context, alt int, items []item, taken map[string]string) ([]item, error) {
	cols := pl.s.C.Manual.Match()[alt]
	prefix := strconv.Itoa(alt) + ":"
	var ask, open []item
	var identities [][]record.Value
	for i := range items {
		it := items[i]
		id, ok := pl.s.C.Manual.Identity(alt, it.local)
		if !ok {
			open = append(open, it)
			continue
		}
		id = prefix + id
		pl.p.identities = append(pl.p.identities, id)
		if other, dup := taken[id]; dup {
			pl.duplicate(&it, fmt.Sprintf("has the same %s as remote record %s", pl.columns(cols), other))
			continue
		}
		taken[id] = it.rec.ID
		if !pl.sure && !pl.s.fresh.mayBeTaken(id) {
			open = append(open, it)
			continue
		}
		ask = append(ask, it)
		identities = append(identities, pick(it.local, cols))
	}
	if len(ask) == 0 {
		return open, nil
	}
	found, err := pl.s.C.Local.Match(ctx, pl.tx, cols, identities)
	if err != nil {
		return nil, err
	}
	owners, err := pl.owners(ctx, found)
	if err != nil {
		return nil, err
	}
	rows := map[string]entities.Row{}
	for _, list := range found {
		for _, r := range list {
			rows[r.Key] = r
		}
	}
	if err := pl.loadRows(ctx, rows); err != nil {
		return nil, err
	}
	for i := range ask {
		if pl.adopt(&ask[i], cols, found[i], owners) {
			continue
		}
		open = append(open, ask[i])
	}
	return open, nil
}

// owners gives the links of candidate rows by local key.
func (pl *planner) owners(ctx context.Context, found [][]entities.Row) (map[string]store.Link, error) {
	var keys []string
	for _, rows := range found {
		for _, r := range rows {
			keys = append(keys, r.Key)
		}
	}
	owners := map[string]store.Link{}
	if len(keys) == 0 {
		return owners, nil
	}
	links, err := pl.tx.LinksByLocal(ctx, pl.s.C.ID, keys)
	for _, l := range links {
		if l.State == store.Linked {
			owners[l.LocalKey] = l
		}
	}
	return owners, err
}

// adopt links the record to the one free row its identity names. More than one
// row, or a row that belongs to another record, is for a person to settle.
func (pl *planner) adopt(it *item, cols []int, rows []entities.Row, owners map[string]store.Link) bool {
	switch {
	case len(rows) == 0:
		return false
	case len(rows) > 1:
		pl.parkRecord(it, "ambiguous_match", fault.New(fault.Permanent, "ambiguous_match", "match",
			"%d local rows or more have the same %s", len(rows), pl.columns(cols)))
		return true
	}
	if owner, ok := owners[rows[0].Key]; ok {
		pl.duplicate(it, fmt.Sprintf("has the same %s as local row %s, which belongs to remote record %s",
			pl.columns(cols), rows[0].Key, owner.RemoteID))
		return true
	}
	pl.p.locals = append(pl.p.locals, rows[0].Key)
	pl.judgePair(it, &store.Link{}, rows[0])
	return true
}

func (pl *planner) duplicate(it *item, why string) {
	pl.parkRecord(it, "duplicate_identity", fault.New(fault.Permanent, "duplicate_identity", "match", "remote record %s %s", it.rec.ID, why))
}

func (pl *planner) columns(cols []int) string {
	names := ""
	for i, c := range cols {
		if i > 0 {
			names += " and "
		}
		names += pl.s.C.Manual.Fields()[c].Local
	}
	return names
}

func pick(vals []record.Value, cols []int) []record.Value {
	out := make([]record.Value, len(cols))
	for i, c := range cols {
		out[i] = vals[c]
	}
	return out
}

// create plans a new row, or says why there is none. old is the tombstone of a
// pair whose record came back.
func (pl *planner) create(it *item, old *store.Link) {
	if !pl.s.C.Create {
		pl.skip(it, "create_off")
		return
	}
	if it.local == nil {
		it.local = make([]record.Value, pl.s.C.Manual.Len())
		var err error
		if it.waits, err = pl.toLocal(it.rec, it.local); err != nil {
			pl.parkRecord(it, reasonOf(err), err)
			return
		}
	}
	if _, missing := pl.s.C.Manual.RequiredMissing(it.local); missing {
		pl.skip(it, "required")
		return
	}
	if !pl.hook(channels.BeforeWriting, it, nil, it.local) {
		return
	}
	_, set := pl.s.C.Manual.SetLocal()
	c := entities.Change{Op: entities.OpInsert, New: it.local, Set: set, NewLink: old == nil}
	if old != nil {
		c.Link = *old
	}
	c.Link.ConnectorID, c.Link.RemoteID = pl.s.C.ID, it.rec.ID
	c.Link.Hash, c.Link.ReadAt, c.Link.State = unsettled(it.hash, it.waits), pl.readAt, store.Linked
	agreed := pl.agreedRemote(it)
	if len(it.waits) > 0 { // also for the base that is made anew of what was stored
		agreed = withhold(agreed, nil, it.waits)
		it.remote = agreed
	}
	c.Link.Base = pl.encodeBase(it.local, agreed)
	pl.change(it, c)
}
