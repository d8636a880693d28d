package hubspot

import (
	"net/http"
	"strconv"
	"time"
)

// The policies that a 429 names.
const (
	PolicyBurst  = "TEN_SECONDLY_ROLLING"
	PolicySecond = "SECONDLY"
	PolicyDaily  = "DAILY"
)

// Limits are an account's limits. A zero is HubSpot's limit of a small account,
// a negative number is no limit.
type Limits struct {
	Burst  int // calls in any ten seconds, 100
	Daily  int // calls of a day in the account's time zone, 250,000
	Search int // searches in any second, 5; limited apart
}

// Unlimited lets everything through.
var Unlimited = Limits{Burst: -1, Daily: -1, Search: -1}

const burstWindow = 10 * time.Second

// meter counts calls against the limits.
type meter struct {
	Limits
	burst    []time.Time // of the last calls, oldest first
	searches []time.Time
	day      string
	used     int
}

func newMeter(l Limits) meter {
	for _, x := range []struct {
		n   *int
		def int
	}{{&l.Burst, 100}, {&l.Daily, 250_000}, {&l.Search, 5}} {
		if *x.n == 0 {
			*x.n = x.def
		}
	}
	return meter{Limits: l}
}

// since drops what is older than window.
func since(times []time.Time, now time.Time, window time.Duration) []time.Time {
	for len(times) > 0 && now.Sub(times[0]) >= window {
		times = times[1:]
	}
	return times
}

// take counts a call, or names the policy it breaks; then it does not count.
func (m *meter) take(op Op, now time.Time, zone *time.Location) (policy string) {
	m.roll(now, zone)
	switch {
	case m.Daily >= 0 && m.used >= m.Daily:
		return PolicyDaily
	case op == OpSearch && m.Search >= 0 && len(m.searches) >= m.Search:
		return PolicySecond
	case op != OpSearch && m.Burst >= 0 && len(m.burst) >= m.Burst:
		return PolicyBurst
	}
	m.used++
	if op == OpSearch {
		m.searches = append(m.searches, now)
	} else {
		m.burst = append(m.burst, now)
	}
	return ""
}

func (m *meter) roll(now time.Time, zone *time.Location) {
	m.burst, m.searches = since(m.burst, now, burstWindow), since(m.searches, now, time.Second)
	if day := now.In(zone).Format(time.DateOnly); day != m.day {
		m.day, m.used = day, 0
	}
}

func (m *meter) usedToday(now time.Time, zone *time.Location) int {
	m.roll(now, zone)
	return m.used
}

// tell writes what is left into an answer's header.
func (m *meter) tell(h http.Header, now time.Time, zone *time.Location) {
	m.roll(now, zone)
	set := func(name string, n int) { h.Set("X-Hubspot-Ratelimit-"+name, strconv.Itoa(n)) }
	if m.Burst >= 0 {
		set("Max", m.Burst)
		set("Remaining", max(0, m.Burst-len(m.burst)))
		set("Interval-Milliseconds", int(burstWindow.Milliseconds()))
	}
	if m.Daily >= 0 {
		set("Daily", m.Daily)
		set("Daily-Remaining", max(0, m.Daily-m.used))
	}
}

// midnight is when the day of now ends in zone.
func midnight(now time.Time, zone *time.Location) time.Time {
	t := now.In(zone)
	return time.Date(t.Year(), t.Month(), t.Day()+1, 0, 0, 0, 0, zone)
}
