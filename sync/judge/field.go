package judge

import (
	"time"

	"github.com/tandem-sync/tandem/sync/mapping"
	"github.com/tandem-sync/tandem/sync/record"
)

// Rule is what the configuration says of one field. It is made once per
// connector and only read afterwards. The zero value is a field that travels
// both ways, is settled by the newest value, and compares values as they are.
type Rule struct {
	// Direction says which way values travel; the zero value is both ways.
	Direction mapping.Direction
	// Policy settles what both sides claim; "" is Newest.
	Policy Policy
	// On says when a value may be written to a record that exists.
	On mapping.On
	// Required keeps a write from clearing the field.
	Required bool
	// Equal compares two values of one form, both of them there and neither or
	// both of them null; nil compares them exactly, which is right for canonical
	// values. It must not keep or change anything.
	Equal func(a, b record.Value) bool
	// Empty says that a present value counts as no value; nil is
	// record.Value.Empty. An absent value is always empty.
	Empty func(v record.Value) bool
}

// Side is one side's present value of a field.
type Side struct {
	// Value is what the side holds, in its own canonical form: what is compared
	// with its half of the base. Absent: the side said nothing about the field.
	Value record.Value
	// There is Value as the other side would hold it: what is written there when
	// this side wins. Absent for a present Value: it cannot be told there yet.
	There record.Value
	// At is when the value changed, by a clock that Pair.Skew compares with the
	// other side's.
	At Times
}

// Plain is a side without transforms: both forms of the value are the same.
func Plain(v record.Value, at Times) Side { return Side{Value: v, There: v, At: at} }

// Halves is the base of a field: the last value seen on each side, each in that
// side's own form. An absent half was never seen; the zero value is no base.
type Halves struct{ Local, Remote record.Value }

// Known reports whether there is a base: at least one half has been seen.
func (h Halves) Known() bool { return h.Local.Has() || h.Remote.Has() }

// Pair is one field of a linked pair of records as both sides hold it now.
type Pair struct {
	Local, Remote Side
	// Base is what they were last known to hold.
	Base Halves
	// Skew is how far the clocks behind the two sides' times may be apart, as
	// measured; its sign does not matter.
	Skew time.Duration
}

// Verdict is what becomes of a field.
type Verdict struct {
	Winner Winner
	Reason Reason
	// Conflict says that a value lost that somebody had set on purpose, or
	// would, whoever wins.
	Conflict bool
	// FirstLink says that the pair had no base for the field, also where Reason
	// tells more precisely why (tie, no_time, manual, no_evidence).
	FirstLink bool
	// WriteLocal and WriteRemote say which side is written, never both. The value
	// to write is that side's half of Base.
	WriteLocal, WriteRemote bool
	// Base is the base after the verdict was carried out. A side that was written
	// may have stored something else: then what it answered is its half.
	Base Halves
}

// Judge decides one field. It does not allocate, and neither keeps nor changes
// what it is given.
func Judge(r *Rule, p *Pair) Verdict {
	s := r.look(p)
	c := claims{p.Local.At, p.Remote.At, p.Skew}
	var v Verdict
	switch r.Direction {
	case mapping.ToLocal:
		v = oneWay(WinRemote, r.Policy, &s, &c)
	case mapping.ToRemote:
		v = oneWay(WinLocal, r.Policy, &s, &c)
	default:
		v = bothWays(r.Policy, &s, &c)
	}
	r.restrain(&v, p, &s)
	r.settle(&v, p)
	return v
}

// look compares each side with its own half of the base, and the two sides with
// each other. They agree when a value that may travel would change nothing where
// it arrives.
func (r *Rule) look(p *Pair) state {
	s := state{hasBase: p.Base.Known()}
	s.local = look{there: p.Local.Value.Has(), empty: r.empty(p.Local.Value)}
	s.remote = look{there: p.Remote.Value.Has(), empty: r.empty(p.Remote.Value)}
	s.local.changed = s.hasBase && s.local.there && !r.same(p.Local.Value, p.Base.Local)
	s.remote.changed = s.hasBase && s.remote.there && !r.same(p.Remote.Value, p.Base.Remote)
	if s.local.there && s.remote.there {
		s.equal = r.reaches(WinRemote) && r.same(p.Local.Value, p.Remote.There) ||
			r.reaches(WinLocal) && r.same(p.Remote.Value, p.Local.There)
	}
	return s
}

// same compares two values; null, empty and absent are three of them, whatever
// the field's type makes of them.
func (r *Rule) same(a, b record.Value) bool {
	switch {
	case a == b:
		return true
	case r.Equal == nil || a.Kind <= record.Null || b.Kind <= record.Null:
		return false
	}
	return r.Equal(a, b)
}

func (r *Rule) empty(v record.Value) bool {
	if r.Empty == nil || !v.Has() {
		return v.Empty()
	}
	return r.Empty(v)
}

// bothWays judges a field whose value travels both ways.
func bothWays(p Policy, s *state, c *claims) Verdict {
	switch {
	case s.equal:
		return Verdict{Reason: ReasonEqual}
	case !s.hasBase:
		return bothWaysFirst(p, s, c)
	case s.local.changed && s.remote.changed:
		w, why := byPolicy(p, c)
		return Verdict{Winner: w, Reason: why, Conflict: true}
	case s.local.changed:
		return Verdict{Winner: WinLocal, Reason: ReasonLocalChanged}
	case s.remote.changed:
		return Verdict{Winner: WinRemote, Reason: ReasonRemoteChanged}
	case !s.local.there || !s.remote.there:
		return Verdict{Reason: ReasonAbsent}
	}
	return Verdict{Reason: ReasonUnchanged}
}

func bothWaysFirst(p Policy, s *state, c *claims) Verdict {
	switch {
	case !s.local.empty || !s.remote.empty:
		return firstLink(WinRemote, p, s, c)
	case !s.local.there || !s.remote.there:
		return Verdict{Reason: ReasonAbsent, FirstLink: true}
	}
	return Verdict{Reason: ReasonBothEmpty, FirstLink: true}
}

// restrain takes back what may not be written.
func (r *Rule) restrain(v *Verdict, p *Pair, s *state) {
	switch v.Winner {
	case WinLocal, WinRemote:
		if !r.reaches(v.Winner) {
			return
		}
		if why := r.refused(v.Winner, p, s); why != "" {
			*v = Verdict{Reason: why, FirstLink: v.FirstLink}
			return
		}
		v.WriteLocal, v.WriteRemote = v.Winner == WinRemote, v.Winner == WinLocal
	case WinUnresolved:
		// Nobody is asked to choose between values that could not be written.
		if why := r.refusedOn(WinLocal, s); why != "" && r.refusedOn(WinRemote, s) != "" {
			*v = Verdict{Reason: why, FirstLink: v.FirstLink}
		}
	case WinNone:
	}
}

// reaches reports whether w's value may travel to the other side at all.
func (r *Rule) reaches(w Winner) bool {
	switch r.Direction {
	case mapping.ToLocal:
		return w == WinRemote
	case mapping.ToRemote:
		return w == WinLocal
	default:
		return true
	}
}

// refused says why w's value is not written to the other side, or "".
func (r *Rule) refused(w Winner, p *Pair, s *state) Reason {
	if why := r.refusedOn(w, s); why != "" {
		return why
	}
	there := p.Local.There
	if w == WinRemote {
		there = p.Remote.There
	}
	switch {
	case !there.Has():
		return ReasonWaits
	case r.Required && r.empty(there):
		return ReasonRequired
	}
	return ""
}

// refusedOn says why On keeps w's value from the other side, or "".
func (r *Rule) refusedOn(w Winner, s *state) Reason {
	switch {
	case r.On == mapping.OnCreate:
		return ReasonOnCreate
	case r.On == mapping.OnEmpty && !s.side(w.other()).empty:
		return ReasonNotEmpty
	}
	return ""
}

// settle tells the base after the verdict. What nobody has decided yet stays as
// it was, so that it is judged again; everything else is what the sides hold
// then, the loser's value included in what both have left behind.
func (r *Rule) settle(v *Verdict, p *Pair) {
	v.Base = p.Base
	switch {
	case v.WriteLocal:
		v.Base = Halves{p.Remote.There, p.Remote.Value}
		return
	case v.WriteRemote:
		v.Base = Halves{p.Local.Value, p.Local.There}
		return
	case v.Winner == WinUnresolved || v.Reason == ReasonUnchanged || v.Reason == ReasonWaits:
		return
	}
	v.Base.Local = half(p.Local.Value, p.Base.Local, v.Reason, ReasonLocalEditHeld)
	v.Base.Remote = half(p.Remote.Value, p.Base.Remote, v.Reason, ReasonRemoteEditHeld)
}

// half is a side's half of the base after a verdict that does not write there. An
// edit that is held goes on counting as one, also while the other side says
// nothing: its half stays.
func half(now, before record.Value, why, held Reason) record.Value {
	if !now.Has() || why == held || why == ReasonAbsent && before.Has() {
		return before
	}
	return now
}
