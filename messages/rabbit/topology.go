package rabbit

import (
	"errors"
	"fmt"
	"regexp"
	"sync"

	"github.com/ThreeDotsLabs/watermill"
	wamqp "github.com/ThreeDotsLabs/watermill-amqp/v3/pkg/amqp"
	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/messages"
)

type exchange struct {
	name, kind string
	args       amqp.Table
}

type queue struct {
	name string
	args amqp.Table
}

type binding struct{ exchange, queue, key string }

// topology is all that Tandem keeps on a broker. A broker compares the
// arguments when something is declared again, so a change here needs new names.
type topology struct {
	exchanges []exchange
	queues    []queue
	bindings  []binding
}

// tandem is the topology every Tandem process declares. Jobs that no queue is
// bound for go through the alternate exchange to QueueUnrouted, those that were
// delivered too often to QueueDead.
func tandem() topology {
	return topology{
		exchanges: []exchange{
			{messages.QueueUnrouted, amqp.ExchangeFanout, nil},
			{messages.Exchange, amqp.ExchangeTopic, amqp.Table{"alternate-exchange": messages.QueueUnrouted}},
		},
		queues: []queue{
			{messages.QueueUnrouted, plainArgs()},
			{messages.QueueDead, plainArgs()},
			{messages.QueueSync, jobArgs()},
			{messages.QueueSyncNow, jobArgs()},
			{messages.QueueReverse, jobArgs()},
		},
		bindings: []binding{
			{messages.QueueUnrouted, messages.QueueUnrouted, ""},
			{messages.Exchange, messages.QueueSync, messages.KeySync},
			{messages.Exchange, messages.QueueSyncNow, messages.KeySyncNow},
			{messages.Exchange, messages.QueueReverse, messages.KeyReverse},
		},
	}
}

func plainArgs() amqp.Table { return amqp.Table{"x-queue-type": "quorum"} }

// jobArgs are the arguments of a job queue. at-least-once dead-lettering needs
// reject-publish; the limit is the default of RabbitMQ 4, set so that 3.x
// behaves alike.
func jobArgs() amqp.Table {
	return amqp.Table{
		"x-queue-type":              "quorum",
		"x-dead-letter-exchange":    "",
		"x-dead-letter-routing-key": messages.QueueDead,
		"x-dead-letter-strategy":    "at-least-once",
		"x-overflow":                "reject-publish",
		"x-delivery-limit":          int32(20),
	}
}

// declare makes what is missing and checks what is there, on channels of their
// own, because an error closes the channel it happens on. All that is wrong is
// reported at once.
func (t topology) declare(open func() (*amqp.Channel, error)) error {
	var ch *amqp.Channel
	var wrong []error
	for _, step := range t.steps() {
		if ch == nil || ch.IsClosed() {
			var err error
			if ch, err = open(); err != nil {
				return errors.Join(append(wrong, err)...)
			}
		}
		err := step(ch)
		var e *amqp.Error
		switch {
		case err == nil:
		case fault.Of(err) == fault.Permanent:
			wrong = append(wrong, err)
		case errors.As(err, &e) && e.Code == amqp.NotFound && len(wrong) > 0:
			// A binding of something that was refused before.
		default:
			return err
		}
	}
	if err := errors.Join(wrong...); err != nil {
		return err
	}
	return ch.Close()
}

// declareOn is declare on a channel that somebody else owns; the first error
// ends it.
func (t topology) declareOn(ch *amqp.Channel) error {
	for _, step := range t.steps() {
		if err := step(ch); err != nil {
			return err
		}
	}
	return nil
}

func (t topology) steps() []func(*amqp.Channel) error {
	var steps []func(*amqp.Channel) error
	for _, x := range t.exchanges {
		steps = append(steps, func(ch *amqp.Channel) error {
			return declareError("exchange", x.name, ch.ExchangeDeclare(x.name, x.kind, true, false, false, false, x.args))
		})
	}
	for _, q := range t.queues {
		steps = append(steps, func(ch *amqp.Channel) error {
			_, err := ch.QueueDeclare(q.name, true, false, false, false, q.args)
			return declareError("queue", q.name, err)
		})
	}
	for _, b := range t.bindings {
		steps = append(steps, func(ch *amqp.Channel) error {
			return declareError("queue", b.queue, ch.QueueBind(b.queue, b.key, b.exchange, false, nil))
		})
	}
	return steps
}

// inequivalent is how RabbitMQ says that something exists with another argument.
var inequivalent = regexp.MustCompile(`inequivalent arg '([^']+)' for .*: received (.+) but current is (.+)$`)

func declareError(kind, name string, err error) error {
	const op = "rabbit: declare"
	var e *amqp.Error
	if err == nil || !errors.As(err, &e) {
		return fault.Wrap(fault.Retryable, fault.CodeUnreachable, op, err)
	}
	switch e.Code {
	case amqp.PreconditionFailed:
		what := e.Reason
		if m := inequivalent.FindStringSubmatch(e.Reason); m != nil {
			what = fmt.Sprintf("argument %s: needed is %s, there is %s", m[1], m[2], m[3])
		}
		return fault.New(fault.Permanent, fault.CodeConfig, op, "%s %s exists otherwise than Tandem needs it: %s", kind, name, what).
			WithHint(fmt.Sprintf("delete the %s %s (the database holds the work, nothing is lost) or use another virtual host", kind, name)).
			WithWhere(name)
	case amqp.AccessRefused:
		return fault.New(fault.Permanent, fault.CodeConfig, op, "the user may not declare %s %s: %s", kind, name, e.Reason).
			WithHint(`give the user the permissions configure, write and read on "^tandem(\..*)?$", and write on "amq.default"`).WithWhere(name)
	case amqp.NotImplemented, amqp.CommandInvalid:
		return fault.New(fault.Permanent, fault.CodeConfig, op, "the broker cannot have %s %s: %s", kind, name, e.Reason).
			WithHint("RabbitMQ 3.10 or newer is needed, with quorum queues").WithWhere(name)
	}
	return fault.New(fault.Retryable, fault.CodeUnreachable, op, "%s %s: %w", kind, name, err)
}

// builder lets watermill-amqp declare our topology before it consumes, and
// again after a lost connection or a deleted queue. A queue that is not part
// of it, which only code written against watermill asks for, gets the
// arguments of a job queue.
//
// Subscriptions take turns: RabbitMQ 3.10 can end the connection with an
// internal error when a deleted quorum queue is declared by several at once.
type builder struct{ turn sync.Mutex }

var _ wamqp.TopologyBuilder = (*builder)(nil)

// BuildTopology declares everything, and the queue of p when it is another one.
func (b *builder) BuildTopology(ch *amqp.Channel, p wamqp.BuildTopologyParams, _ wamqp.Config, _ watermill.LoggerAdapter) error {
	t := tandem()
	known := false
	for _, q := range t.queues {
		known = known || q.name == p.QueueName
	}
	if !known {
		t.queues = append(t.queues, queue{p.QueueName, jobArgs()})
		t.bindings = append(t.bindings, binding{messages.Exchange, p.QueueName, p.RoutingKey})
	}
	b.turn.Lock()
	defer b.turn.Unlock()
	return t.declareOn(ch)
}

// ExchangeDeclare declares everything.
func (b *builder) ExchangeDeclare(ch *amqp.Channel, _ string, _ wamqp.Config) error {
	b.turn.Lock()
	defer b.turn.Unlock()
	return tandem().declareOn(ch)
}
