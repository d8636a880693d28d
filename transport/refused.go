package transport

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/internal/jitter"
)

// A remote that limits calls and names no time to come back is asked after
// longer and longer pauses: many of them count refused calls as well.
const (
	refusedBase = time.Second
	refusedCap  = time.Minute
)

// refused counts calls in a row that the remote turned away for their number
// without saying for how long. The zero value has seen none.
type refused struct {
	mu    sync.Mutex
	n     int
	until time.Time
}

// heed gives err, with a pause where it is another such refusal in a row. Calls
// that are refused beside each other count as one. A call that succeeds ends the
// row.
func (g *refused) heed(ctx context.Context, now time.Time, err error) error {
	var e *fault.Error
	silent := errors.As(err, &e) && e.Class == fault.RateLimited && fault.RetryAfterOf(err) <= 0
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case err == nil:
		g.n = 0
		return nil
	case !silent:
		return err
	case g.n == 0:
		g.n = 1 // whoever called knows a first pause
		return err
	case !now.Before(g.until):
		top := min(refusedBase<<min(g.n, 10), refusedCap)
		g.n, g.until = g.n+1, now.Add(jitter.Between(ctx, top/2, top))
	}
	return e.After(max(g.until.Sub(now), refusedBase))
}
