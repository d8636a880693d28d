package workers

import (
	"fmt"
	"strings"
	"time"

	"github.com/tandem-sync/tandem/channels"
)

// skewWarn is how far a remote's clock may be off before a person is told.
// Which side changed last is decided by both clocks, so what they differ by is
// the gap in which the wrong side can win.
const skewWarn = 5 * time.Second

// quotaWarn is the share of a quota below which a person is told.
const quotaWarn = 10 // a tenth

// dated is an answer's time by the remote's clock and the time it took by ours.
type dated struct {
	remote         time.Time
	asked, arrived time.Time
}

// clockStage compares the remote's clock with ours. The Date header has whole
// seconds and was made some time between asking and arriving.
func clockStage(d dated) TestStage {
	st := TestStage{Stage: "clock", OK: true}
	if d.remote.IsZero() {
		st.Message = "the remote does not tell its time"
		return st
	}
	// The second that the header cuts off is half a second in the middle.
	skew := d.remote.Add(500 * time.Millisecond).Sub(d.asked.Add(d.arrived.Sub(d.asked) / 2))
	unsure := d.arrived.Sub(d.asked)/2 + 500*time.Millisecond
	if skew.Abs() <= skewWarn+unsure {
		st.Message = fmt.Sprintf("the remote's clock agrees with ours within %s", (skew.Abs() + unsure).Round(100*time.Millisecond))
		return st
	}
	word := "ahead of"
	if skew < 0 {
		word = "behind"
	}
	st.Warn = true
	st.Message = fmt.Sprintf("the remote's clock is %s %s ours", skew.Abs().Round(time.Second), word)
	st.Hint = "set the clocks of both machines by NTP: which side changed a value last is decided by them; what has changed is read by the remote's own clock and is not affected"
	return st
}

// quotaStage says what is left of the remote's limits; nil when it tells none.
func quotaStage(ch channels.Channel) *TestStage {
	q, ok := ch.(channels.Quoter)
	if !ok {
		return nil
	}
	list := q.Quota()
	if len(list) == 0 {
		return nil
	}
	st := &TestStage{Stage: "quota", OK: true}
	parts := make([]string, 0, len(list))
	for _, q := range list {
		text := fmt.Sprintf("%s: %s of %s left", q.Name, amount(q.Left), amount(q.Limit))
		if !q.Resets.IsZero() {
			text += " until " + q.Resets.UTC().Format(time.RFC3339)
		}
		parts = append(parts, text)
		if q.Limit > 0 && q.Left >= 0 && q.Left*quotaWarn < q.Limit {
			st.Warn = true
			st.Hint = "little of the quota is left: runs wait for its reset with their position kept; a longer schedule or a lower rate_limit spares it"
		}
	}
	st.Message = strings.Join(parts, "; ")
	return st
}

func amount(n int64) string {
	if n < 0 {
		return "unknown"
	}
	return fmt.Sprint(n)
}
