package judge

import (
	"slices"
	"time"

	"github.com/tandem-sync/tandem/sync/record"
)

// Rules is the rules of a connector, one per field in the order of its manual.
type Rules []Rule

// Sheet is all fields of a linked pair of records, in slots: the i-th value of
// every slice belongs to the i-th rule.
type Sheet struct {
	// Local and Remote are what the sides hold, each in its own canonical form.
	Local, Remote []record.Value
	// LocalThere is Local as the remote would hold it, RemoteThere the reverse.
	// nil stands for the same values.
	LocalThere, RemoteThere []record.Value
	// BaseLocal and BaseRemote are the halves of the base; both nil: none.
	BaseLocal, BaseRemote []record.Value
	// LocalAt and RemoteAt are when the records changed; zero is not known. A time
	// that a write of ours has moved says nothing about edits: it is not known.
	LocalAt, RemoteAt time.Time
	// LocalFieldAt and RemoteFieldAt are when each field changed; nil, shorter or
	// zero is not known.
	LocalFieldAt, RemoteFieldAt []time.Time
	// Skew is how far the clocks behind the two sides' times may be apart.
	Skew time.Duration
}

// Pair gives the i-th field.
func (s *Sheet) Pair(i int) Pair {
	p := Pair{
		Local:  Side{s.Local[i], there(s.LocalThere, s.Local, i), Times{at(s.LocalFieldAt, i), s.LocalAt}},
		Remote: Side{s.Remote[i], there(s.RemoteThere, s.Remote, i), Times{at(s.RemoteFieldAt, i), s.RemoteAt}},
		Skew:   s.Skew,
	}
	if s.BaseLocal != nil {
		p.Base.Local = s.BaseLocal[i]
	}
	if s.BaseRemote != nil {
		p.Base.Remote = s.BaseRemote[i]
	}
	return p
}

func there(mapped, same []record.Value, i int) record.Value {
	if mapped == nil {
		return same[i]
	}
	return mapped[i]
}

func at(times []time.Time, i int) time.Time {
	if i < len(times) {
		return times[i]
	}
	return time.Time{}
}

// Decision is what becomes of a record. Its slices are used again by the next
// Rules.Record with the same Decision: what is to be kept has to be copied. The
// zero value is ready.
type Decision struct {
	// Verdicts is one per field.
	Verdicts []Verdict
	// Local and Remote are the halves of the base after the decision, as
	// mapping.EncodeBase takes them. A slot of a side that is written holds the
	// value to write.
	Local, Remote []record.Value
	// WriteLocal and WriteRemote say that at least one field is written there.
	WriteLocal, WriteRemote bool
	// Conflicts counts the verdicts with Conflict, Unresolved those that wait for
	// a person.
	Conflicts, Unresolved int
	// Moved says that the base differs from what it was, so that it has to be
	// stored even where nothing is written.
	Moved bool
}

// Record judges every field of a pair of records into d. All slices of s that
// are not nil must have the length of the rules, but for the times. It allocates
// only while d grows.
func (rs Rules) Record(s *Sheet, d *Decision) {
	d.reset(len(rs))
	for i := range rs {
		p := s.Pair(i)
		v := Judge(&rs[i], &p)
		d.Verdicts[i] = v
		d.Local[i], d.Remote[i] = v.Base.Local, v.Base.Remote
		d.WriteLocal = d.WriteLocal || v.WriteLocal
		d.WriteRemote = d.WriteRemote || v.WriteRemote
		d.Moved = d.Moved || v.Base != p.Base
		if v.Conflict {
			d.Conflicts++
		}
		if v.Winner == WinUnresolved {
			d.Unresolved++
		}
	}
}

func (d *Decision) reset(n int) {
	*d = Decision{
		Verdicts: slices.Grow(d.Verdicts[:0], n)[:n],
		Local:    slices.Grow(d.Local[:0], n)[:n],
		Remote:   slices.Grow(d.Remote[:0], n)[:n],
	}
}
