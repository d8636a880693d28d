package workers

import (
	"context"
	"time"

	"go.uber.org/zap"

	"github.com/tandem-sync/tandem/store"
)

// The sweeper makes up for what got lost: messages that never arrived, workers
// that died. It asks the database only, so losing every queue costs latency.
const (
	sweepFleet    = 5 * time.Second
	sweepEmbedded = 500 * time.Millisecond
	// sweepIdle is how long a slice or run may go without a sign of life before
	// its message is published again. A long queue makes duplicates at this
	// pace; each costs one look-up.
	sweepIdle  = 30 * time.Second
	sweepLimit = 500
	purgeEvery = time.Hour
	keepFor    = 30 * 24 * time.Hour
)

func (f *Fleet) sweep(ctx context.Context) error {
	every := sweepFleet
	if f.cfg.Embedded {
		every = sweepEmbedded
	}
	idle := sweepIdle
	if f.cfg.Embedded {
		idle = 0 // a fresh process has an empty queue: publish everything once
	}
	purged := f.cfg.Clock.Now()
	for {
		rest := every
		if err := f.sweepOnce(ctx, idle); err == nil {
			idle = sweepIdle
		} else if ctx.Err() == nil {
			f.cfg.Logger.Warn("sweep failed; trying again", zap.Error(err))
			rest = sweepFleet // no need to say it twice a second
		}
		if f.cfg.Clock.Now().Sub(purged) > purgeEvery {
			purged = f.cfg.Clock.Now()
			f.purge(ctx, purged)
		}
		if f.cfg.Clock.Sleep(ctx, rest) != nil {
			return nil
		}
	}
}

// sweepOnce asks again for the work that nobody is doing.
func (f *Fleet) sweepOnce(ctx context.Context, idle time.Duration) error {
	n := 0
	err := f.cfg.DB.Write(ctx, "sweep", func(ctx context.Context, tx *store.Tx) error {
		slices, err := tx.StalledSlices(ctx, idle, sweepLimit)
		if err != nil {
			return err
		}
		runs, err := tx.StalledRuns(ctx, idle, sweepLimit)
		if err != nil {
			return err
		}
		due, err := planDue(ctx, tx)
		n = len(slices) + len(runs) + due
		return err
	})
	if n > 0 {
		f.Kick()
	}
	return err
}

func (f *Fleet) purge(ctx context.Context, now time.Time) {
	err := f.cfg.DB.Write(ctx, "purge", func(ctx context.Context, tx *store.Tx) error {
		return tx.Purge(ctx, now.Add(-keepFor))
	})
	if err != nil && ctx.Err() == nil {
		f.cfg.Logger.Warn("old rows could not be removed; trying again in an hour", zap.Error(err))
	}
}
