package rabbit

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/messages"
	"github.com/tandem-sync/tandem/messages/internal/consume"
)

// Broker implements messages.Broker. Use New.
type Broker struct {
	cfg     Config
	address address
	pub     *publisher
	closed  context.Context
	close   context.CancelFunc

	mu        sync.Mutex // guards what follows
	runs      sync.WaitGroup
	consumers map[*consumer]struct{}
}

var _ messages.Broker = (*Broker)(nil)

// New checks cfg and returns a broker that connects when it is first used; Ready
// says whether it can. An error has class Permanent and code fault.CodeConfig.
func New(cfg Config) (*Broker, error) {
	cfg.setDefaults()
	a, err := parseAddress(cfg.URL, cfg.AllowPlaintext)
	if err != nil {
		return nil, err
	}
	closed, cancel := context.WithCancel(context.Background())
	return &Broker{
		cfg: cfg, address: a, pub: newPublisher(a, cfg),
		closed: closed, close: cancel, consumers: map[*consumer]struct{}{},
	}, nil
}

// Run implements messages.Broker. It uses a connection of its own, so that a
// publisher the broker blocks never holds up acknowledgements. A connection
// lost later is made again without end; one that cannot be had at the start is
// an error of class Retryable, a topology that exists otherwise one of class
// Permanent that names queue and argument.
func (b *Broker) Run(ctx context.Context, hs ...messages.Handler) error {
	if err := consume.Check(hs); err != nil {
		return err
	}
	if err := b.enter("rabbit: run"); err != nil {
		return err
	}
	defer b.runs.Done()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(b.closed, cancel)()
	if len(hs) == 0 {
		<-ctx.Done()
		return nil
	}

	c, err := b.consume(ctx)
	if err != nil {
		return err
	}
	defer b.release(c)
	slots, err := c.subscribe(ctx, hs)
	if err != nil {
		return err
	}
	hard, release := consume.Context(ctx, b.cfg.DrainLimit)
	defer release()
	router, err := b.router(ctx, hard, slots)
	if err != nil {
		return err
	}
	return drain(ctx, hard, router, c)
}

// slot is one subscription: watermill-amqp hands over one message at a time, so
// a queue has as many of them as it has messages in work.
type slot struct {
	name     string
	handler  messages.Handler
	messages <-chan *message.Message
}

// router feeds the slots' messages to their handlers. Subscribing happened
// before, because a router that cannot subscribe leaves goroutines behind.
func (b *Broker) router(ctx, hard context.Context, slots []slot) (*message.Router, error) {
	router, err := message.NewRouter(message.RouterConfig{CloseTimeout: time.Second}, zapLogger{b.cfg.Logger})
	if err != nil {
		return nil, fmt.Errorf("rabbit: run: %w", err)
	}
	for _, s := range slots {
		router.AddConsumerHandler(s.name, s.handler.Queue, opened{s.messages}, func(m *message.Message) error {
			if ctx.Err() != nil { // the broker was faster than the end: not ours any more
				return errDraining
			}
			d := messages.Delivery{ID: m.UUID, Queue: s.handler.Queue, Body: m.Payload, Redelivered: redelivered(m)}
			return consume.Handle(ctx, hard, s.handler, d, b.cfg.Logger)
		})
	}
	return router, nil
}

// errDraining gives a message back; the router does not report cancellations.
var errDraining = fmt.Errorf("rabbit: draining: %w", context.Canceled)

// opened gives a router a subscription that stands already. Its Close does
// nothing: closing the subscriber would requeue messages that are in work.
type opened struct{ messages <-chan *message.Message }

func (o opened) Subscribe(context.Context, string) (<-chan *message.Message, error) {
	return o.messages, nil
}

func (o opened) Close() error { return nil }

// drain runs the router until ctx ended and every message in work was
// acknowledged or given back. Cancelling the context is what stops
// watermill-amqp without requeueing; closing it is for handlers that hang.
func drain(ctx, hard context.Context, router *message.Router, c *consumer) error {
	ended := make(chan error, 1)
	go func() { ended <- router.Run(ctx) }()
	stopped := func(err error) error {
		if ctx.Err() != nil {
			return nil
		}
		return fault.New(fault.Retryable, fault.CodeUnreachable, "rabbit: run", "consuming ended: %w",
			firstOf(err, errors.New("all subscriptions are closed")))
	}
	select {
	case err := <-ended:
		return stopped(err)
	case <-hard.Done():
	}
	t := time.NewTimer(consume.Grace)
	defer t.Stop()
	select {
	case err := <-ended:
		return stopped(err)
	case <-t.C:
	}
	c.close()
	return errors.Join(consume.ErrStuck(), <-ended)
}

// Ready implements messages.Broker: it connects when there is no connection and
// reports an alarm that blocks publishers, a topology that exists otherwise,
// and a consumer without connection.
func (b *Broker) Ready(ctx context.Context) error {
	const op = "rabbit: ready"
	ctx, cancel := context.WithTimeout(ctx, b.cfg.ConfirmTimeout)
	defer cancel()
	s, err := b.pub.connected(ctx, op)
	if err != nil {
		return err
	}
	if reason, _ := s.blocked(); reason != "" {
		return blockedError(op, reason)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for c := range b.consumers {
		if !c.connected() {
			return fault.New(fault.Retryable, fault.CodeUnreachable, op, "the consumer's connection to RabbitMQ at %s is lost", b.address.where)
		}
	}
	return nil
}

// Close implements messages.Broker.
func (b *Broker) Close() error {
	b.mu.Lock()
	b.close()
	b.mu.Unlock()
	b.runs.Wait()
	b.pub.close()
	return nil
}

// enter counts a Run in unless the broker was closed.
func (b *Broker) enter(op string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed.Err() != nil {
		return errClosed(op)
	}
	b.runs.Add(1)
	return nil
}

func errClosed(op string) error { return consume.ErrClosed(op) }
