package judge_test

import (
	"strings"
	"testing"
	"time"

	"github.com/tandem-sync/tandem/sync/judge"
	"github.com/tandem-sync/tandem/sync/mapping"
	"github.com/tandem-sync/tandem/sync/record"
)

var (
	absent = record.Value{}
	null   = record.NullValue
	empty  = record.T("")
	va     = record.T("a")
	vb     = record.T("b")
	vc     = record.T("c")
)

// after is a time so many milliseconds after a fixed one.
func after(ms int) time.Time { return time.UnixMilli(1_700_000_000_000 + int64(ms)) }

// pair is a field without transforms, times of the fields in milliseconds.
func pair(local, remote record.Value, base judge.Halves, ms ...int) judge.Pair {
	p := judge.Pair{Local: judge.Plain(local, judge.Times{}), Remote: judge.Plain(remote, judge.Times{}), Base: base}
	if len(ms) == 2 {
		p.Local.At.Field, p.Remote.At.Field = after(ms[0]), after(ms[1])
	}
	return p
}

func both(v record.Value) judge.Halves { return judge.Halves{Local: v, Remote: v} }

func TestJudge(t *testing.T) {
	t.Parallel()
	none := judge.Halves{}
	rule := func(p judge.Policy) judge.Rule { return judge.Rule{Direction: mapping.Both, Policy: p} }
	newest, local, remote, manual := rule(judge.Newest), rule(judge.Local), rule(judge.Remote), rule(judge.Manual)
	with := func(r judge.Rule, change func(*judge.Rule)) judge.Rule { change(&r); return r }
	toLocal := with(newest, func(r *judge.Rule) { r.Direction = mapping.ToLocal })
	toRemote := with(newest, func(r *judge.Rule) { r.Direction = mapping.ToRemote })
	onCreate := with(newest, func(r *judge.Rule) { r.On = mapping.OnCreate })
	onEmpty := with(newest, func(r *judge.Rule) { r.On = mapping.OnEmpty })
	required := with(newest, func(r *judge.Rule) { r.Required = true })
	fold := with(newest, func(r *judge.Rule) {
		r.Equal = func(a, b record.Value) bool { return strings.EqualFold(a.Text, b.Text) }
	})
	dash := with(newest, func(r *judge.Rule) {
		r.Empty = func(v record.Value) bool { return v.Empty() || v.Text == "-" }
	})
	times := func(p judge.Pair, l, r judge.Times, skew time.Duration) judge.Pair {
		p.Local.At, p.Remote.At, p.Skew = l, r, skew
		return p
	}
	untold := func(p judge.Pair) judge.Pair { p.Local.There = absent; return p }
	mapped := func(p judge.Pair, localThere, remoteThere record.Value) judge.Pair {
		p.Local.There, p.Remote.There = localThere, remoteThere
		return p
	}
	const (
		n, l, r, u = judge.WinNone, judge.WinLocal, judge.WinRemote, judge.WinUnresolved
	)
	tests := []struct {
		name   string
		rule   judge.Rule
		pair   judge.Pair
		winner judge.Winner
		reason judge.Reason
		base   judge.Halves
		marks  string // c conflict, f first link, l and r the written side
	}{
		{"nothing changed", newest, pair(va, va, both(va)), n, "equal", both(va), ""},
		{"nothing changed, each its own half", newest, pair(va, vb, judge.Halves{Local: va, Remote: vb}), n, "unchanged", judge.Halves{Local: va, Remote: vb}, ""},
		{"both changed to the same", manual, pair(vb, vb, both(va)), n, "equal", both(vb), ""},
		{"only local changed", remote, pair(vb, va, both(va), 0, 9000), l, "local_changed", both(vb), "r"},
		{"only remote changed", local, pair(va, vb, both(va), 9000, 0), r, "remote_changed", both(vb), "l"},
		{"only local changed, from a half of its own", newest, pair(vc, vb, judge.Halves{Local: va, Remote: vb}), l, "local_changed", both(vc), "r"},
		{"manual does not ask about one side", manual, pair(va, vb, both(va)), r, "remote_changed", both(vb), "l"},
		{"cleared with null", newest, pair(null, va, both(va)), l, "local_changed", both(null), "r"},
		{"cleared with the empty text", newest, pair(va, empty, both(va)), r, "remote_changed", both(empty), "l"},
		{"null and empty are two values", newest, pair(null, empty, both(null)), r, "remote_changed", both(empty), "l"},
		{"null and empty are two values, for any codec", fold, pair(null, empty, both(null)), r, "remote_changed", both(empty), "l"},

		{"newest: remote", newest, pair(vb, vc, both(va), 0, 1000), r, "newest", both(vc), "cl"},
		{"newest: local", newest, pair(vb, vc, both(va), 1000, 0), l, "newest", both(vb), "cr"},
		{"newest: tie", newest, pair(vb, vc, both(va), 0, 999), l, "tie", both(vb), "cr"},
		{"newest: tie by skew", newest, times(pair(vb, vc, both(va)), judge.Times{Field: after(0)}, judge.Times{Field: after(2999)}, 2*time.Second), l, "tie", both(vb), "cr"},
		{"newest: tie by a negative skew", newest, times(pair(vb, vc, both(va)), judge.Times{Field: after(0)}, judge.Times{Field: after(2999)}, -2*time.Second), l, "tie", both(vb), "cr"},
		{"newest: beyond the skew", newest, times(pair(vb, vc, both(va)), judge.Times{Field: after(0)}, judge.Times{Field: after(3000)}, -2*time.Second), r, "newest", both(vc), "cl"},
		{"newest: no local time", newest, times(pair(vb, vc, both(va)), judge.Times{}, judge.Times{Field: after(1)}, 0), l, "no_time", both(vb), "cr"},
		{"newest: no remote time", newest, times(pair(vb, vc, both(va)), judge.Times{Field: after(1)}, judge.Times{}, 0), l, "no_time", both(vb), "cr"},
		{"newest: the record stands in", newest, times(pair(vb, vc, both(va)), judge.Times{Field: after(0)}, judge.Times{Record: after(5000)}, 0), r, "newest", both(vc), "cl"},
		{"newest: the field before the record", newest, times(pair(vb, vc, both(va)), judge.Times{Field: after(0), Record: after(9000)}, judge.Times{Record: after(5000)}, 0), r, "newest", both(vc), "cl"},
		{"no policy is newest", judge.Rule{}, pair(vb, vc, both(va), 0, 1000), r, "newest", both(vc), "cl"},
		{"policy local", local, pair(vb, vc, both(va), 0, 9000), l, "policy", both(vb), "cr"},
		{"policy remote", remote, pair(vb, vc, both(va), 9000, 0), r, "policy", both(vc), "cl"},
		{"policy manual", manual, pair(vb, vc, both(va), 9000, 0), u, "manual", both(va), "c"},
		{"evidence hard", rule(judge.EvidenceHard), pair(vb, vc, both(va), 0, 1), r, "certain_change", both(vc), "cl"},
		{"evidence hard: none", rule(judge.EvidenceHard), times(pair(vb, vc, both(va)), judge.Times{Record: after(0)}, judge.Times{Record: after(9)}, 0), u, "no_evidence", both(va), "c"},
		{"evidence best", rule(judge.EvidenceBest), times(pair(vb, vc, both(va)), judge.Times{Record: after(0)}, judge.Times{Record: after(9)}, 0), r, "possible_change", both(vc), "cl"},
		{"evidence fuzzy", rule(judge.EvidenceFuzzy), times(pair(vb, vc, both(va)), judge.Times{Field: after(9)}, judge.Times{Record: after(0)}, 0), l, "certain_over_possible", both(vb), "cr"},
		{"evidence looks at times only when both changed", rule(judge.EvidenceHard), pair(vb, va, both(va), 0, 9), l, "local_changed", both(vb), "r"},

		{"first link: equal", newest, pair(va, va, none), n, "equal", both(va), ""},
		{"first link: local empty", local, pair(null, vb, none), r, "first_link", both(vb), "fl"},
		{"first link: remote empty", remote, pair(va, empty, none), l, "first_link", both(va), "fr"},
		{"first link: each its own nothing", manual, pair(null, empty, none), n, "both_empty", judge.Halves{Local: null, Remote: empty}, "f"},
		{"first link: local said nothing", newest, pair(absent, vb, none), r, "first_link", both(vb), "fl"},
		{"first link: remote said nothing", remote, pair(va, absent, none), l, "first_link", both(va), "fr"},
		{"first link: nothing is no value to tell", newest, pair(null, absent, none), n, "absent", judge.Halves{Local: null}, "f"},
		{"first link: nobody said anything", newest, pair(absent, absent, none), n, "absent", none, "f"},
		{"first link: newest", newest, pair(va, vb, none, 0, 1000), r, "first_link", both(vb), "cfl"},
		{"first link: tie", newest, pair(va, vb, none, 0, 10), l, "tie", both(va), "cfr"},
		{"first link: no time", newest, pair(va, vb, none), l, "no_time", both(va), "cfr"},
		{"first link: remote", remote, pair(va, vb, none), r, "first_link", both(vb), "cfl"},
		{"first link: manual", manual, pair(va, vb, none), u, "manual", none, "cf"},
		{"first link: evidence", rule(judge.EvidenceFuzzy), pair(va, vb, none, 5, 0), l, "first_link", both(va), "cfr"},
		{"first link: no evidence", rule(judge.EvidenceFuzzy), pair(va, vb, none), u, "no_evidence", none, "cf"},

		{"absent is no change: remote", newest, pair(va, absent, both(va)), n, "absent", both(va), ""},
		{"absent is no change: local", newest, pair(absent, va, both(va)), n, "absent", both(va), ""},
		{"absent against a change", remote, pair(vb, absent, both(va)), l, "local_changed", both(vb), "r"},
		{"absent against a cleared value", remote, pair(null, absent, both(va)), l, "local_changed", both(null), "r"},
		{"a half never seen appears", local, pair(null, vb, judge.Halves{Local: null}), r, "remote_changed", both(vb), "l"},

		{"to_local: remote changed", toLocal, pair(va, vb, both(va)), r, "remote_changed", both(vb), "l"},
		{"to_local: a local edit is held", toLocal, pair(vb, va, both(va)), n, "local_edit_held", both(va), ""},
		{"to_local: both changed", toLocal, pair(vb, vc, both(va), 9000, 0), r, "one_way", both(vc), "cl"},
		{"to_local: absent keeps a local edit one", toLocal, pair(vb, absent, both(va)), n, "absent", both(va), ""},
		{"to_local: first link, local wins and stays here", toLocal, pair(va, vb, none), l, "no_time", judge.Halves{Local: va, Remote: vb}, "cf"},
		{"to_local: first link, remote empty", toLocal, pair(va, null, none), l, "first_link", judge.Halves{Local: va, Remote: null}, "f"},
		{"to_local: first link, both empty", toLocal, pair(null, empty, none), r, "first_link", both(empty), "fl"},
		{"to_remote: local changed", toRemote, pair(vb, va, both(va)), l, "local_changed", both(vb), "r"},
		{"to_remote: a remote edit is held", toRemote, pair(va, vb, both(va)), n, "remote_edit_held", both(va), ""},
		{"to_remote: both changed", toRemote, pair(vb, vc, both(va), 0, 9000), l, "one_way", both(vb), "cr"},
		{"to_remote: unchanged", toRemote, pair(va, vb, judge.Halves{Local: va, Remote: vb}), n, "unchanged", judge.Halves{Local: va, Remote: vb}, ""},
		{"to_remote: first link, remote wins and stays there", toRemote, pair(va, vb, none, 0, 5000), r, "first_link", judge.Halves{Local: va, Remote: vb}, "cf"},
		{"to_remote: first link, remote empty", toRemote, pair(va, null, none), l, "first_link", both(va), "fr"},
		{"to_remote: first link, both empty", toRemote, pair(null, empty, none), l, "first_link", both(null), "fr"},

		{"on create", onCreate, pair(va, vb, both(va)), n, "on_create", judge.Halves{Local: va, Remote: vb}, ""},
		{"on create, both changed", onCreate, pair(vb, vc, both(va)), n, "on_create", judge.Halves{Local: vb, Remote: vc}, ""},
		{"on create asks nobody", with(onCreate, func(r *judge.Rule) { r.Policy = judge.Manual }), pair(vb, vc, both(va)), n, "on_create", judge.Halves{Local: vb, Remote: vc}, ""},
		{"on empty, target full", onEmpty, pair(va, vb, both(va)), n, "not_empty", judge.Halves{Local: va, Remote: vb}, ""},
		{"on empty, target empty", onEmpty, pair(null, vb, both(null)), r, "remote_changed", both(vb), "l"},
		{"on empty, the other way", onEmpty, pair(va, empty, both(empty)), l, "local_changed", both(va), "r"},
		{"on empty asks while one side could be written", with(onEmpty, func(r *judge.Rule) { r.Policy = judge.Manual }), pair(null, vc, both(va)), u, "manual", both(va), "c"},
		{"required is not cleared here", required, pair(va, empty, both(va)), n, "required", judge.Halves{Local: va, Remote: empty}, ""},
		{"required is not cleared there", required, pair(null, va, both(va)), n, "required", judge.Halves{Local: null, Remote: va}, ""},
		{"required may change", required, pair(vb, va, both(va)), l, "local_changed", both(vb), "r"},

		{"the codec's equality settles", fold, pair(record.T("ANNA"), record.T("anna"), none), n, "equal", judge.Halves{Local: record.T("ANNA"), Remote: record.T("anna")}, ""},
		{"the codec's equality is no change", fold, pair(record.T("ANNA"), vb, both(record.T("anna"))), r, "remote_changed", both(vb), "l"},
		{"the codec's equality does not move the base", fold, pair(record.T("ANNA"), vb, judge.Halves{Local: record.T("anna"), Remote: vb}), n, "unchanged", judge.Halves{Local: record.T("anna"), Remote: vb}, ""},
		{"empty by the codec", dash, pair(record.T("-"), vb, none), r, "first_link", both(vb), "fl"},
		{"absent is empty for any codec", dash, pair(absent, record.T("-"), none), n, "absent", judge.Halves{Remote: record.T("-")}, "f"},
		{"the codec is not asked about absent values", with(newest, func(r *judge.Rule) {
			r.Empty = func(v record.Value) bool { return v.Kind == record.Null }
		}), pair(absent, null, none), n, "absent", judge.Halves{Remote: null}, "f"},
		{"a reference that cannot be told yet waits", newest, untold(pair(vb, va, both(va))), n, "waits", both(va), ""},
		{"transforms: the written form is the other side's", newest, mapped(pair(record.T("x"), record.T("B"), judge.Halves{Local: record.T("x"), Remote: record.T("X")}), record.T("X"), record.T("b")), r, "remote_changed", judge.Halves{Local: record.T("b"), Remote: record.T("B")}, "l"},
		{"transforms: equal by the way there", newest, mapped(pair(record.T("Bob"), record.T("bob"), none), record.T("bob"), record.T("bob")), n, "equal", judge.Halves{Local: record.T("Bob"), Remote: record.T("bob")}, ""},
		{"transforms: only the way that is travelled counts, to_remote", toRemote, mapped(pair(record.N("5"), record.N("5"), both(record.N("4"))), record.N("6"), record.N("5")), l, "one_way", judge.Halves{Local: record.N("5"), Remote: record.N("6")}, "cr"},
		{"transforms: only the way that is travelled counts, to_local", toLocal, mapped(pair(record.N("5"), record.N("5"), both(record.N("4"))), record.N("5"), record.N("6")), r, "one_way", judge.Halves{Local: record.N("6"), Remote: record.N("5")}, "cl"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			want := judge.Verdict{
				Winner: tt.winner, Reason: tt.reason, Base: tt.base,
				Conflict: strings.Contains(tt.marks, "c"), FirstLink: strings.Contains(tt.marks, "f"),
				WriteLocal: strings.Contains(tt.marks, "l"), WriteRemote: strings.Contains(tt.marks, "r"),
			}
			if got := judge.Judge(&tt.rule, &tt.pair); got != want {
				t.Errorf("got  %+v\nwant %+v", got, want)
			}
		})
	}
}

// TestRecordIsJudgeForEveryField: slots and single fields say the same, and the
// sums are right.
func TestRecordIsJudgeForEveryField(t *testing.T) {
	t.Parallel()
	rules := judge.Rules{
		{Policy: judge.Newest}, {Policy: judge.Newest}, {Policy: judge.Manual}, {Direction: mapping.ToLocal}, {}, {}, {},
	}
	s := judge.Sheet{
		Local:         []record.Value{vb, vb, vb, va, record.T("x"), va, vb},
		Remote:        []record.Value{vc, va, vc, vb, record.T("X"), va, vc},
		LocalThere:    []record.Value{vb, vb, vb, va, record.T("X"), va, vb},
		RemoteThere:   []record.Value{vc, va, vc, vb, record.T("x"), va, vc},
		BaseLocal:     []record.Value{va, va, va, va, record.T("x"), absent, va},
		BaseRemote:    []record.Value{va, va, va, va, record.T("X"), absent, va},
		LocalAt:       after(0),
		RemoteAt:      after(2500),
		RemoteFieldAt: []time.Time{after(4000)},
		Skew:          time.Second,
	}
	var d judge.Decision
	rules.Record(&s, &d)
	want := []string{"right newest", "left local_changed", "unresolved manual", "right remote_changed", "none equal", "none equal", "right newest"}
	for i := range rules {
		p := s.Pair(i)
		if one := judge.Judge(&rules[i], &p); one != d.Verdicts[i] {
			t.Errorf("field %d: %+v in the record, %+v alone", i, d.Verdicts[i], one)
		}
		if got := d.Verdicts[i].Winner.String() + " " + d.Verdicts[i].Reason; got != want[i] {
			t.Errorf("field %d: %s, want %s", i, got, want[i])
		}
		if (judge.Halves{Local: d.Local[i], Remote: d.Remote[i]}) != d.Verdicts[i].Base {
			t.Errorf("field %d: the halves are %v and %v, want %v", i, d.Local[i], d.Remote[i], d.Verdicts[i].Base)
		}
	}
	if !d.WriteLocal || !d.WriteRemote || !d.Moved || d.Conflicts != 3 || d.Unresolved != 1 {
		t.Errorf("sums %+v", d)
	}

	// The same Decision for a shorter record in which nothing happens.
	quiet := judge.Sheet{
		Local: []record.Value{va, vb}, Remote: []record.Value{va, vc},
		BaseLocal: []record.Value{va, vb}, BaseRemote: []record.Value{va, vc},
	}
	rules[:2].Record(&quiet, &d)
	if d.WriteLocal || d.WriteRemote || d.Moved || d.Conflicts != 0 || d.Unresolved != 0 || len(d.Verdicts) != 2 || len(d.Local) != 2 || len(d.Remote) != 2 {
		t.Errorf("nothing happened, yet %+v", d)
	}

	// Adopting an equal value moves the base without a write.
	adopt := judge.Sheet{Local: []record.Value{va}, Remote: []record.Value{va}}
	rules[:1].Record(&adopt, &d)
	if d.WriteLocal || d.WriteRemote || !d.Moved || d.Local[0] != va || d.Remote[0] != va {
		t.Errorf("adopting gives %+v", d)
	}
}
