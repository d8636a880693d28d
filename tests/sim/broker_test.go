package sim

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/tandem-sync/tandem/internal/yield"
	"github.com/tandem-sync/tandem/messages"
)

// net is the broker all workers share: it keeps its promise of at-least-once
// and nothing more. Messages are doubled, delayed and, when the queues are
// lost, gone.
type net struct {
	mu     sync.Mutex
	queues map[string][]messages.Delivery
	wake   chan struct{}
	rng    *rand.Rand
	faulty bool
	dead   int
}

func newNet(seed uint64) *net {
	return &net{queues: map[string][]messages.Delivery{}, wake: make(chan struct{}), rng: rand.New(rand.NewPCG(seed, 77)), faulty: true}
}

func (n *net) publish(msgs ...messages.Message) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, m := range msgs {
		q, _ := messages.QueueOf(m.Key)
		copies := 1
		if n.faulty {
			switch n.rng.IntN(12) {
			case 0:
				copies = 2
			case 1:
				copies = 0 // lost with a queue
			}
		}
		for range copies {
			n.queues[q] = append(n.queues[q], messages.Delivery{ID: m.ID, Queue: q, Body: m.Body})
		}
	}
	n.ring()
}

func (n *net) ring() {
	close(n.wake)
	n.wake = make(chan struct{})
}

// lose empties every queue.
func (n *net) lose() {
	n.mu.Lock()
	defer n.mu.Unlock()
	clear(n.queues)
}

func (n *net) take(queue string) (messages.Delivery, bool, <-chan struct{}) {
	n.mu.Lock()
	defer n.mu.Unlock()
	q := n.queues[queue]
	if len(q) == 0 {
		return messages.Delivery{}, false, n.wake
	}
	i := 0
	if n.faulty {
		// Out of order. What several dead consumers gave back at once lies in any
		// order: the pick must not depend on it.
		slices.SortStableFunc(q, func(a, b messages.Delivery) int { return bytes.Compare(a.Body, b.Body) })
		i = n.rng.IntN(len(q))
	}
	d := q[i]
	n.queues[queue] = append(q[:i:i], q[i+1:]...)
	return d, true, nil
}

func (n *net) giveBack(d messages.Delivery) {
	n.mu.Lock()
	defer n.mu.Unlock()
	d.Redelivered = true
	n.queues[d.Queue] = append(n.queues[d.Queue], d)
	n.ring()
}

// line is one worker's connection to the net.
type line struct {
	net  *net
	dead <-chan struct{}
}

func (l *line) Publish(_ context.Context, msgs ...messages.Message) error {
	l.net.publish(msgs...)
	return nil
}

func (l *line) PublishDead(context.Context, []byte, string) error {
	l.net.mu.Lock()
	defer l.net.mu.Unlock()
	l.net.dead++
	return nil
}

func (l *line) Ready(context.Context) error { return nil }
func (l *line) Close() error                { return nil }

func (l *line) Run(ctx context.Context, hs ...messages.Handler) error {
	hctx := context.WithoutCancel(ctx)
	var wg sync.WaitGroup
	for _, h := range hs {
		for range h.Slots {
			wg.Go(func() { l.consume(ctx, context.WithValue(hctx, slotKey{}, h.Queue), h) })
		}
	}
	wg.Wait()
	return nil
}

func (l *line) consume(ctx, hctx context.Context, h messages.Handler) {
	for {
		if yield.Point(hctx, "message.take "+h.Queue) != nil {
			return
		}
		d, ok, wake := l.net.take(h.Queue)
		if !ok {
			select {
			case <-wake:
				continue
			case <-ctx.Done():
				return
			case <-l.dead:
				return
			}
		}
		if err := h.Handle(hctx, d); err != nil {
			l.net.giveBack(d)
			if errors.Is(err, errDead) {
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
}
