package judge_test

import (
	"strings"
	"testing"
	"time"

	"github.com/tandem-sync/tandem/sync/judge"
	"github.com/tandem-sync/tandem/sync/record"
)

// benchFields is how many fields a record of the benchmarks has.
const benchFields = 12

// benchSheet is a record of which every changed-th field differs from its base
// on both sides; 0 is none.
func benchSheet(changed int) (judge.Rules, *judge.Sheet) {
	rules := make(judge.Rules, benchFields)
	s := &judge.Sheet{LocalAt: after(0), RemoteAt: after(5000), Skew: time.Second}
	for i := range rules {
		rules[i].Equal = func(a, b record.Value) bool { return strings.EqualFold(a.Text, b.Text) }
		v := record.T("value number " + string(rune('a'+i)))
		local, remote := v, v
		if changed > 0 && i%changed == 0 {
			local, remote = record.T("local "+v.Text), record.T("remote "+v.Text)
		}
		s.Local, s.Remote = append(s.Local, local), append(s.Remote, remote)
		s.BaseLocal, s.BaseRemote = append(s.BaseLocal, v), append(s.BaseRemote, v)
	}
	return rules, s
}

// TestNothingIsAllocated: judging records costs no memory once the decision has
// its size.
func TestNothingIsAllocated(t *testing.T) {
	for _, changed := range []int{0, 1, 3} {
		rules, s := benchSheet(changed)
		var d judge.Decision
		rules.Record(s, &d)
		if n := testing.AllocsPerRun(100, func() { rules.Record(s, &d) }); n != 0 {
			t.Errorf("every %d. field changed: %v allocations a record", changed, n)
		}
	}
}

// BenchmarkRecord judges records of twelve fields.
func BenchmarkRecord(b *testing.B) {
	for _, bm := range []struct {
		name    string
		changed int
	}{{"unchanged", 0}, {"conflicts", 1}, {"few", 6}} {
		b.Run(bm.name, func(b *testing.B) {
			rules, s := benchSheet(bm.changed)
			var d judge.Decision
			b.ReportAllocs()
			for b.Loop() {
				rules.Record(s, &d)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/benchFields, "ns/field")
		})
	}
}

// BenchmarkEvidence judges by times only, where all four have to be looked at.
func BenchmarkEvidence(b *testing.B) {
	left, right := judge.Times{Field: after(5)}, judge.Times{Record: after(9)}
	b.ReportAllocs()
	for b.Loop() {
		judge.Evidence(judge.Fuzzy, left, right)
	}
}
