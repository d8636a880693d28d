package mapping

import (
	"strconv"
	"strings"
	"time"
)

// canonDate gives 2006-01-02. A datetime counts as its date in UTC.
func canonDate(s string) (string, bool) {
	s = strings.TrimSpace(s)
	if len(s) == 10 {
		_, ok := scanDate(s)
		return s, ok
	}
	t, ok := canonDatetime(s)
	if !ok || isNumeric(s) {
		return "", false
	}
	return t[:10], true
}

// canonTime gives 15:04:05 with up to six digits of fraction. A zone of zero is
// dropped; any other is refused, for the column keeps none.
func canonTime(s string) (string, bool) {
	s = strings.TrimSpace(s)
	for _, zone := range []string{"Z", "+00:00", "+00"} {
		s = strings.TrimSuffix(s, zone)
	}
	if len(s) == 5 {
		s += ":00"
	}
	c, rest, ok := scanClock(s)
	if !ok || rest != "" {
		return "", false
	}
	if len(c.frac) == len(s)-9 || len(s) == 8 {
		return s, true
	}
	if c.frac == "" {
		return s[:8], true
	}
	return s[:8] + "." + c.frac, true
}

// canonDatetime gives RFC 3339 in UTC with up to six digits of fraction; more
// are cut off. It reads RFC 3339, "2006-01-02 15:04:05[.fff][Z|+00|+00:00]"
// (no zone is UTC), a bare date (midnight) and Unix seconds.
func canonDatetime(s string) (string, bool) {
	if len(s) == 20 && s[10] == 'T' && s[19] == 'Z' {
		if _, ok := scanDate(s[:10]); ok {
			if _, rest, ok := scanClock(s[11:19]); ok && rest == "" {
				return s, true
			}
		}
		return "", false
	}
	s = strings.TrimSpace(s)
	if isNumeric(s) {
		return unixText(s)
	}
	if len(s) < 10 {
		return "", false
	}
	d, ok := scanDate(s[:10])
	if !ok {
		return "", false
	}
	if len(s) == 10 {
		return s + "T00:00:00Z", true
	}
	if s[10] != 'T' && s[10] != 't' && s[10] != ' ' {
		return "", false
	}
	c, rest, ok := scanClock(s[11:])
	if !ok {
		return "", false
	}
	offset, ok := scanZone(strings.TrimLeft(rest, " "))
	if !ok {
		return "", false
	}
	if offset == 0 {
		return joinDatetime(s[:10], s[11:19], c.frac), true
	}
	return shift(d, c, offset)
}

// joinDatetime puts a canonical datetime together.
func joinDatetime(date, clock, frac string) string {
	if frac == "" {
		return date + "T" + clock + "Z"
	}
	return date + "T" + clock + "." + frac + "Z"
}

// shift moves a local time by its zone's offset to UTC.
func shift(d dateParts, c clockParts, offset int) (string, bool) {
	t := time.Date(d.year, time.Month(d.month), d.day, c.hour, c.minute, c.second, 0, time.UTC).
		Add(-time.Duration(offset) * time.Second)
	if t.Year() < 1 || t.Year() > 9999 {
		return "", false
	}
	return joinDatetime(t.Format(time.DateOnly), t.Format(time.TimeOnly), c.frac), true
}

// unixText reads Unix seconds with an optional fraction.
func unixText(s string) (string, bool) {
	c, ok := canonDecimal(s)
	if !ok {
		return "", false
	}
	whole, frac, _ := strings.Cut(c, ".")
	sec, err := strconv.ParseInt(whole, 10, 64)
	if err != nil || sec > 253402300799 || sec < -62135596800 {
		return "", false
	}
	frac = cutFraction(frac)
	nanos := 0
	if frac != "" {
		n, _ := strconv.Atoi((frac + "000000000")[:9])
		nanos = n
	}
	if c[0] == '-' {
		nanos = -nanos
	}
	t := time.Unix(sec, int64(nanos)).UTC()
	if t.Year() < 1 {
		return "", false
	}
	return t.Format("2006-01-02T15:04:05.999999Z"), true
}

// isNumeric reports a number of seconds: nine or more digits with an optional
// sign and fraction. Shorter ones are more likely compact dates such as 20260131.
func isNumeric(s string) bool {
	s = strings.TrimPrefix(s, "-")
	i := 0
	for i < len(s) && isDigit(s[i]) {
		i++
	}
	return i >= 9 && (i == len(s) || s[i] == '.')
}

type dateParts struct{ year, month, day int }

// scanDate reads exactly 2006-01-02 and checks that the day exists.
func scanDate(s string) (dateParts, bool) {
	var d dateParts
	if len(s) != 10 || s[4] != '-' || s[7] != '-' {
		return d, false
	}
	y1, ok1 := two(s[0:2])
	y2, ok2 := two(s[2:4])
	m, ok3 := two(s[5:7])
	day, ok4 := two(s[8:10])
	if !ok1 || !ok2 || !ok3 || !ok4 {
		return d, false
	}
	d = dateParts{y1*100 + y2, m, day}
	return d, d.year >= 1 && m >= 1 && m <= 12 && day >= 1 && day <= daysIn(m, d.year)
}

func daysIn(month, year int) int {
	switch month {
	case 2:
		if year%4 == 0 && (year%100 != 0 || year%400 == 0) {
			return 29
		}
		return 28
	case 4, 6, 9, 11:
		return 30
	}
	return 31
}

type clockParts struct {
	hour, minute, second int
	frac                 string // canonical: at most six digits, no trailing zeros
}

// scanClock reads 15:04:05 with an optional fraction and gives what follows.
func scanClock(s string) (c clockParts, rest string, ok bool) {
	if len(s) < 8 || s[2] != ':' || s[5] != ':' {
		return c, "", false
	}
	h, ok1 := two(s[0:2])
	m, ok2 := two(s[3:5])
	sec, ok3 := two(s[6:8])
	if !ok1 || !ok2 || !ok3 || h > 23 || m > 59 || sec > 59 {
		return c, "", false
	}
	c = clockParts{hour: h, minute: m, second: sec}
	rest = s[8:]
	if rest == "" || rest[0] != '.' {
		return c, rest, true
	}
	i := 1
	for i < len(rest) && isDigit(rest[i]) {
		i++
	}
	if i == 1 {
		return c, "", false
	}
	c.frac = cutFraction(rest[1:i])
	return c, rest[i:], true
}

// cutFraction shortens a fraction of a second to microseconds.
func cutFraction(f string) string {
	if len(f) > 6 {
		f = f[:6]
	}
	return strings.TrimRight(f, "0")
}

// scanZone reads "", Z, ±hh, ±hhmm or ±hh:mm as seconds east of UTC.
func scanZone(s string) (int, bool) {
	if s == "" || s == "Z" || s == "z" {
		return 0, true
	}
	sign := 1
	switch s[0] {
	case '-':
		sign = -1
	case '+':
	default:
		return 0, false
	}
	digits := strings.Replace(s[1:], ":", "", 1)
	if len(digits) == 2 {
		digits += "00"
	}
	if len(digits) != 4 {
		return 0, false
	}
	h, ok1 := two(digits[:2])
	m, ok2 := two(digits[2:])
	return sign * (h*3600 + m*60), ok1 && ok2 && h <= 15 && m <= 59
}

func two(s string) (int, bool) {
	if !isDigit(s[0]) || !isDigit(s[1]) {
		return 0, false
	}
	return int(s[0]-'0')*10 + int(s[1]-'0'), true
}
