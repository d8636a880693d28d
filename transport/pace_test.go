package transport_test

import (
	"context"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/transport"
	tt "github.com/tandem-sync/tandem/transport/transporttest"
)

func TestConcurrencyIsKept(t *testing.T) {
	t.Parallel()
	var now, most atomic.Int64
	srv := tt.New(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		for n := now.Add(1); ; {
			old := most.Load()
			if n <= old || most.CompareAndSwap(old, n) {
				break
			}
		}
		time.Sleep(10 * time.Millisecond)
		now.Add(-1)
		_, _ = w.Write([]byte(`{}`))
	}))
	h := client(t, srv.URL, func(c *transport.HTTPConfig) { c.Concurrency = 2 })
	done := make(chan error)
	for range 10 {
		go func() {
			_, err := h.Do(context.Background(), transport.Request{Path: "/x"})
			done <- err
		}()
	}
	for range 10 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if most.Load() > 2 {
		t.Errorf("%d calls at a time, want 2", most.Load())
	}
}

func TestRateLimitGivesLongWaitsBack(t *testing.T) {
	t.Parallel()
	srv := tt.New(t, nil)
	srv.Handle("/x", tt.JSON(`{}`))
	clock := &stepClock{}
	h := client(t, srv.URL, func(c *transport.HTTPConfig) { c.Rate = transport.Rate{N: 3, Per: time.Minute} }, transport.WithClock(clock))
	for range 3 {
		if _, err := get(t, h, "/x"); err != nil {
			t.Fatal(err)
		}
	}
	_, err := get(t, h, "/x")
	wantFault(t, err, fault.RateLimited, "rate_limit")
	if d := fault.RetryAfterOf(err); d < 55*time.Second || d > 65*time.Second {
		t.Errorf("retry after %s", d)
	}
	if n := len(srv.Seen()); n != 3 {
		t.Errorf("%d calls", n)
	}
}

func TestRateLimitIsKeptInEveryStretch(t *testing.T) {
	t.Parallel()
	srv := tt.New(t, nil)
	srv.Handle("/x", tt.JSON(`{}`))
	clock := &stepClock{}
	h := client(t, srv.URL, func(c *transport.HTTPConfig) { c.Rate = transport.Rate{N: 5, Per: time.Second} }, transport.WithClock(clock))
	var sent []time.Time
	for range 20 {
		resp, err := get(t, h, "/x")
		if err != nil {
			t.Fatal(err)
		}
		sent = append(sent, resp.Started)
	}
	for i := 5; i < len(sent); i++ {
		if d := sent[i].Sub(sent[i-5]); d < time.Second {
			t.Errorf("call %d came %s after the fifth before it", i, d)
		}
	}
}

func TestParseRate(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]transport.Rate{
		"90/10s": {N: 90, Per: 10 * time.Second}, "5/s": {N: 5, Per: time.Second}, "1/1h": {N: 1, Per: time.Hour}, "2 / m": {N: 2, Per: time.Minute},
	} {
		if got, err := transport.ParseRate(in); err != nil || got != want {
			t.Errorf("%q: %v %v", in, got, err)
		}
	}
	for _, in := range []string{"", "5", "0/s", "-1/s", "a/s", "5/", "5/0s", "5/48h", "5/x", "999999/s", "5/-1s"} {
		if got, err := transport.ParseRate(in); err == nil {
			t.Errorf("%q was read as %v", in, got)
		}
	}
}
