package demo

import (
	"net/http"
	"sync"
	"time"

	"github.com/tandem-sync/tandem/internal/clock"
)

// Gate stands before a remote: every answer takes as long as it does over a
// network, and after a number of calls it can stop to answer until it is opened,
// so that something can happen in the middle of a listing.
type Gate struct {
	next  http.Handler
	delay time.Duration

	mu     sync.Mutex
	left   int // calls that still pass
	closed bool
	opened chan struct{}
	held   int
}

// NewGate makes a gate that lets the given number of calls pass and holds those
// that follow until Open.
func NewGate(next http.Handler, delay time.Duration, pass int) *Gate {
	return &Gate{next: next, delay: delay, left: pass, closed: true, opened: make(chan struct{})}
}

// Open lets everything pass from now on.
func (g *Gate) Open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		g.closed = false
		close(g.opened)
	}
}

// Held is how many calls have been held so far.
func (g *Gate) Held() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.held
}

// ServeHTTP answers in good time. A client that has gone gets no answer, and the
// remote does not hear of the call.
func (g *Gate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if err := (clock.System{}).Sleep(r.Context(), g.delay); err != nil {
		return
	}
	if g.holds() {
		select {
		case <-g.opened:
		case <-r.Context().Done():
			return
		}
	}
	g.next.ServeHTTP(w, r)
}

func (g *Gate) holds() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.closed {
		return false
	}
	if g.left > 0 {
		g.left--
		return false
	}
	g.held++
	return true
}
