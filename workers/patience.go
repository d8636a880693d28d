package workers

import (
	"context"
	"time"

	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/store"
	"github.com/tandem-sync/tandem/sync/pass"
	"github.com/tandem-sync/tandem/transport"
)

// Somebody who waits at a terminal wants to know soon that a remote is down. So
// where Config.Waited is set, a run that the schedule did not plan, and that has
// got nothing from its remote yet, is given fewer tries.
const (
	waitedTries = 3
	// waitedLong makes one try enough: the remote had its time to answer.
	waitedLong = 8 * time.Second
)

// attempt is one try at a slice and how it ended.
type attempt struct {
	out  pass.Outcome
	err  error
	took time.Duration
}

// hopeless reports whether the person who waits for the run is told now that its
// remote does not answer. A remote that says when it may be asked again is
// waited for.
func (p *processor) hopeless(ctx context.Context, sl store.Slice, run store.Run, a attempt) bool {
	if !p.cfg.Waited || run.Trigger == store.TriggerSchedule || a.out.Progress {
		return false
	}
	open := fault.CodeOf(a.err) == transport.CodeBreakerOpen
	switch class := fault.Of(a.err); {
	case open:
	case class != fault.Retryable, fault.RetryAfterOf(a.err) > 0, fault.CodeOf(a.err) == store.CodeDiskFull:
		return false
	case sl.Attempts+1 < waitedTries && a.took < waitedLong:
		return false
	}
	return p.gotNothing(ctx, run)
}

// gotNothing reports whether no part of the run has read anything. What cannot
// be found out counts as something: the run then waits like any other.
func (p *processor) gotNothing(ctx context.Context, run store.Run) bool {
	nothing := true
	err := p.cfg.DB.Read(ctx, func(ctx context.Context, tx *store.Tx) error {
		list, err := tx.Slices(ctx, run.ID)
		for _, s := range list {
			nothing = nothing && s.BatchNo == 0 && s.State != store.SliceDone
		}
		return err
	})
	return err == nil && nothing
}

// told is the reason a waited for run fails with.
func told(err error) error {
	if fault.CodeOf(err) != transport.CodeBreakerOpen {
		return err
	}
	return fault.New(fault.Retryable, fault.CodeUnreachable, "", "the remote does not answer: %w", err).
		WithHint("is the remote running, and is base_url right? Run the command again when it is; `tandem run` goes on trying by itself")
}
