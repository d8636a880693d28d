package pass

import (
	"context"
	"errors"
	"time"

	"github.com/tandem-sync/tandem/entities"
	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/internal/jitter"
	"github.com/tandem-sync/tandem/store"
)

// pipeline keeps up to two batches in flight, each on its own connection: one
// database backend is slower than reading and decoding, two are not. They
// commit in order, and they never touch the same record, row or identity; where
// that is not sure, the younger one waits and is planned after the older one
// has committed.
type pipeline struct {
	s     *slice
	lanes []*lane
	jobs  []*job // oldest first
	turn  int
}

type lane struct {
	sess *store.Session
	w    *entities.Writer
}

// job is a batch in flight.
type job struct {
	b      *batch
	p      *plan
	lane   *lane
	cancel context.CancelFunc
	done   chan struct{}
	err    error // read after done
}

// olderLockTimeout breaks the knot of an older batch that waits for a row of
// the younger one, which in turn waits for the older one's commit.
const olderLockTimeout = "SET LOCAL lock_timeout = '500ms'"

// maxRewrites is how often a batch that failed for a passing reason is planned
// and written again before the slice gives up.
const maxRewrites = 5

func (s *slice) newPipeline() *pipeline { return &pipeline{s: s} }

// width is how many batches may be in flight: SQLite has one writer.
func (pp *pipeline) width() int {
	if pp.s.DB.Dialect() == store.SQLite || pp.s.dry() {
		return 1
	}
	return 2
}

// submit plans the batch and starts its transaction.
func (pp *pipeline) submit(ctx context.Context, b *batch) error {
	b.no = pp.s.no
	if len(pp.jobs) >= pp.width() {
		if err := pp.reap(ctx); err != nil {
			return err
		}
	}
	if pp.overlapsIDs(b) {
		if err := pp.flush(ctx); err != nil {
			return err
		}
	}
	p, err := pp.s.plan(ctx, b)
	if err != nil {
		return err
	}
	if len(pp.jobs) > 0 && pp.overlaps(p) {
		if err := pp.flush(ctx); err != nil {
			return err
		}
		if p, err = pp.s.plan(ctx, b); err != nil {
			return err
		}
	}
	ln, err := pp.nextLane(ctx)
	if err != nil {
		return err
	}
	pp.start(ctx, b, p, ln)
	pp.s.no++
	return nil
}

// start runs the batch's transaction beside the caller.
func (pp *pipeline) start(ctx context.Context, b *batch, p *plan, ln *lane) {
	ctx, cancel := context.WithCancel(ctx)
	j := &job{b: b, p: p, lane: ln, cancel: cancel, done: make(chan struct{})}
	var prev *job
	if len(pp.jobs) > 0 {
		prev = pp.jobs[len(pp.jobs)-1]
	}
	pp.jobs = append(pp.jobs, j)
	go func() {
		defer close(j.done)
		defer cancel()
		j.err = pp.commit(ctx, j.b, j.p, ln, func() error {
			if prev == nil {
				return nil
			}
			select {
			case <-prev.done:
			case <-ctx.Done():
				return ctx.Err()
			}
			if prev.err != nil {
				return errPredecessor
			}
			return nil
		})
	}()
}

// commit is one try at the batch's transaction, with a lost answer to its
// commit settled by the progress marker.
func (pp *pipeline) commit(ctx context.Context, b *batch, p *plan, ln *lane, ready func() error) error {
	s := pp.s
	if !s.dry() {
		if err := ln.w.Prepare(ctx); err != nil {
			return err
		}
	}
	err := ln.sess.Write(ctx, "batch", func(ctx context.Context, tx *store.Tx) error {
		if pp.width() > 1 {
			if _, err := tx.ExecContext(ctx, olderLockTimeout); err != nil {
				return err
			}
		}
		return s.write(ctx, tx, ln.w, b, p, ready)
	})
	if errors.Is(err, store.ErrCommitUnknown) {
		err = s.settleUnknown(context.WithoutCancel(ctx), b.no+1, err)
	}
	return err
}

// reap waits for the oldest batch. If it failed, the younger one has rolled
// back with it, and both are planned and written again, one after the other.
func (pp *pipeline) reap(ctx context.Context) error {
	j := pp.jobs[0]
	<-j.done
	if j.err == nil {
		pp.jobs = pp.jobs[1:]
		pp.committed(j.b, j.p)
		return nil
	}
	failed := pp.jobs
	pp.jobs = nil
	for _, f := range failed[1:] {
		f.cancel()
		<-f.done
	}
	pp.s.ids.drop()
	err := j.err
	for _, f := range failed {
		if err = pp.rewrite(ctx, f, err); err != nil {
			return err
		}
	}
	return nil
}

// rewrite does a failed batch again, alone, from its look-ups.
func (pp *pipeline) rewrite(ctx context.Context, j *job, err error) error {
	for try := 0; try < maxRewrites; try++ {
		if !passing(ctx, err) {
			return err
		}
		wait := jitter.Between(ctx, 0, 20*time.Millisecond<<try)
		if e := pp.s.Clock.Sleep(ctx, wait); e != nil {
			return e
		}
		var p *plan
		p, err = pp.s.plan(ctx, j.b)
		if err == nil {
			err = pp.commit(ctx, j.b, p, j.lane, func() error { return nil })
		}
		if err == nil {
			pp.committed(j.b, p)
			return nil
		}
		pp.s.ids.drop()
	}
	return err
}

// passing reports whether trying the batch again can help.
func passing(ctx context.Context, err error) bool {
	if ctx.Err() != nil || errors.Is(err, store.ErrFenced) {
		return false
	}
	if errors.Is(err, errPredecessor) || err == nil {
		return true
	}
	switch fault.Of(store.Classify(err)) {
	case fault.Retryable, fault.RateLimited:
		return true
	case fault.Unknown, fault.Permanent, fault.Skip, fault.Stop:
	}
	return false
}

// committed remembers what a committed batch did.
func (pp *pipeline) committed(b *batch, p *plan) {
	s := pp.s
	s.seen.add(p.seen, p.others)
	s.pos = b.next
	s.progress = true
}

// flush waits for everything in flight.
func (pp *pipeline) flush(ctx context.Context) error {
	for len(pp.jobs) > 0 {
		if err := pp.reap(ctx); err != nil {
			return err
		}
	}
	return nil
}

// close ends what is still in flight after an error and gives the connections
// back.
func (pp *pipeline) close() {
	for _, j := range pp.jobs {
		j.cancel()
		<-j.done
	}
	pp.jobs = nil
	for _, ln := range pp.lanes {
		_ = ln.sess.Close() //nolint:errcheck // the connection is done with either way
	}
}

func (pp *pipeline) nextLane(ctx context.Context) (*lane, error) {
	if len(pp.lanes) < pp.width() {
		sess, err := pp.s.DB.Session(ctx)
		if err != nil {
			return nil, err
		}
		ln := &lane{sess: sess, w: pp.s.C.Local.Writer(sess, pp.s.C.ID)}
		pp.lanes = append(pp.lanes, ln)
		return ln, nil
	}
	// The lanes take turns, so the one whose job was reaped last is free.
	for {
		pp.turn = (pp.turn + 1) % len(pp.lanes)
		if ln := pp.lanes[pp.turn]; !pp.busy(ln) {
			return ln, nil
		}
	}
}

func (pp *pipeline) busy(ln *lane) bool {
	for _, j := range pp.jobs {
		if j.lane == ln {
			return true
		}
	}
	return false
}

// overlapsIDs reports whether a batch in flight has one of b's remote ids.
func (pp *pipeline) overlapsIDs(b *batch) bool {
	recs := b.fold()
	for _, j := range pp.jobs {
		j.b.fold()
		for _, r := range recs {
			if _, ok := j.b.at[r.ID]; ok {
				return true
			}
		}
	}
	return false
}

// overlaps reports whether a batch in flight touches a row or an identity of p.
func (pp *pipeline) overlaps(p *plan) bool {
	for _, j := range pp.jobs {
		if meet(j.p.locals, p.locals) || meet(j.p.identities, p.identities) {
			return true
		}
	}
	return false
}

func meet(a, b []string) bool {
	if len(a) == 0 || len(b) == 0 {
		return false
	}
	set := make(map[string]struct{}, len(a))
	for _, k := range a {
		set[k] = struct{}{}
	}
	for _, k := range b {
		if _, ok := set[k]; ok {
			return true
		}
	}
	return false
}
