package pass

import (
	"context"
	"errors"

	"github.com/cespare/xxhash/v2"

	"github.com/tandem-sync/tandem/channels"
	"github.com/tandem-sync/tandem/entities"
	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/internal/yield"
	"github.com/tandem-sync/tandem/store"
	"github.com/tandem-sync/tandem/sync/record"
)

// plan is what a batch will do: the order to the local side and everything that
// is booked beside it. It holds nothing that a repeat could not make again.
type plan struct {
	changes []entities.Change
	items   []item // by Change.N
	heads   []store.LinkHead
	add     store.Counters
	park    []store.Parked
	unpark  []string // records that work now
	gone    []string // records that no longer exist
	unskip  []string // records that are no longer as they were when a person skipped them
	cands   []store.Candidate
	lines   []store.Change
	again   []string // to be requested again by id
	seen    []uint64
	made    []uint64 // links of rows that were created
	others  []uint64
	// The way back: rows that have something to tell, fields that a person
	// decides and those that nobody has to any more.
	tell     []string
	forget   []string // records whose rows are removed with them
	disputed []store.Conflict
	agreed   []store.ConflictKey
	linked   []string // rows that a record was found for

	// What the batch touches, for telling whether two may be in flight at once.
	locals, identities []string
}

// item is a record on its way into a change.
type item struct {
	rec           *record.Record
	local, remote []record.Value // the halves of the base after the change
	fields        []store.FieldChange
	hash          int64
	head          *store.LinkHead // nil: not linked yet
	lost          int64           // conflicts in it
	silent        bool            // counted already
	waits         []int           // reference fields whose record is not linked yet
}

// planner plans records inside one transaction.
type planner struct {
	ctx    context.Context //nolint:containedctx // a planner lives as long as one call, and hooks take it
	s      *slice
	tx     *store.Tx
	p      *plan
	readAt int64
	// sure looks everything up, whatever the filters say: for records that met
	// something unexpected.
	sure bool
	// listing says that the records come from a listing that is read for the
	// first time, where none of them should come twice.
	listing bool
	// skipped has, by remote id, the fingerprints under which a person skipped
	// records of the batch.
	skipped map[string][]string
	// stop is a hook's wish to end the run.
	stop error
	// dirty has the local changes that wait to go out, by key; refs the records
	// that the batch refers to.
	dirty map[string]store.Dirty
	refs  *references
	// intents has creates whose outcome is not known, by the key of their row.
	intents map[string]*store.Intent

	bases   record.Arena
	scratch []byte
}

// plan looks a batch up on a connection of its own and judges it.
func (s *slice) plan(ctx context.Context, b *batch) (*plan, error) {
	if err := yield.Point(ctx, "plan.before_lookup"); err != nil {
		return nil, err
	}
	if err := s.rename(ctx, b); err != nil {
		return nil, err
	}
	var p *plan
	err := s.DB.Read(ctx, func(ctx context.Context, tx *store.Tx) error {
		p = &plan{}
		pl := &planner{
			ctx: ctx, s: s, tx: tx, p: p, readAt: b.readAt, sure: s.in.Run.Spec.Flags.Force,
			listing: b.next.Stage == stageList && !b.next.Repeated,
		}
		recs := b.fold()
		pl.repeats(len(recs) < len(b.recs))
		p.seen = make([]uint64, 0, len(recs))
		return pl.records(ctx, recs)
	})
	return p, err
}

// fold keeps one of several copies of a record in a batch: the one modified
// last, or the one read last. It is done once, however often the batch is
// planned.
func (b *batch) fold() []*record.Record {
	if b.at != nil {
		return b.folded
	}
	at := make(map[string]int, len(b.recs))
	out := make([]*record.Record, 0, len(b.recs))
	for i := range b.recs {
		r := &b.recs[i]
		if r.ID == "" {
			at[""] = -1
			out = append(out, r)
			continue
		}
		if k, ok := at[r.ID]; ok {
			if !r.Modified.Before(out[k].Modified) {
				out[k] = r
			}
			continue
		}
		at[r.ID] = len(out)
		out = append(out, r)
	}
	b.at, b.folded = at, out
	return out
}

func (pl *planner) records(ctx context.Context, recs []*record.Record) error {
	heads, err := pl.lookUp(ctx, recs)
	if err != nil {
		return err
	}
	if err := pl.loadSkips(ctx, recs); err != nil {
		return err
	}
	var linked, fresh []item
	if len(heads) == 0 {
		fresh = make([]item, 0, len(recs))
	}
	for _, r := range recs {
		head, ok := heads[r.ID]
		it := item{rec: r, head: head}
		if ok {
			pl.repeats(!pl.sure && pl.s.met(uint64(head.ID)))
		}
		if !pl.usable(&it) {
			continue
		}
		switch {
		case r.OutOfScope && (!ok || head.State != store.Linked):
			pl.skip(&it, "out_of_scope")
		case r.OutOfScope:
			linked = append(linked, it)
		case !ok:
			fresh = append(fresh, it)
		case head.State == store.Linked && head.Hash == it.hash && !pl.s.in.Run.Spec.Flags.Force:
			pl.unchanged(head)
		case head.State == store.Unlinked && pl.relinks():
			linked = append(linked, it)
		case head.State == store.Unlinked && pl.s.C.Rules != nil:
			pl.skip(&it, "unlinked")
			pl.p.tell = append(pl.p.tell, head.LocalKey)
		case head.State == store.LocalDeleted || head.State == store.Unlinked:
			pl.skip(&it, "local_deleted")
		default:
			linked = append(linked, it)
		}
	}
	if err := pl.loadRefs(ctx, append(linked[:len(linked):len(linked)], fresh...)); err != nil {
		return err
	}
	if err := pl.linked(ctx, linked); err != nil {
		return err
	}
	if err := pl.unlinked(ctx, fresh); err != nil {
		return err
	}
	return pl.stop
}

// relinks reports whether a pair that was taken apart is put together again when
// its record is read: it left the scope and is back, or there is no scope any more.
// Where the local side has a scope of its own, the way out looks after it, which is
// told.
func (pl *planner) relinks() bool { return pl.s.C.Manual.ScopeLocal() == nil }

// lookUp finds the links of the batch in one query, leaving out the ids that
// cannot have one.
func (pl *planner) lookUp(ctx context.Context, recs []*record.Record) (map[string]*store.LinkHead, error) {
	ids := make([]string, 0, len(recs))
	for _, r := range recs {
		if r.ID != "" && (pl.sure || pl.s.fresh.mayBeLinked(r.ID)) {
			ids = append(ids, r.ID)
		}
	}
	if len(ids) == 0 {
		return nil, nil
	}
	rows, err := pl.tx.LinkHeads(ctx, pl.s.C.ID, ids)
	if err != nil {
		return nil, err
	}
	heads := make(map[string]*store.LinkHead, len(rows))
	for i := range rows {
		heads[rows[i].RemoteID] = &rows[i]
	}
	return heads, nil
}

// usable deals with records that are no candidates for a comparison: broken
// ones and tombstones. For the rest it makes the canonical remote half and its
// hash.
func (pl *planner) usable(it *item) bool {
	r := it.rec
	switch {
	case r.Err != nil:
		if pl.held(it) {
			return false
		}
		pl.parkRecord(it, reasonOf(r.Err), r.Err)
		return false
	case r.Deleted:
		pl.tombstone(it)
		return false
	}
	if !pl.hook(channels.BeforeMapping, it, nil, nil) {
		return false
	}
	if err := pl.s.C.Manual.CanonRemote(r.Values); err != nil {
		if !pl.held(it) {
			pl.parkRecord(it, reasonOf(err), err)
		}
		return false
	}
	it.remote = r.Values
	it.hash = pl.s.C.Manual.Hash(r.Values)
	return !pl.held(it)
}

func (pl *planner) unchanged(h *store.LinkHead) {
	id := uint64(h.ID)
	if !pl.s.met(id) {
		pl.p.add.Unchanged++
	}
	pl.p.seen = append(pl.p.seen, id)
	pl.settled(h.RemoteID)
}

// tombstone notes a deletion that the remote reported. It is weighed with all
// others when the listing has ended. One for a record that is not linked says
// nothing new and counts nowhere; where a request named the record, it counts
// as skipped.
func (pl *planner) tombstone(it *item) {
	pl.gone(it.rec.ID)
	pl.follow(it)
	switch {
	case pl.s.targeted():
		pl.skip(it, "deleted")
		return
	case it.head == nil || it.head.State != store.Linked:
		return
	}
	pl.p.cands = append(pl.p.cands, store.Candidate{RemoteID: it.rec.ID, LocalKey: it.head.LocalKey})
	pl.p.seen = append(pl.p.seen, uint64(it.head.ID))
}

// skip leaves a record out and counts it once per run.
func (pl *planner) skip(it *item, reason string) {
	if !it.rec.Deleted {
		pl.settled(it.rec.ID)
	}
	if it.head != nil {
		if !pl.s.met(uint64(it.head.ID)) {
			pl.p.add.Skipped++
		}
		pl.p.seen = append(pl.p.seen, uint64(it.head.ID))
	} else if pl.once(it.rec.ID) {
		pl.p.add.Skipped++
	}
	pl.line(it, "skip", localKey(it), []store.FieldChange{{Reason: reason}})
}

// parkRecord keeps a record that cannot be used, with its reason.
func (pl *planner) parkRecord(it *item, reason string, err error) {
	if it.head != nil {
		pl.p.seen = append(pl.p.seen, uint64(it.head.ID))
	}
	if it.head != nil && !pl.s.met(uint64(it.head.ID)) || it.head == nil && pl.once(it.rec.ID) {
		pl.p.add.Parked++
	}
	kind := store.ParkedRecord
	switch reason {
	case "duplicate_identity", "ambiguous_match":
		kind = store.ParkedDuplicate
	case "write_refused":
		kind = store.ParkedRefused
	}
	pl.p.park = append(pl.p.park, store.Parked{
		Kind: kind, ChannelID: pl.s.C.ChannelID, ConnectorID: pl.s.C.ID, RunID: pl.s.in.Run.ID,
		LocalID: localKey(it), RemoteID: it.rec.ID, Reason: reason, Message: pl.s.clean(err.Error()),
		Payload: pl.s.received(it.rec), Answer: pl.s.said(err), Print: pl.print(it),
	})
	pl.line(it, "park", localKey(it), []store.FieldChange{{Reason: reason}})
}

// once reports whether a record without a link has not been counted yet. A
// record without an id always counts.
func (pl *planner) once(remoteID string) bool {
	if remoteID == "" {
		return true
	}
	h := xxhash.Sum64String(remoteID)
	if pl.s.seen.hasOther(h) {
		return false
	}
	pl.p.others = append(pl.p.others, h)
	return true
}

// met reports whether the run has dealt with this link before.
func (s *slice) met(id uint64) bool { return s.seen.has(id) }

// repeats notes a listing that names a record twice: it moved while we read,
// and another one may have slipped past us.
func (pl *planner) repeats(twice bool) {
	if twice && pl.listing {
		pl.s.twice.Store(true)
	}
}

func localKey(it *item) string {
	if it.head == nil {
		return ""
	}
	return it.head.LocalKey
}

// reasonOf is the stable word under which a record is parked.
func reasonOf(err error) string {
	var f *fault.Error
	if errors.As(err, &f) {
		switch f.Code {
		case "", fault.CodeBadRecord:
			return "bad_value"
		default:
			return f.Code
		}
	}
	return "bad_value"
}
