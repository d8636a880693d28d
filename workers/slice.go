package workers

import (
	"context"
	"errors"
	"runtime/debug"
	"time"

	"go.uber.org/zap"

	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/internal/jitter"
	"github.com/tandem-sync/tandem/internal/yield"
	"github.com/tandem-sync/tandem/store"
	"github.com/tandem-sync/tandem/sync/pass"
)

// A slice that fails for a passing reason is tried again after 1 s, 2 s, 4 s …
// (full jitter); when maxAttempts tries in a row brought nothing, the run fails
// and the next one goes on from the watermark.
const (
	maxAttempts = 6
	backoffBase = time.Second
	backoffCap  = 5 * time.Minute
	// roomPause is how long a slice waits, at most, for a full database to have
	// room again; that is nothing the slice could do better, so no try is counted.
	roomPause = 20 * time.Second
	// lastWords is how long the end of a slice may take to be booked after the
	// process was told to stop at once.
	lastWords = 5 * time.Second
)

// errTurn says that the slice is none of ours to work on now.
var errTurn = errors.New("not this slice's turn")

// slice works on one slice until it is done, its time is up, or it fails.
func (p *processor) slice(ctx context.Context, id int64) error {
	sl, run, err := p.readSlice(ctx, id)
	if errors.Is(err, errTurn) {
		return nil
	}
	if err != nil {
		return err
	}
	if run.CancelRequested {
		return p.finish(ctx, run.ID, store.StatusCancelled, pass.ErrCancelled)
	}
	lease, ok, err := p.acquire(ctx, sl, run)
	if err != nil || !ok {
		return err // busy: giving the lease back asks for the slice again
	}
	began := p.cfg.Clock.Now()
	out, err := p.work(ctx, sl, run, lease)
	if out.Progress {
		p.observeRecords(ctx, sl, run)
	}
	return p.book(ctx, sl, run, lease, attempt{out: out, err: err, took: p.cfg.Clock.Now().Sub(began)})
}

// readSlice gives the slice and its run if the slice may be worked on now.
func (p *processor) readSlice(ctx context.Context, id int64) (sl store.Slice, run store.Run, err error) {
	err = p.cfg.DB.Read(ctx, func(ctx context.Context, tx *store.Tx) error {
		if sl, err = tx.Slice(ctx, id); err != nil {
			return err
		}
		if run, err = tx.Run(ctx, sl.RunID); err != nil {
			return err
		}
		now, err := tx.Now(ctx)
		if err != nil {
			return err
		}
		early := sl.NotBefore != nil && sl.NotBefore.After(now) && !run.CancelRequested
		if run.Status.Ended() || sl.State != store.SliceActive || early {
			return errTurn
		}
		p.observeWait(sl, now)
		return nil
	})
	if fault.CodeOf(err) == fault.CodeNotFound {
		err = errTurn
	}
	return sl, run, err
}

func leaseKey(sl store.Slice) store.LeaseKey {
	k := store.LeaseKey{ChannelID: sl.ChannelID, ConnectorID: sl.ConnectorID, Direction: store.KindSync, Shard: sl.Shard}
	if sl.Shard == shardPush {
		// One writer at a time, whatever asked for it.
		k.Direction, k.Shard = store.KindReverseSync, ""
	}
	return k
}

// acquire takes the lease; a dry run writes nothing outside its own run and
// takes none.
func (p *processor) acquire(ctx context.Context, sl store.Slice, run store.Run) (lease store.Lease, ok bool, err error) {
	if run.Spec.Flags.DryRun {
		return store.Lease{}, true, nil
	}
	err = p.cfg.DB.Write(ctx, "lease.acquire", func(ctx context.Context, tx *store.Tx) error {
		lease, ok, err = tx.AcquireLease(ctx, leaseKey(sl), p.cfg.Owner, p.cfg.Lease)
		if err != nil {
			return err
		}
		if !ok {
			return tx.AwaitLease(ctx, sl.ID)
		}
		return tx.HoldSlice(ctx, sl.ID, lease)
	})
	if errors.Is(err, store.ErrCommitUnknown) {
		return lease, false, nil // it expires if we got it
	}
	return lease, ok, err
}

// work does what is to be done now. A panic is a failure like others: it is
// counted, so that a record which causes it each time does not keep the slice
// going round for ever.
func (p *processor) work(ctx context.Context, sl store.Slice, run store.Run, lease store.Lease) (out pass.Outcome, err error) {
	defer func() {
		if cause := recover(); cause != nil {
			p.cfg.Logger.Error("a slice panicked", zap.Int64("run", run.ID), zap.String("connector", sl.Connector),
				zap.Any("panic", cause), zap.ByteString("stack", debug.Stack()))
			err = fault.New(fault.Retryable, fault.CodeFailed, "work", "panicked: %v", cause).
				WithHint("this is a defect of Tandem: the log has the place; please report it")
		}
	}()
	c, err := p.opener.Connector(ctx, run, sl)
	if err != nil {
		return pass.Outcome{}, err
	}
	if sl.Shard == shardPush {
		if err := p.takeUpFirst(ctx, sl, run); err != nil {
			return pass.Outcome{}, err
		}
		r := &pass.Reverse{DB: p.cfg.DB, C: c, Clock: p.cfg.Clock, Log: p.cfg.Logger, BatchRecords: p.cfg.BatchRecords}
		in := pass.Input{Run: run, Slice: sl, Lease: lease, TTL: p.cfg.Lease, Soft: p.soft}
		if run.Trigger == store.TriggerChange {
			l, leave := p.lingerer(sl.ConnectorID, c.Entity, lingerFor)
			defer leave()
			in.More, in.Heard, in.Fetch = l.more, l.ear.bell, l.fetch
		}
		return r.Run(ctx, in)
	}
	d := &pass.Direct{DB: p.cfg.DB, C: c, Clock: p.cfg.Clock, Log: p.cfg.Logger, BatchRecords: p.cfg.BatchRecords}
	return d.Run(ctx, pass.Input{Run: run, Slice: sl, Lease: lease, TTL: p.cfg.Lease, Soft: p.soft})
}

// book writes down how a slice ended: the one place that decides what a
// failure costs.
func (p *processor) book(ctx context.Context, sl store.Slice, run store.Run, lease store.Lease, a attempt) error {
	out, err := a.out, a.err
	if ctx.Err() != nil { // told to stop at once
		c, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWords)
		defer cancel()
		return errors.Join(ctx.Err(), p.end(c, sl, run, lease, store.SliceActive, 0, ""))
	}
	switch {
	case err == nil && out.Done:
		return p.end(ctx, sl, run, lease, store.SliceDone, 0, "")
	case err == nil:
		return p.end(ctx, sl, run, lease, store.SliceActive, 0, "")
	case errors.Is(err, store.ErrFenced):
		p.takenOver(sl, run)
		return nil
	case errors.Is(err, pass.ErrCancelled):
		return p.giveUp(ctx, sl, run, lease, store.StatusCancelled, err)
	case fault.CodeOf(err) == store.CodeDiskFull:
		p.cfg.Logger.Warn("the database has no room; the slice waits for it", zap.Int64("run", run.ID), zap.String("connector", sl.Connector), zap.Error(err))
		wait := jitter.Between(ctx, roomPause/2, roomPause)
		return p.end(ctx, sl, run, lease, store.SliceActive, wait, store.WaitReason(store.CodeDiskFull, err.Error()))
	case p.hopeless(ctx, sl, run, a):
		return p.giveUp(ctx, sl, run, lease, store.StatusFailed, runFailed(sl.Connector, told(err)))
	}
	switch fault.Of(err) {
	case fault.RateLimited:
		return p.end(ctx, sl, run, lease, store.SliceActive, max(fault.RetryAfterOf(err), time.Second), pauseReason(err))
	case fault.Permanent, fault.Stop, fault.Skip:
		return p.giveUp(ctx, sl, run, lease, store.StatusFailed, runFailed(sl.Connector, err))
	case fault.Retryable, fault.Unknown:
	}
	return p.retry(ctx, sl, run, lease, out, err)
}

// end books a slice that did not fail. Done: its connector's successor starts,
// or the run finishes. Active: it goes to the tail of the queue, or waits first.
func (p *processor) end(ctx context.Context, sl store.Slice, run store.Run, lease store.Lease, state store.SliceState, wait time.Duration, why string) error {
	err := p.cfg.DB.Write(ctx, "slice.end", func(ctx context.Context, tx *store.Tx) error {
		if err := p.stillOurs(ctx, tx, sl, run, lease); err != nil {
			return err
		}
		var notBefore *time.Time
		if wait > 0 {
			until, err := later(ctx, tx, wait)
			if err != nil {
				return err
			}
			notBefore = &until
		}
		next, err := tx.EndSlice(ctx, sl.ID, state, notBefore, why)
		if err != nil {
			return err
		}
		if state == store.SliceDone && next == nil {
			if err := finishRun(ctx, tx, run.ID, store.StatusFinished, nil); err != nil {
				return err
			}
		}
		if run.Spec.Flags.DryRun {
			return nil
		}
		return tx.ReleaseLease(ctx, lease)
	})
	switch {
	case errors.Is(err, store.ErrFenced), errors.Is(err, errTurn), errors.Is(err, store.ErrCommitUnknown):
		return nil // somebody else's turn; or the sweeper finds out
	case err != nil:
		return err
	}
	if e := yield.Point(ctx, "slice.ended"); e != nil {
		return e
	}
	p.kick()
	return nil
}

// later is a time by the clock that decides when a slice may go on. A worker's
// own clock may be off by minutes.
func later(ctx context.Context, tx *store.Tx, wait time.Duration) (time.Time, error) {
	now, err := tx.Now(ctx)
	return now.Add(wait), err
}

// stillOurs fences the end of a slice like its batches.
func (p *processor) stillOurs(ctx context.Context, tx *store.Tx, sl store.Slice, run store.Run, lease store.Lease) error {
	if !run.Spec.Flags.DryRun {
		return tx.CheckLease(ctx, lease)
	}
	now, err := tx.Slice(ctx, sl.ID)
	if fault.CodeOf(err) == fault.CodeNotFound {
		return errTurn // deleted with its channel
	}
	if err == nil && now.State != store.SliceActive {
		return errTurn
	}
	return err
}

// giveUp ends the run of a slice that is still ours, and the lease with it. A
// worker that was frozen past its lease must not end a run that another one is
// working on by now.
func (p *processor) giveUp(ctx context.Context, sl store.Slice, run store.Run, lease store.Lease, status store.Status, cause error) error {
	err := p.finishIn(ctx, run.ID, status, cause, func(ctx context.Context, tx *store.Tx) error {
		if err := p.stillOurs(ctx, tx, sl, run, lease); err != nil {
			return err
		}
		if err := finishRun(ctx, tx, run.ID, status, cause); err != nil || run.Spec.Flags.DryRun {
			return err
		}
		return tx.ReleaseLease(ctx, lease)
	})
	if errors.Is(err, store.ErrFenced) || errors.Is(err, errTurn) {
		p.takenOver(sl, run)
		return nil
	}
	return err
}

func (p *processor) takenOver(sl store.Slice, run store.Run) {
	if p.cfg.Observer != nil {
		p.cfg.Observer.LeaseLost()
	}
	p.cfg.Logger.Info("another worker took the slice over", zap.Int64("run", run.ID), zap.String("connector", sl.Connector))
}

// retry books a failure that may pass. Progress starts the count anew.
func (p *processor) retry(ctx context.Context, sl store.Slice, run store.Run, lease store.Lease, out pass.Outcome, err error) error {
	tries := sl.Attempts
	if out.Progress {
		tries = 0
	}
	if tries+1 >= maxAttempts {
		return p.giveUp(ctx, sl, run, lease, store.StatusFailed, runFailed(sl.Connector, err))
	}
	wait := fault.RetryAfterOf(err)
	if wait == 0 {
		top := min(backoffBase<<tries, backoffCap)
		wait = jitter.Between(ctx, top/2, top)
	}
	why := err.Error()
	e := p.cfg.DB.Write(ctx, "slice.retry", func(ctx context.Context, tx *store.Tx) error {
		if err := p.stillOurs(ctx, tx, sl, run, lease); err != nil {
			return err
		}
		until, err := later(ctx, tx, wait)
		if err != nil {
			return err
		}
		if _, err := tx.FailAttempt(ctx, sl.ID, until, store.WaitReason(store.WaitRetry, why)); err != nil {
			return err
		}
		if run.Spec.Flags.DryRun {
			return nil
		}
		return tx.ReleaseLease(ctx, lease)
	})
	switch {
	case errors.Is(e, store.ErrFenced), errors.Is(e, errTurn):
		p.takenOver(sl, run)
		return nil
	case e != nil && !errors.Is(e, store.ErrCommitUnknown):
		return errors.Join(e, err)
	}
	p.cfg.Logger.Warn("a slice failed and will be tried again",
		zap.Int64("run", run.ID), zap.String("connector", sl.Connector), zap.Int("attempt", tries+1), zap.Duration("wait", wait), zap.Error(err))
	return nil
}
