package pass

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/tandem-sync/tandem/channels"
	"github.com/tandem-sync/tandem/entities"
	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/store"
	"github.com/tandem-sync/tandem/sync/judge"
	"github.com/tandem-sync/tandem/sync/mapping"
	"github.com/tandem-sync/tandem/sync/record"
)

// judgeBoth decides the fields of a pair whose values travel to the remote, too.
// What the remote wins is written here and now. What the local side wins is put
// on the list of what has to go out, with the remote's value settled: it counts
// as seen, so that it does not come back.
func (pl *planner) judgeBoth(it *item, link *store.Link, row entities.Row) {
	m := pl.s.C.Manual
	n := m.Len()
	slab := make([]record.Value, 4*n)
	want, local, there, out := slab[:n:n], slab[n:2*n:2*n], slab[2*n:3*n:3*n], slab[3*n:]
	waits, err := pl.toLocal(it.rec, want)
	if err == nil {
		err = m.CanonLocal(row.Values, local)
	}
	if err == nil {
		err = pl.toRemote(local, there)
	}
	if err != nil {
		pl.parkRecord(it, reasonOf(err), err)
		return
	}
	if !pl.hook(channels.AfterMapping, it, want, nil) || !pl.hook(channels.BeforeJudging, it, local, nil) {
		return
	}
	base := baseOf(link, n)
	if base.local == nil {
		base = pl.sentBase(row.Key, it.remote, local, there)
	}
	dirty := pl.dirty[row.Key]
	changed := row.Modified
	if len(dirty.Times) > 0 { // only marked says nothing of when
		changed = later(changed, dirty.At)
	}
	var dec judge.Decision
	pl.s.C.Rules.Record(&judge.Sheet{
		Local: local, LocalThere: there, Remote: it.remote, RemoteThere: want, BaseLocal: base.local, BaseRemote: base.remote,
		LocalAt: changed, LocalFieldAt: fieldTimes(m, &dirty),
		RemoteAt: it.rec.Modified, RemoteFieldAt: it.rec.ChangedAt, Skew: time.Duration(pl.s.remoteSkew.Load()),
	}, &dec)
	it.local, it.remote = dec.Local, dec.Remote
	writes, tells := false, false
	for f := range dec.Verdicts {
		v := &dec.Verdicts[f]
		switch {
		case v.WriteLocal:
			out[f] = v.Base.Local
			writes = true
			pl.note(it, f, local[f], want[f], v)
		case v.WriteRemote:
			tells = true
			hold(it, f, base)
			if v.Conflict {
				pl.note(it, f, local[f], want[f], v)
			}
		case v.Winner == judge.WinUnresolved:
			pl.p.disputed = append(pl.p.disputed, pl.dispute(it, f, row.Key, local[f], want[f], base))
			pl.note(it, f, local[f], want[f], v)
		default:
			if v.Reason == judge.ReasonRequired {
				pl.note(it, f, local[f], want[f], v)
			}
			pl.p.agreed = append(pl.p.agreed, store.ConflictKey{LocalKey: row.Key, Field: m.Fields()[f].Local})
		}
	}
	if !pl.decided(it, local, out, &writes) {
		return
	}
	it.lost += int64(dec.Conflicts)
	if tells {
		pl.p.tell = append(pl.p.tell, row.Key)
	}
	next := *link
	next.Hash, next.ReadAt, next.State = unsettled(it.hash, waits), pl.readAt, store.Linked
	next.Base = mapping.EncodeBase(it.local, it.remote)
	c := entities.Change{Op: entities.OpLink, Key: row.Key, New: out, Old: row.Values, Link: next, NewLink: link.RemoteID == ""}
	if writes {
		c.Op = entities.OpUpdate
	}
	if c.NewLink {
		c.Link.RemoteID, c.Link.LocalKey, c.Link.ConnectorID = it.rec.ID, row.Key, pl.s.C.ID
	}
	pl.change(it, c)
}

// hold leaves the local half of the base as it was, so that the local value
// still counts as a change and goes out; the remote half is settled.
func hold(it *item, f int, base halves) {
	it.local[f], it.remote[f] = record.Value{}, it.rec.Values[f]
	if base.local == nil {
		return
	}
	it.local[f] = base.local[f]
	if !it.remote[f].Has() {
		it.remote[f] = base.remote[f]
	}
}

// agreedRemote is the remote half of a new row's base. A field that the row does
// not get from the remote has no base: a row that knows nothing of it is no
// edit that clears it there.
func (pl *planner) agreedRemote(it *item) []record.Value {
	if pl.s.C.Rules == nil {
		return it.remote
	}
	out := append([]record.Value(nil), it.remote...)
	for f := range out {
		if !it.local[f].Has() {
			out[f] = record.Value{}
		}
	}
	return out
}

// note keeps what a decision replaces, or would.
func (pl *planner) note(it *item, f int, local, want record.Value, v *judge.Verdict) {
	it.fields = append(it.fields, store.FieldChange{
		Field: pl.s.C.Manual.Fields()[f].Local, Old: jsonOf(local), New: jsonOf(want), Winner: v.Winner.Side(), Reason: v.Reason,
	})
}

// dispute is a field that waits for a person.
func (pl *planner) dispute(it *item, f int, key string, local, want record.Value, base halves) store.Conflict {
	c := store.Conflict{
		ChannelID: pl.s.C.ChannelID, ConnectorID: pl.s.C.ID, Connector: pl.s.C.Name, LocalKey: key, RemoteID: it.rec.ID,
		Field: pl.s.C.Manual.Fields()[f].Local, Local: jsonOf(local), Remote: jsonOf(want), RunID: pl.s.in.Run.ID,
		Seen: mapping.EncodeBase([]record.Value{local}, []record.Value{it.rec.Values[f]}),
	}
	if at := changedAt(it.rec, f); !at.IsZero() {
		c.RemoteAt = &at
	}
	if at := pl.dirty[key].At; !at.IsZero() {
		c.LocalAt = &at
	}
	if base.local != nil {
		c.Base = jsonOf(base.local[f])
	}
	return c
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// toLocal is Manual.ToLocal with references translated. waits are the fields
// whose record is not linked yet: absent, and to be looked at again.
func (pl *planner) toLocal(rec *record.Record, dst []record.Value) (waits []int, err error) {
	m := pl.s.C.Manual
	if err := m.ToLocal(rec, dst); err != nil || pl.refs == nil {
		return nil, err
	}
	for _, ref := range m.Refs() {
		if !dst[ref.Field].Empty() {
			waits = append(waits, ref.Field)
		}
	}
	pl.refs.toLocal(m, dst)
	return slices.DeleteFunc(waits, func(f int) bool { return dst[f].Has() }), nil
}

// withhold gives the remote half of a base without the fields that wait: what
// base says of them stays, so that they count as changed once they can be told.
func withhold(remote, base []record.Value, waits []int) []record.Value {
	if len(waits) == 0 {
		return remote
	}
	out := slices.Clone(remote)
	for _, f := range waits {
		out[f] = record.Value{}
		if base != nil {
			out[f] = base[f]
		}
	}
	return out
}

// unsettled is the hash of a pair of which fields wait: another than the
// record's, so that it is judged again when it is read again.
func unsettled(hash int64, waits []int) int64 {
	if len(waits) > 0 {
		return hash ^ 1
	}
	return hash
}

// toRemote is Manual.ToRemote with references translated.
func (pl *planner) toRemote(local, dst []record.Value) error {
	if pl.refs == nil {
		return pl.s.C.Manual.ToRemote(local, dst)
	}
	out := append([]record.Value(nil), local...)
	pl.refs.toRemote(pl.s.C.Manual, out)
	return pl.s.C.Manual.ToRemote(out, dst)
}

// loadRefs looks up the records that the batch refers to.
func (pl *planner) loadRefs(ctx context.Context, items []item) error {
	m := pl.s.C.Manual
	if len(m.Refs()) == 0 {
		return nil
	}
	if pl.refs == nil {
		pl.refs = newReferences(pl.s.C.RefConnectors)
	}
	var rows [][]record.Value
	for i := range items {
		vals := make([]record.Value, m.Len())
		if m.ToLocal(items[i].rec, vals) == nil {
			rows = append(rows, vals)
		}
	}
	return pl.refs.loadIn(ctx, pl.tx, m, rows)
}

// loadRows looks up what a judgement needs to know of local rows beside their
// values: when they changed, and the records that they refer to.
func (pl *planner) loadRows(ctx context.Context, rows map[string]entities.Row) error {
	if pl.s.C.Rules == nil || len(rows) == 0 {
		return nil
	}
	keys := make([]string, 0, len(rows))
	for k := range rows {
		keys = append(keys, k)
	}
	list, err := pl.tx.DirtyOf(ctx, pl.s.C.ID, keys)
	if err != nil {
		return err
	}
	if pl.dirty == nil {
		pl.dirty = map[string]store.Dirty{}
	}
	for _, d := range list {
		pl.dirty[d.LocalKey] = d
	}
	untaken, err := pl.tx.UntakenTimes(ctx, pl.s.C.Entity, pl.s.C.ID, keys)
	if err != nil {
		return err
	}
	for key, times := range untaken {
		d := pl.dirty[key]
		changedAlso(&d, times)
		pl.dirty[key] = d
	}
	if err := pl.loadIntents(ctx, keys); err != nil {
		return err
	}
	if pl.refs == nil {
		return nil
	}
	m := pl.s.C.Manual
	var vals [][]record.Value
	for _, r := range rows {
		local := make([]record.Value, m.Len())
		if m.CanonLocal(r.Values, local) == nil {
			vals = append(vals, local)
		}
	}
	return pl.refs.loadOut(ctx, pl.tx, m, vals)
}

// changedAlso adds changes to what is known of a row's: those that no relay has
// taken yet are changes all the same.
func changedAlso(d *store.Dirty, times map[string]time.Time) {
	all := make(map[string]time.Time, len(d.Times)+len(times))
	maps.Copy(all, d.Times)
	if len(d.Times) == 0 {
		d.At = time.Time{} // when it was marked is no time of change
	}
	for column, at := range times {
		all[column] = later(all[column], at)
		d.At = later(d.At, at)
	}
	d.Times = all
}

// edited reports whether a row holds something that the remote was never told.
func (pl *planner) edited(link *store.Link, row entities.Row) bool {
	m := pl.s.C.Manual
	local := make([]record.Value, m.Len())
	base := baseOf(link, m.Len())
	if pl.s.C.Rules == nil || base.local == nil || m.CanonLocal(row.Values, local) != nil {
		return false
	}
	for f := range local {
		if m.Fields()[f].ToRemote() && local[f] != base.local[f] {
			return true
		}
	}
	return false
}

// codeExporting says that rows are being exported just now.
const codeExporting = "exporting"

// leaveClaimed takes rows out of the plan that are being exported: what the
// remote holds of them is about to be something else. They are read again when
// that is over; a run that is about named records waits for it.
func (s *slice) leaveClaimed(ctx context.Context, tx *store.Tx, p *plan) error {
	if s.C.Rules == nil || len(p.changes) == 0 {
		return nil
	}
	keys := make([]string, 0, len(p.changes))
	for i := range p.changes {
		if k := p.changes[i].Key; k != "" {
			keys = append(keys, k)
		}
	}
	claimed, err := tx.ClaimedKeys(ctx, s.C.ID, keys)
	if err != nil || len(claimed) == 0 {
		return err
	}
	if s.targeted() {
		return fault.New(fault.RateLimited, codeExporting, "read", "%d of the records are being exported", len(claimed)).After(time.Second)
	}
	p.tell = slices.DeleteFunc(p.tell, func(k string) bool { return claimed[k] })
	p.disputed = slices.DeleteFunc(p.disputed, func(c store.Conflict) bool { return claimed[c.LocalKey] })
	p.changes = slices.DeleteFunc(p.changes, func(c entities.Change) bool {
		if c.Key == "" || !claimed[c.Key] {
			return false
		}
		it := &p.items[c.N]
		p.again = append(p.again, it.rec.ID)
		if !it.silent {
			p.add.Skipped++
		}
		return true
	})
	return nil
}

// bookTold writes what a batch means for the way back.
func (s *slice) bookTold(ctx context.Context, tx *store.Tx, p *plan) error {
	if s.C.Rules == nil || s.dry() {
		return nil
	}
	if _, err := tx.AddConflicts(ctx, p.disputed); err != nil {
		return err
	}
	if _, err := tx.SettleConflicts(ctx, s.C.ID, p.agreed); err != nil {
		return err
	}
	if err := tx.CloseIntents(ctx, s.C.ID, p.linked); err != nil {
		return err
	}
	_, err := tx.MarkDirty(ctx, s.C.ID, p.tell, dirtyJudged)
	return err
}
