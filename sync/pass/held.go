package pass

import (
	"context"
	"fmt"
	"slices"

	"github.com/cespare/xxhash/v2"

	"github.com/tandem-sync/tandem/channels"
	"github.com/tandem-sync/tandem/store"
	"github.com/tandem-sync/tandem/sync/record"
)

// print is the fingerprint of what a record is judged by: its mapped values and
// the mapping. A record that did not get as far is known by its text, one that
// could not even be read by what was wrong.
func (pl *planner) print(it *item) string {
	m := pl.s.C.Manual
	switch {
	case it.remote != nil:
		return fmt.Sprintf("v%016x", uint64(it.hash))
	case it.rec.Values != nil:
		return fmt.Sprintf("v%016x", uint64(m.Hash(it.rec.Values)))
	}
	d := xxhash.New()
	_, _ = fmt.Fprintf(d, "%d\x00", m.Version()) // a digest takes everything
	if len(it.rec.Raw) > 0 {
		_, _ = d.Write(it.rec.Raw)
		return fmt.Sprintf("r%016x", d.Sum64())
	}
	if it.rec.Err == nil {
		return ""
	}
	_, _ = d.WriteString(it.rec.Err.Error())
	return fmt.Sprintf("e%016x", d.Sum64())
}

// loadSkips looks up which records of a batch a person skipped.
func (pl *planner) loadSkips(ctx context.Context, recs []*record.Record) error {
	if !pl.s.skips || pl.s.in.Run.Spec.Flags.Force {
		return nil
	}
	ids := make([]string, len(recs))
	for i, r := range recs {
		ids[i] = r.ID
	}
	var err error
	pl.skipped, err = pl.tx.SkippedPrints(ctx, pl.s.C.ID, ids)
	return err
}

// held leaves a record out that a person skipped and that is as it was then.
// With other data, or under another mapping, the skip holds no longer.
func (pl *planner) held(it *item) bool {
	prints := pl.skipped[it.rec.ID]
	switch {
	case len(prints) == 0:
		return false
	case slices.Contains(prints, pl.print(it)):
		pl.skip(it, "skipped")
		return true
	}
	if it.rec.ID != "" {
		pl.p.unskip = append(pl.p.unskip, it.rec.ID)
	}
	return false
}

// gone notes that a record no longer exists: nothing of it waits any more.
func (pl *planner) gone(id string) {
	if id != "" && (pl.s.parked.Load() || pl.s.skips) {
		pl.p.gone = append(pl.p.gone, id)
	}
}

// settled notes that a record was dealt with: what is parked of it is done.
func (pl *planner) settled(id string) {
	if id != "" && pl.s.parked.Load() {
		pl.p.unpark = append(pl.p.unpark, id)
	}
}

// bookParked writes what a batch means for the ledger.
func (s *slice) bookParked(ctx context.Context, tx *store.Tx, p *plan) error {
	if len(p.park) > 0 {
		s.parked.Store(true)
		if _, err := tx.Park(ctx, p.park); err != nil {
			return err
		}
	}
	if err := tx.ResolveRecords(ctx, s.C.ID, p.gone, store.ResolvedGone); err != nil {
		return err
	}
	if s.skips {
		if err := tx.EndSkips(ctx, s.C.ID, append(p.unskip, p.gone...)); err != nil {
			return err
		}
	}
	if !s.parked.Load() {
		return nil
	}
	return tx.ResolveRecords(ctx, s.C.ID, p.unpark, store.ResolvedRetried)
}

// unseen asks, after a complete listing, for the parked records that it did not
// name: those that are gone need nobody any more. One that is still there stays
// parked: the listing leaves it out, so it is none of ours to create.
func (s *slice) unseen(ctx context.Context, getter channels.Getter) (bool, error) {
	for after := int64(0); s.parked.Load(); {
		var heads []store.ParkedHead
		err := s.DB.Read(ctx, func(ctx context.Context, tx *store.Tx) (err error) {
			heads, err = tx.UnseenParked(ctx, s.C.ID, s.in.Run.ID, after, getChunk)
			return err
		})
		if err != nil {
			return false, err
		}
		if len(heads) == 0 {
			break
		}
		ids := make([]string, len(heads))
		for i, h := range heads {
			ids[i], after = h.RemoteID, h.ID
		}
		if err := s.readGone(ctx, getter, ids); err != nil {
			return false, err
		}
		if s.expired() {
			return false, nil
		}
	}
	next := s.pos
	next.After = ""
	next.Stage = stageGuard
	return true, s.advance(ctx, next, nil)
}

// readGone asks for records by id and writes down which of them no longer exist.
func (s *slice) readGone(ctx context.Context, getter channels.Getter, ids []string) error {
	at := s.now().UnixMilli()
	recs, err := getter.Get(ctx, s.C.Manual.RemotePaths(), ids)
	if err != nil {
		return err
	}
	recs = slices.DeleteFunc(recs, func(r record.Record) bool { return !r.Deleted })
	if len(recs) == 0 {
		return nil
	}
	if err := s.pipe.submit(ctx, &batch{recs: recs, readAt: at, next: s.pos, absent: true}); err != nil {
		return err
	}
	return s.pipe.flush(ctx)
}
