package sim

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing/synctest"
	"time"

	"github.com/tandem-sync/tandem/internal/yield"
)

// errDead is what a crashed worker gets at every point: none of its effects
// happens any more.
var errDead = errors.New("simulated crash")

// errLost is a lost answer: the effect happened, the caller does not know.
var errLost = errors.New("simulated loss of the answer")

// scheduler lets one goroutine of one worker go on at a time. Every effect of
// the code under test waits at a yield point; the seed picks who is next and
// what goes wrong there. The same seed gives the same history.
type scheduler struct {
	mu      sync.Mutex
	waiting []*waiter
	calm    bool                  // no more scheduling: points pass at once
	frozen  map[int]int           // worker -> the step until which it is stopped
	stopped map[int]chan struct{} // the same in a calm world: until it is closed
	rng     *rand.Rand
	trace   []string
	hash    uint64
}

// slotKey is where a context holds the name of its handler: two handlers of a
// worker may come to the same point at the same moment.
type slotKey struct{}

type waiter struct {
	worker  int
	life    int
	point   string
	slot    string // which of the worker's handlers it belongs to; "" none
	release chan error
}

// inTx reports whether the waiter is inside a transaction: on the one writer of
// SQLite nobody else could go on, so a stopped worker ends it first.
func (w *waiter) inTx() bool {
	for _, p := range []string{"tx.begin", "tx.before_commit", "tx.after_commit", "batch.", "relay."} {
		if strings.HasPrefix(w.point, p) {
			return true
		}
	}
	return false
}

func newScheduler(seed uint64) *scheduler {
	return &scheduler{frozen: map[int]int{}, stopped: map[int]chan struct{}{}, rng: rand.New(rand.NewPCG(seed, seed^0x9e3779b97f4a7c15))}
}

// hook makes the points of one life of a worker wait for their turn.
func (s *scheduler) hook(worker, life int, dead <-chan struct{}) yield.Hook {
	return func(ctx context.Context, point string) error {
		select {
		case <-dead:
			return errDead
		default:
		}
		slot, _ := ctx.Value(slotKey{}).(string)
		w := &waiter{worker: worker, life: life, point: point, slot: slot, release: make(chan error, 1)}
		s.mu.Lock()
		if s.calm {
			stop := s.stopped[worker]
			s.mu.Unlock()
			return w.rest(ctx, stop)
		}
		s.waiting = append(s.waiting, w)
		s.mu.Unlock()
		select {
		case err := <-w.release:
			return err
		case <-dead:
			s.drop(w)
			return errDead
		case <-ctx.Done():
			s.drop(w)
			return ctx.Err()
		}
	}
}

func (s *scheduler) drop(w *waiter) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waiting = slices.DeleteFunc(s.waiting, func(x *waiter) bool { return x == w })
}

// freeze stops a worker until the given step, while everybody else goes on: a
// process that is suspended, or cut off from its database.
func (s *scheduler) freeze(worker, until int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.frozen[worker] = until
}

// stop holds a worker's effects back in a calm world until the returned function
// is called.
func (s *scheduler) stop(worker int) (thaw func()) {
	ch := make(chan struct{})
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopped[worker] = ch
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.stopped, worker)
		close(ch)
	}
}

// rest waits in a stopped worker.
func (w *waiter) rest(ctx context.Context, stop <-chan struct{}) error {
	if stop == nil || w.inTx() {
		return nil
	}
	select {
	case <-stop:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// next waits until nobody runs and picks one waiter; nil when all sleep.
func (s *scheduler) next(step int) *waiter {
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.waiting) == 0 {
		return nil
	}
	slices.SortStableFunc(s.waiting, func(a, b *waiter) int {
		return cmp.Or(cmp.Compare(a.worker, b.worker), cmp.Compare(a.point, b.point), cmp.Compare(a.slot, b.slot))
	})
	var able []int
	for i, w := range s.waiting {
		if s.frozen[w.worker] <= step || w.inTx() {
			able = append(able, i)
		}
	}
	if len(able) == 0 {
		return nil
	}
	i := able[s.rng.IntN(len(able))]
	w := s.waiting[i]
	s.waiting = slices.Delete(s.waiting, i, i+1)
	return w
}

// note adds a step to the history.
func (s *scheduler) note(format string, args ...any) {
	line := fmt.Sprintf(format, args...)
	h := fnv.New64a()
	fmt.Fprintf(h, "%x %s", s.hash, line)
	s.hash = h.Sum64()
	s.trace = append(s.trace, fmt.Sprintf("%s %s", time.Now().UTC().Format("15:04:05.000"), line))
	if len(s.trace) > 4000 {
		s.trace = s.trace[len(s.trace)-300:]
	}
}

// release lets everybody go on without interference from here on.
func (s *scheduler) release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calm = true
	for _, w := range s.waiting {
		w.release <- nil
	}
	s.waiting = nil
}

// chance is true once in n.
func (s *scheduler) chance(n int) bool { return s.rng.IntN(n) == 0 }
