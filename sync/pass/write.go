package pass

import (
	"context"
	"errors"
	"slices"

	"github.com/tandem-sync/tandem/entities"
	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/internal/yield"
	"github.com/tandem-sync/tandem/store"
	"github.com/tandem-sync/tandem/sync/mapping"
	"github.com/tandem-sync/tandem/sync/record"
)

// errPredecessor rolls a batch back because the one before it did not commit.
var errPredecessor = errors.New("the batch before this one was not committed")

// write does the batch's transaction: everything that only this batch touches
// first, and what all batches of the slice share (lease, progress marker) last,
// after ready says that the batch before it is committed.
func (s *slice) write(ctx context.Context, tx *store.Tx, w *entities.Writer, b *batch, p *plan, ready func() error) error {
	if !s.dry() {
		if err := tx.CheckLease(ctx, s.in.Lease); err != nil {
			return err
		}
		if err := s.lockHeads(ctx, tx, p, b.readAt); err != nil {
			return err
		}
		if err := s.leaveClaimed(ctx, tx, p); err != nil {
			return err
		}
		s.limitTo(b, p)
		if err := s.apply(ctx, tx, w, b, p); err != nil {
			return err
		}
	} else {
		s.preview(p)
	}
	if err := s.book(ctx, tx, b, p); err != nil {
		return err
	}
	if err := ready(); err != nil {
		return err
	}
	if err := yield.Point(ctx, "batch.before_step"); err != nil {
		return err
	}
	p.add.Read = p.add.Created + p.add.Updated + p.add.Unchanged + p.add.Skipped + p.add.Parked
	b.next.Drifted = b.next.Drifted || s.twice.Load() && !b.next.Repeated
	raw, err := b.next.encode()
	if err != nil {
		return err
	}
	return s.step(ctx, tx, store.SliceStep{
		SliceID: s.in.Slice.ID, Expected: b.no, Next: b.no + 1, Position: raw, Add: p.add, Total: b.total,
	})
}

// lockHeads locks the links that are about to change and takes out of the plan
// what somebody else wrote since it was made.
func (s *slice) lockHeads(ctx context.Context, tx *store.Tx, p *plan, readAt int64) error {
	if len(p.heads) == 0 {
		return nil
	}
	ids := make([]string, len(p.heads))
	planned := make(map[string]store.LinkHead, len(p.heads))
	for i, h := range p.heads {
		ids[i] = h.RemoteID
		planned[h.RemoteID] = h
	}
	locked, err := tx.LockLinks(ctx, s.C.ID, ids)
	if err != nil {
		return err
	}
	same := make(map[string]bool, len(locked))
	for _, l := range locked {
		h := planned[l.RemoteID]
		same[l.RemoteID] = h.Hash == l.Hash && h.State == l.State && h.LocalKey == l.LocalKey && l.ReadAt <= readAt
	}
	p.changes = slices.DeleteFunc(p.changes, func(c entities.Change) bool {
		it := &p.items[c.N]
		if it.head == nil || same[it.head.RemoteID] {
			return false
		}
		p.again = append(p.again, it.head.RemoteID)
		if !it.silent {
			p.add.Skipped++
		}
		return true
	})
	return nil
}

// apply writes rows and links and settles what comes back. A row that is no
// longer what was judged, and an insert that met another row, are looked up
// and judged again inside this transaction, three times at most.
func (s *slice) apply(ctx context.Context, tx *store.Tx, w *entities.Writer, b *batch, p *plan) error {
	todo := p.changes
	for try := 0; len(todo) > 0; try++ {
		if err := s.numberLinks(ctx, tx, todo); err != nil {
			return err
		}
		if err := yield.Point(ctx, "batch.before_apply"); err != nil {
			return err
		}
		results, err := w.Apply(ctx, tx, todo, p.rebase(s.C.Manual))
		if err != nil {
			return err
		}
		retry := s.settle(p, todo, results, b.readAt, try == maxRejudge)
		if len(retry) == 0 {
			return nil
		}
		sub := &plan{items: p.items}
		pl := &planner{ctx: ctx, s: s, tx: tx, p: sub, readAt: b.readAt, sure: true}
		if err := pl.records(ctx, retry); err != nil {
			return err
		}
		p.absorb(sub)
		todo = sub.changes
	}
	return nil
}

// numberLinks gives new links their ids.
func (s *slice) numberLinks(ctx context.Context, tx *store.Tx, changes []entities.Change) error {
	n := int64(0)
	for i := range changes {
		if changes[i].NewLink && changes[i].Link.ID == 0 {
			n++
		}
	}
	if n == 0 {
		return nil
	}
	id, err := s.ids.take(ctx, tx, n)
	if err != nil {
		return err
	}
	for i := range changes {
		if changes[i].NewLink && changes[i].Link.ID == 0 {
			changes[i].Link.ID = id
			id++
		}
	}
	return nil
}

// rebase puts what the database really stored (a numeric's scale, a trigger's
// value) into the local half of the base.
func (p *plan) rebase(m *mapping.Manual) func(c *entities.Change, stored []record.Value) {
	return func(c *entities.Change, stored []record.Value) {
		it := &p.items[c.N]
		canon := make([]record.Value, m.Len())
		if err := m.CanonLocal(stored, canon); err != nil {
			return // the base keeps what was meant: the next read of the row judges it
		}
		for f := range canon {
			if c.Op == entities.OpInsert || c.New[f].Has() {
				it.local[f] = canon[f]
			}
		}
		c.Link.Base = mapping.EncodeBase(it.local, it.remote)
	}
}

// settle counts the results and returns the records to be judged again.
func (s *slice) settle(p *plan, changes []entities.Change, results []entities.Result, readAt int64, last bool) []*record.Record {
	pl := &planner{s: s, p: p, readAt: readAt}
	var retry []*record.Record
	for i := range results { // in the order of changes
		r, c := &results[i], &changes[i]
		it := &p.items[r.N]
		switch {
		case r.Outcome == entities.Done:
			if r.Key != "" {
				c.Key = r.Key
			}
			s.count(p, c, it)
		case r.Outcome == entities.Refused:
			pl.parkRecord(it, refusal(r.Err), r.Err)
		case last:
			pl.parkRecord(it, "write_refused", fault.Wrap(fault.Permanent, "write_refused", "write", orMoved(r.Err)))
		default:
			retry = append(retry, it.rec)
		}
	}
	return retry
}

var errMoved = errors.New("the local row changed each time it was about to be written")

func orMoved(err error) error {
	if err == nil {
		return errMoved
	}
	return err
}

// refusal is the stable word for a refused write: the SQLSTATE class is in the
// message, the word says whose fault it is.
func refusal(err error) string {
	if c := fault.CodeOf(err); c != "" && c != fault.CodeBadRecord {
		return c
	}
	return "refused_by_database"
}

// count books a change that is written.
func (s *slice) count(p *plan, c *entities.Change, it *item) {
	s.wrote(c, it)
	p.add.Conflicts += it.lost
	if c.NewLink || it.head == nil && c.Link.ID > 0 {
		p.seen = append(p.seen, uint64(c.Link.ID))
	}
	if s.C.Rules != nil && c.NewLink && c.Op != entities.OpInsert {
		p.linked = append(p.linked, c.Key)
	}
	if c.Link.State == store.Linked {
		p.unpark = append(p.unpark, c.Link.RemoteID)
	} else {
		p.gone = append(p.gone, c.Link.RemoteID)
	}
	if it.silent {
		return
	}
	switch c.Op {
	case entities.OpInsert:
		p.add.Created++
		p.made = append(p.made, uint64(c.Link.ID))
	case entities.OpUpdate:
		p.add.Updated++
	case entities.OpDelete:
		p.forget = append(p.forget, c.Link.RemoteID)
		p.add.Deleted++
	case entities.OpLink:
		switch {
		case c.Link.State != store.Linked:
			p.add.Deleted++
		case it.head == nil || !s.met(uint64(it.head.ID)):
			p.add.Unchanged++
		}
	}
	if c.Op == entities.OpUpdate || c.Op == entities.OpDelete || c.Link.State != store.Linked || len(it.fields) > 0 {
		p.lines = append(p.lines, s.lineFor(c, it))
	}
}

// preview books a dry run's plan as if it had been written.
func (s *slice) preview(p *plan) {
	for i := range p.changes {
		c := &p.changes[i]
		it := &p.items[c.N]
		s.count(p, c, it)
		if c.Op == entities.OpInsert || c.NewLink && len(it.fields) == 0 && c.Op == entities.OpLink {
			p.lines = append(p.lines, s.lineFor(c, it))
		}
	}
	p.unpark, p.park, p.again, p.gone, p.unskip = nil, nil, nil, nil, nil
}

// book writes what stands beside the rows: parked records, lines, ids seen,
// candidates for removal, and requests for records that have to be read again.
func (s *slice) book(ctx context.Context, tx *store.Tx, b *batch, p *plan) error {
	if err := s.bookParked(ctx, tx, p); err != nil {
		return err
	}
	if len(p.lines) > 0 {
		if err := tx.AddChanges(ctx, s.in.Run.ID, p.lines); err != nil {
			return err
		}
	}
	if !s.dry() {
		if err := tx.AddMade(ctx, s.in.Run.ID, s.C.ID, b.no, p.made); err != nil {
			return err
		}
	}
	if len(p.cands) > 0 && b.absent {
		if err := tx.AddCandidates(ctx, s.owner(), p.cands); err != nil {
			return err
		}
	}
	if len(p.seen) > 0 && b.next.Stage == stageList {
		slices.Sort(p.seen)
		p.seen = slices.Compact(p.seen)
		if err := tx.AddSeen(ctx, s.in.Run.ID, s.C.ID, b.no, encodeIDs(p.seen)); err != nil {
			return err
		}
	}
	if err := s.bookTold(ctx, tx, p); err != nil {
		return err
	}
	if !s.dry() {
		if err := tx.ForgetRows(ctx, s.C.ID, p.forget); err != nil {
			return err
		}
	}
	return s.requestAgain(ctx, tx, p.again)
}

// requestAgain asks for records by id: theirs was not the moment to be written.
func (s *slice) requestAgain(ctx context.Context, tx *store.Tx, ids []string) error {
	slices.Sort(ids)
	ids = slices.Compact(ids)
	if len(ids) == 0 || s.dry() {
		return nil
	}
	return requestAgain(ctx, tx, &s.delivery, ids)
}

// absorb takes over what a second planning decided.
func (p *plan) absorb(sub *plan) {
	p.items = sub.items
	p.add.Add(sub.add)
	p.park = append(p.park, sub.park...)
	p.unpark = append(p.unpark, sub.unpark...)
	p.gone = append(p.gone, sub.gone...)
	p.unskip = append(p.unskip, sub.unskip...)
	p.cands = append(p.cands, sub.cands...)
	p.lines = append(p.lines, sub.lines...)
	p.again = append(p.again, sub.again...)
	p.seen = append(p.seen, sub.seen...)
	p.made = append(p.made, sub.made...)
	p.others = append(p.others, sub.others...)
	p.forget = append(p.forget, sub.forget...)
	p.tell = append(p.tell, sub.tell...)
	p.disputed = append(p.disputed, sub.disputed...)
	p.agreed = append(p.agreed, sub.agreed...)
	p.linked = append(p.linked, sub.linked...)
}
