package rabbit_test

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	amqp "github.com/rabbitmq/amqp091-go"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest"

	"github.com/tandem-sync/tandem/internal/testenv"
	"github.com/tandem-sync/tandem/messages"
	"github.com/tandem-sync/tandem/messages/messagestest"
	"github.com/tandem-sync/tandem/messages/rabbit"
)

const patience = 90 * time.Second

func TestMain(m *testing.M) {
	if os.Getenv(envWorker) != "" {
		os.Exit(worker())
	}
	goleak.VerifyTestMain(m, messagestest.WatermillLeaks()...)
}

func TestContract(t *testing.T) {
	t.Parallel()
	messagestest.Run(t, func(t *testing.T, limit time.Duration) messagestest.Subject {
		t.Helper()
		url := testenv.RabbitMQ(t)
		b := broker(t, rabbit.Config{URL: url, DrainLimit: limit})
		return messagestest.Subject{Broker: b, Letters: func(queue string) []messagestest.Letter {
			return letters(t, url, queue)
		}}
	})
}

func TestWatermill(t *testing.T) {
	t.Parallel()
	url := testenv.RabbitMQ(t)
	messagestest.Watermill(t, true, func(t *testing.T) (message.Publisher, message.Subscriber) {
		t.Helper()
		b := opened(t, rabbit.Config{URL: url})
		pub, sub, err := b.Watermill(context.Background())
		check(t, err)
		t.Cleanup(func() { check(t, sub.Close()) })
		return pub, sub
	})
}

// broker makes a broker for the URL; opened also closes it.
func broker(t testing.TB, cfg rabbit.Config) *rabbit.Broker {
	t.Helper()
	if t, ok := t.(*testing.T); ok && cfg.Logger == nil {
		cfg.Logger = zaptest.NewLogger(t, zaptest.Level(zap.WarnLevel))
	}
	b, err := rabbit.New(cfg)
	check(t, err)
	return b
}

func opened(t testing.TB, cfg rabbit.Config) *rabbit.Broker {
	t.Helper()
	b := broker(t, cfg)
	t.Cleanup(func() { check(t, b.Close()) })
	return b
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func within[T any](t testing.TB, c <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patience):
		t.Fatalf("waited %v for %s", patience, what)
		panic("unreachable")
	}
}

// until waits for a condition that somebody else brings about.
func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited %v for %s", patience, what)
		}
	}
}

// dial opens a plain amqp091 channel, as any other program would.
func dial(t testing.TB, url string) *amqp.Channel {
	t.Helper()
	conn, err := amqp.Dial(url)
	check(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	ch, err := conn.Channel()
	check(t, err)
	return ch
}

// letters takes what is in a queue, which is settled because publishing waited
// for the confirm.
func letters(t testing.TB, url, queue string) []messagestest.Letter {
	t.Helper()
	ch := dial(t, url)
	var out []messagestest.Letter
	for {
		d, ok, err := ch.Get(queue, true)
		check(t, err)
		if !ok {
			return out
		}
		reason, _ := d.Headers[messages.HeaderReason].(string)
		out = append(out, messagestest.Letter{Body: string(d.Body), Reason: reason})
	}
}

// start runs handlers in the background; stop ends and checks the drain.
func start(t *testing.T, b *rabbit.Broker, hs ...messages.Handler) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- b.Run(ctx, hs...) }()
	t.Cleanup(cancel)
	return func() {
		t.Helper()
		cancel()
		check(t, within(t, ended, "Run to return"))
	}
}

// collect passes a queue's deliveries on.
func collect(queue string) (messages.Handler, <-chan messages.Delivery) {
	got := make(chan messages.Delivery, 1000)
	return messages.Handler{Queue: queue, Slots: 1, Handle: func(_ context.Context, d messages.Delivery) error {
		got <- d
		return nil
	}}, got
}
