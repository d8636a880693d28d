package transport

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Rate is "at most N calls in any stretch of Per". The zero value is no limit.
type Rate struct {
	N   int
	Per time.Duration
}

// maxRateN bounds the memory of a limiter.
const maxRateN = 100_000

// ParseRate reads "90/10s" or "5/s".
func ParseRate(s string) (Rate, error) {
	bad := fmt.Errorf("must be CALLS/DURATION with 1 to %d calls and a duration up to 24h", maxRateN)
	count, per, ok := strings.Cut(s, "/")
	if !ok {
		return Rate{}, bad
	}
	n, err := strconv.Atoi(strings.TrimSpace(count))
	if err != nil || n < 1 || n > maxRateN {
		return Rate{}, bad
	}
	per = strings.TrimSpace(per)
	if per != "" && (per[0] < '0' || per[0] > '9') {
		per = "1" + per
	}
	d, err := time.ParseDuration(per)
	if err != nil || d <= 0 || d > 24*time.Hour {
		return Rate{}, bad
	}
	return Rate{n, d}, nil
}

// Limiter keeps a Rate exactly: it remembers when the last N calls were let
// through, and the next one may go Per after the oldest of them. A token
// bucket with a burst of N would let almost 2N through in one stretch. Safe for
// concurrent use; nil limits nothing.
type Limiter struct {
	name string
	mu   sync.Mutex
	per  time.Duration
	last []time.Time // ring of the last N departures; zero is none
	next int
}

// NewLimiter makes the limiter of one kind of calls, for Request.Limit. name says
// whose limit it is in errors: "HubSpot's limit on searches". It is nil for the
// zero Rate.
func NewLimiter(r Rate, name string) *Limiter {
	if r.N < 1 {
		return nil
	}
	// A fiftieth of slack, because calls sent Per apart can arrive closer.
	return &Limiter{name: name, per: r.Per + r.Per/50, last: make([]time.Time, r.N)}
}

// reserve takes a place at now, or reports how long the caller would have to
// wait when that is more than patience; then nothing is taken. A wait within
// patience is taken and the caller must wait it.
func (l *Limiter) reserve(now time.Time, patience time.Duration) (wait time.Duration, taken bool) {
	if l == nil {
		return 0, true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	at := now
	if old := l.last[l.next]; !old.IsZero() && old.Add(l.per).After(now) {
		at = old.Add(l.per)
	}
	wait = at.Sub(now)
	if wait > patience {
		return wait, false
	}
	l.last[l.next] = at
	l.next = (l.next + 1) % len(l.last)
	return wait, true
}

// budget keeps repeats to a tenth of the calls, so that a remote in trouble
// does not get more load for it. It starts with ten repeats.
type budget struct {
	mu     sync.Mutex
	tenths int // repeats times ten
}

const budgetMax = 100

func newBudget() *budget { return &budget{tenths: budgetMax} }

// call books a first attempt.
func (b *budget) call() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.tenths = min(b.tenths+1, budgetMax)
}

// repeat takes one repeat, or says that none is left.
func (b *budget) repeat() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.tenths < 10 {
		return false
	}
	b.tenths -= 10
	return true
}
