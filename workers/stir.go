package workers

import (
	"sync"
	"sync/atomic"
)

// ear is what one slice hears with.
type ear struct {
	bell   chan struct{} // rings when there is something to look at
	takes  bool          // it takes up changes by itself
	offers atomic.Int64  // how often it was told that changes wait
}

func (e *ear) ring() {
	select {
	case e.bell <- struct{}{}:
	default: // it has not looked yet
	}
}

// stir tells slices of this process that rows of their connector are due or that
// changes wait to be taken up.
type stir struct {
	mu   sync.Mutex
	ears map[int64]map[*ear]bool
	// again rings when the relay shall look at the log itself.
	again chan struct{}
}

func newStir() *stir {
	return &stir{ears: map[int64]map[*ear]bool{}, again: make(chan struct{}, 1)}
}

// listen gives an ear that rings when rows of the connector become due and, with
// takes, when changes wait, until leave is called.
func (s *stir) listen(connectorID int64, takes bool) (e *ear, leave func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e = &ear{bell: make(chan struct{}, 1), takes: takes}
	if s.ears[connectorID] == nil {
		s.ears[connectorID] = map[*ear]bool{}
	}
	s.ears[connectorID][e] = true
	return e, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.ears[connectorID], e)
		if len(s.ears[connectorID]) == 0 {
			delete(s.ears, connectorID)
		}
	}
}

// tell wakes the slices of connectors. It never blocks.
func (s *stir) tell(connectors []int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range connectors {
		for e := range s.ears[c] {
			e.ring()
		}
	}
}

// offer tells the slices that take up changes that some wait, and reports whether
// there is any such slice. It never blocks.
func (s *stir) offer() (taken bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, ears := range s.ears {
		for e := range ears {
			if e.takes {
				taken = true
				e.offers.Add(1)
				e.ring()
			}
		}
	}
	return taken
}

// look makes the relay look at the log itself, now. It never blocks.
func (s *stir) look() {
	select {
	case s.again <- struct{}{}:
	default:
	}
}

// busy counts deliveries of a queue that are being dealt with.
type busy struct{ atomic.Int64 }

// in counts one until the returned function is called.
func (b *busy) in() (out func()) {
	b.Add(1)
	return func() { b.Add(-1) }
}
