// Package bubble is what simulations share: a seeded scheduler that lets one
// goroutine of one simulated process go on at a time, and a broker that loses,
// doubles and reorders messages. Everything runs in one testing/synctest bubble.
package bubble

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

// ErrDead is what a crashed worker gets at every point: none of its effects
// happens any more.
var ErrDead = errors.New("simulated crash")

// ErrLost is a lost answer: the effect happened, the caller does not know.
var ErrLost = errors.New("simulated loss of the answer")

// Scheduler lets one goroutine of one worker go on at a time. Every effect of
// the code under test waits at a yield point; the seed picks who is next and
// what goes wrong there. The same seed gives the same history.
type Scheduler struct {
	// Rng is where the schedule comes from.
	Rng *rand.Rand

	mu      sync.Mutex
	waiting []*Waiter
	calm    bool                  // no more scheduling: points pass at once
	frozen  map[int]int           // worker -> the step until which it is stopped
	stopped map[int]chan struct{} // the same in a calm world: until it is closed
	trace   []string
	hash    uint64
	bell    chan struct{} // somebody came to a point
}

// slotKey is where a context holds the name of its handler.
type slotKey struct{}

// InSlot names what a context belongs to: two handlers of a worker may come to
// the same point at the same moment, and the order in which they come is nobody's
// choice.
func InSlot(ctx context.Context, name string) context.Context {
	return context.WithValue(ctx, slotKey{}, name)
}

// SlotOf gives what InSlot was told; "" nothing.
func SlotOf(ctx context.Context) string {
	slot, _ := ctx.Value(slotKey{}).(string)
	return slot
}

// Waiter is a goroutine that waits at a point before an effect.
type Waiter struct {
	Worker int
	Life   int // which life of the worker: it crashes and starts again
	Point  string

	slot    string // which of the worker's handlers it belongs to, and which of its goroutines
	release chan error
}

// Go lets the waiter go on, with the error that its effect ends with, or nil.
func (w *Waiter) Go(err error) { w.release <- err }

// InTx reports whether the waiter is inside a transaction: on the one writer of
// SQLite nobody else could go on, so a stopped worker ends it first.
func (w *Waiter) InTx() bool {
	for _, p := range []string{"tx.begin", "tx.before_commit", "tx.after_commit", "batch.", "relay."} {
		if strings.HasPrefix(w.Point, p) {
			return true
		}
	}
	return false
}

// NewScheduler makes the scheduler of a seed.
func NewScheduler(seed uint64) *Scheduler {
	return &Scheduler{bell: make(chan struct{}, 1), frozen: map[int]int{}, stopped: map[int]chan struct{}{}, Rng: rand.New(rand.NewPCG(seed, seed^0x9e3779b97f4a7c15))} //nolint:gosec // a seed must give the same history
}

// Hook makes the points of one life of a worker wait for their turn.
func (s *Scheduler) Hook(worker, life int, dead <-chan struct{}) yield.Hook {
	return func(ctx context.Context, point string) error {
		select {
		case <-dead:
			return ErrDead
		default:
		}
		w := &Waiter{Worker: worker, Life: life, Point: point, slot: SlotOf(ctx) + " " + yield.PlaceOf(ctx), release: make(chan error, 1)}
		s.mu.Lock()
		if s.calm {
			stop := s.stopped[worker]
			s.mu.Unlock()
			return w.rest(ctx, stop)
		}
		s.waiting = append(s.waiting, w)
		s.mu.Unlock()
		select {
		case s.bell <- struct{}{}:
		default: // it rings already
		}
		select {
		case err := <-w.release:
			return err
		case <-dead:
			s.drop(w)
			return ErrDead
		case <-ctx.Done():
			s.drop(w)
			return ctx.Err()
		}
	}
}

// Back lets a waiter that Next gave wait for another turn.
func (s *Scheduler) Back(w *Waiter) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waiting = append(s.waiting, w)
}

func (s *Scheduler) drop(w *Waiter) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waiting = slices.DeleteFunc(s.waiting, func(x *Waiter) bool { return x == w })
}

// Freeze stops a worker until the given step, while everybody else goes on: a
// process that is suspended, or cut off from its database.
func (s *Scheduler) Freeze(worker, until int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.frozen[worker] = until
}

// Thaw lets all go on whom Freeze stopped.
func (s *Scheduler) Thaw() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.frozen)
}

// Idle lets time pass until somebody comes to a point, for d at most.
func (s *Scheduler) Idle(d time.Duration) {
	select {
	case <-s.bell: // of somebody who has had his turn
		return
	default:
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-s.bell:
	case <-t.C:
	}
}

// Stop holds a worker's effects back in a calm world until the returned function
// is called.
func (s *Scheduler) Stop(worker int) (thaw func()) {
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
func (w *Waiter) rest(ctx context.Context, stop <-chan struct{}) error {
	if stop == nil || w.InTx() {
		return nil
	}
	select {
	case <-stop:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Next waits until nobody runs and picks one waiter; nil when all sleep.
func (s *Scheduler) Next(step int) *Waiter {
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.waiting) == 0 {
		return nil
	}
	slices.SortStableFunc(s.waiting, func(a, b *Waiter) int {
		return cmp.Or(cmp.Compare(a.Worker, b.Worker), cmp.Compare(a.Point, b.Point), cmp.Compare(a.slot, b.slot))
	})
	var able []int
	for i, w := range s.waiting {
		if s.frozen[w.Worker] <= step || w.InTx() {
			able = append(able, i)
		}
	}
	if len(able) == 0 {
		return nil
	}
	i := able[s.Rng.IntN(len(able))]
	w := s.waiting[i]
	s.waiting = slices.Delete(s.waiting, i, i+1)
	return w
}

// Note adds a step to the history.
func (s *Scheduler) Note(format string, args ...any) {
	line := fmt.Sprintf(format, args...)
	h := fnv.New64a()
	fmt.Fprintf(h, "%x %s", s.hash, line)
	s.hash = h.Sum64()
	s.trace = append(s.trace, fmt.Sprintf("%s %s", time.Now().UTC().Format("15:04:05.000"), line))
	if len(s.trace) > 4000 {
		s.trace = s.trace[len(s.trace)-300:]
	}
}

// Release lets everybody go on without interference from here on.
func (s *Scheduler) Release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calm = true
	for _, w := range s.waiting {
		w.release <- nil
	}
	s.waiting = nil
}

// Chance is true once in n.
func (s *Scheduler) Chance(n int) bool { return s.Rng.IntN(n) == 0 }

// Trace is the last steps of the history.
func (s *Scheduler) Trace() []string { return s.trace }

// Hash names the history: two that are equal have the same.
func (s *Scheduler) Hash() uint64 { return s.hash }
