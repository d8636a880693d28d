package transport

import (
	"context"
	"net/http/httptrace"
	"sync/atomic"

	"github.com/tandem-sync/tandem/fault"
)

// Sent watches one call of Do that changes something at the remote, for
// Request.Sent. The zero value is ready; use one per call.
type Sent struct {
	under atomic.Bool // the attempt under way was given to a connection
	lost  atomic.Bool // an earlier one was, and what became of it is open
}

// Reached reports whether the remote may have carried the call out: its request
// was given to a connection and not turned away unread, with a wish to wait or
// for want of a credential. False is certain: nothing was carried out.
func (s *Sent) Reached() bool { return s.under.Load() || s.lost.Load() }

// watch notes when a request is given to a connection: before that moment not a
// byte of it has left, after it nobody can say.
func (s *Sent) watch(ctx context.Context) context.Context {
	if s == nil {
		return ctx
	}
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(httptrace.GotConnInfo) { s.under.Store(true) },
	})
}

// failed notes how an attempt ended, and reports whether the call certainly has
// not been carried out, so that even a create may be sent again.
func (s *Sent) failed(err error) bool {
	if s == nil {
		return false
	}
	turnedAway := fault.Of(err) == fault.RateLimited || fault.CodeOf(err) == fault.CodeAuth
	if s.under.Swap(false) && !turnedAway {
		s.lost.Store(true)
	}
	return !s.Reached()
}
