package transport

import (
	"context"
	"crypto/x509"

	"github.com/tandem-sync/tandem/internal/clock"
)

// Option changes a seam of NewHTTP.
type Option func(*options)

type options struct {
	clock    clock.Clock
	rand     func() float64
	resolver Resolver
	roots    *x509.CertPool
	tokens   TokenStore
	breaker  BreakerConfig
	told     func(context.Context, BreakerChange)
}

// WithClock sets the clock that waits are measured with; the system's by default.
func WithClock(c clock.Clock) Option { return func(o *options) { o.clock = c } }

// WithRand sets the source of jitter, a number in [0,1).
func WithRand(f func() float64) Option { return func(o *options) { o.rand = f } }

// WithResolver sets how names are looked up.
func WithResolver(r Resolver) Option { return func(o *options) { o.resolver = r } }

// WithRoots sets the authorities that are trusted instead of the machine's; for
// tests. No configuration reaches it.
func WithRoots(p *x509.CertPool) Option { return func(o *options) { o.roots = p } }

// WithTokens sets where the token of auth type oauth2 is kept; by default it is
// kept in this client's memory. nil changes nothing.
func WithTokens(s TokenStore) Option { return func(o *options) { o.tokens = s } }

// WithBreaker changes when the circuit breaker opens; zero fields keep their
// defaults.
func WithBreaker(c BreakerConfig) Option { return func(o *options) { o.breaker = c } }

// WithBreakerReport sets who is told, after a call, that the breaker opened or
// closed. nil changes nothing.
func WithBreakerReport(f func(context.Context, BreakerChange)) Option {
	return func(o *options) { o.told = f }
}
