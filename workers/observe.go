package workers

import (
	"context"
	"time"

	"go.uber.org/zap"

	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/store"
)

// Observer hears what the workers of this process do, for metrics. Its methods
// return at once and are safe for concurrent use.
type Observer interface {
	// RunEnded says that this process ended a run, by whatever way: its workers,
	// or somebody who cancelled it or deleted its channel here.
	RunEnded(end store.RunEnd)
	// Records is what a delivery did to records.
	Records(channel string, did store.Counters)
	// QueueWait is how long a slice was due before a worker took it up.
	QueueWait(d time.Duration)
	// LeaseLost says that another worker took over what this one worked on.
	LeaseLost()
}

// observeWait tells how long a slice that is taken up now was due.
func (p *processor) observeWait(sl store.Slice, now time.Time) {
	if p.cfg.Observer == nil || sl.QueuedAt == nil {
		return
	}
	p.cfg.Observer.QueueWait(max(now.Sub(*sl.QueuedAt), 0))
}

// observeRecords tells what the slice did since it was read as sl.
func (p *processor) observeRecords(ctx context.Context, sl store.Slice, run store.Run) {
	if p.cfg.Observer == nil {
		return
	}
	var now store.Slice
	err := p.cfg.DB.Read(ctx, func(ctx context.Context, tx *store.Tx) (err error) {
		now, err = tx.Slice(ctx, sl.ID)
		return err
	})
	if err != nil {
		if fault.CodeOf(err) != fault.CodeNotFound { // not deleted with its channel
			p.cfg.Logger.Info("the metrics miss a slice's records", zap.Error(err))
		}
		return
	}
	p.cfg.Observer.Records(run.Channel, since(now.Counters, sl.Counters))
}

// since gives what was counted after before.
func since(now, before store.Counters) store.Counters {
	now.Add(store.Counters{
		Read: -before.Read, Created: -before.Created, Updated: -before.Updated, Deleted: -before.Deleted, Unchanged: -before.Unchanged,
		Skipped: -before.Skipped, Conflicts: -before.Conflicts, Parked: -before.Parked, Pushed: -before.Pushed,
	})
	return now
}
