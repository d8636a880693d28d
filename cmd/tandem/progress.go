package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/term"

	"github.com/tandem-sync/tandem/api"
)

// progress shows how runs get on, on standard error: on a terminal as one line
// that is rewritten, elsewhere as a plain line every few seconds. It is used by
// one goroutine.
type progress struct {
	w       io.Writer
	tty     bool
	width   func() int // columns of the terminal
	color   bool
	every   time.Duration
	now     func() time.Time
	started time.Time
	last    time.Time
	lastKey string
	open    bool // a line on the terminal waits to be rewritten
	samples []sample
}

type sample struct {
	at   time.Time
	done int64
}

// plainEvery is how often a plain line is written while nothing else changes.
const plainEvery = 5 * time.Second

func (a *app) newProgress() *progress {
	tty := isTerminal(a.stderr)
	noColor, _ := a.env("NO_COLOR")
	dumb, _ := a.env("TERM")
	now := time.Now
	return &progress{w: a.stderr, width: a.columns, tty: tty && dumb != "dumb", color: noColor == "", every: plainEvery, now: now, started: now()}
}

// update shows the run as it is now.
func (p *progress) update(r api.Run) {
	now := p.now()
	p.samples = append(p.samples, sample{now, r.Progress.Done})
	for len(p.samples) > 2 && now.Sub(p.samples[0].at) > 5*time.Second {
		p.samples = p.samples[1:]
	}
	text := p.line(r, now)
	if p.tty {
		fmt.Fprintf(p.w, "\r\x1b[2K%s", text)
		p.open = true
		return
	}
	key := string(r.Status) + waitingText(r)
	if r.Status.Ended() || (key == p.lastKey && now.Sub(p.last) < p.every) {
		return // the end has a line of its own
	}
	if key == p.lastKey || p.lastKey != "" || now.Sub(p.started) > time.Second {
		fmt.Fprintln(p.w, text)
	}
	p.last, p.lastKey = now, key
}

// done leaves the terminal's line alone from now on.
func (p *progress) done() {
	if p.open {
		fmt.Fprint(p.w, "\r\x1b[2K")
		p.open = false
	}
}

// rate is the records per second of the last seconds; the run's own average
// until there is more to go by.
func (p *progress) rate(r api.Run) float64 {
	if len(p.samples) >= 2 {
		first, last := p.samples[0], p.samples[len(p.samples)-1]
		if d := last.at.Sub(first.at).Seconds(); d >= 1 && last.done > first.done {
			return float64(last.done-first.done) / d
		}
	}
	return r.Progress.Rate
}

// columns is the width of the terminal behind standard error.
func (a *app) columns() int {
	if f, ok := a.stderr.(*os.File); ok {
		if w, _, err := term.GetSize(int(f.Fd())); err == nil && w > 0 {
			return w
		}
	}
	return 80
}

// line says where the run stands. On a terminal it fits into one row: the bar
// gets what the words leave.
func (p *progress) line(r api.Run, now time.Time) string {
	head := fmt.Sprintf("run %d %s %s", r.ID, printable(r.Channel), r.Status)
	if r.StartedAt == nil {
		return p.fit(head + waitingText(r))
	}
	total := r.Progress.Total
	if total == nil || *total == 0 {
		return p.fit(fmt.Sprintf("%s %d records", head, r.Progress.Done) + p.tail(r, now))
	}
	share := min(float64(r.Progress.Done)/float64(*total), 1)
	rest := fmt.Sprintf(" %3.0f %% %d/%d", share*100, r.Progress.Done, *total) + p.tail(r, now)
	if !p.tty {
		return head + rest
	}
	room := p.width() - 1 - utf8.RuneCountInString(head+rest) - 1
	if room < 4 {
		return p.fit(head + rest)
	}
	return head + " " + p.bar(share, min(room, 24)) + rest
}

// tail is rate, time left, and what was pushed, disputed and parked.
func (p *progress) tail(r api.Run, now time.Time) string {
	var b strings.Builder
	rate := p.rate(r)
	if rate > 0 {
		fmt.Fprintf(&b, " %.0f/s", rate)
	}
	if total := r.Progress.Total; total != nil && rate > 0 && !r.Status.Ended() {
		left := time.Duration(float64(max(*total-r.Progress.Done, 0)) / rate * float64(time.Second))
		fmt.Fprintf(&b, " ETA %s (%s)", now.Add(left).Format(time.TimeOnly), left.Round(time.Second))
	}
	for _, c := range []struct {
		word string
		n    int64
	}{{"pushed", r.Pushed}, {"conflicts", r.Conflicts}, {"parked", r.Parked}} {
		if c.n > 0 {
			fmt.Fprintf(&b, " %s %d", c.word, c.n)
		}
	}
	return b.String() + waitingText(r)
}

// fit cuts off what a terminal's row cannot hold: a line that wraps could not be
// rewritten.
func (p *progress) fit(s string) string {
	if r := []rune(s); p.tty && len(r) >= p.width() {
		return string(r[:max(p.width()-1, 0)])
	}
	return s
}

// bar draws the share done.
func (p *progress) bar(share float64, width int) string {
	full := int(share * float64(width))
	done, rest := strings.Repeat("█", full), strings.Repeat("░", width-full)
	if p.color {
		return "\x1b[32m" + done + "\x1b[0m" + rest
	}
	return done + rest
}

func waitingText(r api.Run) string {
	if r.Waiting == nil {
		return ""
	}
	s := " waiting: " + printable(r.Waiting.Reason)
	if r.Waiting.Until != nil {
		s += " until " + r.Waiting.Until.Local().Format(time.TimeOnly)
	}
	return s
}
