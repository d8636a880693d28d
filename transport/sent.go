package transport

import (
	"context"
	"net/http/httptrace"
	"sync/atomic"

	"github.com/tandem-sync/tandem/fault"
)

// Sent watches one call of Do that changes something at the remote, for
// Request.Sent. The zero value is ready; use one per call.
type Sent struct{ reached atomic.Bool }

// Reached reports whether the remote may have carried the call out: its request
// was given to a connection, and it was not turned away with a wish to wait.
// False is certain: the remote never saw it.
func (s *Sent) Reached() bool { return s.reached.Load() }

// watch notes when a request is given to a connection: before that moment not a
// byte of it has left, after it nobody can say.
func (s *Sent) watch(ctx context.Context) context.Context {
	if s == nil {
		return ctx
	}
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(httptrace.GotConnInfo) { s.reached.Store(true) },
	})
}

// unsent reports whether the attempt that failed with err changed nothing, so
// that even a create may be sent again.
func (s *Sent) unsent(err error) bool {
	switch {
	case s == nil:
		return false
	case fault.Of(err) == fault.RateLimited:
		s.reached.Store(false)
	}
	return !s.Reached()
}
