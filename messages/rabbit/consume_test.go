package rabbit_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/internal/testenv"
	"github.com/tandem-sync/tandem/messages"
	"github.com/tandem-sync/tandem/messages/rabbit"
)

// TestMessageWrittenByHand: any program may publish, with or without content
// type, id and headers.
func TestMessageWrittenByHand(t *testing.T) {
	t.Parallel()
	url := testenv.RabbitMQ(t)
	b := opened(t, rabbit.Config{URL: url})
	check(t, b.Ready(t.Context()))
	h, got := collect(messages.QueueSyncNow)
	stop := start(t, b, h)
	ch := dial(t, url)
	body := []byte(`{"v":1,"type":"sync","channel":"crm"}`)
	for name, p := range map[string]amqp.Publishing{
		"bare":       {Body: body},
		"transient":  {Body: body, DeliveryMode: amqp.Transient, ContentType: "text/plain", Priority: 9},
		"message id": {Body: body, MessageId: "mine"},
		"headers": {Body: body, Headers: amqp.Table{
			"n": int32(1), "list": []any{"a", int64(1)}, "table": amqp.Table{"k": true}, "none": nil,
			"when": time.Now(), "bytes": []byte{0xff}, "_watermill_message_uuid": int64(5), "x-delivery-count": "many",
		}},
	} {
		check(t, ch.PublishWithContext(t.Context(), messages.Exchange, messages.KeySyncNow, true, false, p))
		d := within(t, got, "the message "+name)
		if string(d.Body) != string(body) || d.ID == "" || p.MessageId != "" && d.ID != p.MessageId {
			t.Errorf("%s: got %+v", name, d)
		}
		if _, err := messages.Decode(d.Body, time.Now()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	stop()
}

// TestRedeliveryOfAQuorumQueue: the broker marks such a message with an integer
// header, which must not keep it from the handler.
func TestRedeliveryOfAQuorumQueue(t *testing.T) {
	t.Parallel()
	url := testenv.RabbitMQ(t)
	b := opened(t, rabbit.Config{URL: url})
	check(t, b.Publish(t.Context(), messages.Message{Key: messages.KeySync, ID: "r", Body: []byte("x")}))
	ch := dial(t, url)
	for i := range 2 {
		d := get(t, ch, messages.QueueSync)
		if _, isText := d.Headers["x-delivery-count"].(string); i > 0 && (d.Headers["x-delivery-count"] == nil || isText) {
			t.Fatalf("the broker's own header is %#v: the test tests nothing", d.Headers["x-delivery-count"])
		}
		check(t, d.Nack(false, true))
	}
	h, got := collect(messages.QueueSync)
	stop := start(t, b, h)
	if d := within(t, got, "the redelivered message"); !d.Redelivered || d.ID != "r" || string(d.Body) != "x" {
		t.Errorf("got %+v", d)
	}
	stop()
	if d, ok, err := ch.Get(messages.QueueSync, false); ok || err != nil {
		t.Errorf("it is still in the queue: %+v, %v", d, err)
	}
}

// get waits for a message that is on its way back to the queue.
func get(t *testing.T, ch *amqp.Channel, queue string) amqp.Delivery {
	t.Helper()
	var d amqp.Delivery
	until(t, "a message in "+queue, func() bool {
		var ok bool
		var err error
		d, ok, err = ch.Get(queue, false)
		check(t, err)
		return ok
	})
	return d
}

// TestTooManyDeliveriesEndInDead: what crashes every process that takes it must
// leave the queue, and must not be lost.
func TestTooManyDeliveriesEndInDead(t *testing.T) {
	t.Parallel()
	url := testenv.RabbitMQ(t)
	b := opened(t, rabbit.Config{URL: url})
	check(t, b.Publish(t.Context(), messages.Message{Key: messages.KeyReverse, ID: "deadly", Body: []byte("deadly")}))
	ch := dial(t, url)
	for range 21 { // the delivery and twenty repeats
		check(t, get(t, ch, messages.QueueReverse).Reject(true))
	}
	d := get(t, ch, messages.QueueDead)
	check(t, d.Ack(false))
	if string(d.Body) != "deadly" || d.Headers["x-death"] == nil {
		t.Errorf("got %q %v", d.Body, d.Headers)
	}
}

// TestQueueDeletedUnderConsumer: no handler is called with a message that never
// was, and consuming goes on once the queue is there again, which watermill's
// subscriber sees to with our topology. The consumer is a process of its own,
// since RabbitMQ 3.10 now and then answers with the end of the connection.
func TestQueueDeletedUnderConsumer(t *testing.T) {
	t.Parallel()
	url := testenv.RabbitMQ(t)
	w := startWorker(t, url)
	b := opened(t, rabbit.Config{URL: url})
	ch := dial(t, url)
	consumers := func() int {
		probe, err := ch.QueueDeclarePassive(messages.QueueSync, true, false, false, false, nil)
		if err != nil { // not there at the moment; the error closed the channel
			ch = dial(t, url)
			return 0
		}
		return probe.Consumers
	}
	for round := range 4 {
		until(t, "all slots to consume", func() bool { return consumers() == workerSlots })
		body := "round-" + strconv.Itoa(round)
		check(t, b.Publish(t.Context(), job(body)))
		w.await("end " + body + " <nil>")
		_, err := ch.QueueDelete(messages.QueueSync, false, false, false)
		check(t, err)
	}
	until(t, "all slots to consume again", func() bool { return consumers() == workerSlots })
	w.finish()
	for _, again := range []string{"false", "true"} {
		if n := w.count("begin  " + again); n > 0 {
			t.Errorf("%d calls with a message that never was", n)
		}
	}
	for round := range 4 {
		if n := w.count(fmt.Sprintf("begin round-%d false", round)); n != 1 {
			t.Errorf("message %d was handled %d times", round, n)
		}
	}
}

// TestDrainRedeliversNothing: the queue is empty after the drain, seen by
// another client.
func TestDrainRedeliversNothing(t *testing.T) {
	t.Parallel()
	url := testenv.RabbitMQ(t)
	b := opened(t, rabbit.Config{URL: url})
	const slots = 4
	in, leave := make(chan struct{}, slots), make(chan struct{})
	var ended atomic.Int32
	stop := start(t, b, messages.Handler{Queue: messages.QueueSync, Slots: slots, Handle: func(ctx context.Context, _ messages.Delivery) error {
		in <- struct{}{}
		<-leave
		ended.Add(1)
		return ctx.Err()
	}})
	for range slots {
		check(t, b.Publish(t.Context(), messages.Message{Key: messages.KeySync, Body: []byte("x")}))
	}
	for range slots {
		within(t, in, "every slot to work")
	}
	time.AfterFunc(300*time.Millisecond, func() { close(leave) })
	stop()
	if ended.Load() != slots {
		t.Errorf("Run returned with %d of %d handlers ended", ended.Load(), slots)
	}
	if left := letters(t, url, messages.QueueSync); len(left) != 0 {
		t.Errorf("%d messages are delivered again", len(left))
	}
}

// TestStuckHandler: Run comes back although a handler does not.
func TestStuckHandler(t *testing.T) {
	t.Parallel()
	url := testenv.RabbitMQ(t)
	b := opened(t, rabbit.Config{URL: url, DrainLimit: time.Millisecond})
	in, leave := make(chan struct{}), make(chan struct{})
	defer close(leave)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- b.Run(ctx, messages.Handler{Queue: messages.QueueSync, Slots: 1, Handle: func(context.Context, messages.Delivery) error {
			close(in)
			<-leave
			return nil
		}})
	}()
	check(t, b.Publish(t.Context(), messages.Message{Key: messages.KeySync, Body: []byte("x")}))
	within(t, in, "the message")
	cancel()
	if err := within(t, ended, "Run"); err == nil || !strings.Contains(err.Error(), "did not return") {
		t.Errorf("got %v", err)
	}
	if left := letters(t, url, messages.QueueSync); len(left) != 1 {
		t.Errorf("%d messages were given back", len(left))
	}
}

// TestWrongArguments: a queue or exchange that exists otherwise is reported at
// once, all of them together, by everything that connects.
func TestWrongArguments(t *testing.T) {
	t.Parallel()
	url := testenv.RabbitMQ(t)
	ch := dial(t, url)
	_, err := ch.QueueDeclare(messages.QueueSync, true, false, false, false, amqp.Table{
		"x-queue-type": "quorum", "x-dead-letter-exchange": "", "x-dead-letter-routing-key": messages.QueueDead,
		"x-dead-letter-strategy": "at-least-once", "x-overflow": "reject-publish", "x-delivery-limit": int32(5),
	})
	check(t, err)
	_, err = ch.QueueDeclare(messages.QueueDead, true, false, false, false, nil)
	check(t, err)
	b := opened(t, rabbit.Config{URL: url})
	h, _ := collect(messages.QueueSync)
	for name, call := range map[string]func() error{
		"Ready":   func() error { return b.Ready(t.Context()) },
		"Run":     func() error { return b.Run(t.Context(), h) },
		"Publish": func() error { return b.Publish(t.Context(), messages.Message{Key: messages.KeySync}) },
	} {
		ended := make(chan error, 1)
		go func() { ended <- call() }()
		err := within(t, ended, name)
		if fault.Of(err) != fault.Permanent || fault.CodeOf(err) != fault.CodeConfig || fault.HintOf(err) == "" {
			t.Errorf("%s: class %v, code %q, hint %q of %v", name, fault.Of(err), fault.CodeOf(err), fault.HintOf(err), err)
		}
		want := []string{"tandem.dead", "x-queue-type"}
		if name != "Run" { // which stops at the first
			want = append(want, "tandem.sync", "x-delivery-limit", "5", "20")
		}
		for _, part := range want {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%s: %q does not name %s", name, err, part)
			}
		}
	}
}

// TestRunWithoutBroker fails at once: whether to try again is the caller's.
func TestRunWithoutBroker(t *testing.T) {
	t.Parallel()
	b := opened(t, rabbit.Config{URL: "amqp://u:p@127.0.0.1:1/"})
	h, _ := collect(messages.QueueSync)
	for name, err := range map[string]error{
		"Run":     b.Run(t.Context(), h),
		"Ready":   b.Ready(t.Context()),
		"Publish": b.Publish(t.Context(), messages.Message{Key: messages.KeySync}),
	} {
		if fault.Of(err) != fault.Retryable || fault.CodeOf(err) != fault.CodeUnreachable || fault.HintOf(err) == "" {
			t.Errorf("%s: %v", name, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := b.Run(ctx); err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("Run without handlers and with an ended context: %v", err)
	}
}
