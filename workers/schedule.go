package workers

import (
	"fmt"
	"hash/fnv"
	"strings"
	"time"

	"github.com/robfig/cron/v3"

	"github.com/tandem-sync/tandem/config"
)

// defaultEvery is how often a channel runs whose schedule is not set.
const defaultEvery = 5 * time.Minute

// ticks gives the tick after a time; the zero time when there is none.
type ticks interface {
	Next(after time.Time) time.Time
}

// parseSchedule reads a channel's schedule; nil ticks mean off. A schedule that
// only names an interval ticks on a grid that the channel's name shifts, so that
// many channels do not all start at once; cron expressions are exact, in UTC
// unless they name a zone.
func parseSchedule(text, channel string) (ticks, error) {
	if text == config.ScheduleOff {
		return nil, nil //nolint:nilnil // off is a schedule without ticks
	}
	if text == "" {
		return newGrid(defaultEvery, channel), nil
	}
	if every, ok := strings.CutPrefix(text, "@every "); ok {
		d, err := time.ParseDuration(every)
		if err != nil || d < time.Second {
			return nil, fmt.Errorf("schedule %q: want an interval of at least a second", text)
		}
		return newGrid(d, channel), nil
	}
	s, err := cron.ParseStandard(text)
	if err != nil {
		return nil, fmt.Errorf("schedule %q: %w", text, err)
	}
	return s, nil
}

// grid ticks every so often since 1970, shifted.
type grid struct{ every, shift time.Duration }

func newGrid(every time.Duration, channel string) grid {
	return grid{every: every, shift: offset(every, channel)}
}

// offset is a channel's own place within a period.
func offset(period time.Duration, channel string) time.Duration {
	h := fnv.New64a()
	_, _ = h.Write([]byte(channel)) // never fails
	steps := uint64(period / time.Millisecond)
	return time.Duration(h.Sum64()%steps) * time.Millisecond
}

// Next gives the first point of the grid after a time.
func (g grid) Next(after time.Time) time.Time {
	since := after.UnixMicro() - g.shift.Microseconds()
	every := g.every.Microseconds()
	n := since / every
	if since%every < 0 {
		n--
	}
	return time.UnixMicro((n+1)*every + g.shift.Microseconds()).UTC()
}

// spread are the schedules that say how often and not when, with the time over
// which channels are spread.
var spread = map[string]time.Duration{
	"@hourly": time.Hour, "@daily": 24 * time.Hour, "@midnight": 24 * time.Hour, "@weekly": 7 * 24 * time.Hour,
	"@monthly": 28 * 24 * time.Hour, "@yearly": 365 * 24 * time.Hour, "@annually": 365 * 24 * time.Hour,
}

// shifted are ticks that are later by so much.
type shifted struct {
	ticks
	by time.Duration
}

// Next gives the first tick after a time.
func (s shifted) Next(after time.Time) time.Time {
	next := s.ticks.Next(after.Add(-s.by))
	if next.IsZero() {
		return next
	}
	return next.Add(s.by)
}

// fullDue makes of a connector's schedule of complete runs the question whether
// one is due: whether a tick has passed since the last one began. A schedule
// that names no time of its own is shifted by the channel's name, so that not
// all channels read everything at midnight.
func fullDue(text, channel string) func(last, now time.Time) bool {
	var s ticks
	s, err := cron.ParseStandard(text)
	if text == config.ScheduleOff || err != nil {
		return nil // the configuration was checked: what cannot be read is off
	}
	if period, ok := spread[text]; ok {
		s = shifted{ticks: s, by: offset(period, channel)}
	}
	return func(last, now time.Time) bool {
		next := s.Next(last.UTC())
		return !next.IsZero() && !next.After(now)
	}
}
