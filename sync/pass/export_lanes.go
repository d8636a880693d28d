package pass

import (
	"context"
	"time"

	"github.com/tandem-sync/tandem/channels"
	"github.com/tandem-sync/tandem/internal/yield"
)

// sizes is how many records a block has, between least and top.
type sizes struct{ now, least, top int }

// The sizes of a block. It is booked when all of it is sent, and while its rows
// are claimed a direct sync of them has to wait.
const (
	exportSingle, exportSingleLeast, exportSingleTop    = 32, 8, 1024
	exportBatched, exportBatchedLeast, exportBatchedTop = 500, 100, 1000
	// A full block that took less is followed by a larger one, one that took far
	// longer by a smaller one.
	exportQuick = 250 * time.Millisecond
	exportSlow  = 4 * exportQuick
)

func sizesFor(fixed int, caps channels.WriteCapabilities) sizes {
	switch {
	case fixed > 0:
		return sizes{fixed, fixed, fixed}
	case caps.Batch > 1:
		return sizes{exportBatched, exportBatchedLeast, exportBatchedTop}
	}
	return sizes{exportSingle, exportSingleLeast, exportSingleTop}
}

// blockSize is how many records the next block may have.
func (x *exporter) blockSize() int {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.sizes.now
}

// pace sizes the next block by how long one of n records took.
func (x *exporter) pace(n int, took time.Duration) {
	x.mu.Lock()
	defer x.mu.Unlock()
	switch s := &x.sizes; {
	case took > exportSlow:
		s.now = max(s.now/2, s.least)
	case n >= s.now && took < exportQuick:
		s.now = min(2*s.now, s.top)
	}
}

// lanes is how many chunks are at the remote at a time. There are more than it
// takes calls, so that the next call is ready when one ends.
func (x *exporter) lanes() int {
	switch n := x.caps.Parallel; {
	case n <= 0:
		return 1
	case x.caps.Batch > 1:
		return n + 1
	default:
		return n + (n+3)/4
	}
}

// chunkSize is how many of n records are read, judged and written together: as
// many as fit into a call, so that nothing lies between looking at a record and
// writing to it but these two calls. A remote that does not say how many calls
// it takes at a time gets all at once.
func (x *exporter) chunkSize(n int) int {
	if x.caps.Parallel <= 0 {
		return max(n, 1)
	}
	return max(x.caps.Batch, 1)
}

// chunk is the records of a block that go through a lane together.
type chunk struct {
	b     *outBatch
	items []*outItem
}

// through notes that a chunk is dealt with.
func (c chunk) through() {
	if c.b.left.Add(-1) == 0 {
		close(c.b.sent)
	}
}

// unsent ends what is left of a chunk that does not go out.
func (c chunk) unsent(err error) {
	for _, it := range c.items {
		if it.fate == fateOpen {
			it.unsent(err)
		}
	}
}

func (it *outItem) unsent(err error) {
	it.result = &channels.Result{Outcome: channels.NotSent, Err: err}
	it.end(fateLater, "not_sent", orUnexplained(err))
}

// chunks cuts what a block has for the remote.
func (f *flow) chunks(b *outBatch) []chunk {
	var open []*outItem
	for i := range b.items {
		if it := &b.items[i]; it.order != nil || it.fate == fateOpen {
			open = append(open, it)
		}
	}
	size := f.chunkSize(len(open))
	list := make([]chunk, 0, (len(open)+size-1)/size)
	for len(open) > 0 {
		n := min(size, len(open))
		list = append(list, chunk{b, open[:n:n]})
		open = open[n:]
	}
	return list
}

// feeds hands blocks out to the lanes, chunk by chunk.
func (f *flow) feeds(in <-chan *outBatch, out chan<- chunk, sent chan<- *outBatch) {
	for b := range in {
		list := f.chunks(b)
		b.left.Store(int64(len(list)))
		if len(list) == 0 {
			close(b.sent)
		}
		sent <- b // there is room for every block that may be under way
		for _, c := range list {
			if err := f.halted(); err != nil {
				c.unsent(err)
				c.through()
				continue
			}
			select {
			case out <- c:
			case <-f.ctx.Done():
				return
			}
		}
	}
}

// lane carries out chunk after chunk.
func (f *flow) lane(in <-chan chunk) {
	ctx := yield.In(f.ctx, "lane")
	for c := range in {
		if err := f.carry(ctx, c); err != nil {
			f.fail(err)
			return
		}
		c.through()
	}
}

// carry brings a chunk to the remote: what has to be looked at is read and judged
// right before it is written. An error leaves open what became of it.
func (f *flow) carry(ctx context.Context, c chunk) error {
	if err := f.halted(); err != nil {
		c.unsent(err)
		return nil
	}
	if err := f.decideLate(ctx, c); err != nil {
		f.halt(err)
		c.unsent(err)
		return nil
	}
	trouble, err := f.send(ctx, c.items)
	if err == nil && trouble == nil {
		trouble, err = f.sendAgain(ctx, c)
	}
	if trouble != nil {
		f.halt(trouble)
	}
	return err
}

// decideLate reads the records of a chunk for which that was put off, and judges.
func (f *flow) decideLate(ctx context.Context, c chunk) error {
	var read, lost []*outItem
	for _, it := range c.items {
		if f.toRead(it) {
			read = append(read, it)
		}
	}
	if len(read) == 0 {
		return nil
	}
	if err := f.readRemote(ctx, read); err != nil {
		return err
	}
	for _, it := range read {
		if it.fate != fateOpen {
			continue
		}
		if f.decide(it); it.order != nil && len(it.lost) > 0 {
			lost = append(lost, it)
		}
	}
	if len(lost) == 0 {
		return nil
	}
	return f.announced(ctx, lost)
}

// note asks to announce items; done hears how that ended.
type note struct {
	items []*outItem
	done  chan error
}

// announced waits until what lies behind has been stored.
func (f *flow) announced(ctx context.Context, items []*outItem) error {
	n := note{items, make(chan error, 1)}
	select {
	case f.notes <- n:
	case <-ctx.Done():
		return ctx.Err()
	}
	return <-n.done
}

// announces stores what the lanes ask for: that of many in one transaction.
func (f *flow) announces() {
	for n := range f.notes {
		list := []note{n}
		for more := true; more; {
			select {
			case n, ok := <-f.notes:
				if more = ok; ok {
					list = append(list, n)
				}
			default:
				more = false
			}
		}
		var items []*outItem
		for _, n := range list {
			items = append(items, n.items...)
		}
		err := f.announce(yield.In(f.ctx, "announce"), items)
		for _, n := range list {
			n.done <- err
		}
	}
}

// send carries the orders of items out in one call of the writer and notes what
// became of each. trouble is about the remote as a whole; what is known of the
// orders is noted all the same. With err nothing is noted.
func (x *exporter) send(ctx context.Context, items []*outItem) (trouble, err error) {
	orders := make([]channels.Order, 0, len(items))
	for i, it := range items {
		if it.order != nil {
			it.order.N = i
			orders = append(orders, *it.order)
		}
	}
	if len(orders) == 0 {
		return nil, nil
	}
	if err := yield.Point(ctx, "export.before_write"); err != nil {
		return nil, err
	}
	results, trouble := x.writer.Write(ctx, x.fields, orders)
	for i := range results {
		if n := results[i].N; n >= 0 && n < len(items) {
			items[n].result = &results[i]
		}
	}
	for _, it := range items {
		if it.order != nil {
			x.outcome(it, trouble)
		}
	}
	return trouble, yield.Point(ctx, "export.after_write")
}
