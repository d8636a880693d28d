package pass

import (
	"context"
	"time"

	"github.com/tandem-sync/tandem/channels"
	"github.com/tandem-sync/tandem/entities"
	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/store"
	"github.com/tandem-sync/tandem/sync/judge"
	"github.com/tandem-sync/tandem/sync/mapping"
	"github.com/tandem-sync/tandem/sync/record"
)

// codeStale says that a record was read at the same time by somebody else.
const codeStale = "stale"

// linked judges records whose pair is known and whose remote half differs from
// the base.
func (pl *planner) linked(ctx context.Context, items []item) error {
	if len(items) == 0 {
		return nil
	}
	pl.expect(len(items))
	links, rows, err := pl.pairs(ctx, items)
	if err != nil {
		return err
	}
	for i := range items {
		it := &items[i]
		link, ok := links[it.rec.ID]
		if !ok {
			// Gone since the heads were read: whoever removed it is newer.
			pl.p.again = append(pl.p.again, it.rec.ID)
			continue
		}
		if link.ReadAt > pl.readAt {
			if pl.s.targeted() && !pl.s.dry() {
				// A run for this very record would ask for the next one, at once.
				return fault.New(fault.RateLimited, codeStale, "read", "record %s was read again meanwhile", it.rec.ID).After(time.Second)
			}
			// Written from a read that began after ours: this copy is stale.
			pl.p.again = append(pl.p.again, it.rec.ID)
			pl.unchanged(&link.LinkHead)
			continue
		}
		if it.rec.OutOfScope {
			pl.leftScope(it, &link)
			continue
		}
		row, ok := rows[link.LocalKey]
		if !ok {
			pl.rowGone(it, link)
			continue
		}
		pl.judgePair(it, &link, row)
	}
	return nil
}

func (pl *planner) pairs(ctx context.Context, items []item) (map[string]store.Link, map[string]entities.Row, error) {
	ids := make([]string, len(items))
	keys := make([]string, len(items))
	for i := range items {
		ids[i], keys[i] = items[i].rec.ID, items[i].head.LocalKey
	}
	list, err := pl.tx.Links(ctx, pl.s.C.ID, ids)
	if err != nil {
		return nil, nil, err
	}
	links := make(map[string]store.Link, len(list))
	for _, l := range list {
		links[l.RemoteID] = l
	}
	rows, err := pl.rows(ctx, keys)
	if err != nil {
		return nil, nil, err
	}
	return links, rows, pl.loadRows(ctx, rows)
}

// rows loads local rows by key.
func (pl *planner) rows(ctx context.Context, keys []string) (map[string]entities.Row, error) {
	loaded, err := pl.s.C.Local.Load(ctx, pl.tx, keys)
	rows := make(map[string]entities.Row, len(loaded))
	for _, r := range loaded {
		rows[r.Key] = r
	}
	return rows, err
}

// rowGone settles a pair whose local row no longer exists. The remote record
// stays out of the table: a person removed the row. A pair that the remote
// had deleted and brought back starts anew. Where local deletions travel to the
// remote, that is left to the way out, which is told of it once more: a record
// that was edited in between is deleted all the same.
func (pl *planner) rowGone(it *item, link store.Link) {
	if link.State == store.RemoteDeleted {
		pl.create(it, &link)
		return
	}
	if pl.s.C.Rules != nil && pl.s.C.OnLocalDelete == DeleteRow && link.State == store.Linked {
		// The record is to be removed as well, and that is for the export to do:
		// once the pair is taken apart nobody would.
		pl.skip(it, "local_deleted")
		pl.p.tell = append(pl.p.tell, link.LocalKey)
		return
	}
	link.State = store.LocalDeleted
	link.ReadAt = pl.readAt
	pl.skip(it, "local_deleted")
	it.silent = true
	pl.change(it, entities.Change{Op: entities.OpLink, Key: link.LocalKey, Link: link})
}

// judgePair decides every field of a pair and plans the write.
func (pl *planner) judgePair(it *item, link *store.Link, row entities.Row) {
	if pl.s.C.Rules != nil {
		pl.judgeBoth(it, link, row)
		return
	}
	m := pl.s.C.Manual
	n := m.Len()
	slab := make([]record.Value, 3*n)
	want, local, out := slab[:n:n], slab[n:2*n:2*n], slab[2*n:]
	waits, err := pl.toLocal(it.rec, want)
	if err != nil {
		pl.parkRecord(it, reasonOf(err), err)
		return
	}
	if err := m.CanonLocal(row.Values, local); err != nil {
		pl.parkRecord(it, reasonOf(err), err)
		return
	}
	if !pl.hook(channels.AfterMapping, it, want, nil) || !pl.hook(channels.BeforeJudging, it, local, nil) {
		return
	}
	base, hasBase := pl.base(link, n)
	it.local = make([]record.Value, n)
	writes := false
	for f := range n {
		v := pl.field(it, f, fieldSides{want: want[f], local: local[f], remote: it.remote[f], base: base, hasBase: hasBase, modified: row.Modified})
		it.local[f] = local[f]
		switch {
		case v.Winner == judge.WinRemote:
			out[f] = want[f]
			it.local[f] = want[f]
			writes = true
		case v.Reason == "local_edit_held":
			it.local[f] = base.local[f]
		}
	}
	if !pl.decided(it, local, out, &writes) {
		return
	}
	it.remote = withhold(keepAbsent(it.remote, base.remote), base.remote, waits)
	next := *link
	next.Hash, next.ReadAt, next.State = unsettled(it.hash, waits), pl.readAt, store.Linked
	next.Base = pl.encodeBase(it.local, it.remote)
	c := entities.Change{Op: entities.OpLink, Key: row.Key, New: out, Old: row.Values, Link: next, NewLink: link.RemoteID == ""}
	if writes {
		c.Op = entities.OpUpdate
	}
	if c.NewLink {
		c.Link.RemoteID, c.Link.LocalKey, c.Link.ConnectorID = it.rec.ID, row.Key, pl.s.C.ID
	}
	pl.change(it, c)
}

// halves is a decoded base.
type halves struct{ local, remote []record.Value }

// base decodes a link's base. A pair without a usable one (new, brought back,
// or made under another mapping) is judged as a first link.
func (pl *planner) base(link *store.Link, n int) (halves, bool) {
	none := halves{make([]record.Value, n), make([]record.Value, n)}
	if link.Base == "" || link.State != store.Linked {
		return none, false
	}
	local, remote, err := mapping.DecodeBase(link.Base, n)
	if err != nil {
		return none, false
	}
	return halves{local, remote}, true
}

type fieldSides struct {
	want, local, remote record.Value
	base                halves
	hasBase             bool
	modified            time.Time // of the local row; zero unknown
}

// field judges field f and notes what it changes.
func (pl *planner) field(it *item, f int, s fieldSides) judge.Verdict {
	fld := &pl.s.C.Manual.Fields()[f]
	// A field mapped after the pair was linked has no base of its own.
	has := s.hasBase && (s.base.local[f].Has() || s.base.remote[f].Has())
	v := judge.ToLocal(pl.s.C.Conflict, judge.Claim{
		Local: s.local, Remote: s.want, HasBase: has,
		LocalChanged:  has && s.local != s.base.local[f],
		RemoteChanged: has && s.remote != s.base.remote[f],
		LocalAt:       s.modified, RemoteAt: changedAt(it.rec, f),
	})
	if v.Winner == judge.WinRemote {
		switch {
		case fld.On == mapping.OnCreate:
			v = judge.Verdict{Winner: judge.WinNone, Reason: "on_create"}
		case fld.On == mapping.OnEmpty && !s.local.Empty():
			v = judge.Verdict{Winner: judge.WinNone, Reason: "not_empty"}
		case fld.Required && s.want.Empty():
			v = judge.Verdict{Winner: judge.WinNone, Reason: "required"}
		}
	}
	if v.Conflict {
		it.lost++
	}
	if v.Winner == judge.WinRemote || v.Conflict || v.Reason == "required" {
		it.fields = append(it.fields, store.FieldChange{
			Field: fld.Local, Old: jsonOf(s.local), New: jsonOf(s.want), Winner: v.Winner.Side(), Reason: v.Reason,
		})
	}
	return v
}

// changedAt is when the remote's value of field f was set, as far as the remote
// says: the time of the field, else that of the record.
func changedAt(r *record.Record, f int) time.Time {
	if f < len(r.ChangedAt) && !r.ChangedAt[f].IsZero() {
		return r.ChangedAt[f]
	}
	return r.Modified
}

// keepAbsent leaves the base of fields the remote said nothing about.
func keepAbsent(remote, base []record.Value) []record.Value {
	var out []record.Value
	for i := range remote {
		if !remote[i].Has() && base[i].Has() {
			if out == nil {
				out = append([]record.Value(nil), remote...)
			}
			out[i] = base[i]
		}
	}
	if out == nil {
		return remote
	}
	return out
}
