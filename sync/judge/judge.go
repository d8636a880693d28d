// Package judge decides, field by field, whose value stands. It is pure: the
// same claims give the same verdict on every machine, and it never looks at a
// clock.
package judge

import (
	"time"

	"github.com/tandem-sync/tandem/sync/record"
)

// Policy settles a field that both sides claim.
type Policy string

// The policies, as the configuration spells them.
const (
	Newest Policy = "newest"
	Local  Policy = "local"
	Remote Policy = "remote"
	Manual Policy = "manual"
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

// Claim is one field of a linked pair as both sides hold it now. Local and
// Remote are canonical local values: what the column holds, and what it would
// hold if the remote's value were written.
type Claim struct {
	Local, Remote record.Value
	// HasBase says that the pair has an agreed base for this field.
	HasBase bool
	// LocalChanged and RemoteChanged compare each side with its own half of the
	// base; they mean nothing without one.
	LocalChanged, RemoteChanged bool
	// LocalAt and RemoteAt are the best known change times; zero unknown.
	LocalAt, RemoteAt time.Time
}

// Verdict is what becomes of a field. Conflict says that a value lost that
// somebody had set on purpose.
type Verdict struct {
	Winner   Winner
	Reason   string
	Conflict bool
}

// tie is the gap below which two change times say nothing: clocks and column
// resolutions differ by that much without anybody's fault.
const tie = time.Second

// ToLocal judges a field whose value only travels from the remote to the local
// side. A local edit stands until the remote's value changes; it can never go
// out, so a remote change then wins, and the local value counts as lost.
func ToLocal(p Policy, c Claim) Verdict {
	switch {
	case !c.Remote.Has():
		return Verdict{WinNone, "absent", false}
	case c.Local == c.Remote:
		return Verdict{WinNone, "equal", false}
	case !c.HasBase:
		return firstLink(p, c)
	case !c.RemoteChanged && c.LocalChanged:
		return Verdict{WinNone, "local_edit_held", false}
	case !c.RemoteChanged:
		return Verdict{WinNone, "unchanged", false}
	case c.LocalChanged:
		return Verdict{WinRemote, "one_way", true}
	}
	return Verdict{WinRemote, "remote_changed", false}
}

// firstLink judges a field of a pair that has just been found to belong
// together: an empty side takes the other's value, else the policy decides.
func firstLink(p Policy, c Claim) Verdict {
	switch {
	case c.Local.Empty():
		return Verdict{WinRemote, "first_link", false}
	case c.Remote.Empty():
		return Verdict{WinLocal, "first_link", false}
	}
	v := byPolicy(p, c)
	v.Conflict = true
	if v.Reason == "" {
		v.Reason = "first_link"
	}
	return v
}

func byPolicy(p Policy, c Claim) Verdict {
	switch p {
	case Local:
		return Verdict{Winner: WinLocal}
	case Remote:
		return Verdict{Winner: WinRemote}
	case Manual:
		return Verdict{Winner: WinUnresolved, Reason: "manual"}
	case Newest:
	}
	switch gap := c.RemoteAt.Sub(c.LocalAt); {
	case c.LocalAt.IsZero() || c.RemoteAt.IsZero():
		return Verdict{Winner: WinLocal, Reason: "no_time"}
	case gap.Abs() < tie:
		return Verdict{Winner: WinLocal, Reason: "tie"}
	case gap > 0:
		return Verdict{Winner: WinRemote}
	}
	return Verdict{Winner: WinLocal}
}
