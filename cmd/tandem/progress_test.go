package main

import (
	"bytes"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/tandem-sync/tandem/api"
	"github.com/tandem-sync/tandem/store"
)

// progressRun gives a run that has done so many of 1,000 records since start.
func progressRun(start time.Time, done int64) api.Run {
	total := int64(1000)
	return api.Run{
		ID: 7, Channel: "crm", Status: store.StatusExecution, StartedAt: &start,
		Progress: api.Progress{Done: done, Total: &total, Rate: 10},
	}
}

func TestProgressPlainLines(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.Local)
	p := &progress{w: &out, now: func() time.Time { return now }, started: now, every: plainEvery}
	start := now
	for i := range 121 { // a minute in steps of half a second
		p.update(progressRun(start, int64(i)*5))
		now = now.Add(500 * time.Millisecond)
	}
	p.done()
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) < 10 || len(lines) > 14 {
		t.Errorf("%d lines in a minute, want one every 5 s:\n%s", len(lines), out.String())
	}
	last := lines[len(lines)-1]
	if strings.ContainsAny(out.String(), "\r\x1b") || !strings.Contains(last, "10/s ETA ") || !strings.Contains(last, "/1000") {
		t.Errorf("last line %q", last)
	}
}

func TestProgressShortWorkIsSilent(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	now := time.Now()
	p := &progress{w: &out, now: func() time.Time { return now }, started: now, every: plainEvery}
	p.update(progressRun(now, 0))
	now = now.Add(200 * time.Millisecond)
	end := progressRun(now, 1000)
	end.Status = store.StatusFinished
	p.update(end)
	p.done()
	if out.Len() != 0 {
		t.Errorf("work of a moment wrote %q", out.String())
	}
}

func TestProgressOnATerminal(t *testing.T) {
	t.Parallel()
	for _, width := range []int{20, 40, 60, 80, 200} {
		for _, color := range []bool{false, true} {
			var out bytes.Buffer
			now := time.Now()
			p := &progress{w: &out, tty: true, color: color, width: func() int { return width }, now: func() time.Time { return now }, started: now}
			r := progressRun(now.Add(-time.Minute), 500)
			r.Parked = 3
			p.update(r)
			p.done()
			text := strings.NewReplacer("\r", "", "\x1b[2K", "", "\x1b[32m", "", "\x1b[0m", "").Replace(out.String())
			if n := utf8.RuneCountInString(text); n >= width || strings.Contains(text, "\n") || n == 0 {
				t.Errorf("width %d: %d columns: %q", width, n, text)
			}
			if strings.Contains(out.String(), "\x1b[32m") != (color && strings.Contains(text, "█")) {
				t.Errorf("color %v: %q", color, out.String())
			}
			if width >= 80 && !strings.Contains(text, "█") {
				t.Errorf("no bar in %q", text)
			}
			if !strings.HasSuffix(out.String(), "\r\x1b[2K") {
				t.Errorf("the line is left behind: %q", out.String())
			}
		}
	}
}

func TestProgressWaiting(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	now := time.Now()
	p := &progress{w: &out, now: func() time.Time { return now }, started: now, every: plainEvery}
	until := now.Add(time.Minute)
	r := progressRun(now, 10)
	p.update(r)
	r.Waiting = &api.Waiting{Reason: "the remote asks to wait\x1b[31m", Until: &until}
	p.update(r)
	if got := out.String(); !strings.Contains(got, "waiting: the remote asks to wait·[31m until "+until.Format(time.TimeOnly)) {
		t.Errorf("got %q", got)
	}
}
