package web

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/tandem-sync/tandem/api"
)

func TestNumber(t *testing.T) {
	t.Parallel()
	for n, want := range map[int64]string{0: "0", 7: "7", 999: "999", 1000: "1,000", 1234567: "1,234,567", -1000: "−1,000"} {
		if got := number(n); got != want {
			t.Errorf("%d: %q, want %q", n, got, want)
		}
	}
}

func TestAgo(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	for d, want := range map[time.Duration]string{
		0: "just now", time.Second: "1 second ago", 90 * time.Second: "1 minute ago", 3 * time.Hour: "3 hours ago", 49 * time.Hour: "2 days ago",
		-4 * time.Second: "in 4 seconds", -time.Millisecond: "in less than a second",
	} {
		if got := ago(now.Add(-d), now); got != want {
			t.Errorf("%s: %q, want %q", d, got, want)
		}
	}
}

func TestTook(t *testing.T) {
	t.Parallel()
	start := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	for d, want := range map[time.Duration]string{
		2500 * time.Millisecond: "2.5 s", 42 * time.Second: "42 s", 125 * time.Second: "2 min 05 s", 90 * time.Minute: "1 h 30 min",
	} {
		if got := took(api.Run{StartedAt: &start}, start.Add(d)); got != want {
			t.Errorf("%s: %q, want %q", d, got, want)
		}
	}
	if got := took(api.Run{}, start); got != "" {
		t.Errorf("not begun: %q", got)
	}
}

func TestVisible(t *testing.T) {
	t.Parallel()
	if got, want := visible("a\u202eb\x00c\nd\u200be\u2028"), "a<U+202E>b<U+0000>c\nd<U+200B>e<U+2028>"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestPretty(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		`"\u003cb\u003e \u0026"`: `"<b> &"`, `"\\u003c"`: `"\\u003c"`, `12345678901234567890`: `12345678901234567890`, `{`: `{`, ``: ``,
		`{"a":1}`: "{\n  \"a\": 1\n}",
	} {
		if got := pretty(json.RawMessage(in)); got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
}

func TestReason(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{"queued": "queued", "run_ahead: run_6 is first": "run ahead: run_6 is first"} {
		if got := reason(in); got != want {
			t.Errorf("%s: %q, want %q", in, got, want)
		}
	}
}

func TestShell(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{"crm": "crm", "a b": "'a b'", "$(x)": "'$(x)'", "it's": `'it'\''s'`, "": "''"} {
		if got := shell(in); got != want {
			t.Errorf("%q: %s, want %s", in, got, want)
		}
	}
}
