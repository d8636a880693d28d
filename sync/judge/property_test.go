package judge_test

import (
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tandem-sync/tandem/sync/judge"
	"github.com/tandem-sync/tandem/sync/mapping"
	"github.com/tandem-sync/tandem/sync/record"
)

var (
	someValues = []record.Value{absent, null, empty, va, vb, vc, record.T("A"), record.N("1"), record.B(true), record.J("[1]")}
	policies   = []judge.Policy{
		judge.Newest, judge.Local, judge.Remote, judge.Manual,
		judge.EvidenceHard, judge.EvidenceBest, judge.EvidenceFuzzy,
	}
)

func drawTimes(t *rapid.T, label string) judge.Times {
	one := func(label string) time.Time {
		if ms := rapid.SampledFrom([]int{-1, 0, 600, 1000, 5000, 9000, 60_000}).Draw(t, label); ms >= 0 {
			return after(ms)
		}
		return time.Time{}
	}
	return judge.Times{Field: one(label + " field"), Record: one(label + " record")}
}

func drawRule(t *rapid.T) judge.Rule {
	r := judge.Rule{
		Direction: rapid.SampledFrom([]mapping.Direction{mapping.Both, mapping.Both, mapping.ToLocal, mapping.ToRemote}).Draw(t, "direction"),
		Policy:    rapid.SampledFrom(policies).Draw(t, "policy"),
		On:        rapid.SampledFrom([]mapping.On{mapping.Always, mapping.Always, mapping.OnEmpty, mapping.OnCreate}).Draw(t, "on"),
		Required:  rapid.IntRange(0, 3).Draw(t, "required") == 0,
	}
	if rapid.Bool().Draw(t, "folds case") {
		r.Equal = func(a, b record.Value) bool { return a.Kind == b.Kind && strings.EqualFold(a.Text, b.Text) }
	}
	if rapid.Bool().Draw(t, "a is empty") {
		r.Empty = func(v record.Value) bool { return v.Empty() || v.Text == "a" }
	}
	return r
}

func drawPair(t *rapid.T) judge.Pair {
	draw := func(label string) record.Value { return rapid.SampledFrom(someValues).Draw(t, label) }
	p := judge.Pair{
		Local:  judge.Plain(draw("local"), drawTimes(t, "local")),
		Remote: judge.Plain(draw("remote"), drawTimes(t, "remote")),
		Skew:   time.Duration(rapid.IntRange(-4000, 4000).Draw(t, "skew")) * time.Millisecond,
	}
	if rapid.Bool().Draw(t, "transforms") {
		p.Local.There, p.Remote.There = draw("local there"), draw("remote there")
	}
	if rapid.IntRange(0, 3).Draw(t, "base") > 0 {
		p.Base = judge.Halves{Local: draw("local half"), Remote: draw("remote half")}
	}
	return p
}

// localByRule reports whether the times alone make the judge stay with the local
// value, in whichever way the sides are named: the only asymmetry there is.
func localByRule(p judge.Policy, q judge.Pair) bool {
	l, r := q.Local.At, q.Remote.At
	switch p {
	case judge.Newest:
		best := func(t judge.Times) time.Time {
			if t.Field.IsZero() {
				return t.Record
			}
			return t.Field
		}
		a, b := best(l), best(r)
		return a.IsZero() || b.IsZero() || a.Sub(b).Abs() < time.Second+q.Skew.Abs()
	case judge.EvidenceFuzzy:
		return !l.Record.IsZero() && l.Field.Equal(r.Field) && l.Record.Equal(r.Record) && l.Field.After(l.Record)
	default:
		return false
	}
}

func mirror[T comparable](v, a, b T) T {
	switch v {
	case a:
		return b
	case b:
		return a
	}
	return v
}

// TestSymmetric: with the sides exchanged, the verdict is the mirror image.
func TestSymmetric(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		r, p := drawRule(t), drawPair(t)
		m := r
		m.Direction = mirror(r.Direction, mapping.ToLocal, mapping.ToRemote)
		m.Policy = mirror(r.Policy, judge.Local, judge.Remote)
		q := judge.Pair{Local: p.Remote, Remote: p.Local, Base: judge.Halves{Local: p.Base.Remote, Remote: p.Base.Local}, Skew: -p.Skew}
		got, other := judge.Judge(&r, &p), judge.Judge(&m, &q)
		want := judge.Verdict{
			Winner: mirror(other.Winner, judge.WinLocal, judge.WinRemote), Conflict: other.Conflict, FirstLink: other.FirstLink,
			Reason: mirror(mirror(other.Reason, judge.ReasonLocalChanged, judge.ReasonRemoteChanged),
				judge.ReasonLocalEditHeld, judge.ReasonRemoteEditHeld),
			WriteLocal: other.WriteRemote, WriteRemote: other.WriteLocal,
			Base: judge.Halves{Local: other.Base.Remote, Remote: other.Base.Local},
		}
		if got == want {
			return
		}
		if !localByRule(r.Policy, p) {
			t.Fatalf("got    %+v\nmirror %+v", got, want)
		}
		// Both ways round the local value was kept, as far as it may be written.
		if got.Winner == judge.WinRemote || other.Winner == judge.WinRemote {
			t.Fatalf("times that say nothing, yet %+v and mirrored %+v", got, other)
		}
	})
}

// TestNeverInvents: what is written, and every half of the base, is a value that
// was there; only the winner's value travels, one way, and only where it may.
func TestNeverInvents(t *testing.T) {
	t.Parallel()
	known := map[judge.Reason]bool{}
	for _, why := range judge.Reasons() {
		known[why] = true
	}
	rapid.Check(t, func(t *rapid.T) {
		r, p := drawRule(t), drawPair(t)
		v := judge.Judge(&r, &p)
		if !known[v.Reason] {
			t.Fatalf("reason %q is none of the documented ones", v.Reason)
		}
		switch {
		case v.WriteLocal && v.WriteRemote:
			t.Fatal("both sides are written")
		case v.WriteLocal:
			if v.Winner != judge.WinRemote || v.Base != (judge.Halves{Local: p.Remote.There, Remote: p.Remote.Value}) || r.Direction == mapping.ToRemote {
				t.Fatalf("writes the local side by %+v", v)
			}
		case v.WriteRemote:
			if v.Winner != judge.WinLocal || v.Base != (judge.Halves{Local: p.Local.Value, Remote: p.Local.There}) || r.Direction == mapping.ToLocal {
				t.Fatalf("writes the remote side by %+v", v)
			}
		default:
			if v.Base.Local != p.Local.Value && v.Base.Local != p.Base.Local || v.Base.Remote != p.Remote.Value && v.Base.Remote != p.Base.Remote {
				t.Fatalf("the base is neither what was seen nor what is there: %+v", v.Base)
			}
		}
		if v.Winner == judge.WinUnresolved && v.Base != p.Base {
			t.Fatalf("an open conflict moves the base: %+v", v)
		}
		if (v.WriteLocal || v.WriteRemote) && r.On == mapping.OnCreate {
			t.Fatal("a field for creates only is written")
		}
	})
}

// TestAbsentNeverWins: a side that said nothing is never written to the other
// side, and its half of the base stays.
func TestAbsentNeverWins(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		r, p := drawRule(t), drawPair(t)
		local := rapid.Bool().Draw(t, "local is absent")
		if local {
			p.Local = judge.Plain(absent, p.Local.At)
		} else {
			p.Remote = judge.Plain(absent, p.Remote.At)
		}
		v := judge.Judge(&r, &p)
		if local && (v.Winner == judge.WinLocal || v.WriteRemote || !v.WriteLocal && v.Base.Local != p.Base.Local) ||
			!local && (v.Winner == judge.WinRemote || v.WriteLocal || !v.WriteRemote && v.Base.Remote != p.Base.Remote) {
			t.Fatalf("an absent value decides: %+v", v)
		}
	})
}

// store is what a side makes of a value that is written to it.
type store func(record.Value) record.Value

func text(fn func(string) string) store {
	return func(v record.Value) record.Value {
		if v.Kind == record.Text {
			v.Text = fn(v.Text)
		}
		return v
	}
}

var stores = map[string]store{
	"as it is": text(func(s string) string { return s }),
	"upper":    text(strings.ToUpper),
	"lower":    text(strings.ToLower),
	"null": func(v record.Value) record.Value {
		if v == empty {
			return null
		}
		return v
	},
}

// TestSettlesInOneRound: after one verdict was carried out, judging again writes
// nothing, whatever the sides make of what is written to them; and where a value
// was written, both sides hold it.
func TestSettlesInOneRound(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		r, p := drawRule(t), drawPair(t)
		names := []string{"as it is", "upper", "lower", "null"}
		here := stores[rapid.SampledFrom(names).Draw(t, "local stores")]
		there := stores[rapid.SampledFrom(names).Draw(t, "remote stores")]
		p.Local.There, p.Remote.There = p.Local.Value, p.Remote.Value
		before := p
		v := judge.Judge(&r, &p)
		p.Base = v.Base
		switch {
		case v.WriteLocal:
			p.Local = judge.Plain(here(v.Base.Local), judge.Times{Record: after(90_000)})
			p.Base.Local = p.Local.Value
		case v.WriteRemote:
			p.Remote = judge.Plain(there(v.Base.Remote), judge.Times{Record: after(90_000)})
			p.Base.Remote = p.Remote.Value
		}
		again := judge.Judge(&r, &p)
		if again.WriteLocal || again.WriteRemote {
			t.Fatalf("first  %+v of %+v\nsecond %+v of %+v", v, before, again, p)
		}
		if v.Winner != judge.WinUnresolved && again.Conflict {
			t.Fatalf("a settled conflict comes back: first %+v, second %+v", v, again)
		}
		if v.WriteLocal && p.Local.Value != here(before.Remote.Value) || v.WriteRemote && p.Remote.Value != there(before.Local.Value) {
			t.Fatalf("the sides do not agree after %+v: %+v", v, p)
		}
		if third := judge.Judge(&r, &judge.Pair{Local: p.Local, Remote: p.Remote, Base: again.Base}); third.Base != again.Base {
			t.Fatalf("the base goes on moving: %+v, then %+v", again.Base, third.Base)
		}
	})
}
