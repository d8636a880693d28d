package embedded_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"go.uber.org/goleak"

	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/messages"
	"github.com/tandem-sync/tandem/messages/embedded"
	"github.com/tandem-sync/tandem/messages/messagestest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m, messagestest.WatermillLeaks()...) }

func TestContract(t *testing.T) {
	t.Parallel()
	messagestest.Run(t, func(_ *testing.T, limit time.Duration) messagestest.Subject {
		b := embedded.New(embedded.Config{DrainLimit: limit})
		return messagestest.Subject{Broker: b, Letters: func(queue string) []messagestest.Letter {
			var out []messagestest.Letter
			for _, m := range b.Letters(queue) {
				out = append(out, messagestest.Letter{Body: string(m.Body), Reason: m.Headers[messages.HeaderReason]})
			}
			return out
		}}
	})
}

// TestWatermill: a new broker for each use keeps nothing.
func TestWatermill(t *testing.T) {
	t.Parallel()
	messagestest.Watermill(t, false, func(t *testing.T) (message.Publisher, message.Subscriber) {
		t.Helper()
		b := embedded.New(embedded.Config{Bound: 20_000})
		t.Cleanup(func() { _ = b.Close() })
		return b.Watermill()
	})
}

// TestWatermillOneProcess: while one broker lives, its messages outlive every
// subscriber.
func TestWatermillOneProcess(t *testing.T) {
	t.Parallel()
	b := embedded.New(embedded.Config{Bound: 20_000})
	t.Cleanup(func() { _ = b.Close() })
	messagestest.Watermill(t, true, func(*testing.T) (message.Publisher, message.Subscriber) { return b.Watermill() })
}

func TestFullQueueIsAnError(t *testing.T) {
	t.Parallel()
	b := embedded.New(embedded.Config{Bound: 2})
	defer b.Close() //nolint:errcheck // always nil
	m := messages.Message{Key: messages.KeySync, Body: []byte("x")}
	if err := b.Publish(t.Context(), m, m); err != nil {
		t.Fatal(err)
	}
	err := b.Publish(t.Context(), m)
	if fault.Of(err) != fault.Retryable || fault.CodeOf(err) != embedded.CodeQueueFull {
		t.Fatalf("got %v", err)
	}
	if err := b.Publish(t.Context(), messages.Message{Key: messages.KeyReverse}); err != nil {
		t.Errorf("another queue is full too: %v", err)
	}

	// A message in work keeps its place, so that giving it back finds one.
	ctx, cancel := context.WithCancel(t.Context())
	in, leave, ended := make(chan struct{}, 2), make(chan error), make(chan error, 1)
	go func() {
		ended <- b.Run(ctx, messages.Handler{Queue: messages.QueueSync, Slots: 2, Handle: func(context.Context, messages.Delivery) error {
			in <- struct{}{}
			return <-leave
		}})
	}()
	<-in
	<-in
	if err := b.Publish(t.Context(), m); err == nil {
		t.Error("messages in work do not count")
	}
	leave <- errors.New("not now")
	<-in
	leave <- nil
	for b.Depth(messages.QueueSync) != 1 {
		time.Sleep(time.Millisecond)
	}
	if err := b.Publish(t.Context(), m); err != nil {
		t.Errorf("a finished message keeps its place: %v", err)
	}
	<-in
	cancel()
	leave <- nil
	leave <- nil
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestPublishCopies(t *testing.T) {
	t.Parallel()
	b := embedded.New(embedded.Config{})
	defer b.Close() //nolint:errcheck // always nil
	body := []byte("before")
	if err := b.PublishDead(t.Context(), body, messages.ReasonMalformed); err != nil {
		t.Fatal(err)
	}
	copy(body, "after!")
	if got := b.Letters(messages.QueueDead); len(got) != 1 || string(got[0].Body) != "before" {
		t.Errorf("got %+v", got)
	}
}

func TestOldLettersMakeRoom(t *testing.T) {
	t.Parallel()
	b := embedded.New(embedded.Config{})
	defer b.Close() //nolint:errcheck // always nil
	for i := range 1500 {
		if err := b.PublishDead(t.Context(), []byte{byte(i >> 8), byte(i)}, messages.ReasonMalformed); err != nil {
			t.Fatal(err)
		}
	}
	got := b.Letters(messages.QueueDead)
	if len(got) != 1000 || got[999].Body[0] != byte(1499>>8) || got[0].Body[0] != byte(500>>8) {
		t.Errorf("%d letters are kept", len(got))
	}
}
