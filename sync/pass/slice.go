package pass

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/store"
)

// slice is one delivery at work.
type slice struct {
	*Direct
	in   Input
	pos  position
	no   int64 // number of the next batch: how many are committed or in flight
	ends time.Time
	skew time.Duration // the database's clock less ours

	seen  *seenSet
	fresh *freshness
	ids   linkIDs
	pipe  *pipeline

	// twice says that the listing named a record two times.
	twice atomic.Bool
	// parked says that the connector has, or may have, open parked records.
	parked atomic.Bool
	// skips says that a person skipped records of the connector.
	skips bool

	progress bool
}

func (d *Direct) open(ctx context.Context, in Input) (*slice, error) {
	if in.Budget <= 0 {
		in.Budget = defaultBudget
	}
	pos, err := parsePosition(in.Slice.Position)
	if err != nil {
		return nil, err
	}
	s := &slice{
		Direct: d, in: in, pos: pos, no: in.Slice.BatchNo,
		ends: d.Clock.Now().Add(in.Budget),
		seen: newSeenSet(),
	}
	return s, s.load(ctx)
}

// load reads what earlier deliveries of this slice left.
func (s *slice) load(ctx context.Context) error {
	return s.DB.Read(ctx, func(ctx context.Context, tx *store.Tx) error {
		now, err := tx.Now(ctx)
		if err != nil {
			return err
		}
		s.skew = now.Sub(s.Clock.Now())
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

func (s *slice) targeted() bool {
	return len(s.in.Run.Spec.RemoteIDs) > 0 || len(s.in.Run.Spec.LocalIDs) > 0
}

func (s *slice) windowed() bool { return s.in.Run.Spec.Start != nil || s.in.Run.Spec.End != nil }

func (s *slice) dry() bool { return s.in.Run.Spec.Flags.DryRun }

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
	case stageEnd:
	}
	return false, fault.New(fault.Permanent, fault.CodeFailed, "pass", "unknown stage %q in the stored position", s.pos.Stage).
		WithHint("start a new run with --full")
}

// now is the database's clock as far as we know it. Workers on machines whose
// clocks disagree compare when a record was read, so all of them use this one.
func (s *slice) now() time.Time { return s.Clock.Now().Add(s.skew) }

// expired reports whether the slice should end at this batch.
func (s *slice) expired() bool {
	select {
	case <-s.in.Soft:
		return true
	default:
	}
	return !s.Clock.Now().Before(s.ends)
}

// watch renews the lease while a slow remote keeps batches away, and looks once
// a second whether the run was cancelled. Its context carries the reason.
func (s *slice) watch(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	var wg sync.WaitGroup
	wg.Go(func() {
		renewed := s.Clock.Now()
		for s.Clock.Sleep(ctx, time.Second) == nil {
			if err := s.stillWanted(ctx); err != nil {
				cancel(err)
				return
			}
			if s.dry() || s.Clock.Now().Sub(renewed) < s.in.TTL/4 {
				continue
			}
			err := s.DB.Write(ctx, "lease.renew", func(ctx context.Context, tx *store.Tx) error {
				return tx.RenewLease(ctx, s.in.Lease, s.in.TTL)
			})
			if errors.Is(err, store.ErrFenced) {
				cancel(err)
				return
			}
			if err == nil {
				renewed = s.Clock.Now()
			}
		}
	})
	return ctx, func() { cancel(context.Canceled); wg.Wait() }
}

// stillWanted is nil while the run may go on; trouble in asking is no reason to
// end it.
func (s *slice) stillWanted(ctx context.Context) error {
	gone := false
	err := s.DB.Read(ctx, func(ctx context.Context, tx *store.Tx) error {
		run, err := tx.Run(ctx, s.in.Run.ID)
		if fault.CodeOf(err) == fault.CodeNotFound {
			gone = true // deleted with its channel
			return nil
		}
		if err != nil {
			return err
		}
		ch, err := tx.Channel(ctx, s.C.ChannelID)
		gone = err == nil && (run.CancelRequested || run.Status.Ended() || !ch.Enabled)
		return err
	})
	if err == nil && gone {
		return ErrCancelled
	}
	return nil
}

// cause prefers the reason a context was cancelled for over the error that the
// cancelling made somewhere below.
func cause(ctx context.Context, err error) error {
	if c := context.Cause(ctx); c != nil && !errors.Is(c, context.Canceled) {
		return c
	}
	return err
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

// step is the end of every transaction of a slice: the lease is renewed and the
// progress marker moves, each exactly one row, or nothing happened.
func (s *slice) step(ctx context.Context, tx *store.Tx, step store.SliceStep) error {
	if !s.dry() {
		if err := tx.RenewLease(ctx, s.in.Lease, s.in.TTL); err != nil {
			return err
		}
	}
	return tx.CommitSlice(ctx, step)
}

// settleUnknown tells after a lost answer to a commit whether it happened: the
// progress marker knows.
func (s *slice) settleUnknown(ctx context.Context, want int64, unknown error) error {
	var at int64
	err := s.DB.Read(ctx, func(ctx context.Context, tx *store.Tx) error {
		sl, err := tx.Slice(ctx, s.in.Slice.ID)
		at = sl.BatchNo
		return err
	})
	switch {
	case err != nil:
		return errors.Join(unknown, err)
	case at >= want:
		return nil
	}
	return fault.Wrap(fault.Retryable, "", "commit", unknown)
}
