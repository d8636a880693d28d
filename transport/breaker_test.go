package transport_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/transport"
	tt "github.com/tandem-sync/tandem/transport/transporttest"
)

// changes notes what a breaker tells.
type changes struct {
	mu   sync.Mutex
	list []transport.BreakerChange
}

func (c *changes) add(_ context.Context, b transport.BreakerChange) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.list = append(c.list, b)
}

func TestBreakerOpensAndCloses(t *testing.T) {
	t.Parallel()
	const open = 2 * time.Second
	srv := tt.New(t, nil)
	srv.Handle("/contacts", tt.Status(503), tt.Status(503), tt.Status(503), tt.Status(503), tt.JSON("[]"))
	var told changes
	h := client(t, srv.URL, nil, transport.WithClock(&stepClock{}),
		transport.WithBreaker(transport.BreakerConfig{Failures: 3, Open: open}), transport.WithBreakerReport(told.add))
	opened := time.Now()
	wantFault(t, call(t, h), fault.Retryable, fault.CodeUnreachable) // three tries, the fourth is held back
	if n := len(srv.Seen()); n != 3 {
		t.Fatalf("%d requests, want 3", n)
	}
	err := call(t, h)
	wantFault(t, err, fault.RateLimited, transport.CodeBreakerOpen)
	if wait := fault.RetryAfterOf(err); wait <= 0 || wait > open {
		t.Errorf("wait %s", wait)
	}
	if n := len(srv.Seen()); n != 3 {
		t.Fatalf("%d requests while it was open", n-3)
	}
	time.Sleep(open + 50*time.Millisecond - time.Since(opened))
	// Half open: one probe goes out, fails, and it is open again.
	wantFault(t, call(t, h), fault.Retryable, fault.CodeUnreachable)
	if n := len(srv.Seen()); n != 4 {
		t.Fatalf("%d requests, want one probe", n-3)
	}
	time.Sleep(open + 50*time.Millisecond)
	for range 3 {
		if err := call(t, h); err != nil {
			t.Fatal(err)
		}
	}
	told.mu.Lock()
	defer told.mu.Unlock()
	if len(told.list) != 3 || told.list[0].Open != open || told.list[0].Reason == "" || told.list[1].Open != open || told.list[2].Open != 0 {
		t.Errorf("told %+v", told.list)
	}
}

func TestBreakerHalfOpenLetsOneThrough(t *testing.T) {
	t.Parallel()
	const open = 500 * time.Millisecond
	srv := tt.New(t, nil)
	srv.Handle("/contacts", tt.Status(503), tt.Slow("[]", time.Second), tt.JSON("[]"))
	h := client(t, srv.URL, func(c *transport.HTTPConfig) { c.Concurrency = 8 },
		transport.WithBreaker(transport.BreakerConfig{Failures: 1, Open: open}))
	_, err := h.Do(t.Context(), transport.Request{Op: "open it", Path: "/contacts", Method: "POST"}) // not repeated
	wantFault(t, err, fault.Retryable, fault.CodeUnreachable)
	time.Sleep(open + 50*time.Millisecond)
	before := len(srv.Seen())
	probing := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		close(probing)
		if err := call(t, h); err != nil {
			t.Error(err)
		}
	})
	<-probing
	time.Sleep(50 * time.Millisecond)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := h.Do(ctx, transport.Request{Op: "other", Path: "/contacts", Method: "POST"}); fault.CodeOf(err) != transport.CodeBreakerOpen {
		t.Errorf("a second call beside the probe: %v", err)
	}
	if n := len(srv.Seen()) - before; n != 1 {
		t.Errorf("%d requests while the probe was out", n)
	}
	wg.Wait()
	if err := call(t, h); err != nil {
		t.Error(err)
	}
}

func TestBreakerCountsOnlyTrouble(t *testing.T) {
	t.Parallel()
	srv := tt.New(t, nil)
	srv.Handle("/contacts", tt.Status(429), tt.Status(404), tt.Status(400), tt.Status(401), tt.Status(429), tt.Status(404), tt.JSON("[]"))
	h := client(t, srv.URL, nil, transport.WithClock(&stepClock{}), transport.WithBreaker(transport.BreakerConfig{Failures: 2, Open: time.Hour}))
	for range 6 {
		if err := call(t, h); fault.CodeOf(err) == transport.CodeBreakerOpen {
			t.Fatal(err)
		}
	}
	// Calls that the caller gave up say nothing about the remote.
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for range 5 {
		_, err := h.Do(ctx, transport.Request{Op: "x", Path: "/contacts"})
		wantFault(t, err, fault.Retryable, fault.CodeCancelled)
	}
	if err := call(t, h); err != nil {
		t.Fatal(err)
	}
}
