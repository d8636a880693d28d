package hubspot

import (
	"sync"
	"time"

	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/transport"
)

// pacer keeps a rate in every stretch of its length: it remembers when the last
// calls left.
type pacer struct {
	mu   sync.Mutex
	per  time.Duration
	last []time.Time // ring; zero is none
	next int
}

func newPacer(r transport.Rate) *pacer {
	// A fiftieth of slack, because calls sent Per apart can arrive closer.
	return &pacer{per: r.Per + r.Per/50, last: make([]time.Time, max(r.N, 1))}
}

// reserve takes a place, which the caller must wait for, or says how long the
// wait would be when it exceeds patience; then nothing is taken.
func (p *pacer) reserve(now time.Time, patience time.Duration) (wait time.Duration, taken bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	at := now
	if free := p.last[p.next].Add(p.per); !p.last[p.next].IsZero() && free.After(now) {
		at = free
	}
	if wait = at.Sub(now); wait > patience {
		return wait, false
	}
	p.last[p.next] = at
	p.next = (p.next + 1) % len(p.last)
	return wait, true
}

// gate keeps calls back that HubSpot has announced to refuse: each of them would
// count against the limit it has just named.
type gate struct {
	mu    sync.Mutex
	until time.Time
	why   *fault.Error
}

func (g *gate) shut(until time.Time, why *fault.Error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if until.After(g.until) {
		g.until, g.why = until, why
	}
}

// check gives how long the gate stays shut, and why.
func (g *gate) check(now time.Time) (time.Duration, *fault.Error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if wait := g.until.Sub(now); wait > 0 {
		return wait, g.why
	}
	return 0, nil
}

// repeats keeps repeated calls to a tenth of all calls, so that an account in
// trouble does not get more load for it. It starts with ten.
type repeats struct {
	mu     sync.Mutex
	tenths int
}

const maxRepeats = 100

func (r *repeats) call() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.tenths = min(r.tenths+1, maxRepeats)
}

func (r *repeats) take() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.tenths < 10 {
		return false
	}
	r.tenths -= 10
	return true
}
