package rabbit_test

import (
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
	w := startWorker(t, via+"?heartbeat=1") // 10 s where nothing is said
	until(t, "the worker to be ready", func() bool { w.tell("ready?"); return w.count("ready true") > 0 })
	direct := dial(t, url)
	publish := func(body string) {
		check(t, direct.PublishWithContext(t.Context(), messages.Exchange, messages.KeySync, false, false, amqp.Publishing{Body: []byte(body)}))
	}
	publish("slow")
	w.await("begin slow false")
	before := p.accepted()
	p.swallow()
	w.await("end slow <nil>") // its acknowledgement does not arrive
	publish("to come")
	w.await("begin slow true")
	w.await("end to come <nil>")
	if p.accepted() == before {
		t.Error("no new connection was made: this test proves nothing")
	}
	until(t, "the queue to be empty", func() bool {
		q, err := direct.QueueDeclarePassive(messages.QueueSync, true, false, false, false, nil)
		check(t, err)
		return q.Messages == 0 && q.Consumers > 0
	})
	w.finish()
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
