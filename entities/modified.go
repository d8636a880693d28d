package entities

import (
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/tandem-sync/tandem/sync/record"
)

// timeForms are the texts in which both databases and the programs that write
// to them put a time. One without a zone is UTC. Go accepts a fraction of the
// seconds after each of them.
var timeForms = []string{
	time.RFC3339, "2006-01-02 15:04:05Z07:00", "2006-01-02 15:04:05Z07", "2006-01-02T15:04:05Z07", "2006-01-02 15:04:05 Z07:00",
	"2006-01-02 15:04:05", "2006-01-02T15:04:05", "2006-01-02 15:04", "2006-01-02T15:04",
}

// modifiedAt reads the time a row says it was modified at: a time in text, or a
// number of seconds, milliseconds, microseconds or nanoseconds since 1970, or a
// Julian day with a fraction as SQLite's julianday() gives it. The zero time is
// a value that says nothing: null, a day without a time, a counter.
func modifiedAt(v record.Value) time.Time {
	s := strings.TrimSpace(v.Text)
	switch v.Kind {
	case record.Number:
		return timeOfNumber(s)
	case record.Text:
		for _, form := range timeForms {
			if t, err := time.Parse(form, s); err == nil {
				return t.UTC()
			}
		}
		return timeOfNumber(s)
	case record.Absent, record.Null, record.Bool, record.JSON:
	}
	return time.Time{}
}

// The number of the first and last day that a Julian day is taken for (1900 and
// 2200), and the least number of seconds that is taken for a time (1973): what
// is below is a counter.
const (
	julianFirst = 2415020.5
	julianLast  = 2524593.5
	julian1970  = 2440587.5
	leastTime   = 1e8
)

// timeOfNumber tells the unit by the size: seconds reach 1e11 in the year 5138,
// milliseconds reach it in 1973.
func timeOfNumber(s string) time.Time {
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		switch {
		case n < leastTime:
			return time.Time{}
		case n < 1e11:
			return time.Unix(n, 0).UTC()
		case n < 1e14:
			return time.UnixMilli(n).UTC()
		case n < 1e17:
			return time.UnixMicro(n).UTC()
		}
		return time.Unix(0, n).UTC()
	}
	f, err := strconv.ParseFloat(s, 64)
	switch {
	case err != nil || math.IsNaN(f) || math.IsInf(f, 0):
		return time.Time{}
	case f >= julianFirst && f < julianLast:
		// A double holds a day of our time to 40 microseconds.
		return time.UnixMicro(int64(math.Round((f - julian1970) * 86_400e6))).UTC().Round(time.Millisecond)
	case f >= 1e11 && f < 1e14:
		return time.UnixMicro(int64(f * 1e3)).UTC()
	case f >= leastTime && f < 1e11:
		return time.UnixMicro(int64(math.Round(f * 1e6))).UTC()
	}
	return time.Time{}
}

// when is the expression that reads the modified column; NULL without one.
func (b *Binding) when() string {
	if b.modified < 0 {
		return "NULL"
	}
	return b.t.cols[b.modified].read(b.t.dialect)
}

// cellTime reads what when gave. A blob is no time.
func cellTime(v any) time.Time {
	switch x := v.(type) {
	case time.Time: // a driver that knows the declared type
		return x.UTC()
	case []byte:
		return time.Time{}
	default:
		return modifiedAt(cell(x))
	}
}

// findModified gives the index of the entity's modified column, -1 for none.
func (t *Table) findModified() (int, error) {
	if t.Spec.Modified == "" {
		return -1, nil
	}
	return t.need("modified column", t.Spec.Modified)
}
