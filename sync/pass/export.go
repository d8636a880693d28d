package pass

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/tandem-sync/tandem/channels"
	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/internal/clock"
	"github.com/tandem-sync/tandem/internal/jitter"
	"github.com/tandem-sync/tandem/store"
)

// Reverse runs the reverse sync of one connector: local to remote. It writes to
// the remote only. What it finds changed there it leaves to a direct sync of
// these records, which is asked for in the same transaction.
type Reverse struct {
	DB    *store.DB
	C     Connector
	Clock clock.Clock
	Log   *zap.Logger
	// BatchRecords is the most records of one block, which is claimed and booked
	// together; 0 means what suits the remote: a few to begin with, and more while
	// they take a fraction of a second.
	BatchRecords int
}

// Run works on the slice until everything due has gone out, its time is up or
// something stops it.
func (r *Reverse) Run(ctx context.Context, in Input) (Outcome, error) {
	x, err := r.open(ctx, in)
	if err != nil {
		return Outcome{}, err
	}
	return x.run(ctx)
}

// exporter is one delivery of a reverse slice at work.
type exporter struct {
	delivery
	writer channels.Writer
	getter channels.Getter // nil: the remote cannot be asked for records by id
	caps   channels.WriteCapabilities
	fields []string // remote paths
	pos    position
	ids    linkIDs
	// ctx is what hooks are called with.
	ctx context.Context //nolint:containedctx // it is that of run, whose deliverer the exporter is
	// mu guards what the stages of a flow share.
	mu      sync.Mutex
	sizes   sizes
	stopped error // a hook's wish to end the run
	// only are the local keys that the request names; nil is whatever is due.
	only []string
	// walked says that rows of the window were claimed since the walk over those
	// that are due began.
	walked bool
}

func (r *Reverse) open(ctx context.Context, in Input) (*exporter, error) {
	pos, err := parsePosition(in.Slice.Position)
	if err != nil {
		return nil, err
	}
	w, ok := r.C.Remote.(channels.Writer)
	if !ok || !w.WriteCapabilities().Writes() {
		return nil, fault.New(fault.Permanent, fault.CodeConfig, "export", "connector %s has a direction to the remote, but it cannot write there as it is configured", r.C.Name).
			WithHint("give it remote.update (and remote.create, remote.remove), or set direction: to_local")
	}
	x := &exporter{
		delivery: newDelivery(r.DB, r.C, r.Clock, r.Log, in),
		writer:   w, caps: w.WriteCapabilities(), fields: r.C.Manual.RemotePaths(), pos: pos,
	}
	x.getter, _ = x.C.Remote.(channels.Getter)
	x.sizes = sizesFor(r.BatchRecords, x.caps)
	x.outward = true
	if err := x.tellsTimes(); err != nil {
		return nil, err
	}
	return x, x.load(ctx)
}

// load reads what the slice needs to know before it begins.
func (x *exporter) load(ctx context.Context) error {
	return x.DB.Read(ctx, func(ctx context.Context, tx *store.Tx) error {
		now, err := tx.Now(ctx)
		if err != nil {
			return err
		}
		x.ours, x.theirs = x.Clock.Now(), now
		if x.targeted() {
			if x.only, err = x.named(ctx, tx); err != nil {
				return err
			}
		}
		if x.pos.Stage != "" {
			return nil
		}
		round := false
		if !x.windowed() {
			round, err = x.roundDue(ctx, tx, now)
		}
		x.pos = position{Stage: x.first(round)}
		return err
	})
}

// roundDue reports whether it is time to look at every row: none has been looked
// at yet, or, in a run that starts by itself, the schedule of complete runs says
// so.
func (x *exporter) roundDue(ctx context.Context, tx *store.Tx, now time.Time) (bool, error) {
	last, err := tx.LastPass(ctx, x.C.ChannelID, x.C.ID)
	if err != nil || last.IsZero() {
		return true, err
	}
	return x.C.FullDue != nil && x.in.Run.Trigger == store.TriggerSchedule && x.C.FullDue(last, now), nil
}

// first is the stage a slice begins with.
func (x *exporter) first(round bool) stage {
	spec := x.in.Run.Spec
	switch {
	case spec.ApproveParked > 0:
		return stageRemove
	case x.targeted():
		return stageMark
	case x.windowed():
		return x.firstWindowed()
	case round || spec.Mode == store.ModeFull || !x.C.Captured && !x.C.ByModified:
		return stageDrift
	case x.C.ByModified:
		return stageModified
	}
	return stageDue
}

// named gives the local keys of the records that the request names.
func (x *exporter) named(ctx context.Context, tx *store.Tx) ([]string, error) {
	spec := x.in.Run.Spec
	keys := append(make([]string, 0, len(spec.LocalIDs)), spec.LocalIDs...)
	ids := slices.Clone(spec.RemoteIDs)
	now, err := tx.ResolveAliases(ctx, x.C.ID, ids)
	if err != nil {
		return nil, err
	}
	for i, id := range ids {
		if to := now[id]; to != "" {
			ids[i] = to
		}
	}
	links, err := tx.Links(ctx, x.C.ID, ids)
	for _, l := range links {
		keys = append(keys, l.LocalKey)
	}
	return keys, err
}

// run walks the stages.
func (x *exporter) run(ctx context.Context) (Outcome, error) {
	ctx, stop := x.watch(ctx)
	defer stop()
	x.ctx = ctx
	for x.pos.Stage != stageEnd {
		through, err := x.stage(ctx)
		if err != nil {
			return Outcome{Progress: x.progress}, cause(ctx, err)
		}
		if !through {
			return Outcome{Progress: x.progress}, nil
		}
	}
	return Outcome{Done: true, Progress: true}, nil
}

func (x *exporter) stage(ctx context.Context) (bool, error) {
	switch x.pos.Stage {
	case stageMark:
		return true, x.mark(ctx)
	case stageDrift:
		return x.drift(ctx)
	case stageModified:
		return x.modified(ctx)
	case stageUnsynced:
		return x.unsynced(ctx)
	case stageDue:
		return x.due(ctx)
	case stageGuard:
		return true, x.guard(ctx)
	case stageRemove:
		return x.remove(ctx)
	case stageList, stageSweep, stageIDs, stageEnd:
	}
	return false, fault.New(fault.Permanent, fault.CodeFailed, "export", "unknown stage %q in the stored position", x.pos.Stage).
		WithHint("start a new run")
}

// due sends out what is due, until nothing is.
func (x *exporter) due(ctx context.Context) (bool, error) {
	if x.dry() {
		return x.dueDry(ctx)
	}
	for {
		n, err := x.flow(ctx)
		switch {
		case err != nil:
			return false, err
		case x.limited():
			return true, x.ended(ctx)
		case n > 0 && x.expired():
			return false, nil
		case n > 0:
			continue
		}
		if more, err := x.more(ctx); err != nil {
			return false, err
		} else if !more {
			return true, x.ended(ctx)
		}
	}
}

// limited reports whether as many records were exported as may be in one run.
func (x *exporter) limited() bool { return x.C.Limit > 0 && x.pos.Count >= x.C.Limit }

// more waits a moment for rows that change right now. Who edits one row often
// edits the next one, and a run that is under way reaches the remote in a fraction
// of the time that another one takes to start. Only a slice that has exported
// something waits: the next run must not wait for nothing.
func (x *exporter) more(ctx context.Context) (bool, error) {
	if x.in.More == nil || !x.progress || x.only != nil || x.dry() || x.expired() {
		return false, nil
	}
	return x.in.More(ctx)
}

// room is how many records the next block may have.
func (x *exporter) room() int {
	n := x.blockSize()
	if x.C.Limit > 0 {
		return min(n, x.C.Limit-x.pos.Count)
	}
	return n
}

// ended goes on to the deletions that were found.
func (x *exporter) ended(ctx context.Context) error {
	next := x.pos
	next.Stage, next.After = stageGuard, ""
	if x.dry() {
		next.Stage = stageEnd
	}
	return x.advance(ctx, next, nil)
}

// advance commits a step that carries no records.
func (x *exporter) advance(ctx context.Context, next position, also func(ctx context.Context, tx *store.Tx) error) error {
	err := x.move(ctx, "export.advance", &next, &store.Counters{}, also)
	if err == nil {
		x.pos = next
	}
	return err
}

// move runs a transaction that ends with the step to next. An answer to its
// commit that was lost is settled by the progress marker, and what fails for a
// passing reason is done again.
func (x *exporter) move(ctx context.Context, what string, next *position, add *store.Counters, also func(ctx context.Context, tx *store.Tx) error) error {
	for try := 0; ; try++ {
		err := x.DB.Write(ctx, what, func(ctx context.Context, tx *store.Tx) error {
			if also != nil {
				if err := also(ctx, tx); err != nil {
					return err
				}
			}
			raw, err := next.encode()
			if err != nil {
				return err
			}
			return x.step(ctx, tx, store.SliceStep{SliceID: x.in.Slice.ID, Expected: x.no, Next: x.no + 1, Position: raw, Add: *add})
		})
		if errors.Is(err, store.ErrCommitUnknown) {
			err = x.settleUnknown(context.WithoutCancel(ctx), x.no+1, err)
		}
		if err == nil {
			x.no++
			x.progress = true
			return nil
		}
		if try == maxRewrites || !passing(ctx, err) {
			return err
		}
		if e := x.Clock.Sleep(ctx, jitter.Between(ctx, 0, 20*time.Millisecond<<try)); e != nil {
			return e
		}
	}
}
