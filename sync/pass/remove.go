package pass

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/tandem-sync/tandem/channels"
	"github.com/tandem-sync/tandem/entities"
	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/store"
	"github.com/tandem-sync/tandem/sync/record"
)

// The mass-delete guard: deletions above the larger of a count and a share of
// the links wait for a person. A lost permission looks like a wave of deletions.
const (
	guardCount = 20
	guardShare = 20 // 1/20 = 5 %
)

// sweepLinks is how many links the sweep compares with what it has seen at a
// time. Of most of them only the number is read.
const sweepLinks = 10_000

// sweep walks the links that a complete listing did not name and asks the
// remote for each of them by id: 404 or 410 makes it a candidate for removal, an
// answer makes it an ordinary record.
func (s *slice) sweep(ctx context.Context) (bool, error) {
	getter, ok := s.C.Remote.(channels.Getter)
	if !ok {
		next := s.pos
		next.Stage = stageGuard
		return true, s.advance(ctx, next, nil)
	}
	for {
		missing, after, err := s.missing(ctx)
		if err != nil {
			return false, err
		}
		next := s.pos
		next.After = after
		if after == "" {
			return s.unseen(ctx, getter)
		}
		if err := s.read(ctx, getter, missing, next, true); err != nil {
			return false, err
		}
		if s.expired() {
			return false, nil
		}
	}
}

// missing gives up to a chunk of linked remote ids that were not seen, and the
// id up to which the links were walked; "" at their end.
func (s *slice) missing(ctx context.Context) (ids []string, after string, err error) {
	after = s.pos.After
	err = s.DB.Read(ctx, func(ctx context.Context, tx *store.Tx) error {
		for len(ids) < getChunk {
			live, last, err := tx.LiveLinks(ctx, s.C.ID, after, sweepLinks)
			switch {
			case err != nil:
				return err
			case last == "" && len(ids) == 0:
				after = ""
				return nil
			case last == "":
				return nil
			case s.seen.all(live):
				after = last
				continue
			}
			if ids, after, err = s.unnamed(ctx, tx, after, last, ids); err != nil {
				return err
			}
		}
		return nil
	})
	return ids, after, err
}

// unnamed adds to a chunk of remote ids the linked ones after one id and up to
// last that were not seen, and gives the id where it stopped.
func (s *slice) unnamed(ctx context.Context, tx *store.Tx, after, last string, ids []string) ([]string, string, error) {
	for {
		heads, err := tx.ScanLinks(ctx, s.C.ID, after, batchRecords)
		if err != nil || len(heads) == 0 {
			return ids, after, err
		}
		for _, h := range heads {
			after = h.RemoteID
			if h.State == store.Linked && !s.seen.has(uint64(h.ID)) {
				ids = append(ids, h.RemoteID)
			}
			if after == last || len(ids) == getChunk {
				return ids, after, nil
			}
		}
	}
}

// read gets records by id and writes them as a batch; next is the position
// after it. absent says that a record that is gone counts as deleted.
func (s *slice) read(ctx context.Context, getter channels.Getter, ids []string, next position, absent bool) error {
	at := s.now().UnixMilli()
	recs, err := getter.Get(ctx, s.paths, ids)
	if err != nil {
		return err
	}
	s.scope(recs)
	if err := s.pipe.submit(ctx, &batch{recs: recs, readAt: at, next: next, absent: absent}); err != nil {
		return err
	}
	return s.pipe.flush(ctx)
}

// guard weighs the deletions found: few go on, many are parked as one item that
// a person can approve.
func (s *slice) guard(ctx context.Context) error {
	next := s.pos
	next.After = ""
	next.Stage = stageRemove
	var n, links int64
	err := s.DB.Read(ctx, func(ctx context.Context, tx *store.Tx) error {
		var err error
		if n, err = tx.CountCandidates(ctx, s.owner()); err != nil || n <= guardCount {
			return err // so few go on, whatever their share
		}
		links, err = tx.CountLinks(ctx, s.C.ID)
		return err
	})
	switch {
	case err != nil:
		return err
	case n == 0 || s.C.OnRemoteDelete == DeleteIgnore:
		return s.finish(ctx)
	case n <= max(guardCount, links/guardShare):
		return s.advance(ctx, next, nil)
	}
	next.Stage = stageEnd
	return s.advance(ctx, next, func(ctx context.Context, tx *store.Tx) error {
		if err := s.parkMassDelete(ctx, tx, n, links); err != nil {
			return err
		}
		return s.watermark(ctx, tx)
	})
}

// parkMassDelete parks the deletions as one item; a dry run only says that it
// would.
func (s *slice) parkMassDelete(ctx context.Context, tx *store.Tx, n, links int64) error {
	if s.dry() {
		if err := tx.AddChanges(ctx, s.in.Run.ID, []store.Change{{
			Connector: s.C.Name, Side: "local", Op: "park", Fields: []store.FieldChange{{Reason: "mass_delete"}},
		}}); err != nil {
			return err
		}
		return tx.DropCandidates(ctx, s.owner())
	}
	body, err := json.Marshal(map[string]int64{"deletions": n, "links": links})
	if err != nil {
		return err
	}
	list := []store.Parked{{
		Kind: store.ParkedMassDelete, ChannelID: s.C.ChannelID, ConnectorID: s.C.ID, RunID: s.in.Run.ID,
		Reason: "mass_delete", Payload: body,
		Message: fmt.Sprintf("%d of %d linked records are gone from the remote, more than max(%d, 5 %%): nothing was removed; "+
			"check the remote's permissions, then approve with `tandem parked retry`", n, links, guardCount),
	}}
	if _, err := tx.Park(ctx, list); err != nil {
		return err
	}
	return tx.MoveCandidates(ctx, s.owner(), ParkedOwner(list[0].ID))
}

// ParkedOwner names the candidates of a parked mass_delete item.
func ParkedOwner(id int64) string { return fmt.Sprintf("parked/%d", id) }

// remove carries the deletions out, a batch at a time. Those that a person
// approved are asked for once more: some may have come back since.
func (s *slice) remove(ctx context.Context) (bool, error) {
	for {
		cands, err := s.nextCandidates(ctx)
		if err != nil {
			return false, err
		}
		if len(cands) == 0 {
			return true, s.finish(ctx)
		}
		next := s.pos
		next.After = cands[len(cands)-1].RemoteID
		gone, err := s.confirm(ctx, cands)
		if err != nil {
			return false, err
		}
		if err := s.removeBatch(ctx, gone, next); err != nil {
			return false, err
		}
		if s.expired() {
			return false, nil
		}
	}
}

func (s *slice) nextCandidates(ctx context.Context) (c []store.Candidate, err error) {
	err = s.DB.Read(ctx, func(ctx context.Context, tx *store.Tx) error {
		c, err = tx.Candidates(ctx, s.candidates(), s.pos.After, getChunk)
		return err
	})
	return c, err
}

// confirm asks again for approved deletions and returns what is really gone.
func (s *slice) confirm(ctx context.Context, cands []store.Candidate) ([]string, error) {
	ids := make([]string, len(cands))
	for i, c := range cands {
		ids[i] = c.RemoteID
	}
	getter, ok := s.C.Remote.(channels.Getter)
	if !s.pos.Approved || !ok {
		return ids, nil
	}
	recs, err := getter.Get(ctx, s.C.Manual.RemotePaths(), ids)
	if err != nil {
		return nil, err
	}
	gone := ids[:0]
	for _, r := range recs {
		if r.Deleted {
			gone = append(gone, r.ID)
		}
	}
	return gone, nil
}

// removeBatch removes the local rows of the given remote records by the
// connector's rule, in one transaction with the progress marker.
func (s *slice) removeBatch(ctx context.Context, ids []string, next position) error {
	ln, err := s.pipe.nextLane(ctx)
	if err != nil {
		return err
	}
	b := &batch{no: s.no, next: next, readAt: s.now().UnixMilli()}
	for try := 0; ; try++ {
		var p *plan
		p, err = s.planRemoval(ctx, ids, b.readAt)
		if err == nil {
			err = s.pipe.commit(ctx, b, p, ln, func() error { return nil })
		}
		if err == nil {
			s.pipe.committed(b, p)
			s.no++
			return nil
		}
		if try == maxRewrites || !passing(ctx, err) {
			return err
		}
	}
}

func (s *slice) planRemoval(ctx context.Context, ids []string, readAt int64) (*plan, error) {
	p := &plan{}
	if len(ids) == 0 {
		return p, nil
	}
	err := s.DB.Read(ctx, func(ctx context.Context, tx *store.Tx) error {
		pl := &planner{ctx: ctx, s: s, tx: tx, p: p, readAt: readAt, sure: true}
		return pl.removals(ctx, ids)
	})
	return p, err
}

func (pl *planner) removals(ctx context.Context, ids []string) error {
	links, err := pl.tx.Links(ctx, pl.s.C.ID, ids)
	if err != nil {
		return err
	}
	keys := make([]string, len(links))
	for i, l := range links {
		keys[i] = l.LocalKey
	}
	rows, err := pl.rows(ctx, keys)
	if err != nil {
		return err
	}
	for i := range links {
		l := links[i]
		if l.State != store.Linked {
			continue // done already
		}
		row, exists := rows[l.LocalKey]
		head := l.LinkHead // as it is, for the lock to compare
		it := &item{rec: &record.Record{ID: l.RemoteID}, head: &head}
		l.State, l.ReadAt = store.RemoteDeleted, pl.readAt
		c := entities.Change{Op: entities.OpLink, Key: l.LocalKey, Link: l}
		if !exists {
			pl.p.forget = append(pl.p.forget, l.RemoteID)
		}
		if exists && pl.s.C.OnRemoteDelete == DeleteRow && !pl.edited(&links[i], row) {
			c.Op, c.Old = entities.OpDelete, row.Values
		}
		pl.change(it, c)
	}
	return nil
}

// finish completes the slice: the watermark moves with it.
func (s *slice) finish(ctx context.Context) error {
	next := s.pos
	next.Stage = stageEnd
	return s.advance(ctx, next, func(ctx context.Context, tx *store.Tx) error {
		if err := tx.DropCandidates(ctx, s.candidates()); err != nil {
			return err
		}
		if id := s.in.Run.Spec.ApproveParked; id > 0 {
			if err := tx.ResolveParked(ctx, id, "approved"); err != nil {
				return err
			}
		}
		return s.watermark(ctx, tx)
	})
}

// named reads the records a request names, by remote id or through the links
// of local ids. It never moves the watermark and never takes a missing record
// for a deletion.
func (s *slice) named(ctx context.Context) (bool, error) {
	getter, ok := s.C.Remote.(channels.Getter)
	if !ok {
		return false, fault.New(fault.Permanent, fault.CodeUsage, "pass", "connector %s cannot read records by id", s.C.Name).
			WithHint("give the connector a remote.get, or sync without ids")
	}
	ids, err := s.namedIDs(ctx)
	if err != nil {
		return false, err
	}
	for s.pos.Index < len(ids) {
		end := min(s.pos.Index+getChunk, len(ids))
		next := s.pos
		next.Index = end
		if err := s.read(ctx, getter, ids[s.pos.Index:end], next, false); err != nil {
			return false, err
		}
		if s.expired() && end < len(ids) {
			return false, nil
		}
	}
	return true, s.finish(ctx)
}

func (s *slice) namedIDs(ctx context.Context) ([]string, error) {
	spec := s.in.Run.Spec
	ids := append([]string(nil), spec.RemoteIDs...)
	err := s.DB.Read(ctx, func(ctx context.Context, tx *store.Tx) error {
		now, err := tx.ResolveAliases(ctx, s.C.ID, ids)
		if err != nil {
			return err
		}
		for i, id := range ids {
			if to := now[id]; to != "" {
				ids[i] = to
			}
		}
		if len(spec.LocalIDs) == 0 {
			return nil
		}
		links, err := tx.LinksByLocal(ctx, s.C.ID, spec.LocalIDs)
		for _, l := range links {
			ids = append(ids, l.RemoteID)
		}
		return err
	})
	return ids, err
}
