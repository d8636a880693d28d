package hubspot

import (
	"net/http"
	"time"
)

// trouble is what goes wrong again and again.
type trouble struct {
	every  int
	faults []Fault
	next   int
}

// Trouble makes every n-th call from now on meet one of the faults, in turn; n
// of 0 ends it. Without faults it takes the ones of a bad day: limits, a busy
// account, errors of servers on the way, answers cut short. Faults that were
// injected come first.
func (p *Portal) Trouble(n int, faults ...Fault) {
	if len(faults) == 0 {
		faults = badDay()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.trouble = trouble{every: n, faults: faults}
}

func badDay() []Fault {
	return []Fault{
		TooMany(PolicyBurst, time.Second), HTML(), Status(http.StatusBadGateway, "BAD_GATEWAY", "upstream connect error"), Truncated(),
		TooMany(PolicySecond, 0), Half(), Locked(), Reset(), Status(http.StatusInternalServerError, "INTERNAL_ERROR", "internal error"),
	}
}

// take gives the fault of the call of this number, counted from 1.
func (t *trouble) take(call int) (Fault, bool) {
	if t.every <= 0 || call%t.every != 0 {
		return Fault{}, false
	}
	f := t.faults[t.next%len(t.faults)]
	t.next++
	return f, true
}
