package rest

import (
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/tandem-sync/tandem/sync/record"
)

// timeFormat is how a remote writes times; the zero value is RFC 3339.
type timeFormat string

const sqlTime = "2006-01-02 15:04:05"

func (f timeFormat) layout() string {
	switch f {
	case "", "rfc3339":
		return "2006-01-02T15:04:05Z"
	case "date":
		return time.DateOnly
	case "unix", "unix_ms":
		return ""
	}
	return string(f)
}

// format writes t in UTC, cut down to what the format can say, so that a limit
// made of it never lies after t.
func (f timeFormat) format(t time.Time) string {
	switch f {
	case "unix":
		return strconv.FormatInt(t.Unix(), 10)
	case "unix_ms":
		return strconv.FormatInt(t.UnixMilli(), 10)
	}
	return t.UTC().Format(f.layout())
}

// parse reads a time: by the format, as RFC 3339, as unix time (milliseconds
// where seconds would lie beyond the year 5000). Anything else is the zero
// time: not known.
func (f timeFormat) parse(v record.Value) time.Time {
	text := strings.TrimSpace(v.Text)
	if text == "" || v.Kind != record.Text && v.Kind != record.Number {
		return time.Time{}
	}
	if f == "unix_ms" {
		if t, ok := unix(text, true); ok {
			return t
		}
	}
	if l := f.layout(); l != "" && f != "" && f != "rfc3339" {
		if t, err := time.Parse(l, text); err == nil {
			return t.UTC()
		}
	}
	if t, err := time.Parse(time.RFC3339, text); err == nil {
		return t.UTC()
	}
	if t, ok := unix(text, false); ok {
		return t
	}
	if t, err := time.Parse(sqlTime, text); err == nil {
		return t.UTC()
	}
	return time.Time{}
}

func unix(text string, milli bool) (time.Time, bool) {
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		if milli || n > 1e11 || n < -1e11 {
			return sane(time.UnixMilli(n))
		}
		return sane(time.Unix(n, 0))
	}
	x, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsNaN(x) || math.Abs(x) > 1e15 {
		return time.Time{}, false
	}
	if milli || math.Abs(x) > 1e11 {
		x /= 1000
	}
	whole, part := math.Modf(x)
	return sane(time.Unix(int64(whole), int64(math.Round(part*1e6))*1000))
}

// sane refuses years that no database keeps.
func sane(t time.Time) (time.Time, bool) {
	t = t.UTC()
	return t, t.Year() >= 1 && t.Year() <= 9999
}
