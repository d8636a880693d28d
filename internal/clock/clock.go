// Package clock is the seam through which Tandem sees time, so that a
// simulation can move it.
package clock

import (
	"context"
	"time"
)

// Clock tells the time and waits.
type Clock interface {
	// Now is the current time with its monotonic reading where there is one.
	Now() time.Time
	// Sleep waits d or until ctx ends, and returns ctx's error then. d <= 0
	// returns at once.
	Sleep(ctx context.Context, d time.Duration) error
}

// System is the machine's clock. Inside a testing/synctest bubble it is the
// bubble's.
type System struct{}

// Now is time.Now.
func (System) Now() time.Time { return time.Now() }

// Sleep waits on a timer.
func (System) Sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// Offset is a clock that runs a fixed time ahead of (or behind) another one.
type Offset struct {
	Clock
	By time.Duration
}

// Now is the inner clock's time plus By.
func (o Offset) Now() time.Time { return o.Clock.Now().Add(o.By) }
