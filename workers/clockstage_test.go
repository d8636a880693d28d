package workers

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/tandem-sync/tandem/channels"
)

func TestClockStage(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		skew, took time.Duration
		warn       bool
		want       string
	}{
		"agrees":             {0, 100 * time.Millisecond, false, "agrees"},
		"behind":             {-time.Minute, 100 * time.Millisecond, true, "1m0s behind"},
		"ahead":              {2 * time.Hour, 0, true, "ahead of ours"},
		"a slow answer":      {8 * time.Second, 10 * time.Second, false, "agrees"},
		"just below the bar": {-5 * time.Second, 0, false, "agrees"},
	} {
		d := dated{remote: at.Add(c.skew).Truncate(time.Second), asked: at.Add(-c.took / 2), arrived: at.Add(c.took / 2)}
		st := clockStage(d)
		if !st.OK || st.Warn != c.warn || !strings.Contains(st.Message, c.want) || c.warn != (st.Hint != "") {
			t.Errorf("%s: %+v", name, st)
		}
	}
	if st := clockStage(dated{}); !st.OK || st.Warn || st.Message == "" {
		t.Errorf("without a clock: %+v", st)
	}
}

// quoted is a channel that only tells its limits.
type quoted struct {
	channels.Channel
	list []channels.Quota
}

func (q quoted) Quota() []channels.Quota { return q.list }

func (quoted) Ping(context.Context) error { return nil }

func TestQuotaStage(t *testing.T) {
	t.Parallel()
	if st := quotaStage(quoted{}); st != nil {
		t.Errorf("nothing told: %+v", st)
	}
	reset := time.Date(2026, 5, 5, 0, 0, 0, 0, time.UTC)
	st := quotaStage(quoted{list: []channels.Quota{{Name: "calls per day", Limit: 1000, Left: 900, Resets: reset}, {Name: "calls per 10s", Limit: -1, Left: -1}}})
	if !st.OK || st.Warn || st.Message != "calls per day: 900 of 1000 left until 2026-05-05T00:00:00Z; calls per 10s: unknown of unknown left" {
		t.Errorf("%+v", st)
	}
	if st := quotaStage(quoted{list: []channels.Quota{{Name: "calls per day", Limit: 1000, Left: 99}}}); !st.OK || !st.Warn || st.Hint == "" {
		t.Errorf("little left: %+v", st)
	}
}
