package rabbit_test

import (
	"context"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/tandem-sync/tandem/internal/testenv"
	"github.com/tandem-sync/tandem/messages"
	"github.com/tandem-sync/tandem/messages/rabbit"
)

// TestSilentConsumer: the connection of a consumer falls silent without being
// closed, with a message in work and one to come. Missing heartbeats give it up:
// a new one is made, and both messages are delivered on it.
func TestSilentConsumer(t *testing.T) {
	t.Parallel()
	url := testenv.RabbitMQ(t)
	p, via := newProxy(t, url)
	b := opened(t, rabbit.Config{URL: via + "?heartbeat=1"}) // 10 s where nothing is said
	check(t, b.Ready(t.Context()))                           // the queues are there
	delivered := make(chan string, 16)
	silent := make(chan struct{})
	stop := start(t, b, messages.Handler{Queue: messages.QueueSyncNow, Slots: 1, Handle: func(_ context.Context, d messages.Delivery) error {
		delivered <- string(d.Body)
		<-silent
		return nil
	}})
	direct := dial(t, url)
	publish := func(body string) {
		check(t, direct.PublishWithContext(t.Context(), messages.Exchange, messages.KeySyncNow, false, false, amqp.Publishing{Body: []byte(body)}))
	}
	publish("in work")
	if got := within(t, delivered, "the first message"); got != "in work" {
		t.Fatal(got)
	}
	before := p.accepted()
	p.swallow()
	close(silent) // its acknowledgement does not arrive
	publish("to come")
	seen := map[string]bool{}
	for len(seen) < 2 {
		seen[within(t, delivered, "the messages on a new connection")] = true
	}
	if p.accepted() == before {
		t.Error("no new connection was made: this test proves nothing")
	}
	until(t, "the queue to be empty", func() bool {
		q, err := direct.QueueDeclarePassive(messages.QueueSyncNow, true, false, false, false, nil)
		check(t, err)
		return q.Messages == 0 && q.Consumers > 0
	})
	stop()
}

// TestDeadQueueAbsent: somebody deletes the dead queue. The first copy for it is
// refused, so that its message is kept; then the queue is there again.
func TestDeadQueueAbsent(t *testing.T) {
	t.Parallel()
	url := testenv.RabbitMQ(t)
	b := opened(t, rabbit.Config{URL: url})
	check(t, b.Ready(t.Context()))
	_, err := dial(t, url).QueueDelete(messages.QueueDead, false, false, false)
	check(t, err)
	if err := b.PublishDead(t.Context(), []byte("lost?"), "malformed"); err == nil {
		t.Error("a copy that no queue took is called a success")
	}
	check(t, b.PublishDead(t.Context(), []byte("kept"), "malformed"))
	if got := letters(t, url, messages.QueueDead); len(got) != 1 || got[0].Body != "kept" {
		t.Errorf("in the dead queue: %+v", got)
	}
}
