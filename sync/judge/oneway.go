package judge

import (
	"time"

	"github.com/tandem-sync/tandem/sync/record"
)

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

// ToLocal judges a field whose value only travels from the remote to the local
// side. A local edit stands until the remote's value changes; it can never go
// out, so a remote change then wins, and the local value counts as lost.
//
// A Claim does not say which times are those of the field, so the evidence
// policies act as Newest. Of the verdict, FirstLink, Base, WriteLocal and
// WriteRemote are not set. Judge is the call for all of these.
func ToLocal(p Policy, c Claim) Verdict {
	switch p {
	case EvidenceHard, EvidenceBest, EvidenceFuzzy:
		p = Newest
	default:
	}
	s := state{
		local:   look{there: c.Local.Has(), empty: c.Local.Empty(), changed: c.HasBase && c.LocalChanged},
		remote:  look{there: c.Remote.Has(), empty: c.Remote.Empty(), changed: c.HasBase && c.RemoteChanged},
		equal:   c.Local == c.Remote,
		hasBase: c.HasBase,
	}
	v := oneWay(WinRemote, p, &s, &claims{local: Times{Field: c.LocalAt}, remote: Times{Field: c.RemoteAt}})
	v.FirstLink = false
	return v
}

// look is what matters of one side's value.
type look struct{ there, empty, changed bool }

// state is what matters of a field's values.
type state struct {
	local, remote  look
	equal, hasBase bool
}

// side gives the look of a side.
func (s *state) side(w Winner) look {
	if w == WinLocal {
		return s.local
	}
	return s.remote
}

// oneWay judges a field whose value only travels from the side src.
func oneWay(src Winner, p Policy, s *state, c *claims) Verdict {
	from, to := s.side(src), s.side(src.other())
	switch {
	case !from.there:
		return Verdict{Reason: ReasonAbsent}
	case s.equal:
		return Verdict{Reason: ReasonEqual}
	case !s.hasBase:
		return firstLink(src, p, s, c)
	case !from.changed && to.changed:
		return Verdict{Reason: heldReason(src)}
	case !from.changed:
		return Verdict{Reason: ReasonUnchanged}
	case to.changed:
		return Verdict{Winner: src, Reason: ReasonOneWay, Conflict: true}
	}
	return Verdict{Winner: src, Reason: changedReason(src)}
}

// firstLink judges a field of a pair that has just been found to belong
// together, or that has just been mapped: an empty side takes the other's value,
// else the policy decides. Where both are empty, src gives its spelling.
func firstLink(src Winner, p Policy, s *state, c *claims) Verdict {
	v := Verdict{Reason: ReasonFirstLink, FirstLink: true}
	switch {
	case s.side(src.other()).empty:
		v.Winner = src
		return v
	case s.side(src).empty:
		v.Winner = src.other()
		return v
	}
	w, why := byPolicy(p, c)
	v.Winner, v.Conflict = w, true
	switch why {
	case ReasonTie, ReasonNoTime, ReasonManual, ReasonNoEvidence:
		v.Reason = why
	}
	return v
}

func heldReason(src Winner) Reason {
	if src == WinRemote {
		return ReasonLocalEditHeld
	}
	return ReasonRemoteEditHeld
}

func changedReason(w Winner) Reason {
	if w == WinLocal {
		return ReasonLocalChanged
	}
	return ReasonRemoteChanged
}
