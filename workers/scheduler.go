package workers

import (
	"context"
	"time"

	"go.uber.org/zap"

	"github.com/tandem-sync/tandem/config"
	"github.com/tandem-sync/tandem/store"
)

// The scheduler starts runs by the clock of the database. Any number of them
// may work side by side: a channel that is due is locked by the one that takes
// it, and a tick has a row that only one can make. Nothing is kept in memory,
// so a restart neither repeats nor loses a tick, and ticks that nobody was
// there for become one.
const (
	// schedulePoll is how soon a channel that was enabled elsewhere starts, and
	// all that an idle scheduler asks of the database: one look at an index.
	schedulePoll = time.Second
	// scheduleLeast keeps apart two looks that find the next tick close.
	scheduleLeast  = 20 * time.Millisecond
	scheduleBatch  = 1000
	scheduleRepair = time.Minute
	scheduleRest   = 2 * time.Second // after trouble
)

func (f *Fleet) schedule(ctx context.Context) {
	var repaired time.Time
	for {
		if now := f.cfg.Clock.Now(); now.Sub(repaired) >= scheduleRepair || now.Before(repaired) {
			f.repairSchedules(ctx)
			repaired = now
		}
		wait, err := f.scheduleOnce(ctx)
		if err != nil && ctx.Err() == nil {
			f.cfg.Logger.Warn("due channels could not be scheduled; trying again", zap.Error(err))
			wait = scheduleRest
		}
		if ctx.Err() != nil || wait > 0 && f.cfg.Clock.Sleep(ctx, wait) != nil {
			return
		}
	}
}

// scheduleOnce sees to one batch of what is due and says how long nothing will
// be; 0 is to look again at once.
func (f *Fleet) scheduleOnce(ctx context.Context) (time.Duration, error) {
	var next *time.Time
	var now time.Time
	err := f.cfg.DB.Read(ctx, func(ctx context.Context, tx *store.Tx) (err error) {
		next, now, err = tx.NextTick(ctx)
		return err
	})
	if err != nil || next == nil {
		return schedulePoll, err
	}
	if wait := next.Sub(now); wait > 0 {
		return min(max(wait, scheduleLeast), schedulePoll), nil
	}
	seen, planned, err := f.planDue(ctx)
	if planned > 0 {
		f.Kick()
	}
	if seen == 0 {
		return schedulePoll, err // others have them
	}
	return 0, err
}

// planDue claims due channels and plans their runs. A lost answer to the commit
// needs no care: what is still due is found by the next look.
func (f *Fleet) planDue(ctx context.Context) (seen, planned int, err error) {
	err = f.cfg.DB.Write(ctx, "tick", func(ctx context.Context, tx *store.Tx) error {
		due, now, err := tx.ClaimDue(ctx, scheduleBatch)
		seen = len(due)
		if err != nil || seen == 0 {
			return err
		}
		list := make([]store.Tick, seen)
		for i, d := range due {
			if list[i], err = tickOf(d, now); err != nil {
				f.cfg.Logger.Error("a channel has no readable schedule and starts no more by itself", zap.String("channel", d.Channel), zap.Error(err))
			}
		}
		planned, _, err = tx.PlanTicks(ctx, list)
		return err
	})
	return seen, planned, err
}

// tickOf decides what becomes of a channel that is due. With an error the
// channel has no further tick.
func tickOf(d store.DueChannel, now time.Time) (store.Tick, error) {
	t := store.Tick{ChannelID: d.ChannelID, Channel: d.Channel, Schedule: d.Schedule, Revision: d.Revision}
	changed := d.Settings != nil
	if changed {
		var err error
		if t.Schedule, err = config.StoredSchedule(d.Settings); err != nil {
			return t, err
		}
	}
	s, err := parseSchedule(t.Schedule, d.Channel)
	if err != nil || s == nil {
		return t, err
	}
	if d.Start {
		t.Run, t.At = true, d.At
		t.Next = after(s, now)
		return t, nil
	}
	tick := &d.At
	from := d.At
	held := d.NotBefore != nil && d.NotBefore.After(from)
	if held {
		from = *d.NotBefore
	}
	if changed || held {
		// The first tick at that time or later; it may have passed by now.
		tick = after(s, from.Add(-time.Microsecond))
	}
	if tick == nil || tick.After(now) {
		t.Next = tick
		return t, nil
	}
	t.Run, t.At = true, *tick
	t.Next = after(s, now)
	return t, nil
}

// after is the tick after a time, or nil.
func after(s ticks, at time.Time) *time.Time {
	next := s.Next(at.UTC())
	if next.IsZero() {
		return nil
	}
	return &next
}

func (f *Fleet) repairSchedules(ctx context.Context) {
	n := int64(0)
	err := f.cfg.DB.Write(ctx, "schedules", func(ctx context.Context, tx *store.Tx) (err error) {
		n, err = tx.RepairSchedules(ctx)
		return err
	})
	switch {
	case err != nil && ctx.Err() == nil:
		f.cfg.Logger.Warn("schedules could not be checked; trying again in a minute", zap.Error(err))
	case n > 0:
		f.cfg.Logger.Info("schedules were worked out anew", zap.Int64("channels", n))
	}
}
