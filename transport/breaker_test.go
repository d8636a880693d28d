package transport_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
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

// down is a failure that opens breakers.
func down() error { return fault.New(fault.Retryable, fault.CodeUnreachable, "", "503") }

func up() error { return nil }

func TestBreakerOpensAndCloses(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const open = 2 * time.Second
		var told changes
		b := transport.NewBreaker(transport.BreakerConfig{Failures: 3, Open: open}, told.add)
		for range 3 {
			wantFault(t, b.Do(t.Context(), "op", down), fault.Retryable, fault.CodeUnreachable)
		}
		time.Sleep(open - time.Nanosecond)
		err := b.Do(t.Context(), "op", func() error {
			t.Error("a call went out while it was open")
			return nil
		})
		wantFault(t, err, fault.RateLimited, transport.CodeBreakerOpen)
		if wait := fault.RetryAfterOf(err); wait <= 0 || wait > open {
			t.Errorf("wait %s", wait)
		}
		time.Sleep(time.Millisecond)
		// Half open: one probe goes out, fails, and it is open again.
		wantFault(t, b.Do(t.Context(), "op", down), fault.Retryable, fault.CodeUnreachable)
		wantFault(t, b.Do(t.Context(), "op", up), fault.RateLimited, transport.CodeBreakerOpen)
		time.Sleep(open + time.Millisecond)
		for range 3 {
			if err := b.Do(t.Context(), "op", up); err != nil {
				t.Fatal(err)
			}
		}
		if len(told.list) != 3 || told.list[0].Open != open || told.list[0].Reason == "" || told.list[1].Open != open || told.list[2].Open != 0 {
			t.Errorf("told %+v", told.list)
		}
	})
}

func TestBreakerHoldsCallsBack(t *testing.T) {
	t.Parallel()
	srv := tt.New(t, nil)
	srv.Handle("/contacts", tt.Status(503))
	var told changes
	h := client(t, srv.URL, nil, transport.WithClock(&stepClock{}),
		transport.WithBreaker(transport.BreakerConfig{Failures: 3, Open: time.Hour}), transport.WithBreakerReport(told.add))
	wantFault(t, call(t, h), fault.Retryable, fault.CodeUnreachable) // three tries, the fourth is held back
	err := call(t, h)
	wantFault(t, err, fault.RateLimited, transport.CodeBreakerOpen)
	if wait := fault.RetryAfterOf(err); wait <= 0 || wait > time.Hour {
		t.Errorf("wait %s", wait)
	}
	if n := len(srv.Seen()); n != 3 {
		t.Errorf("%d requests, want 3", n)
	}
	if len(told.list) != 1 || told.list[0].Open != time.Hour || told.list[0].Reason == "" {
		t.Errorf("told %+v", told.list)
	}
}

func TestBreakerHalfOpenLetsOneThrough(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := transport.NewBreaker(transport.BreakerConfig{Failures: 1, Open: time.Second}, nil)
		wantFault(t, b.Do(t.Context(), "open it", down), fault.Retryable, fault.CodeUnreachable)
		time.Sleep(time.Second + time.Millisecond)
		answer := make(chan struct{})
		var wg sync.WaitGroup
		wg.Go(func() {
			err := b.Do(t.Context(), "probe", func() error {
				<-answer
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		})
		synctest.Wait() // the probe is out
		wantFault(t, b.Do(t.Context(), "other", up), fault.RateLimited, transport.CodeBreakerOpen)
		close(answer)
		wg.Wait()
		if err := b.Do(t.Context(), "other", up); err != nil {
			t.Error(err)
		}
	})
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
