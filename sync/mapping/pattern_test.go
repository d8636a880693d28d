package mapping

import (
	"fmt"
	"strings"
	"testing"

	"github.com/tandem-sync/tandem/sync/record"
)

// TestPatternsAreShort: a pattern that is too long is refused where it is
// written, and costs the record where it comes from one.
func TestPatternsAreShort(t *testing.T) {
	t.Parallel()
	with := func(expression string) Spec {
		return Spec{Fields: []Field{field("a", "a", func(f *Field) { f.ToLocalExpr = expression })}}
	}
	fits, long := strings.Repeat("a", maxPattern), strings.Repeat("a", maxPattern+1)
	m, problems := Compile(with(fmt.Sprintf("value matches %q", long)), nil)
	if m != nil || len(problems) != 1 || !strings.Contains(problems[0].Message, "pattern is longer than 1000 bytes") {
		t.Errorf("a pattern of %d bytes: %v", len(long), problems)
	}
	if m, problems = Compile(with(fmt.Sprintf("value matches %q", fits)), nil); m == nil {
		t.Errorf("a pattern of %d bytes: %v", len(fits), problems)
	}
	m = compile(t, with(`"aaa" matches value ? "yes" : "no"`))
	if out, err := toLocal(t, m, record.T("^a+$")); err != nil || out[0].Text != "yes" {
		t.Errorf("a short pattern of a record: %v, %v", out, err)
	}
	if _, err := toLocal(t, m, record.T(long)); err == nil || !strings.Contains(err.Error(), "pattern is longer") {
		t.Errorf("a long pattern of a record: %v", err)
	}
	if _, err := toLocal(t, m, record.T("(")); err == nil {
		t.Error("a pattern that is none is used")
	}
}
