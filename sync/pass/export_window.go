package pass

import (
	"context"
	"time"

	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/store"
)

// A run with a window [start, end) exports the rows that changed within it: at
// the time that was captured with the change, else at the time that the entity's
// modified column tells. A row of which neither is known is left to the runs
// without a window, and so is the round over all rows.

// tellsTimes is nil where the connector can say when a row changed.
func (x *exporter) tellsTimes() error {
	if !x.windowed() || x.C.Captured || x.C.Local.HasModified() {
		return nil
	}
	return fault.New(fault.Permanent, fault.CodeConfig, "export", "connector %s cannot tell when its rows changed, so there is nothing to hold against a window", x.C.Name).
		WithHint("give the entity a modified column or capture: triggers, or ask without a window (--no-push leaves the export out)")
}

// firstWindowed is the stage that a slice with a window begins with.
func (x *exporter) firstWindowed() stage {
	switch {
	case x.C.ByModified:
		return stageModified
	case x.in.Run.Spec.Mode == store.ModeFull, !x.C.Captured:
		return stageDrift
	}
	return stageDue
}

// inWindow reports whether a time is known and within the window.
func (x *exporter) inWindow(at time.Time) bool {
	from, to := x.in.Run.Spec.Start, x.in.Run.Spec.End
	return !at.IsZero() && (from == nil || !at.Before(*from)) && (to == nil || at.Before(*to))
}

// within leaves of local keys those that the window takes, in their order.
func (x *exporter) within(ctx context.Context, tx *store.Tx, keys []string) ([]string, error) {
	if !x.windowed() || len(keys) == 0 {
		return keys, nil
	}
	list, err := tx.DirtyOf(ctx, x.C.ID, keys)
	if err != nil {
		return nil, err
	}
	dirty := make(map[string]*store.Dirty, len(list))
	for i := range list {
		dirty[list[i].LocalKey] = &list[i]
	}
	untaken, err := tx.UntakenTimes(ctx, x.C.Entity, x.C.ID, keys)
	if err != nil {
		return nil, err
	}
	rows, err := x.C.Local.Load(ctx, tx, keys)
	if err != nil {
		return nil, err
	}
	modified := make(map[string]time.Time, len(rows))
	for i := range rows {
		modified[rows[i].Key] = rows[i].Modified
	}
	var out []string
	for _, k := range keys {
		at := captured(dirty[k], untaken[k])
		if at.IsZero() {
			at = modified[k]
		}
		// What this run's own reading has just judged belongs to a record that
		// changed within the window.
		if x.inWindow(at) || dirty[k] != nil && dirty[k].Reason == dirtyJudged {
			out = append(out, k)
		}
	}
	return out, nil
}

// captured is the time of a row's latest captured change; zero where none was.
func captured(d *store.Dirty, untaken map[string]time.Time) (at time.Time) {
	for _, t := range untaken {
		at = later(at, t)
	}
	if d != nil {
		for _, t := range d.Times {
			at = later(at, t)
		}
	}
	return at
}

// claimWithin claims the next rows of the window. Those that were put off for a
// moment come by once more at the end.
func (x *exporter) claimWithin(ctx context.Context) (*outBatch, error) {
	for {
		next := x.pos
		keys, err := x.dueAfter(ctx, &next)
		switch {
		case err != nil:
			return nil, err
		case next.After == x.pos.After && x.walked:
			x.walked, x.pos.After = false, ""
			continue
		case next.After == x.pos.After:
			return nil, nil //nolint:nilnil // nothing is due
		case len(keys) > 0:
			b, err := x.claimKeys(ctx, keys, len(keys))
			if err != nil {
				return nil, err
			}
			if len(b.items) > 0 {
				b.next, x.walked = next, true
				return b, nil
			}
		}
		x.pos = next
	}
}

// dueAfter gives rows that are due, of those after the position the first ones
// there is room for, and moves the position to the last one looked at.
func (x *exporter) dueAfter(ctx context.Context, next *position) (keys []string, err error) {
	err = x.DB.Read(ctx, func(ctx context.Context, tx *store.Tx) error {
		keys = nil
		due, err := tx.DueDirty(ctx, x.C.ID, x.pos.After, x.room())
		for _, d := range due {
			keys = append(keys, d.LocalKey)
			next.After = d.LocalKey
		}
		if err == nil {
			keys, err = x.within(ctx, tx, keys)
		}
		return err
	})
	return keys, err
}
