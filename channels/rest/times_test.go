package rest

import (
	"strings"
	"testing"
	"time"

	"github.com/tandem-sync/tandem/sync/record"
)

func TestTimes(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 24, 10, 11, 12, 345_000_000, time.UTC)
	second := at.Truncate(time.Second)
	tests := []struct {
		format timeFormat
		in     record.Value
		want   time.Time
		out    string
	}{
		{"", record.T("2026-11-24T10:11:12.345Z"), at, "2026-11-24T10:11:12Z"},
		{"rfc3339", record.T("2026-11-24T12:11:12.345+02:00"), at, "2026-11-24T10:11:12Z"},
		{"2006-01-02 15:04:05.000Z", record.T("2026-11-24 10:11:12.345Z"), at, "2026-11-24 10:11:12.345Z"},
		{"2006-01-02 15:04:05.000Z", record.T("2026-11-24T10:11:12.345Z"), at, "2026-11-24 10:11:12.345Z"},
		{"unix", record.N("1795515072"), second, "1795515072"},
		{"unix", record.T("1795515072.345"), at, "1795515072"},
		{"unix_ms", record.N("1795515072345"), at, "1795515072345"},
		{"unix", record.N("1795515072345"), at, "1795515072"},
		{"date", record.T("2026-11-24"), at.Truncate(24 * time.Hour), "2026-11-24"},
		{"", record.T("2026-11-24 10:11:12"), second, "2026-11-24T10:11:12Z"},
		{"", record.T("yesterday"), time.Time{}, "2026-11-24T10:11:12Z"},
		{"", record.T(""), time.Time{}, "2026-11-24T10:11:12Z"},
		{"", record.B(true), time.Time{}, "2026-11-24T10:11:12Z"},
		{"", record.N("9e300"), time.Time{}, "2026-11-24T10:11:12Z"},
		{"unix_ms", record.N("9223372036854775807"), time.Time{}, "1795515072345"},
		{"", record.T("NaN"), time.Time{}, "2026-11-24T10:11:12Z"},
	}
	for _, tt := range tests {
		if got := tt.format.parse(tt.in); !got.Equal(tt.want) {
			t.Errorf("%q reads %q as %s, want %s", tt.format, tt.in.Text, got, tt.want)
		}
		if got := tt.format.format(at); got != tt.out {
			t.Errorf("%q writes %q, want %q", tt.format, got, tt.out)
		}
	}
}

func TestPaths(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{"", ".", "a.", ".a", "a..b", "a[", "a[]", "a[x]", "a[-1]", `["a`, "a[999999999]", strings.Repeat("a.", 40) + "a"} {
		if segs, err := parsePath(bad); err == nil {
			t.Errorf("%q was read as %v", bad, segs)
		}
	}
}
