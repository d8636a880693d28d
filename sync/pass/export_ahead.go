package pass

import "context"

// claimAhead is the claim of a batch beside the export of the one before it.
type claimAhead struct {
	done  chan struct{}
	batch *outBatch
	err   error
}

// claimAhead begins to claim the rows after a batch of n while that one is
// exported; nil where there are hardly any or it must not. A row is claimed once,
// so the two have none in common. What was claimed and is not exported after all
// is free when the lease ends.
func (x *exporter) claimAhead(ctx context.Context, n int) *claimAhead {
	if x.dry() || x.only != nil || x.windowed() || x.C.Limit > 0 || n < x.most || x.expired() {
		return nil
	}
	a, most := &claimAhead{done: make(chan struct{})}, x.most
	go func() {
		defer close(a.done)
		a.batch, a.err = x.claimKeys(ctx, nil, most)
	}()
	return a
}

// wait waits until nothing is claimed any more.
func (a *claimAhead) wait() {
	if a != nil {
		<-a.done
	}
}

// following gives the next batch, which may have been claimed already; nil says
// that nothing is due.
func (x *exporter) following(ctx context.Context, a *claimAhead) (*outBatch, error) {
	if a == nil {
		return x.claim(ctx)
	}
	a.wait()
	if a.err != nil {
		return nil, a.err
	}
	if len(a.batch.items) == 0 {
		return x.claim(ctx) // what has become due meanwhile
	}
	a.batch.next = x.pos
	return a.batch, nil
}
