// Package embedded is a messages.Broker inside one process: bounded queues in
// memory, every message handled at least once while the process lives, nothing
// durable. What a crash loses is published again from the database.
package embedded

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"
	"go.uber.org/zap"

	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/messages"
	"github.com/tandem-sync/tandem/messages/internal/consume"
)

// CodeQueueFull is the code of the error that Publish returns when a queue
// holds Config.Bound messages.
const CodeQueueFull = "queue_full"

const (
	defaultBound = 4096
	keptLetters  = 1000 // copies kept of dead and of unrouted messages
)

// Config configures a Broker; the zero value is useful.
type Config struct {
	// Bound is the most messages a queue holds, waiting and in work together;
	// 0 means 4096. Publish returns an error beyond it.
	Bound int
	// Logger gets panics of handlers; nil means none.
	Logger *zap.Logger
	// DrainLimit is how long handlers may go on after Run's context ended; 0
	// means 50 s.
	DrainLimit time.Duration
}

// Broker implements messages.Broker. Use New.
type Broker struct {
	cfg    Config
	closed context.Context
	close  context.CancelFunc
	runs   sync.WaitGroup

	mu      sync.Mutex // guards what follows
	queues  map[string]*queue
	letters map[string][]messages.Message // dead and unrouted
}

var _ messages.Broker = (*Broker)(nil)

// New returns a broker without messages.
func New(cfg Config) *Broker {
	if cfg.Bound <= 0 {
		cfg.Bound = defaultBound
	}
	if cfg.Logger == nil {
		cfg.Logger = zap.NewNop()
	}
	if cfg.DrainLimit <= 0 {
		cfg.DrainLimit = consume.DrainLimit
	}
	closed, cancel := context.WithCancel(context.Background())
	return &Broker{
		cfg: cfg, closed: closed, close: cancel,
		queues: map[string]*queue{}, letters: map[string][]messages.Message{},
	}
}

// Publish puts each message into the queue its key leads to. A full queue is
// an error of class Retryable with code CodeQueueFull. A message with another
// key is kept for Letters(messages.QueueUnrouted), as a fleet's broker does.
func (b *Broker) Publish(ctx context.Context, msgs ...messages.Message) error {
	for _, m := range msgs {
		if err := b.open(ctx, "embedded: publish"); err != nil {
			return err
		}
		m = clone(m)
		name, ok := messages.QueueOf(m.Key)
		if !ok {
			b.keep(messages.QueueUnrouted, m)
			continue
		}
		if !b.queue(name).put(m) {
			return fault.New(fault.Retryable, CodeQueueFull, "embedded: publish",
				"queue %s holds %d messages", name, b.cfg.Bound)
		}
	}
	return nil
}

// PublishDead keeps the copy for Letters(messages.QueueDead).
func (b *Broker) PublishDead(ctx context.Context, body []byte, reason string) error {
	if err := b.open(ctx, "embedded: publish dead"); err != nil {
		return err
	}
	b.keep(messages.QueueDead, clone(messages.Message{
		Key: messages.QueueDead, Body: body,
		Headers: map[string]string{messages.HeaderReason: reason},
	}))
	return nil
}

// Letters returns the newest messages in messages.QueueDead or
// messages.QueueUnrouted, oldest first, at most 1000.
func (b *Broker) Letters(queue string) []messages.Message {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]messages.Message(nil), b.letters[queue]...)
}

// Depth is the number of messages in a job queue, those in work included.
func (b *Broker) Depth(queue string) int { return int(b.queue(queue).held.Load()) }

// Run implements messages.Broker.
func (b *Broker) Run(ctx context.Context, hs ...messages.Handler) error {
	if err := consume.Check(hs); err != nil {
		return err
	}
	if err := b.enter("embedded: run"); err != nil {
		return err
	}
	defer b.runs.Done()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(b.closed, cancel)()

	hard, release := consume.Context(ctx, b.cfg.DrainLimit)
	defer release()
	var slots sync.WaitGroup
	for _, h := range hs {
		for range h.Slots {
			slots.Go(func() { b.slot(ctx, hard, h) })
		}
	}
	ended := make(chan struct{})
	go func() { slots.Wait(); close(ended) }()
	<-ctx.Done()
	select {
	case <-ended:
		return nil
	case <-hard.Done():
	}
	t := time.NewTimer(consume.Grace)
	defer t.Stop()
	select {
	case <-ended:
		return nil
	case <-t.C:
		return consume.ErrStuck()
	}
}

// slot handles one message after the other until ctx ends.
func (b *Broker) slot(ctx, hard context.Context, h messages.Handler) {
	q := b.queue(h.Queue)
	for {
		it, ok := q.take(ctx)
		if !ok {
			return
		}
		d := messages.Delivery{ID: it.msg.ID, Queue: h.Queue, Body: it.msg.Body, Redelivered: it.again}
		if err := consume.Handle(ctx, hard, h, d, b.cfg.Logger); err != nil {
			q.giveBack(it)
			continue
		}
		q.done()
	}
}

// Ready returns nil until Close.
func (b *Broker) Ready(ctx context.Context) error { return b.open(ctx, "embedded: ready") }

// Close implements messages.Broker. The messages are gone.
func (b *Broker) Close() error {
	b.mu.Lock()
	b.close()
	b.mu.Unlock()
	b.runs.Wait()
	return nil
}

// enter counts a Run in unless the broker was closed.
func (b *Broker) enter(op string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed.Err() != nil {
		return consume.ErrClosed(op)
	}
	b.runs.Add(1)
	return nil
}

func (b *Broker) open(ctx context.Context, op string) error {
	if b.closed.Err() != nil {
		return consume.ErrClosed(op)
	}
	if err := ctx.Err(); err != nil {
		return fault.Wrap(fault.Retryable, "", op, err)
	}
	return nil
}

func (b *Broker) queue(name string) *queue {
	b.mu.Lock()
	defer b.mu.Unlock()
	q := b.queues[name]
	if q == nil {
		q = newQueue(b.cfg.Bound)
		b.queues[name] = q
	}
	return q
}

func (b *Broker) keep(name string, m messages.Message) {
	b.mu.Lock()
	defer b.mu.Unlock()
	kept := b.letters[name]
	if len(kept) == keptLetters {
		kept = slices.Delete(kept, 0, 1)
	}
	b.letters[name] = append(kept, m)
}

// clone makes m independent of the caller's memory and gives it an id.
func clone(m messages.Message) messages.Message {
	if m.ID == "" {
		m.ID = uuid.NewString()
	}
	m.Body = append([]byte(nil), m.Body...)
	headers := make(map[string]string, len(m.Headers))
	for k, v := range m.Headers {
		headers[k] = v
	}
	m.Headers = headers
	return m
}
