package messages

import (
	"fmt"
	"regexp"
	"strconv"
	"time"
)

var days = regexp.MustCompile(`^([0-9]{1,5})d(.*)$`)

// ParseTime reads a moment as people and programs write it: RFC 3339,
// "2006-01-02 15:04:05" in UTC, or a duration before now such as "2h", "90m"
// or "7d12h". The result is in UTC.
func ParseTime(s string, now time.Time) (time.Time, error) {
	for _, layout := range []string{time.RFC3339, time.DateTime} {
		if t, err := time.Parse(layout, s); err == nil {
			return t.UTC(), nil
		}
	}
	if ago, ok := parseAgo(s); ok {
		return now.Add(-ago).UTC(), nil
	}
	return time.Time{}, fmt.Errorf(
		`%q is no time: use RFC 3339, "2006-01-02 15:04:05" (UTC) or a duration ago such as "2h"`, short(s))
}

func parseAgo(s string) (time.Duration, bool) {
	var ago time.Duration
	if m := days.FindStringSubmatch(s); m != nil {
		n, err := strconv.Atoi(m[1])
		if err != nil || n > 36500 { // a century; beyond it a Duration would overflow
			return 0, false
		}
		ago = time.Duration(n) * 24 * time.Hour
		if s = m[2]; s == "" {
			return ago, true
		}
	}
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 || s[0] == '+' || ago+d < ago {
		return 0, false
	}
	return ago + d, true
}
