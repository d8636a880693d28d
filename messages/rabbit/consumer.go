package rabbit

import (
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	wamqp "github.com/ThreeDotsLabs/watermill-amqp/v3/pkg/amqp"
	amqp "github.com/rabbitmq/amqp091-go"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/messages"
)

// consumer is watermill-amqp's subscriber on a connection we can watch.
type consumer struct {
	sub  *wamqp.Subscriber
	line *line
}

// consume connects. The connection, and every later one, is made only while
// ctx lives, so that a subscriber that is being closed cannot come back.
func (b *Broker) consume(ctx context.Context) (*consumer, error) {
	l := &line{ctx: ctx}
	began := time.Now()
	cfg := b.address.config("tandem consumer", l.dial)
	sub, err := wamqp.NewSubscriber(b.subscriberConfig(&cfg), zapLogger{b.cfg.Logger})
	if err != nil {
		l.cut()
		return nil, b.address.dialError("rabbit: run", time.Since(began), firstOf(ctx.Err(), err))
	}
	b.address.known.Store(true)
	c := &consumer{sub: sub, line: l}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.consumers[c] = struct{}{}
	return c, nil
}

func (b *Broker) subscriberConfig(cfg *amqp.Config) wamqp.Config {
	return wamqp.Config{
		Connection: wamqp.ConnectionConfig{
			AmqpURI: b.address.uri, AmqpConfig: cfg,
			Reconnect: &wamqp.ReconnectConfig{
				BackoffInitialInterval: 200 * time.Millisecond, BackoffRandomizationFactor: 0.5,
				BackoffMultiplier: 1.5, BackoffMaxInterval: 5 * time.Second,
			},
		},
		Marshaler:       marshaler{},
		TopologyBuilder: &builder{},
		Exchange: wamqp.ExchangeConfig{
			GenerateName: wamqp.GenerateExchangeNameConstant(messages.Exchange), Type: amqp.ExchangeTopic, Durable: true,
		},
		Queue:     wamqp.QueueConfig{GenerateName: wamqp.GenerateQueueNameTopicName, Durable: true, Arguments: jobArgs()},
		QueueBind: wamqp.QueueBindConfig{GenerateRoutingKey: keyOf},
		Consume:   wamqp.ConsumeConfig{Qos: wamqp.QosConfig{PrefetchCount: b.cfg.Prefetch}},
	}
}

// keyOf gives the routing key of a job queue; other queues are bound by name.
func keyOf(queue string) string {
	for _, key := range []string{messages.KeySync, messages.KeySyncNow, messages.KeyReverse} {
		if q, _ := messages.QueueOf(key); q == queue {
			return key
		}
	}
	return queue
}

// subscribe opens every slot's subscription.
func (c *consumer) subscribe(ctx context.Context, hs []messages.Handler) ([]slot, error) {
	var slots []slot
	for i, h := range hs {
		for n := range h.Slots {
			in, err := c.sub.Subscribe(ctx, h.Queue)
			if err != nil {
				return nil, subscribeError(h.Queue, err)
			}
			slots = append(slots, slot{fmt.Sprintf("%s/%d/%d", h.Queue, i, n), h, in})
		}
	}
	return slots, nil
}

func subscribeError(queue string, err error) error {
	var e *fault.Error
	if errors.As(err, &e) { // what builder found, without the wrapping of two libraries
		return e
	}
	return fault.New(fault.Retryable, fault.CodeUnreachable, "rabbit: run", "consume %s: %w", queue, err)
}

func (c *consumer) connected() bool { return c.line.up() }

// close gives back what is not acknowledged and ends the connection.
func (c *consumer) close() {
	c.line.end()
	_ = c.sub.Close() // errors of a connection that is lost anyway
	c.line.cut()
}

func (b *Broker) release(c *consumer) {
	c.close()
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.consumers, c)
}

// line makes the connections of a subscriber and knows whether the newest one
// is open; watermill-amqp's own answer to that is a data race while it
// reconnects.
type line struct {
	ctx context.Context //nolint:containedctx // bounds connections that a library makes later

	mu    sync.Mutex
	cur   *watched
	ended bool
}

func (l *line) dial(network, addr string) (net.Conn, error) {
	if l.over() {
		// Only watermill-amqp's reconnecting goroutine comes here. It mistakes
		// our closing for a lost connection when it sees both at once, and would
		// wait for ever for a connection that nobody makes any more.
		runtime.Goexit()
	}
	raw, err := dialTCP(l.ctx, network, addr)
	if err != nil {
		return nil, err
	}
	w := &watched{Conn: raw, closed: make(chan struct{})}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cur = w
	return w, nil
}

func (l *line) up() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.cur != nil && !isDone(l.cur.closed)
}

// end announces that the subscriber is about to be closed.
func (l *line) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended = true
}

func (l *line) over() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.ended
}

// cut closes the TCP connection, if any is left.
func (l *line) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cur != nil {
		_ = l.cur.Close()
	}
}

// watched is a connection that says when it was closed.
type watched struct {
	net.Conn
	once   sync.Once
	closed chan struct{}
}

func (w *watched) Close() error {
	w.once.Do(func() { close(w.closed) })
	return w.Conn.Close()
}

// zapLogger writes what watermill logs. Its Info is chatter about every
// subscription, and its Error is what Tandem handles: a lost connection, a
// message given back.
type zapLogger struct{ log *zap.Logger }

var _ watermill.LoggerAdapter = zapLogger{}

func (z zapLogger) Error(msg string, err error, f watermill.LogFields) {
	z.write(zapcore.WarnLevel, msg, f, zap.Error(err))
}
func (z zapLogger) Info(msg string, f watermill.LogFields)  { z.write(zapcore.DebugLevel, msg, f) }
func (z zapLogger) Debug(msg string, f watermill.LogFields) { z.write(zapcore.DebugLevel, msg, f) }
func (zapLogger) Trace(string, watermill.LogFields)         {}

func (z zapLogger) With(f watermill.LogFields) watermill.LoggerAdapter {
	return zapLogger{z.log.With(fields(f)...)}
}

func (z zapLogger) write(level zapcore.Level, msg string, f watermill.LogFields, more ...zap.Field) {
	if entry := z.log.Check(level, "watermill: "+msg); entry != nil {
		entry.Write(append(fields(f), more...)...)
	}
}

func fields(f watermill.LogFields) []zap.Field {
	out := make([]zap.Field, 0, len(f))
	for k, v := range f {
		out = append(out, zap.Any(k, v))
	}
	return out
}
