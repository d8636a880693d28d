package rabbit

import (
	"context"
	"errors"
	"net"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/tandem-sync/tandem/fault"
)

// Report is what a broker says about itself and about what Tandem keeps there.
type Report struct {
	Where            string // host:port/vhost
	Product, Version string // as the broker says; "" when it does not
	Queues           []Found
	Exchanges        []Found
}

// Found is a queue or an exchange that Tandem needs.
type Found struct {
	Name   string
	Exists bool
	// Messages are ready in the queue and Consumers take them.
	Messages, Consumers int
	// Err says that it exists otherwise than Tandem needs it, or may not be
	// looked at.
	Err error
}

// examineFor bounds Examine where its context does not.
const examineFor = 20 * time.Second

// Examine connects and compares what exists with what Tandem needs. It declares
// nothing that is not there. An error means that the broker cannot be used at
// all: wrong configuration or unreachable, as its code says.
func Examine(ctx context.Context, cfg Config) (Report, error) {
	const op = "rabbit: examine"
	cfg.setDefaults()
	a, err := parseAddress(cfg.URL, cfg.AllowPlaintext)
	if err != nil {
		return Report{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, examineFor)
	defer cancel()
	began := time.Now()
	var raw net.Conn
	stop := func() bool { return true }
	conn, err := amqp.DialConfig(a.uri, a.config("tandem doctor", func(network, addr string) (net.Conn, error) {
		c, err := dialTCP(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		raw = c
		stop = context.AfterFunc(ctx, func() { _ = raw.Close() })
		return c, nil
	}))
	defer func() { stop() }()
	if err != nil {
		if raw != nil {
			_ = raw.Close()
		}
		return Report{Where: a.where}, a.dialError(op, time.Since(began), firstOf(ctx.Err(), err))
	}
	r := Report{Where: a.where, Product: property(conn, "product"), Version: property(conn, "version")}
	err = r.look(conn, tandem())
	if cerr := conn.Close(); err == nil && cerr != nil && !errors.Is(cerr, amqp.ErrClosed) {
		err = fault.Wrap(fault.Retryable, fault.CodeUnreachable, op, cerr)
	}
	return r, err
}

func property(conn *amqp.Connection, name string) string {
	s, _ := conn.Properties[name].(string)
	return s
}

// look asks for each thing on a channel of its own, because a no closes it.
func (r *Report) look(conn *amqp.Connection, t topology) error {
	for _, x := range t.exchanges {
		f, err := find(conn, x.name, func(ch *amqp.Channel, _ *Found) error {
			return ch.ExchangeDeclarePassive(x.name, x.kind, true, false, false, false, nil)
		}, func(ch *amqp.Channel) error {
			return declareError("exchange", x.name, ch.ExchangeDeclare(x.name, x.kind, true, false, false, false, x.args))
		})
		if err != nil {
			return err
		}
		r.Exchanges = append(r.Exchanges, f)
	}
	for _, q := range t.queues {
		f, err := find(conn, q.name, func(ch *amqp.Channel, f *Found) error {
			got, err := ch.QueueDeclarePassive(q.name, true, false, false, false, nil)
			f.Messages, f.Consumers = got.Messages, got.Consumers
			return err
		}, func(ch *amqp.Channel) error {
			_, err := ch.QueueDeclare(q.name, true, false, false, false, q.args)
			return declareError("queue", q.name, err)
		})
		if err != nil {
			return err
		}
		r.Queues = append(r.Queues, f)
	}
	return nil
}

// find looks whether something exists and, where it does, whether declaring it
// with our arguments, which then changes nothing, is accepted.
func find(conn *amqp.Connection, name string, passive func(*amqp.Channel, *Found) error, exact func(*amqp.Channel) error) (Found, error) {
	f := Found{Name: name}
	ch, err := conn.Channel()
	if err != nil {
		return f, fault.Wrap(fault.Retryable, fault.CodeUnreachable, "rabbit: examine", err)
	}
	defer func() { _ = ch.Close() }() // closed already where the broker said no
	err = passive(ch, &f)
	var e *amqp.Error
	switch {
	case err == nil:
		f.Exists = true
	case errors.As(err, &e) && e.Code == amqp.NotFound:
		return f, nil
	case errors.As(err, &e) && e.Code == amqp.AccessRefused:
		f.Err = declareError("queue", name, err)
		return f, nil
	default:
		return f, fault.Wrap(fault.Retryable, fault.CodeUnreachable, "rabbit: examine", err)
	}
	err = exact(ch)
	if err != nil && fault.Of(err) != fault.Permanent {
		return f, err
	}
	f.Err = err
	return f, nil
}
