package rabbit

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/messages"
)

// publisher keeps one session and replaces it when it broke.
type publisher struct {
	address address
	window  int
	timeout time.Duration

	lock    chan struct{} // held while the session is looked up or replaced; a channel, to wait with a context
	current *session
	closed  bool
}

func newPublisher(a address, cfg Config) *publisher {
	return &publisher{address: a, window: cfg.Window, timeout: cfg.ConfirmTimeout, lock: make(chan struct{}, 1)}
}

// outgoing is one message with its way.
type outgoing struct {
	exchange, key string
	msg           amqp.Publishing
}

// publish returns nil once the broker confirmed all of out.
func (p *publisher) publish(ctx context.Context, op string, out []outgoing) error {
	if len(out) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, p.timeout)
	defer cancel()
	s, err := p.session(ctx, op)
	if err != nil {
		return err
	}
	return s.publish(ctx, op, out)
}

// session gives a connection the broker takes messages on.
func (p *publisher) session(ctx context.Context, op string) (*session, error) {
	for {
		s, err := p.connected(ctx, op)
		if err != nil {
			return nil, err
		}
		reason, open := s.blocked()
		if reason == "" {
			return s, nil
		}
		select {
		case <-open:
		case <-s.gone:
		case <-ctx.Done():
			return nil, blockedError(op, reason)
		}
	}
}

// connected gives a session that is alive, opening one when needed. One that
// the broker blocks is kept although it is stale, because what was written to
// it is still on its way; a fresh one would write it again.
func (p *publisher) connected(ctx context.Context, op string) (*session, error) {
	select {
	case p.lock <- struct{}{}:
		defer func() { <-p.lock }()
	case <-ctx.Done():
		return nil, fault.New(fault.Retryable, fault.CodeUnreachable, op, "RabbitMQ at %s: %w", p.address.where, ctx.Err())
	}
	if p.closed {
		return nil, errClosed(op)
	}
	if s := p.current; s != nil {
		if reason, _ := s.blocked(); !s.dead() || reason != "" && !isDone(s.gone) {
			return s, nil
		}
		p.current = nil
		s.close()
	}
	s, err := openSession(ctx, p.address, p.window)
	if err != nil {
		return nil, err
	}
	p.current = s
	return s, nil
}

// close gives the session up; later calls fail.
func (p *publisher) close() {
	p.lock <- struct{}{}
	defer func() { <-p.lock }()
	p.closed = true
	if p.current != nil {
		p.current.close()
		p.current = nil
	}
}

func isDone(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// pending is a message the broker has not confirmed.
type pending struct {
	out     outgoing
	confirm *amqp.DeferredConfirmation
}

// flight is the messages of one call of publish on their way.
type flight struct {
	s       *session
	op      string
	wait    []pending // oldest first
	failed  error     // the first error about a message
	writing atomic.Bool
}

// publish writes as many messages as the window has room for and waits for the
// oldest confirm when it has none. After an error of the connection it returns
// at once; after one about a message it settles the others first, so that the
// window is free again.
func (s *session) publish(ctx context.Context, op string, out []outgoing) error {
	f := flight{s: s, op: op}
	// A connection that takes no bytes (the broker reads nothing, the network is
	// gone) is closed when ctx ends, which is what ends a write.
	stop := context.AfterFunc(ctx, func() {
		if f.writing.Load() {
			_ = s.raw.Close()
		}
	})
	defer stop()
	for _, o := range out {
		if err := f.room(ctx); err != nil {
			return err
		}
		if f.failed != nil {
			break
		}
		confirm, err := f.write(ctx, o)
		if err != nil {
			return err
		}
		f.wait = append(f.wait, pending{o, confirm})
	}
	for len(f.wait) > 0 {
		if err := f.settle(ctx); err != nil {
			return err
		}
	}
	return f.failed
}

// room takes a place in the window. Whoever has messages in flight settles
// them to get one, so two callers never wait for each other.
func (f *flight) room(ctx context.Context) error {
	for len(f.wait) > 0 {
		select {
		case f.s.tokens <- struct{}{}:
			return nil
		default:
		}
		if err := f.settle(ctx); err != nil || f.failed != nil {
			return err
		}
	}
	select {
	case f.s.tokens <- struct{}{}:
		return nil
	case <-f.s.stale:
		return lostError(f.op, f.s.why())
	case <-f.s.gone:
		return lostError(f.op, f.s.why())
	case <-ctx.Done():
		return f.s.expired(f.op, ctx.Err())
	}
}

// settle waits for the fate of the oldest message. It returns an error of the
// connection, which leaves all messages unknown, and notes one about the
// message.
func (f *flight) settle(ctx context.Context) error {
	first := f.wait[0]
	f.wait = f.wait[1:]
	if err := f.s.await(ctx, f.op, first.confirm); err != nil {
		return err
	}
	<-f.s.tokens
	f.failed = firstOf(f.failed, f.s.verdict(f.op, first))
	return nil
}

// write sends one message.
func (f *flight) write(ctx context.Context, o outgoing) (*amqp.DeferredConfirmation, error) {
	f.writing.Store(true)
	defer f.writing.Store(false)
	if err := ctx.Err(); err != nil { // after the store: see AfterFunc
		return nil, f.s.expired(f.op, err)
	}
	confirm, err := f.s.ch.PublishWithDeferredConfirm(o.exchange, o.key, true, false, o.msg)
	if err != nil {
		f.s.retire()
		return nil, lostError(f.op, firstOf(ctx.Err(), err))
	}
	return confirm, nil
}

// await waits until the broker decided about a message.
func (s *session) await(ctx context.Context, op string, confirm *amqp.DeferredConfirmation) error {
	if !isDone(confirm.Done()) {
		select {
		case <-confirm.Done():
		case <-s.gone:
			return lostError(op, s.why())
		case <-ctx.Done():
			return s.expired(op, ctx.Err())
		}
	}
	if !confirm.Acked() && s.ch.IsClosed() { // amqp091 settles what is open when a channel ends
		select {
		case <-s.stale: // the watcher has heard why
		case <-ctx.Done():
		}
		return lostError(op, s.why())
	}
	return nil
}

// verdict is what the broker decided about a message.
func (s *session) verdict(op string, p pending) error {
	s.takeReturns()
	switch {
	case s.wasReturned(p.out.msg.MessageId):
		s.retire() // the next session declares the topology again
		return fault.New(fault.Retryable, CodeUnroutable, op, "no queue took the message for %q with key %q", p.out.exchange, p.out.key).
			WithHint("check that the exchange tandem has its bindings and its alternate exchange tandem.unrouted")
	case !p.confirm.Acked():
		return fault.New(fault.Retryable, CodeRefused, op, "the broker refused the message with key %q: its queue is full or has no leader", p.out.key)
	}
	return nil
}

// expired: the deadline came before the confirms. The tokens of what is in
// flight are not given back, so the session must not go on.
func (s *session) expired(op string, cause error) error {
	s.retire()
	if reason, _ := s.blocked(); reason != "" {
		return blockedError(op, reason)
	}
	return lostError(op, fmt.Errorf("no confirm: %w", cause))
}

func lostError(op string, cause error) error {
	return fault.New(fault.Retryable, fault.CodeUnreachable, op, "whether RabbitMQ has the messages is unknown: %w", cause)
}

func blockedError(op, reason string) error {
	return fault.New(fault.Retryable, CodeBlocked, op, "RabbitMQ takes no messages at the moment: %s", reason).
		WithHint("free memory or disk on the broker; publishing goes on by itself")
}

// Publish implements messages.Publisher. Its error has class Retryable for all
// that time can heal, with code CodeBlocked, CodeUnroutable, CodeRefused or
// fault.CodeUnreachable, and class Permanent for a wrong configuration.
func (b *Broker) Publish(ctx context.Context, msgs ...messages.Message) error {
	out := make([]outgoing, len(msgs))
	for i, m := range msgs {
		out[i] = outgoing{messages.Exchange, m.Key, publishing(m)}
	}
	return b.pub.publish(ctx, "rabbit: publish", out)
}

// PublishDead implements messages.Publisher.
func (b *Broker) PublishDead(ctx context.Context, body []byte, reason string) error {
	msg := publishing(messages.Message{Body: body, Headers: map[string]string{messages.HeaderReason: reason}})
	msg.ContentType = "" // it may be anything
	return b.pub.publish(ctx, "rabbit: publish dead", []outgoing{{"", messages.QueueDead, msg}})
}
