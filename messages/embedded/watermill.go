package embedded

import (
	"context"
	"errors"
	"sync"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/tandem-sync/tandem/messages"
)

// Watermill gives the broker's queues to code written against watermill: a
// topic is the name of a queue, which exists as soon as it is named. Closing
// either half leaves the broker open.
func (b *Broker) Watermill() (message.Publisher, message.Subscriber) {
	closing, cancel := context.WithCancel(b.closed)
	return &publisher{b: b}, &subscriber{b: b, closing: closing, cancel: cancel}
}

var errClosed = errors.New("embedded: closed")

type publisher struct {
	b      *Broker
	mu     sync.RWMutex
	closed bool
}

// Publish puts the messages into the queue named topic.
func (p *publisher) Publish(topic string, msgs ...*message.Message) error {
	p.mu.RLock()
	defer p.mu.RUnlock()
	if p.closed || p.b.closed.Err() != nil {
		return errClosed
	}
	for _, m := range msgs {
		out := clone(messages.Message{Key: topic, ID: m.UUID, Body: m.Payload, Headers: m.Metadata})
		if !p.b.queue(topic).put(out) {
			return errors.New("embedded: queue " + topic + " is full")
		}
	}
	return nil
}

// Close makes further calls of Publish fail.
func (p *publisher) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	return nil
}

type subscriber struct {
	b       *Broker
	closing context.Context
	cancel  context.CancelFunc
	mu      sync.Mutex
	feeds   sync.WaitGroup
}

// Subscribe delivers the messages of the queue named topic one at a time.
func (s *subscriber) Subscribe(ctx context.Context, topic string) (<-chan *message.Message, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing.Err() != nil {
		return nil, errClosed
	}
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(s.closing, cancel)
	out := make(chan *message.Message)
	s.feeds.Go(func() {
		defer close(out)
		defer cancel()
		defer stop()
		q := s.b.queue(topic)
		for {
			it, ok := q.take(ctx)
			if !ok {
				return
			}
			s.deliver(ctx, q, it, out)
		}
	})
	return out, nil
}

// deliver hands one message over and waits for its fate.
func (s *subscriber) deliver(ctx context.Context, q *queue, it item, out chan<- *message.Message) {
	m := message.NewMessage(it.msg.ID, it.msg.Body)
	for k, v := range it.msg.Headers {
		m.Metadata.Set(k, v)
	}
	mctx, cancel := context.WithCancel(ctx)
	defer cancel()
	m.SetContext(mctx)
	select {
	case out <- m:
	case <-ctx.Done():
		q.giveBack(it)
		return
	}
	select {
	case <-m.Acked():
		q.done()
	case <-m.Nacked():
		q.giveBack(it)
	case <-s.closing.Done():
		q.giveBack(it)
	}
}

// Close ends every subscription; what was not acknowledged goes back.
func (s *subscriber) Close() error {
	s.mu.Lock()
	s.cancel()
	s.mu.Unlock()
	s.feeds.Wait()
	return nil
}
