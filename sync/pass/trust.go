package pass

import (
	"context"
	"sync"
	"time"

	"github.com/tandem-sync/tandem/store"
)

// trust is how long a delivery may believe that its lease holds. The database
// refuses what comes later; a remote cannot, so the calls to it end by
// themselves before somebody else may begin with the same rows. It is counted
// by the machine's monotonic clock, from before each renewal.
type trust struct {
	mu    sync.Mutex
	timer *time.Timer
	ttl   time.Duration
	from  time.Time
}

// trustMargin is the share of the lease that is given up for safety.
const trustMargin = 10

// guard cancels when the trust ends. left is how much of the lease is left.
func guard(cancel context.CancelCauseFunc, left, ttl time.Duration) *trust {
	ttl -= ttl / trustMargin
	t := &trust{ttl: ttl, from: time.Now()}
	t.timer = time.AfterFunc(min(left-left/trustMargin, ttl), func() { cancel(store.ErrFenced) })
	return t
}

// renew notes a renewal that was asked for at a time and granted.
func (t *trust) renew(asked time.Time) {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if left := t.ttl - time.Since(asked); asked.After(t.from) && left > 0 && t.timer.Stop() {
		t.from = asked
		t.timer.Reset(left)
	}
}

func (t *trust) end() {
	if t != nil {
		t.timer.Stop()
	}
}
