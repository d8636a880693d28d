package transport

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/sony/gobreaker/v2"

	"github.com/tandem-sync/tandem/fault"
)

// CodeBreakerOpen is the code of a call that was not made because too many
// before it failed.
const CodeBreakerOpen = "breaker_open"

// Defaults of a BreakerConfig. They leave the repeats inside of a few calls, and
// a remote that restarts, alone.
const (
	DefaultBreakerFailures = 10
	DefaultBreakerOpen     = 10 * time.Second
)

// BreakerConfig says when the circuit breaker of a client opens. Zero fields
// have their defaults.
type BreakerConfig struct {
	Failures uint32        // failed requests in a row that open it
	Open     time.Duration // how long no request goes out; then one probe does
}

// BreakerChange says that a breaker opened or closed.
type BreakerChange struct {
	Open   time.Duration // how long it stays open; 0 it closed
	Reason string        // the failure that opened it, without credentials
}

// Breaker keeps requests from a remote that does not answer. What counts as a
// failure is that it cannot be reached, fails itself or breaks off; a
// refusal or a wish to wait shows that it is alive. Half open, one request goes
// out as a probe. Safe for concurrent use. HTTP has one of its own; a channel type
// that talks in another way makes one.
type Breaker struct {
	cfg  BreakerConfig
	b    *gobreaker.CircuitBreaker[struct{}]
	told func(context.Context, BreakerChange)

	mu      sync.Mutex
	until   time.Time
	reason  string
	changes []BreakerChange // not told yet, in order
}

// NewBreaker makes a closed breaker. told, which may be nil, is told after a call
// that the breaker opened or closed.
func NewBreaker(cfg BreakerConfig, told func(context.Context, BreakerChange)) *Breaker {
	if cfg.Failures == 0 {
		cfg.Failures = DefaultBreakerFailures
	}
	if cfg.Open <= 0 {
		cfg.Open = DefaultBreakerOpen
	}
	b := &Breaker{cfg: cfg, told: told}
	b.b = gobreaker.NewCircuitBreaker[struct{}](gobreaker.Settings{
		MaxRequests: 1, Timeout: cfg.Open,
		ReadyToTrip:   func(c gobreaker.Counts) bool { return c.ConsecutiveFailures >= cfg.Failures },
		IsSuccessful:  b.alive,
		IsExcluded:    func(err error) bool { return fault.CodeOf(err) == fault.CodeCancelled },
		OnStateChange: b.changed,
	})
	return b
}

// alive reports whether the outcome of a request shows a remote that works.
func (b *Breaker) alive(err error) bool {
	if err == nil || fault.Of(err) != fault.Retryable {
		return true
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.reason = err.Error()
	return false
}

// changed runs under the breaker's lock: it only takes notes.
func (b *Breaker) changed(_ string, _, to gobreaker.State) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch to {
	case gobreaker.StateOpen:
		b.until = time.Now().Add(b.cfg.Open)
		b.changes = append(b.changes, BreakerChange{Open: b.cfg.Open, Reason: b.reason})
	case gobreaker.StateClosed:
		b.changes = append(b.changes, BreakerChange{})
	case gobreaker.StateHalfOpen:
	}
}

// Do runs one request, or gives a RateLimited error with the time that the
// breaker stays open.
func (b *Breaker) Do(ctx context.Context, op string, request func() error) error {
	_, err := b.b.Execute(func() (struct{}, error) { return struct{}{}, request() })
	b.tell(ctx)
	switch {
	case errors.Is(err, gobreaker.ErrOpenState):
		b.mu.Lock()
		wait, reason := time.Until(b.until), b.reason
		b.mu.Unlock()
		return fault.New(fault.RateLimited, CodeBreakerOpen, op, "no call is made: %d in a row failed, the last one with %s", b.cfg.Failures, reason).
			WithHint("a probe goes out by itself; is the remote running?").After(max(wait, time.Second))
	case errors.Is(err, gobreaker.ErrTooManyRequests):
		return fault.New(fault.RateLimited, CodeBreakerOpen, op, "no call is made while a probe finds out whether the remote is back").After(time.Second)
	}
	return err
}

func (b *Breaker) tell(ctx context.Context) {
	b.mu.Lock()
	changes := b.changes
	b.changes = nil
	b.mu.Unlock()
	for _, c := range changes {
		if b.told != nil {
			b.told(ctx, c)
		}
	}
}
