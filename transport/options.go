package transport

import (
	"context"
	"crypto/x509"
	"net/http"

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
	heard    func(status int, header http.Header)
	hold     *hold
	dialect  TokenDialect
}

// WithClock sets the clock that waits are measured with; the system's by default.
func WithClock(c clock.Clock) Option { return func(o *options) { o.clock = c } }

// WithRand sets the source of jitter, a number in [0,1); by default it is the
// one that the context of a call carries, else chance.
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

// WithAnswerHeaders sets who is told the status and the headers of every answer
// of the remote, as they arrive: of refusals, of redirects and of attempts that
// are repeated too. It is meant for what remotes tell of their limits. f must be
// safe for concurrent use, must not wait and must not change or keep the header.
func WithAnswerHeaders(f func(status int, header http.Header)) Option {
	return func(o *options) { o.heard = f }
}

// WithHold keeps all calls back while a wait lasts that the remote named in a
// refusal (class RateLimited): short ones are waited for, and while a longer one
// than Patience lasts calls end with that refusal's error and what is left of its
// wait. Without it only the call that was refused waits. It is meant for remotes
// whose limits hold for the whole account.
func WithHold() Option { return func(o *options) { o.hold = &hold{} } }

// TokenDialect is how the token endpoint of auth type oauth2 differs from RFC
// 6749. The zero value is the RFC.
type TokenDialect struct {
	// InBody: the client's credential is always sent in the body. Otherwise it is
	// sent as basic authentication first.
	InBody bool
	// Revoked are the words, in member "status" of the endpoint's answer, that
	// mean invalid_grant: the refresh token is not accepted any more.
	Revoked []string
}

// WithTokenDialect sets how the token endpoint differs from RFC 6749.
func WithTokenDialect(d TokenDialect) Option { return func(o *options) { o.dialect = d } }
