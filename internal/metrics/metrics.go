// Package metrics keeps the numbers a monitoring system scrapes, in Prometheus'
// text form. What this process did is counted as it happens; what the database
// knows is asked for when somebody scrapes, at most every few seconds.
//
// Every process of a fleet counts what it did itself: sum those over the fleet.
// The values from the database are the same wherever they are read: take the
// maximum.
package metrics

import (
	"net/http"
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/tandem-sync/tandem/store"
)

// Config says what is kept.
type Config struct {
	// Version is the program's.
	Version string
	// Channels adds a label with the channel's name to what is counted per
	// channel. Off by default: thousands of channels are thousands of series.
	Channels bool
}

// Metrics counts what a process does. It is safe for concurrent use.
type Metrics struct {
	reg      *prometheus.Registry
	channels bool

	runs     *prometheus.CounterVec
	duration *prometheus.HistogramVec
	records  *prometheus.CounterVec
	requests *prometheus.CounterVec
	wait     prometheus.Histogram
	lost     prometheus.Counter
}

// New makes the metrics, registered in a registry of their own.
func New(cfg Config) *Metrics {
	m := &Metrics{reg: prometheus.NewRegistry(), channels: cfg.Channels}
	labels := func(names ...string) []string {
		if cfg.Channels {
			return append([]string{"channel"}, names...)
		}
		return names
	}
	m.runs = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "tandem_runs_total", Help: "Runs that this process ended, by kind and result.",
	}, labels("kind", "result"))
	m.duration = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "tandem_run_duration_seconds", Help: "From the start to the end of a run, waiting included.",
		Buckets: []float64{.1, .5, 1, 5, 15, 60, 300, 900, 3600, 4 * 3600, 24 * 3600},
	}, []string{"kind"})
	m.records = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "tandem_records_total", Help: "Records that workers of this process dealt with, by outcome.",
	}, labels("outcome"))
	m.requests = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "tandem_remote_requests_total", Help: "HTTP requests to remotes, by class of the answer: 2xx to 5xx, or error without one.",
	}, []string{"class"})
	m.wait = prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "tandem_queue_wait_seconds", Help: "How long a slice of work was due before a worker took it up.",
		Buckets: []float64{.01, .05, .25, 1, 5, 15, 60, 300, 900, 3600},
	})
	m.lost = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "tandem_lease_lost_total", Help: "Slices of work that another worker took over from this process.",
	})
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "tandem_build_info", Help: "Always 1; the labels say what is running.",
		ConstLabels: prometheus.Labels{"version": cfg.Version, "goversion": runtime.Version()},
	})
	build.Set(1)
	m.reg.MustRegister(m.runs, m.duration, m.records, m.requests, m.wait, m.lost, build,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	m.begin()
	return m
}

// begin makes the series that are known beforehand, so that a rate over them
// does not miss the first event.
func (m *Metrics) begin() {
	for _, class := range []string{"2xx", "3xx", "4xx", "5xx", "error"} {
		m.requests.WithLabelValues(class)
	}
	if m.channels {
		return
	}
	for _, kind := range []store.Kind{store.KindSync, store.KindReverseSync} {
		for _, result := range []store.Status{store.StatusFinished, store.StatusFailed, store.StatusCancelled} {
			m.runs.WithLabelValues(string(kind), string(result))
		}
	}
	m.Records("", store.Counters{})
}

func (m *Metrics) values(channel string, v ...string) []string {
	if m.channels {
		return append([]string{channel}, v...)
	}
	return v
}

// RunEnded counts a run.
func (m *Metrics) RunEnded(e store.RunEnd) {
	m.runs.WithLabelValues(m.values(e.Channel, string(e.Kind), string(e.Status))...).Inc()
	if e.Took > 0 {
		m.duration.WithLabelValues(string(e.Kind)).Observe(e.Took.Seconds())
	}
}

// Records counts records by outcome. What cannot go down is never counted down:
// a position that was taken back is counted when it is passed again.
func (m *Metrics) Records(channel string, did store.Counters) {
	for _, o := range []struct {
		name string
		n    int64
	}{
		{"created", did.Created},
		{"updated", did.Updated},
		{"unchanged", did.Unchanged},
		{"skipped", did.Skipped},
		{"parked", did.Parked},
		{"deleted", did.Deleted},
		{"pushed", did.Pushed},
	} {
		m.records.WithLabelValues(m.values(channel, o.name)...).Add(float64(max(o.n, 0)))
	}
}

// QueueWait notes how long work was due.
func (m *Metrics) QueueWait(d time.Duration) { m.wait.Observe(d.Seconds()) }

// LeaseLost counts a slice that was taken over.
func (m *Metrics) LeaseLost() { m.lost.Inc() }

// Answered counts a request to a remote by the class of its answer.
func (m *Metrics) Answered(class string) { m.requests.WithLabelValues(class).Inc() }

// Handler answers a scrape.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.reg, promhttp.HandlerOpts{
		// A database that does not answer takes its own values away, not the rest.
		ErrorHandling: promhttp.ContinueOnError, MaxRequestsInFlight: 4, Timeout: 15 * time.Second,
	})
}
