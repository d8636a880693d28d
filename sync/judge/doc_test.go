package judge_test

import (
	"os"
	"regexp"
	"slices"
	"testing"

	"github.com/tandem-sync/tandem/sync/judge"
)

// TestReasonsAreDocumented: the table of reasons has every reason, in order, and
// no other.
func TestReasonsAreDocumented(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile("../../docs/conflicts.md")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z_]+)` \\| (?:none|local|remote|either|unresolved) \\|").FindAllStringSubmatch(string(b), -1) {
		got = append(got, m[1])
	}
	if want := judge.Reasons(); !slices.Equal(got, want) {
		t.Errorf("documented are %q, want %q", got, want)
	}
}
