package pass

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/internal/clock"
	"github.com/tandem-sync/tandem/store"
	"github.com/tandem-sync/tandem/sync/record"
)

// delivery is what both directions have of one delivery of a slice.
type delivery struct {
	DB    *store.DB
	C     Connector
	Clock clock.Clock
	Log   *zap.Logger

	in       Input
	no       int64 // number of the next batch: how many are committed or in flight
	ends     time.Time
	ours     time.Time // our clock when the slice was loaded
	theirs   time.Time // the database's at that moment
	progress bool      // a batch was committed
	outward  bool      // it writes to the remote
}

func newDelivery(db *store.DB, c Connector, clk clock.Clock, log *zap.Logger, in Input) delivery {
	if in.Budget <= 0 {
		in.Budget = defaultBudget
	}
	return delivery{DB: db, C: c, Clock: clk, Log: log, in: in, no: in.Slice.BatchNo, ends: clk.Now().Add(in.Budget)}
}

func (d *delivery) targeted() bool {
	return len(d.in.Run.Spec.RemoteIDs) > 0 || len(d.in.Run.Spec.LocalIDs) > 0
}

func (d *delivery) windowed() bool { return d.in.Run.Spec.Start != nil || d.in.Run.Spec.End != nil }

func (d *delivery) dry() bool { return d.in.Run.Spec.Flags.DryRun }

// now is the database's clock as far as we know it. Workers on machines whose
// clocks disagree compare when a record was read, so all of them use this one.
// What has passed since is counted by the monotonic clock where there is one: a
// machine's clock that is set must not date a read into the future.
func (d *delivery) now() time.Time { return d.theirs.Add(d.Clock.Now().Sub(d.ours)) }

// expired reports whether the slice should end at this batch.
func (d *delivery) expired() bool {
	select {
	case <-d.in.Soft:
		return true
	default:
	}
	return !d.Clock.Now().Before(d.ends)
}

// watch renews the lease while a slow remote keeps batches away, and looks once
// a second whether the run was cancelled. Its context carries the reason.
func (d *delivery) watch(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	var held *trust
	if d.outward && !d.dry() {
		held = guard(cancel, d.in.Lease.ExpiresAt.Sub(d.now()), d.in.TTL)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		renewed := d.Clock.Now()
		for d.Clock.Sleep(ctx, time.Second) == nil {
			if err := d.stillWanted(ctx); err != nil {
				cancel(err)
				return
			}
			if d.dry() || d.Clock.Now().Sub(renewed) < d.in.TTL/4 {
				continue
			}
			asked := time.Now()
			err := d.DB.Write(ctx, "lease.renew", func(ctx context.Context, tx *store.Tx) error {
				return tx.RenewLease(ctx, d.in.Lease, d.in.TTL)
			})
			if errors.Is(err, store.ErrFenced) {
				cancel(err)
				return
			}
			switch {
			case err == nil:
				renewed = d.Clock.Now()
				held.renew(asked)
			case d.outward && d.Clock.Now().Sub(renewed) > d.in.TTL*3/4:
				// The remote cannot see the lease: what is under way there has to end
				// before somebody else may hold it.
				cancel(fmt.Errorf("the lease could not be renewed: %w", store.ErrFenced))
				return
			}
		}
	})
	return ctx, func() { held.end(); cancel(context.Canceled); wg.Wait() }
}

// stillWanted is nil while the run may go on; trouble in asking is no reason to
// end it.
func (d *delivery) stillWanted(ctx context.Context) error {
	gone := false
	err := d.DB.Read(ctx, func(ctx context.Context, tx *store.Tx) error {
		run, err := tx.Run(ctx, d.in.Run.ID)
		if fault.CodeOf(err) == fault.CodeNotFound {
			gone = true // deleted with its channel
			return nil
		}
		if err != nil {
			return err
		}
		ch, err := tx.Channel(ctx, d.C.ChannelID)
		gone = err == nil && (run.CancelRequested || run.Status.Ended() || !ch.Enabled)
		return err
	})
	if err == nil && gone {
		return ErrCancelled
	}
	return nil
}

// step is the end of every transaction of a slice: the lease is renewed and the
// progress marker moves, each exactly one row, or nothing happened.
func (d *delivery) step(ctx context.Context, tx *store.Tx, step store.SliceStep) error {
	if !d.dry() {
		if err := tx.RenewLease(ctx, d.in.Lease, d.in.TTL); err != nil {
			return err
		}
	}
	return tx.CommitSlice(ctx, step)
}

// settleUnknown tells after a lost answer to a commit whether it happened: the
// progress marker knows.
func (d *delivery) settleUnknown(ctx context.Context, want int64, unknown error) error {
	var at int64
	err := d.DB.Read(ctx, func(ctx context.Context, tx *store.Tx) error {
		sl, err := tx.Slice(ctx, d.in.Slice.ID)
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

// cause prefers the reason a context was cancelled for over the error that the
// cancelling made somewhere below.
func cause(ctx context.Context, err error) error {
	if c := context.Cause(ctx); c != nil && !errors.Is(c, context.Canceled) {
		return c
	}
	return err
}

// clean gives a text for people without the channel's credentials.
func (d *delivery) clean(text string) string {
	if d.C.Redact == nil {
		return text
	}
	return d.C.Redact(text)
}

// received is a record as it came, for a person to look at. Where the reader
// does not keep it, the mapped values are the next best.
func (d *delivery) received(r *record.Record) json.RawMessage {
	raw := r.Raw
	if len(raw) == 0 && len(r.Values) > 0 {
		fields := make(map[string]json.RawMessage, len(r.Values))
		for f, path := range d.C.Manual.RemotePaths() {
			if f < len(r.Values) && r.Values[f].Has() {
				fields[path] = jsonOf(r.Values[f])
			}
		}
		b, err := json.Marshal(fields)
		if err != nil {
			return nil
		}
		raw = b
	}
	if d.C.Redact != nil && len(raw) > 0 {
		raw = []byte(d.C.Redact(string(raw)))
	}
	return payload(raw)
}

// said is what the remote answered, where the error has it.
func (d *delivery) said(err error) string { return d.clean(fault.AnswerOf(err)) }

// owner names this slice's candidates.
func (d *delivery) owner() string { return fmt.Sprintf("slice/%d", d.in.Slice.ID) }

// candidates names the candidates that this slice removes.
func (d *delivery) candidates() string {
	if id := d.in.Run.Spec.ApproveParked; id > 0 {
		return ParkedOwner(id)
	}
	return d.owner()
}

// requestAgain asks for a direct sync of remote records by id.
func requestAgain(ctx context.Context, tx *store.Tx, d *delivery, ids []string) error {
	for start := 0; start < len(ids); start += 500 {
		_, _, _, err := tx.AddRequest(ctx, store.Request{
			ChannelID: d.C.ChannelID, Trigger: d.in.Run.Trigger,
			Spec: store.Spec{Kind: store.KindSync, Mode: store.ModeIncremental, Connectors: []string{d.C.Name}, RemoteIDs: ids[start:min(start+500, len(ids))], Flags: store.Flags{NoPush: true}},
		}, false)
		if err != nil {
			return fmt.Errorf("request again: %w", err)
		}
	}
	return nil
}
