package workers

import (
	"fmt"
	"testing"
	"time"

	"github.com/tandem-sync/tandem/store"
)

func clockAt(s string) time.Time {
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		panic(err)
	}
	return t
}

func TestParseSchedule(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ text, after, want string }{
		{"*/5 * * * *", "2026-11-24T10:02:00Z", "2026-11-24T10:05:00Z"},
		{"*/5 * * * *", "2026-11-24T10:05:00Z", "2026-11-24T10:10:00Z"},
		{"0 3 * * *", "2026-11-24T10:00:00+09:00", "2026-11-24T03:00:00Z"}, // UTC, whatever zone asks
		{"@hourly", "2026-11-24T10:59:59.999Z", "2026-11-24T11:00:00Z"},
		{"CRON_TZ=Europe/Berlin 0 3 * * *", "2026-07-01T00:00:00Z", "2026-07-01T01:00:00Z"},
		{"CRON_TZ=Europe/Berlin 30 2 * * *", "2026-03-28T12:00:00Z", "2026-03-30T00:30:00Z"}, // the hour that summer time leaves out
		{"0 0 30 2 *", "2026-11-24T10:00:00Z", ""},
	} {
		s, err := parseSchedule(c.text, "crm")
		if err != nil {
			t.Fatal(err)
		}
		got := after(s, clockAt(c.after))
		if c.want == "" {
			if got != nil {
				t.Errorf("%s: after %s comes %v, want nothing", c.text, c.after, got)
			}
			continue
		}
		if got == nil || !got.Equal(clockAt(c.want)) {
			t.Errorf("%s: after %s comes %v, want %s", c.text, c.after, got, c.want)
		}
	}
	if s, err := parseSchedule("off", "crm"); s != nil || err != nil {
		t.Errorf("off: %v, %v", s, err)
	}
	for _, bad := range []string{"@every 10ms", "@every x", "* *", "@never"} {
		if _, err := parseSchedule(bad, "crm"); err == nil {
			t.Errorf("%q was read", bad)
		}
	}
}

// TestOffsets has channels without a schedule of their own spread over the five
// minutes, each always at the same place.
func TestOffsets(t *testing.T) {
	t.Parallel()
	const channels = 3000
	perMinute := map[int64]int{}
	for n := range channels {
		s, err := parseSchedule("", fmt.Sprint("channel-", n))
		if err != nil {
			t.Fatal(err)
		}
		first := s.Next(clockAt("2026-11-24T10:00:00Z"))
		if again := s.Next(first); again.Sub(first) != defaultEvery {
			t.Fatalf("ticks at %v and %v", first, again)
		}
		if same := s.Next(first.Add(-time.Microsecond)); !same.Equal(first) {
			t.Fatalf("%v and %v: the grid moved", first, same)
		}
		perMinute[first.Unix()/60]++
	}
	for minute, n := range perMinute {
		if n < channels/5*8/10 || n > channels/5*12/10 {
			t.Errorf("%d of %d channels start in minute %d", n, channels, minute)
		}
	}
	before := grid{every: 30 * time.Second}.Next(time.Unix(-45, 0))
	if !before.Equal(time.Unix(-30, 0)) {
		t.Errorf("before 1970: %v", before)
	}
}

func TestFullDue(t *testing.T) {
	t.Parallel()
	now := clockAt("2026-11-24T10:00:00Z")
	for _, c := range []struct {
		text string
		ago  time.Duration
		want bool
	}{
		{"0 0 * * *", 9 * time.Hour, false}, // a time that is named is exact
		{"0 0 * * *", 11 * time.Hour, true},
		{"@daily", 24 * time.Hour, true}, // wherever the channel's own time lies
		{"@daily", 72 * time.Hour, true},
		{"@daily", 0, false},
		{"@hourly", time.Hour, true},
		{"@weekly", 7 * 24 * time.Hour, true},
		{"@monthly", 31 * 24 * time.Hour, true},
		{"@yearly", 366 * 24 * time.Hour, true},
		{"@every 36h", 35 * time.Hour, false},
		{"@every 36h", 36 * time.Hour, true},
		{"0 0 30 2 *", 9000 * time.Hour, false},
	} {
		if got := fullDue(c.text, "crm")(now.Add(-c.ago), now); got != c.want {
			t.Errorf("%s, last %v ago: %v", c.text, c.ago, got)
		}
	}
	if fullDue("off", "crm") != nil {
		t.Error("off is due some time")
	}
}

// TestFullReadsAreSpread asks when a thousand channels that were read in the
// same second are due again: about as many in each hour of a day, each once.
func TestFullReadsAreSpread(t *testing.T) {
	t.Parallel()
	const channels = 1000
	last := clockAt("2026-11-24T10:00:00Z")
	var hours [24]int
	for i := range channels {
		due := fullDue("@daily", fmt.Sprintf("channel-%d", i))
		for h := range hours {
			if at := last.Add(time.Duration(h+1) * time.Hour); due(last, at) {
				hours[h]++
				break
			}
		}
	}
	sum := 0
	for h, n := range hours {
		if sum += n; n < channels/24/3 || n > channels/24*3 {
			t.Errorf("%d of %d channels are due in hour %d", n, channels, h)
		}
	}
	if sum != channels {
		t.Errorf("%d of %d channels are due within a day", sum, channels)
	}
	for text := range spread {
		if fullDue(text, "crm") == nil {
			t.Errorf("%s is not known", text)
		}
	}
}

func TestTickOf(t *testing.T) {
	t.Parallel()
	hold := func(s string) *time.Time { v := clockAt(s); return &v }
	now := clockAt("2026-11-24T10:07:00Z")
	settings := []byte(`{"schedule":"*/5 * * * *"}`)
	for name, c := range map[string]struct {
		due      store.DueChannel
		run      string // "" none
		next     string // "" none
		schedule string
	}{
		"a tick": {
			due: store.DueChannel{At: clockAt("2026-11-24T10:05:00Z"), Schedule: "*/5 * * * *"},
			run: "2026-11-24T10:05:00Z", next: "2026-11-24T10:10:00Z",
		},
		"ticks that nobody was there for become one": {
			due: store.DueChannel{At: clockAt("2026-11-20T03:05:00Z"), Schedule: "*/5 * * * *"},
			run: "2026-11-20T03:05:00Z", next: "2026-11-24T10:10:00Z",
		},
		"created": {
			due: store.DueChannel{At: clockAt("2026-11-24T10:06:59Z"), Start: true, Settings: settings},
			run: "2026-11-24T10:06:59Z", next: "2026-11-24T10:10:00Z",
		},
		"created, but off": {
			due: store.DueChannel{At: clockAt("2026-11-24T10:06:59Z"), Start: true, Settings: []byte(`{"schedule":"off"}`)}, schedule: "off",
		},
		"changed between ticks": {
			due: store.DueChannel{At: clockAt("2026-11-24T10:06:59Z"), Schedule: "@hourly", Settings: settings}, next: "2026-11-24T10:10:00Z",
		},
		"changed while a tick was due": {
			due: store.DueChannel{At: clockAt("2026-11-24T10:05:00Z"), Settings: settings},
			run: "2026-11-24T10:05:00Z", next: "2026-11-24T10:10:00Z",
		},
		"changed before a tick that has passed by now": {
			due: store.DueChannel{At: clockAt("2026-11-24T10:04:59.9Z"), Settings: settings},
			run: "2026-11-24T10:05:00Z", next: "2026-11-24T10:10:00Z",
		},
		"failed": {
			due:  store.DueChannel{At: clockAt("2026-11-24T10:06:59Z"), Settings: settings, NotBefore: hold("2026-11-24T10:11:59Z")},
			next: "2026-11-24T10:15:00Z",
		},
		"failed while a tick was due": {
			due:  store.DueChannel{At: clockAt("2026-11-24T10:05:00Z"), Settings: settings, NotBefore: hold("2026-11-24T16:00:00Z")},
			next: "2026-11-24T16:00:00Z",
		},
		"held back long enough": {
			due: store.DueChannel{At: clockAt("2026-11-24T10:05:00Z"), Schedule: "*/5 * * * *", NotBefore: hold("2026-11-24T10:05:00Z")},
			run: "2026-11-24T10:05:00Z", next: "2026-11-24T10:10:00Z",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := tickOf(c.due, now)
			if err != nil {
				t.Fatal(err)
			}
			at := ""
			if got.Run {
				at = got.At.Format(time.RFC3339Nano)
			}
			next := ""
			if got.Next != nil {
				next = got.Next.Format(time.RFC3339Nano)
			}
			if c.schedule == "" {
				c.schedule = "*/5 * * * *"
			}
			if at != c.run || next != c.next || got.Schedule != c.schedule {
				t.Errorf("run at %q, next %q by %q, want %q, %q by %q", at, next, got.Schedule, c.run, c.next, c.schedule)
			}
		})
	}
	if got, err := tickOf(store.DueChannel{At: now, Schedule: "nonsense"}, now); err == nil || got.Run || got.Next != nil {
		t.Errorf("a schedule nobody can read: %+v, %v", got, err)
	}
}

func TestBackoff(t *testing.T) {
	t.Parallel()
	for failures, want := range []float64{5, 5, 10, 20, 40, 80, 160, 320, 360, 360} {
		if got := store.ScheduleBackoff(failures).Minutes(); got != want {
			t.Errorf("after %d failures: %v minutes, want %v", failures, got, want)
		}
	}
	if got := store.ScheduleBackoff(1 << 40); got != 6*time.Hour {
		t.Errorf("after very many failures: %v", got)
	}
}
