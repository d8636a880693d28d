package pass

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/store"
)

// slice is one delivery at work.
type slice struct {
	delivery
	most  int // records of one transaction
	pos   position
	paths []string // what is read of a record: mapped fields and what the scope looks at
	// remoteSkew is how far the remote's clock was from the database's at the last
	// page, in nanoseconds.
	remoteSkew atomic.Int64

	seen  *seenSet
	fresh *freshness
	ids   linkIDs
	pipe  *pipeline

	// twice says that the listing named a record two times.
	twice atomic.Bool
	// parked says that the connector has, or may have, open parked records.
	parked atomic.Bool
	// lastLen is how many records the last full batch had.
	lastLen int
	// skips says that a person skipped records of the connector.
	skips bool
}

func (d *Direct) open(ctx context.Context, in Input) (*slice, error) {
	pos, err := parsePosition(in.Slice.Position)
	if err != nil {
		return nil, err
	}
	s := &slice{delivery: newDelivery(d.DB, d.C, d.Clock, d.Log, in), most: d.maxRecords(), pos: pos, paths: scopePaths(d.C.Manual), seen: newSeenSet()}
	return s, s.load(ctx)
}

// load reads what earlier deliveries of this slice left.
func (s *slice) load(ctx context.Context) error {
	return s.DB.Read(ctx, func(ctx context.Context, tx *store.Tx) error {
		now, err := tx.Now(ctx)
		if err != nil {
			return err
		}
		s.ours, s.theirs = s.Clock.Now(), now
		err = tx.Seen(ctx, s.in.Run.ID, s.C.ID, func(b []byte) error {
			ids, err := decodeIDs(b)
			s.seen.add(ids, nil)
			return err
		})
		if err != nil {
			return err
		}
		open, skipped, err := tx.OpenOrSkipped(ctx, s.C.ID)
		if err != nil {
			return err
		}
		s.parked.Store(open)
		s.skips = skipped
		s.fresh, err = newFreshness(ctx, tx, s.C)
		if err != nil || s.pos.Stage != "" {
			return err
		}
		return s.begin(ctx, tx)
	})
}

// begin sets the position of a slice that has not started.
func (s *slice) begin(ctx context.Context, tx *store.Tx) error {
	spec := s.in.Run.Spec
	switch {
	case spec.ApproveParked > 0:
		s.pos = position{Stage: stageRemove, Approved: true}
		return nil
	case s.targeted():
		s.pos = position{Stage: stageIDs}
		return nil
	}
	s.pos = position{Stage: stageList, Since: spec.Start}
	if s.windowed() {
		return nil
	}
	at, _, ok, err := tx.Watermark(ctx, s.C.ID)
	if err != nil {
		return err
	}
	s.pos.Full = !ok || spec.Mode == store.ModeFull || !s.C.Remote.Capabilities().Incremental
	if !s.pos.Full && s.C.FullDue != nil && s.in.Run.Trigger == store.TriggerSchedule {
		if s.pos.Full, err = s.fullDue(ctx, tx); err != nil {
			return err
		}
	}
	if !s.pos.Full {
		s.pos.Since = &at
	}
	return nil
}

// fullDue reports whether a run that started by itself has to read everything,
// so that what no list of changes tells is found, too.
func (s *slice) fullDue(ctx context.Context, tx *store.Tx) (bool, error) {
	last, err := tx.FullRead(ctx, s.C.ID)
	if err != nil {
		return false, err
	}
	now, err := tx.Now(ctx)
	return err == nil && (last.IsZero() || s.C.FullDue(last, now)), err
}

// run walks the stages. A stage that returns false was interrupted by time or
// drain, with everything committed that was read.
func (s *slice) run(ctx context.Context) (Outcome, error) {
	ctx, stop := s.watch(ctx)
	defer stop()
	s.pipe = s.newPipeline()
	defer s.pipe.close()
	for s.pos.Stage != stageEnd {
		through, err := s.stage(ctx)
		if err != nil {
			return Outcome{Progress: s.progress}, cause(ctx, err)
		}
		if !through {
			return Outcome{Progress: s.progress}, nil
		}
	}
	return Outcome{Done: true, Progress: true}, nil
}

func (s *slice) stage(ctx context.Context) (bool, error) {
	switch s.pos.Stage {
	case stageList:
		return s.list(ctx)
	case stageSweep:
		return s.sweep(ctx)
	case stageGuard:
		return true, s.guard(ctx)
	case stageRemove:
		return s.remove(ctx)
	case stageIDs:
		return s.named(ctx)
	case stageMark, stageDrift, stageModified, stageUnsynced, stageDue, stageEnd:
	}
	return false, fault.New(fault.Permanent, fault.CodeFailed, "pass", "unknown stage %q in the stored position", s.pos.Stage).
		WithHint("start a new run with --full")
}

// advance commits a step that carries no records: the slice enters its next
// stage. also runs in the same transaction.
func (s *slice) advance(ctx context.Context, next position, also func(ctx context.Context, tx *store.Tx) error) error {
	raw, err := next.encode()
	if err != nil {
		return err
	}
	err = s.DB.Write(ctx, "slice.advance", func(ctx context.Context, tx *store.Tx) error {
		if also != nil {
			if err := also(ctx, tx); err != nil {
				return err
			}
		}
		return s.step(ctx, tx, store.SliceStep{SliceID: s.in.Slice.ID, Expected: s.no, Next: s.no + 1, Position: raw})
	})
	if errors.Is(err, store.ErrCommitUnknown) {
		err = s.settleUnknown(ctx, s.no+1, err)
	}
	if err != nil {
		return fmt.Errorf("advance: %w", err)
	}
	s.no++
	s.pos = next
	s.progress = true
	return nil
}
