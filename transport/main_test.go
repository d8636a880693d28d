package transport_test

import (
	"context"
	"net/url"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/internal/redact"
	"github.com/tandem-sync/tandem/transport"
	"github.com/tandem-sync/tandem/transport/transporttest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// canary must never come out of an error.
const canary = "s3cr3t-canary-7"

// stepClock sleeps by moving its own time and notes what was asked of it.
type stepClock struct {
	mu     sync.Mutex
	ahead  time.Duration
	sleeps []time.Duration
}

func (c *stepClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.ahead)
}

func (c *stepClock) Sleep(ctx context.Context, d time.Duration) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if d > 0 {
		c.ahead += d
		c.sleeps = append(c.sleeps, d)
	}
	return ctx.Err()
}

func (c *stepClock) slept() []time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.sleeps
}

// client makes a client for address with a bearer canary; change may adjust it.
func client(tb testing.TB, address string, change func(*transport.HTTPConfig), opts ...transport.Option) *transport.HTTP {
	tb.Helper()
	u, err := url.Parse(address)
	if err != nil {
		tb.Fatal(err)
	}
	cfg := transport.HTTPConfig{BaseURL: u, Auth: transport.Auth{Kind: transport.AuthBearer, Token: redact.Secret(canary)}}
	if change != nil {
		change(&cfg)
	}
	h, err := transport.NewHTTP(cfg, transporttest.Guard(), opts...)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = h.Close() })
	return h
}

// wantFault checks class and code of err.
func wantFault(tb testing.TB, err error, class fault.Class, code string) {
	tb.Helper()
	if err == nil {
		tb.Fatalf("no error, want %s %s", class, code)
	}
	if fault.Of(err) != class || fault.CodeOf(err) != code {
		tb.Fatalf("error %v is %s %q, want %s %q", err, fault.Of(err), fault.CodeOf(err), class, code)
	}
}
