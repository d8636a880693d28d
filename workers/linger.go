package workers

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tandem-sync/tandem/store"
)

// A run that local changes asked for waits a moment for the next ones when it has
// sent all there are: the way through the queues takes longer than all the rest
// of an export. It is asked for by a signal where the change was taken up in this
// process, else it looks.
const (
	lingerFor  = 150 * time.Millisecond
	lingerLook = 10 * time.Millisecond
)

// linger waits as long as told for rows of a connector to become due and reports
// whether any are. While every slot is taken it does not wait: another channel may
// need this one.
func (p *processor) linger(ctx context.Context, connectorID int64, most time.Duration) (bool, error) {
	stirred, leave := p.stir.listen(connectorID)
	defer leave()
	for end := p.cfg.Clock.Now().Add(most); ; {
		has := false
		err := p.cfg.DB.Read(ctx, func(ctx context.Context, tx *store.Tx) (err error) {
			has, err = tx.HasDue(ctx, connectorID)
			return err
		})
		if err != nil || has {
			return has, err
		}
		left := end.Sub(p.cfg.Clock.Now())
		if left <= 0 || int(p.busy.Load()) >= p.cfg.ReverseSlots {
			return false, nil
		}
		if !p.cfg.Roles.Relay {
			left = min(left, lingerLook)
		}
		t := time.NewTimer(left)
		select {
		case <-stirred:
		case <-t.C:
		case <-p.soft:
			t.Stop()
			return false, nil
		case <-ctx.Done():
			t.Stop()
			return false, ctx.Err()
		}
		t.Stop()
	}
}

// stir tells slices of this process that rows of their connector are due. Its
// zero value is ready.
type stir struct {
	mu   sync.Mutex
	ears map[int64]map[chan struct{}]bool
}

// listen gives a channel that gets a value when rows of the connector become due,
// until leave is called.
func (s *stir) listen(connectorID int64) (heard <-chan struct{}, leave func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	ear := make(chan struct{}, 1)
	if s.ears == nil {
		s.ears = map[int64]map[chan struct{}]bool{}
	}
	if s.ears[connectorID] == nil {
		s.ears[connectorID] = map[chan struct{}]bool{}
	}
	s.ears[connectorID][ear] = true
	return ear, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.ears[connectorID], ear)
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
		for ear := range s.ears[c] {
			select {
			case ear <- struct{}{}:
			default: // it has not looked yet
			}
		}
	}
}

// busy counts deliveries of a queue that are being dealt with.
type busy struct{ atomic.Int64 }

// in counts one until the returned function is called.
func (b *busy) in() (out func()) {
	b.Add(1)
	return func() { b.Add(-1) }
}
