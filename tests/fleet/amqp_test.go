package fleet

import (
	"fmt"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/tandem-sync/tandem/messages"
)

// foreign is another program on the broker: a plain AMQP client that knows
// nothing of Tandem's code.
type foreign struct {
	t  *testing.T
	ch *amqp.Channel
}

func (w *world) foreign() *foreign {
	w.t.Helper()
	conn, err := amqp.Dial(w.broker)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = conn.Close() })
	ch, err := conn.Channel()
	if err != nil {
		w.t.Fatal(err)
	}
	return &foreign{t: w.t, ch: ch}
}

// publish sends a body with nothing else: no header, no content type, no id.
func (f *foreign) publish(key, body string) {
	f.t.Helper()
	if err := f.ch.PublishWithContext(f.t.Context(), messages.Exchange, key, false, false, amqp.Publishing{Body: []byte(body)}); err != nil {
		f.t.Fatal(err)
	}
}

// depth is how many messages of a queue wait for a consumer.
func (f *foreign) depth(queue string) int {
	f.t.Helper()
	q, err := f.ch.QueueDeclarePassive(queue, true, false, false, false, nil)
	if err != nil {
		f.t.Fatal(err)
	}
	return q.Messages
}

// dead takes n messages from the dead queue and gives body and reason of each.
func (f *foreign) dead(n int) map[string]string {
	f.t.Helper()
	out := map[string]string{}
	for end := time.Now().Add(90 * time.Second); len(out) < n; {
		d, ok, err := f.ch.Get(messages.QueueDead, true)
		if err != nil {
			f.t.Fatal(err)
		}
		if ok {
			reason, _ := d.Headers["tandem-reason"].(string)
			out[string(d.Body)] = reason
			continue
		}
		if time.Now().After(end) {
			f.t.Fatalf("%d dead letters, want %d: %v", len(out), n, out)
		}
		time.Sleep(30 * time.Millisecond)
	}
	if d, ok, err := f.ch.Get(messages.QueueDead, true); err != nil || ok {
		f.t.Errorf("one dead letter too many: %s (%v)", d.Body, err)
	}
	return out
}

// deleteQueues deletes every queue that Tandem has.
func (f *foreign) deleteQueues() {
	f.t.Helper()
	for _, q := range []string{messages.QueueSync, messages.QueueSyncNow, messages.QueueReverse, messages.QueueDead, messages.QueueUnrouted} {
		if _, err := f.ch.QueueDelete(q, false, false, false); err != nil {
			f.t.Fatal(err)
		}
	}
}

// tap gets a copy of everything that is published from now on; the function
// gives it as text.
func (f *foreign) tap() func() string {
	f.t.Helper()
	q, err := f.ch.QueueDeclare("", false, true, true, false, nil)
	if err != nil {
		f.t.Fatal(err)
	}
	if err := f.ch.QueueBind(q.Name, "#", messages.Exchange, false, nil); err != nil {
		f.t.Fatal(err)
	}
	return func() string {
		f.t.Helper()
		var all strings.Builder
		for {
			d, ok, err := f.ch.Get(q.Name, true)
			if err != nil {
				f.t.Fatal(err)
			}
			if !ok {
				return all.String()
			}
			fmt.Fprintf(&all, "%s %v %s %s\n", d.RoutingKey, d.Headers, d.MessageId, d.Body)
		}
	}
}
