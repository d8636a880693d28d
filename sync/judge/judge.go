// Package judge decides, field by field, whose value stands, and what both
// sides are known to hold afterwards. It is pure: the same claims give the same
// verdict on every machine, and it never looks at a clock.
//
// Judge settles one field of a linked pair, Rules.Record all fields of one, and
// Evidence compares change times only, in the three modes of Mautic's judge.
//
// Three rules hold everywhere. A side has changed when it differs from its own
// half of the base, so that a side which spells values in its own way does not
// look changed for ever. The value that loses is settled in the same verdict
// (Verdict.Base), so that it never comes back. An absent value means that a side
// said nothing: it neither wins over a present one nor counts as changed.
package judge

import "time"

// Policy settles a field that both sides claim.
type Policy string

// The policies, as the configuration spells them.
const (
	Newest        Policy = "newest"
	Local         Policy = "local"
	Remote        Policy = "remote"
	Manual        Policy = "manual"
	EvidenceHard  Policy = "evidence-hard"
	EvidenceBest  Policy = "evidence-best"
	EvidenceFuzzy Policy = "evidence-fuzzy"
)

// Winner says whose value stands.
type Winner uint8

// The winners. None: there is nothing to write.
const (
	WinNone Winner = iota
	WinLocal
	WinRemote
	WinUnresolved
)

// String is the word of the command line and the API.
func (w Winner) String() string {
	return [...]string{"none", "left", "right", "unresolved"}[w]
}

// Side is the winner as a change line names it.
func (w Winner) Side() string {
	return [...]string{"none", "local", "remote", "unresolved"}[w]
}

// other is the side that w's value would be written to.
func (w Winner) other() Winner {
	switch w {
	case WinLocal:
		return WinRemote
	case WinRemote:
		return WinLocal
	case WinNone, WinUnresolved:
	}
	return w
}

// Times is when a side's value changed, as far as the side says; zero times are
// not known.
type Times struct {
	// Field is when this very field changed ("certain change").
	Field time.Time
	// Record is when something in the record changed last, so that the field
	// may have changed then ("possible change"). Writes of ours are no changes.
	Record time.Time
}

// best is the best known time: the field's, else the record's.
func (t Times) best() time.Time {
	if t.Field.IsZero() {
		return t.Record
	}
	return t.Field
}

// tie is the gap below which two change times say nothing: clocks and column
// resolutions differ by that much without anybody's fault.
const tie = time.Second

// claims is what a policy looks at: times, and how far the clocks are apart.
type claims struct {
	local, remote Times
	skew          time.Duration
}

// byPolicy settles what both sides claim. It is not symmetric in one point only:
// where times say nothing, the local value stays.
func byPolicy(p Policy, c *claims) (Winner, Reason) {
	switch p {
	case Local:
		return WinLocal, ReasonPolicy
	case Remote:
		return WinRemote, ReasonPolicy
	case Manual:
		return WinUnresolved, ReasonManual
	case EvidenceHard:
		return Evidence(Hard, c.local, c.remote)
	case EvidenceBest:
		return Evidence(Best, c.local, c.remote)
	case EvidenceFuzzy:
		return Evidence(Fuzzy, c.local, c.remote)
	case Newest:
	}
	l, r := c.local.best(), c.remote.best()
	switch gap := r.Sub(l); {
	case l.IsZero() || r.IsZero():
		return WinLocal, ReasonNoTime
	case gap.Abs() < tie+c.skew.Abs():
		return WinLocal, ReasonTie
	case gap > 0:
		return WinRemote, ReasonNewest
	}
	return WinLocal, ReasonNewest
}
