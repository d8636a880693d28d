package bubble

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

// Net is the broker all workers share: it keeps its promise of at-least-once
// and nothing more. Messages are doubled, delayed and, when the queues are
// lost, gone.
type Net struct {
	mu     sync.Mutex
	queues map[string][]messages.Delivery
	wake   chan struct{}
	rng    *rand.Rand
	copies func() int
	faulty bool
	dead   int
	books  Books
}

// Books is what became of the messages that reached the queues.
type Books struct {
	Put, Acked, Lost, Waiting, Dead int
	// Open are those that a consumer has and has said nothing of.
	Open int
}

// Books gives what became of all messages so far.
func (n *Net) Books() Books {
	n.mu.Lock()
	defer n.mu.Unlock()
	b := n.books
	for _, q := range n.queues {
		b.Waiting += len(q)
	}
	b.Dead, b.Open = n.dead, b.Put-b.Acked-b.Lost-b.Waiting
	return b
}

// NewNet makes the broker of a seed. copies says how many copies of the next
// message arrive; nil doubles one in twelve and loses one in twelve.
func NewNet(seed uint64, copies func() int) *Net {
	n := &Net{
		queues: map[string][]messages.Delivery{}, wake: make(chan struct{}), rng: rand.New(rand.NewPCG(seed, 77)), faulty: true, copies: copies, //nolint:gosec // a seed must give the same history
	}
	if copies == nil {
		n.copies = n.chance
	}
	return n
}

func (n *Net) chance() int {
	switch n.rng.IntN(12) {
	case 0:
		return 2
	case 1:
		return 0 // lost with a queue
	}
	return 1
}

// Calm ends the faults. Messages come out of order also then.
func (n *Net) Calm() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.faulty = false
}

// inOrder puts messages in an order that does not depend on who gave them back
// first: what several dead consumers gave back at once lies in any.
func inOrder(q []messages.Delivery) {
	slices.SortStableFunc(q, func(a, b messages.Delivery) int { return bytes.Compare(a.Body, b.Body) })
}

// Line makes a worker's connection; dead ends with the worker.
func (n *Net) Line(dead <-chan struct{}) messages.Broker { return &line{net: n, dead: dead} }

func (n *Net) publish(msgs ...messages.Message) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, m := range msgs {
		q, _ := messages.QueueOf(m.Key)
		copies := 1
		if n.faulty {
			copies = n.copies()
		}
		n.books.Put += copies
		for range copies {
			n.queues[q] = append(n.queues[q], messages.Delivery{ID: m.ID, Queue: q, Body: m.Body})
		}
	}
	n.ring()
}

func (n *Net) ring() {
	close(n.wake)
	n.wake = make(chan struct{})
}

// Lose empties every queue.
func (n *Net) Lose() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, q := range n.queues {
		n.books.Lost += len(q)
	}
	clear(n.queues)
}

func (n *Net) take(queue string) (messages.Delivery, bool, <-chan struct{}) {
	n.mu.Lock()
	defer n.mu.Unlock()
	q := n.queues[queue]
	if len(q) == 0 {
		return messages.Delivery{}, false, n.wake
	}
	inOrder(q) // and out of it again
	i := n.rng.IntN(len(q))
	d := q[i]
	n.queues[queue] = append(q[:i:i], q[i+1:]...)
	return d, true, nil
}

func (n *Net) ack() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.books.Acked++
}

func (n *Net) giveBack(d messages.Delivery) {
	n.mu.Lock()
	defer n.mu.Unlock()
	d.Redelivered = true
	n.queues[d.Queue] = append(n.queues[d.Queue], d)
	n.ring()
}

// line is one worker's connection to the net.
type line struct {
	net  *Net
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
			wg.Go(func() { l.consume(ctx, InSlot(hctx, h.Queue), h) })
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
			if errors.Is(err, ErrDead) {
				return
			}
			time.Sleep(10 * time.Millisecond)
			continue
		}
		l.net.ack()
	}
}
