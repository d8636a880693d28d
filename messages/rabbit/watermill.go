package rabbit

import (
	"context"
	"errors"
	"sync"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/tandem-sync/tandem/messages"
)

// Watermill gives the broker to code written against watermill: a topic is the
// name of a queue. Naming another queue than Tandem's declares it like a job
// queue, bound by its name. Closing either half leaves the broker open. ctx
// bounds connecting and then the life of the subscriber.
func (b *Broker) Watermill(ctx context.Context) (message.Publisher, message.Subscriber, error) {
	ctx, cancel := context.WithCancel(ctx)
	c, err := b.consume(ctx)
	if err != nil {
		cancel()
		return nil, nil, err
	}
	return &topicPublisher{b: b}, &topicSubscriber{b: b, c: c, cancel: cancel}, nil
}

type topicPublisher struct {
	b      *Broker
	mu     sync.RWMutex
	closed bool
}

// Publish waits for the broker's confirms of all msgs.
func (p *topicPublisher) Publish(topic string, msgs ...*message.Message) error {
	p.mu.RLock()
	defer p.mu.RUnlock()
	if p.closed {
		return errors.New("rabbit: the publisher was closed")
	}
	out := make([]messages.Message, len(msgs))
	for i, m := range msgs {
		out[i] = messages.Message{Key: keyOf(topic), ID: m.UUID, Body: m.Payload, Headers: m.Metadata}
	}
	return p.b.Publish(context.Background(), out...)
}

// Close makes further calls of Publish fail.
func (p *topicPublisher) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	return nil
}

type topicSubscriber struct {
	b      *Broker
	c      *consumer
	cancel context.CancelFunc
}

// Subscribe delivers the messages of the queue named topic one at a time.
func (s *topicSubscriber) Subscribe(ctx context.Context, topic string) (<-chan *message.Message, error) {
	return s.c.sub.Subscribe(ctx, topic)
}

// SubscribeInitialize declares the queue named topic.
func (s *topicSubscriber) SubscribeInitialize(topic string) error {
	return s.c.sub.SubscribeInitialize(topic)
}

// Close ends every subscription; what was not acknowledged goes back.
func (s *topicSubscriber) Close() error {
	s.b.release(s.c)
	s.cancel()
	return nil
}
