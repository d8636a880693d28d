package pass

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/tandem-sync/tandem/internal/yield"
	"github.com/tandem-sync/tandem/store"
)

// blocksAhead is how many blocks may be under way at a time: one is claimed, one
// prepared, one sent and one booked.
const blocksAhead = 4

// flow carries blocks of rows to the remote. Its stages work beside each other:
// while a block is sent, those after it are claimed, read and judged, and the one
// before it is booked. Blocks are booked in the order in which they were claimed,
// and a row that is on its way is not claimed again before it is booked, so that
// its changes keep their order.
//
// Two things end it. An error of its own (err) cancels everything: what is under
// way at the remote is found out by whoever claims its rows next. Trouble, with
// the remote or in claiming, lets no further call begin; what was sent is booked.
type flow struct {
	*exporter
	ctx    context.Context //nolint:containedctx // the stages share it and end before the call that made it
	cancel context.CancelCauseFunc
	free   chan struct{} // one for each further block that may be claimed
	notes  chan note

	mu      sync.Mutex
	err     error
	trouble error
	blocks  int       // that were claimed
	last    time.Time // when a block was booked, by our clock
}

// flow claims, sends and books until nothing is due or something ends it, and
// tells how many blocks there were.
func (x *exporter) flow(ctx context.Context) (blocks int, err error) {
	f := &flow{exporter: x, free: make(chan struct{}, blocksAhead), notes: make(chan note)}
	f.ctx, f.cancel = context.WithCancelCause(ctx)
	defer f.cancel(nil)
	ahead := blocksAhead
	if x.only != nil || x.C.Limit > 0 || x.windowed() {
		ahead = 1 // the next block depends on what became of this one
	}
	for range ahead {
		f.free <- struct{}{}
	}
	claimed, prepared := make(chan *outBatch), make(chan *outBatch)
	sent, chunks := make(chan *outBatch, blocksAhead), make(chan chunk)
	var stages, lanes sync.WaitGroup
	stages.Go(func() { defer close(claimed); f.claims(claimed) })
	stages.Go(func() { defer close(prepared); f.prepares(claimed, prepared) })
	stages.Go(func() { defer close(sent); defer close(chunks); f.feeds(prepared, chunks, sent) })
	for range x.lanes() {
		lanes.Go(func() { f.lane(chunks) })
	}
	stages.Go(func() { f.announces() })
	stages.Go(func() { defer close(f.notes); lanes.Wait() })
	f.settles(sent)
	lanes.Wait()
	stages.Wait()
	return f.blocks, f.result()
}

// result is what ended the flow; nil nothing did.
func (f *flow) result() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.err != nil:
		return f.err
	case f.ctx.Err() != nil:
		return context.Cause(f.ctx)
	case f.trouble != nil:
		return f.trouble
	}
	return f.stoppedBy()
}

// fail ends the flow at once.
func (f *flow) fail(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err == nil {
		f.err = err
	}
	f.cancel(err)
}

// halt lets no further call begin.
func (f *flow) halt(err error) {
	if errors.Is(err, store.ErrFenced) {
		f.fail(err) // the rows are another worker's now
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.trouble == nil {
		f.trouble = err
	}
}

// halted is why no further call may begin; nil it may.
func (f *flow) halted() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.trouble
}

// ending reports whether no further block is begun.
func (f *flow) ending() bool { return f.halted() != nil || f.stoppedBy() != nil || f.ctx.Err() != nil }

// claims claims block after block.
func (f *flow) claims(out chan<- *outBatch) {
	for {
		select {
		case <-f.free:
		case <-f.ctx.Done():
			return
		}
		if f.ending() || f.limited() || f.blocks > 0 && f.expired() {
			return
		}
		began, room := f.Clock.Now(), f.room()
		b, err := f.claim(yield.In(f.ctx, "claim"))
		if err != nil {
			f.halt(err)
			return
		}
		if b == nil {
			return
		}
		f.blocks++
		b.began, b.sent, b.settled = began, make(chan struct{}), make(chan struct{})
		select {
		case out <- b:
		case <-f.ctx.Done():
			return
		}
		if !f.following(b, len(b.items) < room) {
			return
		}
	}
}

// following reports whether to claim another block after b. Where something tells
// of rows that become due, one that had all of them is followed by the next that is
// told of while it is under way.
func (f *flow) following(b *outBatch, all bool) bool {
	if f.in.Heard == nil || !all {
		return true
	}
	select {
	case <-f.in.Heard:
		return true
	case <-b.settled:
	case <-f.ctx.Done():
	}
	return false
}

// prepares brings blocks to the point at which they can be sent. One that comes
// too late for that is dropped: its rows are free when the lease ends.
func (f *flow) prepares(in <-chan *outBatch, out chan<- *outBatch) {
	var before *outBatch
	for b := range in {
		ready, err := f.prepareAfter(b, before)
		if err != nil {
			f.halt(err)
		}
		if !ready {
			close(b.settled)
			continue
		}
		before = b
		select {
		case out <- b:
		case <-f.ctx.Done():
			return
		}
	}
}

// prepareAfter prepares a block, if none of the ones before it ends the flow.
// Where it depends on what became of them, because its rows may refer to theirs
// or are going to be looked for at the remote, they are booked first.
func (f *flow) prepareAfter(b, before *outBatch) (ready bool, err error) {
	if f.ending() || slices.Contains(f.C.RefConnectors, f.C.ID) && !f.booked(before) {
		return false, nil
	}
	ctx := yield.In(f.ctx, "prepare")
	if err := f.prepare(ctx, b); err != nil {
		return false, err
	}
	if unlinked := slices.ContainsFunc(b.items, func(it outItem) bool {
		return it.fate == fateOpen && (it.link == nil || it.link.State != store.Linked)
	}); unlinked {
		if !f.booked(before) {
			return false, nil
		}
		if err := f.findUnlinked(ctx, b); err != nil {
			return false, err
		}
	}
	err = f.decideEarly(ctx, b)
	return err == nil, err
}

// booked waits until a block, and with it all before it, is booked.
func (f *flow) booked(b *outBatch) bool {
	if b == nil {
		return true
	}
	select {
	case <-b.settled:
		return !f.ending()
	case <-f.ctx.Done():
		return false
	}
}

// findUnlinked looks for the records of rows that are not linked, after those
// whose pair was taken apart have been looked at by id.
func (x *exporter) findUnlinked(ctx context.Context, b *outBatch) error {
	var apart []*outItem
	for i := range b.items {
		if it := &b.items[i]; x.toRead(it) && it.link.State != store.Linked {
			apart = append(apart, it)
		}
	}
	if err := x.readRemote(ctx, apart); err != nil {
		return err
	}
	return x.lookUp(ctx, b)
}

// decideEarly judges the rows for which the remote need not be looked at right
// before it is written to.
func (x *exporter) decideEarly(ctx context.Context, b *outBatch) error {
	var orders []*outItem
	for i := range b.items {
		it := &b.items[i]
		if it.fate != fateOpen || x.toRead(it) {
			continue
		}
		x.decide(it)
		if it.order != nil {
			orders = append(orders, it)
		}
	}
	return x.announce(ctx, orders)
}

// settles books blocks in order.
func (f *flow) settles(sent <-chan *outBatch) {
	for b := range sent {
		select {
		case <-b.sent:
		case <-f.ctx.Done():
			return
		}
		if err := f.settle(yield.In(f.ctx, "settle"), b); err != nil {
			f.fail(err)
			return
		}
		now := f.Clock.Now()
		if f.last.After(b.began) {
			b.began = f.last
		}
		f.pace(len(b.items), now.Sub(b.began))
		f.last = now
		close(b.settled)
		f.free <- struct{}{}
	}
}

// stop has the run end after what is under way.
func (x *exporter) stop(err error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.stopped = err
}

// stoppedBy is a hook's wish to end the run; nil there is none.
func (x *exporter) stoppedBy() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.stopped
}
