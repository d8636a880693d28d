package doctor_test

import (
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/tandem-sync/tandem/internal/testenv"
	"github.com/tandem-sync/tandem/messages"
	"github.com/tandem-sync/tandem/messages/rabbit"
)

func TestBroker(t *testing.T) {
	t.Parallel()
	address := testenv.RabbitMQ(t)
	c := newClinic(t, sqliteURL(t), address, remote{})
	for range 2 { // looking makes nothing
		got, sum := c.look()
		c.want(got, [3]string{"broker/reachable", "ok", ""}, [3]string{"broker/version", "ok", "RabbitMQ 3."}, [3]string{"broker/consumer timeout", "ok", "consumer_timeout"},
			[3]string{"broker/topology", "warn", "tandem.sync.now"})
		if sum.Fail > 0 {
			t.Errorf("sum %+v of %v", sum, got)
		}
	}
	b, err := rabbit.New(rabbit.Config{URL: address})
	must(t, err)
	t.Cleanup(func() { must(t, b.Close()) })
	must(t, b.Ready(t.Context()))
	got, _ := c.look()
	c.want(got, [3]string{"broker/queue tandem.sync", "ok", ""}, [3]string{"broker/exchange tandem", "ok", ""}, [3]string{"broker/depth tandem.dead", "ok", "0 messages"})
	if k, ok := got["broker/topology"]; ok {
		t.Errorf("all is there: %+v", k)
	}

	// Messages that went astray, and jobs that nobody takes.
	must(t, b.Publish(t.Context(), messages.Message{Key: messages.KeySync, ID: "1", Body: []byte(`{}`)}))
	must(t, b.PublishDead(t.Context(), []byte(`{}`), "malformed"))
	conn, err := amqp.Dial(address)
	must(t, err)
	t.Cleanup(func() { must(t, conn.Close()) })
	ch, err := conn.Channel()
	must(t, err)
	must(t, ch.Confirm(false))
	sent, err := ch.PublishWithDeferredConfirmWithContext(t.Context(), messages.Exchange, "no.such.key", false, false, amqp.Publishing{Body: []byte(`{}`)})
	must(t, err)
	if ok, err := sent.WaitContext(t.Context()); err != nil || !ok {
		t.Fatal(ok, err)
	}
	got, sum := c.look()
	c.want(got, [3]string{"broker/depth tandem.unrouted", "warn", "1 messages"}, [3]string{"broker/depth tandem.dead", "warn", "tandem parked list --kind message"},
		[3]string{"broker/depth tandem.sync", "warn", "no worker"})
	if sum.Fail > 0 {
		t.Errorf("sum %+v", sum)
	}

	// A queue with other arguments than the contracted ones.
	_, err = ch.QueueDelete(messages.QueueReverse, false, false, false)
	must(t, err)
	_, err = ch.QueueDeclare(messages.QueueReverse, true, false, false, false, amqp.Table{"x-queue-type": "quorum", "x-delivery-limit": int32(3)})
	must(t, err)
	got, sum = c.look()
	c.want(got, [3]string{"broker/queue tandem.reverse-sync", "fail", "delete the queue tandem.reverse-sync"}, [3]string{"broker/queue tandem.sync", "ok", ""})
	if sum.Fail != 1 || sum.Unavailable != 0 {
		t.Errorf("sum %+v", sum)
	}

	c.cfg.File.Broker = "amqp://guest:s3cret@127.0.0.1:1/"
	got, sum = c.look()
	c.want(got, [3]string{"broker/reachable", "fail", "check that RabbitMQ runs"})
	if sum.Unavailable != 1 {
		t.Errorf("unreachable: %+v", sum)
	}
}
