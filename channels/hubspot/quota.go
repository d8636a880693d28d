package hubspot

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// quotaBox keeps what the last answers said about limits.
type quotaBox struct {
	mu    sync.Mutex
	last  Limits
	known bool
}

func (b *quotaBox) get() (Limits, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.last, b.known
}

// note reads the headers of an answer. Searches carry none, and what an answer
// leaves out stays as it was.
func (b *quotaBox) note(h http.Header, now time.Time) {
	number := func(name string) (int, bool) {
		n, err := strconv.Atoi(h.Get("X-Hubspot-Ratelimit-" + name))
		return n, err == nil && n >= 0
	}
	burst, okBurst := number("Max")
	daily, okDaily := number("Daily")
	if !okBurst && !okDaily {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.known {
		b.last, b.known = Limits{Burst: -1, BurstLeft: -1, Window: burstWait, Daily: -1, DailyLeft: -1}, true
	}
	if okBurst {
		b.last.Burst = burst
		if left, ok := number("Remaining"); ok {
			b.last.BurstLeft = left
		}
		if ms, ok := number("Interval-Milliseconds"); ok && ms > 0 {
			b.last.Window = time.Duration(ms) * time.Millisecond
		}
	}
	if okDaily {
		b.last.Daily = daily
		if left, ok := number("Daily-Remaining"); ok {
			b.last.DailyLeft = left
		}
	}
	b.last.At = now
	if date, err := http.ParseTime(h.Get("Date")); err == nil {
		b.last.At = date
	}
}

// zone is the account's time zone, where it is known.
type zone struct {
	mu    sync.Mutex
	at    *time.Location
	asked bool
}

func (z *zone) get() *time.Location {
	z.mu.Lock()
	defer z.mu.Unlock()
	return z.at
}

// ask reports, once, that the zone is still to be found out.
func (z *zone) ask() bool {
	z.mu.Lock()
	defer z.mu.Unlock()
	if z.at != nil || z.asked {
		return false
	}
	z.asked = true
	return true
}

func (z *zone) set(loc *time.Location) {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.at = loc
}

// lowShare is the part of the daily limit below which it pays to learn when the
// day ends: once the limit is used up, HubSpot does not answer that either.
const lowShare = 20 // a twentieth

// learnZone asks for the account's time zone when the daily limit comes near. A
// failure costs only precision, so it is none of the caller's.
func (c *client) learnZone(ctx context.Context) {
	q, ok := c.quota.get()
	if !ok || q.Daily <= 0 || q.DailyLeft > q.Daily/lowShare || !c.zone.ask() {
		return
	}
	got, err := c.do(ctx, get("hubspot: account details", accountPath, nil))
	if err != nil {
		return
	}
	var details struct {
		TimeZone string `json:"timeZone"`
	}
	if json.Unmarshal(got.Body, &details) != nil || details.TimeZone == "" {
		return
	}
	if loc, err := time.LoadLocation(details.TimeZone); err == nil {
		c.zone.set(loc)
	}
}

// untilReset is how long the daily limit lasts: to the account's next midnight,
// or an hour where its time zone is not known.
func (c *client) untilReset(h http.Header) time.Duration {
	loc := c.zone.get()
	if loc == nil {
		return dailyWait
	}
	now := c.remoteNow(h)
	return nextMidnight(now, loc).Sub(now) + midnightSlip
}

func nextMidnight(now time.Time, loc *time.Location) time.Time {
	now = now.In(loc)
	return time.Date(now.Year(), now.Month(), now.Day()+1, 0, 0, 0, 0, loc)
}
