// Package messagestest is what every messages.Broker must pass: the contract of
// the package messages, and watermill's own suite for Pub/Subs.
package messagestest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/messages"
)

// patience is how long the suite waits for what must happen, and quiet how long
// it watches for what must not.
const (
	patience = 20 * time.Second
	quiet    = 150 * time.Millisecond
)

// Letter is a message found in QueueDead or QueueUnrouted.
type Letter struct {
	Body   string
	Reason string // the header HeaderReason
}

// Subject is a broker under test.
type Subject struct {
	// Broker is fresh; its queues are empty.
	Broker messages.Broker
	// Letters takes what is in QueueDead or QueueUnrouted.
	Letters func(queue string) []Letter
}

// Open makes a broker whose handlers may go on for drainLimit. The suite closes
// the broker.
type Open func(t *testing.T, drainLimit time.Duration) Subject

// Run runs the suite.
func Run(t *testing.T, open Open) {
	for _, tc := range []struct {
		name string
		test func(*testing.T, Open)
	}{
		{"every key reaches its queue", testRouting},
		{"many messages in one call arrive once", testMany},
		{"slots work at the same time", testSlots},
		{"an error delivers again", testError},
		{"a panic delivers again", testPanic},
		{"drain lets the work in hand finish", testDrain},
		{"the drain limit cancels handlers", testDrainLimit},
		{"close drains too", testCloseDrains},
		{"dead copies carry their reason", testDead},
		{"what no queue is bound for is kept", testUnrouted},
		{"a closed broker refuses", testClosed},
		{"handlers that cannot run are refused", testBadHandlers},
		{"an ended context publishes nothing", testEndedContext},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			tc.test(t, open)
		})
	}
}

// opened opens a subject and closes it at the end of the test.
func opened(t *testing.T, open Open) Subject {
	t.Helper()
	s := open(t, patience)
	t.Cleanup(func() { check(t, s.Broker.Close()) })
	return s
}

// running is a Run in the background.
type running struct {
	t     *testing.T
	stop  context.CancelFunc
	ended chan error
}

func start(t *testing.T, b messages.Broker, hs ...messages.Handler) *running {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	r := &running{t: t, stop: cancel, ended: make(chan error, 1)}
	go func() { r.ended <- b.Run(ctx, hs...) }()
	t.Cleanup(cancel)
	return r
}

// drained stops consuming and waits for a clean end.
func (r *running) drained() {
	r.t.Helper()
	r.stop()
	check(r.t, r.wait())
}

func (r *running) wait() error {
	r.t.Helper()
	return within(r.t, r.ended, "Run to return")
}

func within[T any](t *testing.T, c <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patience):
		t.Fatalf("waited %v for %s", patience, what)
		panic("unreachable")
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func message(key, id, body string) messages.Message {
	return messages.Message{Key: key, ID: id, Body: []byte(body)}
}

// collect handles a queue by passing deliveries on.
func collect(queue string, slots int) (messages.Handler, <-chan messages.Delivery) {
	got := make(chan messages.Delivery, 10_000)
	return messages.Handler{Queue: queue, Slots: slots, Handle: func(_ context.Context, d messages.Delivery) error {
		d.Body = bytes.Clone(d.Body)
		got <- d
		return nil
	}}, got
}

// nothing fails when a further delivery comes.
func nothing(t *testing.T, got <-chan messages.Delivery) {
	t.Helper()
	select {
	case d := <-got:
		t.Fatalf("unexpected delivery %q (redelivered: %v)", d.Body, d.Redelivered)
	case <-time.After(quiet):
	}
}

func testRouting(t *testing.T, open Open) {
	s := opened(t, open)
	keys := []string{messages.KeySync, messages.KeySyncNow, messages.KeyReverse}
	var hs []messages.Handler
	got := map[string]<-chan messages.Delivery{}
	for _, key := range keys {
		queue, _ := messages.QueueOf(key)
		h, c := collect(queue, 1)
		hs, got[key] = append(hs, h), c
	}
	r := start(t, s.Broker, hs...)
	for _, key := range keys {
		check(t, s.Broker.Publish(t.Context(), message(key, "id of "+key, "body of "+key)))
	}
	for _, key := range keys {
		queue, _ := messages.QueueOf(key)
		d := within(t, got[key], "the message with key "+key)
		want := messages.Delivery{ID: "id of " + key, Queue: queue, Body: []byte("body of " + key)}
		if d.ID != want.ID || d.Queue != want.Queue || string(d.Body) != string(want.Body) || d.Redelivered {
			t.Errorf("got %+v, want %+v", d, want)
		}
		nothing(t, got[key])
	}
	check(t, s.Broker.Ready(t.Context()))
	r.drained()
}

func testMany(t *testing.T, open Open) {
	s := opened(t, open)
	const n = 1000
	var out []messages.Message
	for i := range n {
		out = append(out, message(messages.KeySync, "", fmt.Sprint(i)))
	}
	check(t, s.Broker.Publish(t.Context(), out...))
	check(t, s.Broker.Publish(t.Context())) // nothing is nothing
	h, got := collect(messages.QueueSync, 2)
	r := start(t, s.Broker, h)
	seen, ids := map[string]int{}, map[string]bool{}
	for range n {
		d := within(t, got, "the next of many messages")
		seen[string(d.Body)]++
		ids[d.ID] = true
	}
	nothing(t, got)
	r.drained()
	if len(seen) != n || len(ids) != n || ids[""] {
		t.Errorf("%d different bodies and %d different ids of %d messages", len(seen), len(ids), n)
	}
}

func testSlots(t *testing.T, open Open) {
	s := opened(t, open)
	const slots = 3
	var inside, most atomic.Int32
	arrived, leave := make(chan struct{}, 10), make(chan struct{})
	h := messages.Handler{Queue: messages.QueueSync, Slots: slots, Handle: func(context.Context, messages.Delivery) error {
		for n, m := inside.Add(1), most.Load(); n > m && !most.CompareAndSwap(m, n); {
			m = most.Load()
		}
		arrived <- struct{}{}
		<-leave
		inside.Add(-1)
		return nil
	}}
	r := start(t, s.Broker, h)
	for i := range slots + 1 {
		check(t, s.Broker.Publish(t.Context(), message(messages.KeySync, "", fmt.Sprint(i))))
	}
	for range slots {
		within(t, arrived, "every slot to work")
	}
	select {
	case <-arrived:
		t.Fatal("more messages in work than slots")
	case <-time.After(quiet):
	}
	close(leave)
	within(t, arrived, "the message that had to wait")
	r.drained()
	if most.Load() != slots {
		t.Errorf("%d messages at the same time, want %d", most.Load(), slots)
	}
}

func testError(t *testing.T, open Open) {
	testAgain(t, open, func() error { return errors.New("the database is away") })
}

func testPanic(t *testing.T, open Open) {
	testAgain(t, open, func() error { panic("a mistake") })
}

func testAgain(t *testing.T, open Open, fail func() error) {
	s := opened(t, open)
	got := make(chan messages.Delivery, 10)
	var calls atomic.Int32
	h := messages.Handler{Queue: messages.QueueReverse, Slots: 1, Handle: func(_ context.Context, d messages.Delivery) error {
		d.Body = bytes.Clone(d.Body)
		got <- d
		if calls.Add(1) < 3 {
			return fail()
		}
		return nil
	}}
	check(t, s.Broker.Publish(t.Context(), message(messages.KeyReverse, "again", "untouched")))
	r := start(t, s.Broker, h)
	for i := range 3 {
		d := within(t, got, "a delivery")
		if d.ID != "again" || string(d.Body) != "untouched" || d.Redelivered != (i > 0) {
			t.Errorf("delivery %d is %+v", i, d)
		}
	}
	nothing(t, got)
	r.drained()
}

func testDead(t *testing.T, open Open) {
	s := opened(t, open)
	big := string(bytes.Repeat([]byte{0xff, 0x00}, 100_000))
	check(t, s.Broker.PublishDead(t.Context(), []byte("{not JSON"), messages.ReasonMalformed))
	check(t, s.Broker.PublishDead(t.Context(), []byte(big), messages.ReasonTooLarge))
	letters := s.Letters(messages.QueueDead)
	want := []Letter{{"{not JSON", messages.ReasonMalformed}, {big, messages.ReasonTooLarge}}
	if fmt.Sprint(letters) != fmt.Sprint(want) {
		t.Errorf("%d letters in %s are not the %d published", len(letters), messages.QueueDead, len(want))
	}
}

func testUnrouted(t *testing.T, open Open) {
	s := opened(t, open)
	check(t, s.Broker.Publish(t.Context(), message("sync.later", "", "for nobody")))
	letters := s.Letters(messages.QueueUnrouted)
	if len(letters) != 1 || letters[0].Body != "for nobody" {
		t.Errorf("in %s: %+v", messages.QueueUnrouted, letters)
	}
}

func testClosed(t *testing.T, open Open) {
	s := open(t, patience)
	check(t, s.Broker.Publish(t.Context(), message(messages.KeySync, "", "x")))
	check(t, s.Broker.Close())
	check(t, s.Broker.Close())
	h, _ := collect(messages.QueueSync, 1)
	for name, err := range map[string]error{
		"Publish":     s.Broker.Publish(t.Context(), message(messages.KeySync, "", "x")),
		"PublishDead": s.Broker.PublishDead(t.Context(), []byte("x"), messages.ReasonMalformed),
		"Run":         s.Broker.Run(t.Context(), h),
		"Ready":       s.Broker.Ready(t.Context()),
	} {
		if fault.Of(err) != fault.Permanent {
			t.Errorf("%s of a closed broker: %v, want a permanent error", name, err)
		}
	}
}

func testBadHandlers(t *testing.T, open Open) {
	s := opened(t, open)
	good := func(context.Context, messages.Delivery) error { return nil }
	for _, h := range []messages.Handler{
		{Queue: "", Slots: 1, Handle: good},
		{Queue: messages.QueueSync, Slots: 0, Handle: good},
		{Queue: messages.QueueSync, Slots: 1},
	} {
		if err := s.Broker.Run(t.Context(), h); fault.Of(err) != fault.Permanent {
			t.Errorf("%+v: %v, want a permanent error", h, err)
		}
	}
}

func testEndedContext(t *testing.T, open Open) {
	s := opened(t, open)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Broker.Publish(ctx, message(messages.KeySync, "", "x")); !errors.Is(err, context.Canceled) {
		t.Errorf("Publish with an ended context: %v", err)
	}
	h, got := collect(messages.QueueSync, 1)
	r := start(t, s.Broker, h)
	nothing(t, got)
	r.drained()

	// Concurrent use is the rule, not the exception.
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			if err := s.Broker.Publish(t.Context(), message(messages.KeySync, "", fmt.Sprint(i))); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
}
