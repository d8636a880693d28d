package judge

import "time"

// Mode says which evidence counts: Mautic's three modes.
type Mode string

// The modes, as Mautic spells them.
const (
	// Hard: only the times of the fields.
	Hard Mode = "hard"
	// Best: those, else the times of the records.
	Best Mode = "best"
	// Fuzzy: those, else a field's time against the other record's.
	Fuzzy Mode = "fuzzy"
)

// Evidence decides by change times only, as Mautic's judge does: left is local,
// right is remote, and no value is looked at. What it cannot tell is
// WinUnresolved; it never gives WinNone. Every other mode acts as Fuzzy, as it
// does there.
func Evidence(m Mode, left, right Times) (Winner, Reason) {
	if w := later(left.Field, right.Field); w != WinUnresolved {
		return w, ReasonCertainChange
	}
	if m == Hard {
		return WinUnresolved, ReasonNoEvidence
	}
	if w := later(left.Record, right.Record); w != WinUnresolved {
		return w, ReasonPossibleChange
	}
	if m == Best {
		return WinUnresolved, ReasonNoEvidence
	}
	switch {
	case later(left.Field, right.Record) == WinLocal:
		return WinLocal, ReasonCertainOverPossible
	case later(left.Record, right.Field) == WinRemote:
		return WinRemote, ReasonCertainOverPossible
	}
	return WinUnresolved, ReasonNoEvidence
}

// later says which of two known, different times is the later one.
func later(left, right time.Time) Winner {
	switch {
	case left.IsZero() || right.IsZero() || left.Equal(right):
		return WinUnresolved
	case left.After(right):
		return WinLocal
	}
	return WinRemote
}
