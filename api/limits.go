package api

import (
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

const (
	// defaultRate is far above what a person or a script that waits for runs
	// needs, and far below what would keep the database busy.
	defaultRate = 100
	burstTime   = 10 * time.Second
	// maxAddresses bounds what is remembered; one that is forgotten begins anew.
	maxAddresses = 4096
)

// limits is one bucket of requests per client address. Health and metrics are
// outside: a probe that is told to wait would end a healthy process.
type limits struct {
	rate  float64 // requests a second; 0 no limit
	burst float64
	now   func() time.Time

	mu      sync.Mutex
	buckets map[string]*bucket
}

type bucket struct {
	left float64
	at   time.Time
}

func newLimits(rate float64) *limits {
	switch {
	case rate < 0:
		return &limits{}
	case rate == 0:
		rate = defaultRate
	}
	return &limits{rate: rate, burst: max(rate*burstTime.Seconds(), 1), now: time.Now, buckets: map[string]*bucket{}}
}

// wait gives how long the sender has to wait; 0 lets the request through and
// counts it.
func (l *limits) wait(r *http.Request) time.Duration {
	if l.rate == 0 || r.URL.Path == "/healthz" || r.URL.Path == "/readyz" || r.URL.Path == "/metrics" {
		return 0
	}
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		host = r.RemoteAddr
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	b, ok := l.buckets[host]
	if !ok {
		l.makeRoom(now)
		b = &bucket{left: l.burst}
		l.buckets[strings.Clone(host)] = b
	} else {
		b.left = min(l.burst, b.left+now.Sub(b.at).Seconds()*l.rate)
	}
	b.at = now
	if b.left < 1 {
		return time.Duration((1 - b.left) / l.rate * float64(time.Second))
	}
	b.left--
	return 0
}

// makeRoom forgets addresses whose bucket is full again, or all of them when
// none is.
func (l *limits) makeRoom(now time.Time) {
	if len(l.buckets) < maxAddresses {
		return
	}
	for host, b := range l.buckets {
		if b.left+now.Sub(b.at).Seconds()*l.rate >= l.burst {
			delete(l.buckets, host)
		}
	}
	if len(l.buckets) >= maxAddresses {
		clear(l.buckets)
	}
}
