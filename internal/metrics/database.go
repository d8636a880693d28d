package metrics

import (
	"context"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tandem-sync/tandem/internal/clock"
	"github.com/tandem-sync/tandem/store"
)

const (
	// keepFor is how long values of the database are answered from memory: any
	// number of scrapers costs it one look per time.
	keepFor = 5 * time.Second
	askFor  = 5 * time.Second
)

// Source gives the numbers of the database.
type Source func(context.Context) (store.Stats, error)

// FromDatabase adds the values that the database knows. clk nil means the
// machine's clock.
func (m *Metrics) FromDatabase(ask Source, clk clock.Clock) {
	if clk == nil {
		clk = clock.System{}
	}
	var labels []string
	if m.channels {
		labels = append(labels, "channel")
	}
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, labels, nil)
	}
	m.reg.MustRegister(&database{
		ask: ask, clock: clk, channels: m.channels,
		up:      desc("tandem_database_up", "1 when the database answered for the values taken from it, else 0."),
		outbox:  desc("tandem_outbox_depth", "Messages that wait to be published."),
		oldest:  desc("tandem_oldest_pending_seconds", "Age of the oldest thing that waits: a planned run, or a message to publish.", "what"),
		runs:    desc("tandem_runs_under_way", "Runs that are not over, by status.", "status"),
		parked:  desc("tandem_parked_open", "Items that wait for a person, by kind.", append(labels, "kind")...),
		breaker: desc("tandem_breakers_open", "Channels whose circuit breaker is open."),
	})
}

// database collects at a scrape.
type database struct {
	ask      Source
	clock    clock.Clock
	channels bool

	up, outbox, oldest, runs, parked, breaker *prometheus.Desc

	mu    sync.Mutex
	at    time.Time
	stats store.Stats
	err   error
}

// Describe names the values.
func (d *database) Describe(ch chan<- *prometheus.Desc) {
	for _, desc := range []*prometheus.Desc{d.up, d.outbox, d.oldest, d.runs, d.parked, d.breaker} {
		ch <- desc
	}
}

// look asks the database, or gives what it said a moment ago. A failure is
// remembered as long as an answer: a database in trouble is not asked more often.
func (d *database) look() (store.Stats, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if now := d.clock.Now(); d.at.IsZero() || now.Sub(d.at) >= keepFor || now.Before(d.at) {
		ctx, cancel := context.WithTimeout(context.Background(), askFor)
		defer cancel()
		d.stats, d.err = d.ask(ctx)
		d.at = now
	}
	return d.stats, d.err
}

// Collect gives the values; without an answer only that there was none.
func (d *database) Collect(ch chan<- prometheus.Metric) {
	gauge := func(desc *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, v, labels...)
	}
	s, err := d.look()
	if err != nil {
		gauge(d.up, 0)
		return
	}
	gauge(d.up, 1)
	gauge(d.outbox, float64(s.Outbox))
	gauge(d.oldest, s.OutboxOldest.Seconds(), "message")
	gauge(d.oldest, s.RunOldest.Seconds(), "run")
	gauge(d.breaker, float64(s.BreakersOpen))
	for status, n := range s.Runs {
		gauge(d.runs, float64(n), string(status))
	}
	d.collectParked(s.Parked, gauge)
}

func (d *database) collectParked(list []store.ParkedCount, gauge func(*prometheus.Desc, float64, ...string)) {
	if d.channels {
		type series struct {
			channel string
			kind    store.ParkedKind
		}
		sums := map[series]int64{} // a message may name a channel that is there, too
		for _, p := range list {
			sums[series{p.Channel, p.Kind}] += p.Open
		}
		for s, n := range sums {
			gauge(d.parked, float64(n), s.channel, string(s.kind))
		}
		return
	}
	sums := map[store.ParkedKind]int64{ // all known kinds, so that a rule sees 0 and not nothing
		store.ParkedRecord: 0, store.ParkedMessage: 0, store.ParkedMassDelete: 0, store.ParkedDuplicate: 0, store.ParkedRefused: 0,
	}
	for _, p := range list {
		sums[p.Kind] += p.Open
	}
	for kind, n := range sums {
		gauge(d.parked, float64(n), string(kind))
	}
}
