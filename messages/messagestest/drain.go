package messagestest

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tandem-sync/tandem/messages"
)

func testDrain(t *testing.T, open Open) {
	s := opened(t, open)
	type in struct {
		ctx  context.Context
		body string
	}
	arrived, leave := make(chan in, 1), make(chan struct{})
	h := messages.Handler{Queue: messages.QueueSync, Slots: 1, Handle: func(ctx context.Context, d messages.Delivery) error {
		arrived <- in{ctx, string(d.Body)}
		<-leave
		return ctx.Err()
	}}
	check(t, s.Broker.Publish(t.Context(), message(messages.KeySync, "", "first"), message(messages.KeySync, "", "second")))
	r := start(t, s.Broker, h)
	first := within(t, arrived, "the first message")
	r.stop()
	select {
	case err := <-r.ended:
		t.Fatalf("Run returned %v with a message in work", err)
	case <-time.After(quiet):
	}
	if first.ctx.Err() != nil {
		t.Error("the handler's context ended with Run's")
	}
	close(leave)
	check(t, r.wait())

	rest, got := collect(messages.QueueSync, 1)
	r = start(t, s.Broker, rest)
	if d := within(t, got, "the second message"); string(d.Body) != "second" {
		t.Errorf("%q was delivered again", d.Body)
	}
	nothing(t, got)
	r.drained()
}

func testDrainLimit(t *testing.T, open Open) {
	s := open(t, 10*time.Millisecond)
	defer func() { check(t, s.Broker.Close()) }()
	arrived := make(chan struct{}, 1)
	h := messages.Handler{Queue: messages.QueueSync, Slots: 1, Handle: func(ctx context.Context, _ messages.Delivery) error {
		arrived <- struct{}{}
		<-ctx.Done()
		return ctx.Err()
	}}
	check(t, s.Broker.Publish(t.Context(), message(messages.KeySync, "", "long")))
	r := start(t, s.Broker, h)
	within(t, arrived, "the message")
	r.drained()

	rest, got := collect(messages.QueueSync, 1)
	r = start(t, s.Broker, rest)
	if d := within(t, got, "the message that was given back"); string(d.Body) != "long" || !d.Redelivered {
		t.Errorf("got %+v", d)
	}
	r.drained()
}

func testCloseDrains(t *testing.T, open Open) {
	s := open(t, patience)
	arrived, leave := make(chan struct{}, 1), make(chan struct{})
	var done atomic.Bool
	h := messages.Handler{Queue: messages.QueueSync, Slots: 1, Handle: func(ctx context.Context, _ messages.Delivery) error {
		arrived <- struct{}{}
		<-leave
		// A handler that ends must still be able to say what follows.
		err := s.Broker.Publish(ctx, message(messages.KeySync, "", "follow-up"))
		done.Store(true)
		return err
	}}
	check(t, s.Broker.Publish(t.Context(), message(messages.KeySync, "", "last")))
	r := start(t, s.Broker, h)
	within(t, arrived, "the message")
	closed := make(chan error, 1)
	go func() { closed <- s.Broker.Close() }()
	select {
	case err := <-closed:
		t.Fatalf("Close returned %v with a message in work", err)
	case <-time.After(quiet):
	}
	close(leave)
	check(t, within(t, closed, "Close"))
	check(t, r.wait())
	if !done.Load() {
		t.Error("Close did not wait for the handler")
	}
}
