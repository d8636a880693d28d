package metrics_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"go.uber.org/goleak"

	"github.com/tandem-sync/tandem/internal/clock"
	"github.com/tandem-sync/tandem/internal/metrics"
	"github.com/tandem-sync/tandem/store"
	"github.com/tandem-sync/tandem/workers"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var _ workers.Observer = (*metrics.Metrics)(nil)

func scrape(t *testing.T, m *metrics.Metrics) string {
	t.Helper()
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	b, err := io.ReadAll(w.Result().Body)
	if err != nil || w.Code != http.StatusOK {
		t.Fatalf("%d %s %v", w.Code, b, err)
	}
	return string(b)
}

func has(t *testing.T, text string, lines ...string) {
	t.Helper()
	for _, line := range lines {
		if !strings.Contains("\n"+text, "\n"+line+"\n") {
			t.Errorf("no line %q", line)
		}
	}
}

func some(context.Context) (store.Stats, error) {
	return store.Stats{
		Outbox: 3, OutboxOldest: 1500 * time.Millisecond, RunOldest: time.Minute, BreakersOpen: 1,
		Runs: map[store.Status]int64{store.StatusPlanned: 2, store.StatusPreparing: 0, store.StatusExecution: 1},
		Parked: []store.ParkedCount{
			{Channel: "crm", Kind: store.ParkedRecord, Open: 4}, {Channel: "shop", Kind: store.ParkedRecord, Open: 1}, {Channel: "shop", Kind: store.ParkedMassDelete, Open: 1},
		},
	}, nil
}

func work(m *metrics.Metrics) {
	m.RunEnded(store.RunEnd{Channel: "crm", Kind: store.KindSync, Status: store.StatusFinished, Took: 3 * time.Second})
	m.RunEnded(store.RunEnd{Channel: "crm", Kind: store.KindSync, Status: store.StatusFailed})
	m.Records("crm", store.Counters{Read: 10, Created: 5, Unchanged: 4, Parked: 1, Deleted: 2})
	m.Records("crm", store.Counters{Created: -3})
	m.QueueWait(40 * time.Millisecond)
	m.LeaseLost()
	m.Answered("2xx")
	m.Answered("error")
}

func TestCounts(t *testing.T) {
	t.Parallel()
	m := metrics.New(metrics.Config{Version: "v1.2.3"})
	m.FromDatabase(some, nil)
	work(m)
	text := scrape(t, m)
	has(t, text,
		`tandem_runs_total{kind="sync",result="finished"} 1`, `tandem_runs_total{kind="sync",result="failed"} 1`,
		`tandem_runs_total{kind="reverse-sync",result="failed"} 0`,
		`tandem_run_duration_seconds_count{kind="sync"} 1`, `tandem_run_duration_seconds_sum{kind="sync"} 3`,
		`tandem_records_total{outcome="created"} 5`, `tandem_records_total{outcome="unchanged"} 4`, `tandem_records_total{outcome="deleted"} 2`,
		`tandem_records_total{outcome="updated"} 0`,
		`tandem_queue_wait_seconds_bucket{le="0.05"} 1`, `tandem_lease_lost_total 1`,
		`tandem_remote_requests_total{class="2xx"} 1`, `tandem_remote_requests_total{class="error"} 1`, `tandem_remote_requests_total{class="5xx"} 0`,
		`tandem_database_up 1`, `tandem_outbox_depth 3`, `tandem_oldest_pending_seconds{what="message"} 1.5`, `tandem_oldest_pending_seconds{what="run"} 60`,
		`tandem_runs_under_way{status="planned"} 2`, `tandem_parked_open{kind="record"} 5`, `tandem_parked_open{kind="message"} 0`, `tandem_breakers_open 1`,
	)
	if !strings.Contains(text, `tandem_build_info{goversion="go1.`) || !strings.Contains(text, `version="v1.2.3"} 1`) {
		t.Error("no build info")
	}
	if strings.Contains(text, "channel=") || strings.Contains(text, "crm") {
		t.Error("a channel's name is there without being asked for")
	}
}

func TestChannelsWhenAskedFor(t *testing.T) {
	t.Parallel()
	m := metrics.New(metrics.Config{Channels: true})
	m.FromDatabase(some, nil)
	work(m)
	has(t, scrape(t, m),
		`tandem_runs_total{channel="crm",kind="sync",result="finished"} 1`, `tandem_records_total{channel="crm",outcome="created"} 5`,
		`tandem_parked_open{channel="crm",kind="record"} 4`, `tandem_parked_open{channel="shop",kind="mass_delete"} 1`, `tandem_outbox_depth 3`)
}

// TestNamesKeepTheConventions runs the linter of Prometheus over a scrape.
func TestNamesKeepTheConventions(t *testing.T) {
	t.Parallel()
	for _, perChannel := range []bool{false, true} {
		m := metrics.New(metrics.Config{Version: "v1", Channels: perChannel})
		m.FromDatabase(some, nil)
		work(m)
		text := scrape(t, m)
		problems, err := promlint.New(strings.NewReader(text)).Lint()
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range problems {
			t.Errorf("%s: %s", p.Metric, p.Text)
		}
		for line := range strings.Lines(text) {
			if name, ok := strings.CutPrefix(line, "# TYPE "); ok && !strings.HasPrefix(name, "tandem_") && !strings.HasPrefix(name, "go_") && !strings.HasPrefix(name, "process_") {
				t.Errorf("a name that is not ours: %s", name)
			}
		}
	}
}

// still is a clock that stands until it is moved.
type still struct {
	clock.System
	mu sync.Mutex
	at time.Time
}

func (s *still) Now() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.at
}

func (s *still) move(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.at = s.at.Add(d)
}

func TestTheDatabaseIsAskedSeldom(t *testing.T) {
	t.Parallel()
	clk, asked := &still{at: time.Unix(1_800_000_000, 0)}, 0
	m := metrics.New(metrics.Config{})
	m.FromDatabase(func(ctx context.Context) (store.Stats, error) {
		asked++
		if _, ok := ctx.Deadline(); !ok {
			t.Error("the database may take as long as it likes")
		}
		return some(ctx)
	}, clk)
	for range 3 {
		scrape(t, m)
	}
	if asked != 1 {
		t.Errorf("asked %d times for three scrapes at once", asked)
	}
	clk.move(6 * time.Second)
	scrape(t, m)
	clk.move(-time.Hour) // the machine's clock was set back
	scrape(t, m)
	if asked != 3 {
		t.Errorf("asked %d times, want 3", asked)
	}
}

func TestWithoutTheDatabase(t *testing.T) {
	t.Parallel()
	m := metrics.New(metrics.Config{})
	m.FromDatabase(func(context.Context) (store.Stats, error) { return store.Stats{}, errors.New("gone: postgres://u:p@h") }, nil)
	work(m)
	text := scrape(t, m)
	has(t, text, "tandem_database_up 0", "tandem_lease_lost_total 1")
	if strings.Contains(text, "tandem_outbox_depth") || strings.Contains(text, "gone") {
		t.Errorf("values without an answer, or its text:\n%s", text)
	}
}
