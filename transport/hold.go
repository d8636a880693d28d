package transport

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/tandem-sync/tandem/fault"
)

const codeRateLimit = "rate_limit"

// hold keeps calls back while a wait lasts that the remote named: each of them
// would be refused, and at many remotes count as well. nil holds nothing.
type hold struct {
	mu    sync.Mutex
	until time.Time
	why   *fault.Error
}

// note begins a wait if e asks for one that ends later than the present one.
func (g *hold) note(now time.Time, e *fault.Error) {
	if g == nil || e.Class != fault.RateLimited || e.RetryAfter <= 0 {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if until := now.Add(e.RetryAfter); until.After(g.until) {
		g.until, g.why = until, e
	}
}

// left is how long the wait still lasts, with the refusal that began it.
func (g *hold) left(now time.Time) (time.Duration, *fault.Error) {
	if g == nil {
		return 0, nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if wait := g.until.Sub(now); wait > 0 {
		return wait, g.why
	}
	return 0, nil
}

// pace waits until every limit lets the call through, or gives a wait that is
// longer than Patience back.
func (h *HTTP) pace(ctx context.Context, r Request) error {
	if wait, why := h.hold.left(h.clock.Now()); wait > Patience {
		e := why.After(wait)
		e.Op, e.Err = r.Op, fmt.Errorf("not sent, since the remote has refused: %w", why.Err)
		return e
	} else if err := h.sleep(ctx, r.Op, wait); err != nil {
		return err
	}
	for _, l := range []*Limiter{r.Limit, h.limit} {
		wait, taken := l.reserve(h.clock.Now(), Patience)
		if !taken {
			return fault.New(fault.RateLimited, codeRateLimit, r.Op, "%s allows the next call in %s", l.name, wait.Round(time.Millisecond)).After(wait)
		}
		if err := h.sleep(ctx, r.Op, wait); err != nil {
			return err
		}
	}
	return nil
}

func (h *HTTP) sleep(ctx context.Context, op string, d time.Duration) error {
	if d <= 0 {
		return nil
	}
	if err := h.clock.Sleep(ctx, d); err != nil {
		return cancelled(op, err)
	}
	return nil
}
