package config

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/tandem-sync/tandem/sync/mapping"
)

func document(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile("../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

var (
	docLevel = regexp.MustCompile("(?m)^Level: `([^`]+)`$")
	docRow   = regexp.MustCompile("(?m)^\\| `([a-z_]+)` \\|")
)

// TestDocumentationNamesEveryKey compares the tables of the reference with the
// keys that the code knows, both ways.
func TestDocumentationNamesEveryKey(t *testing.T) {
	t.Parallel()
	doc := document(t)
	got := map[string][]string{}
	at := docLevel.FindAllStringSubmatchIndex(doc, -1)
	for _, m := range at {
		level := doc[m[2]:m[3]]
		section := doc[m[1]:]
		if end := strings.Index(section, "\n\n| key |"); end >= 0 {
			section = section[end+2:]
		}
		section, _, _ = strings.Cut(section, "\n\n")
		for _, row := range docRow.FindAllStringSubmatch(section, -1) {
			got[level] = append(got[level], row[1])
		}
	}
	if len(got) != len(levels) {
		t.Errorf("%d levels in the documentation, %d in the code", len(got), len(levels))
	}
	for _, l := range levels {
		name := l.name
		if name == levelTop {
			name = "top"
		}
		if !slices.Equal(got[name], l.keys) {
			t.Errorf("level %s: documented %v, known %v", name, got[name], l.keys)
		}
	}
}

func TestDocumentationNamesVariablesAndWords(t *testing.T) {
	t.Parallel()
	doc := document(t)
	words := append([]string{apiTokenVariable, notifyVariable, DefaultListen, DefaultDatabase}, conflicts...)
	for _, v := range Variables() {
		words = append(words, v)
	}
	for _, typ := range mapping.Types() {
		words = append(words, string(typ))
	}
	for _, w := range words {
		if !strings.Contains(doc, "`"+w+"`") {
			t.Errorf("%s is not explained", w)
		}
	}
	for _, number := range []string{
		fmt.Sprintf("%s to %s |", short(0), short(maxOverlap)), fmt.Sprintf("1 to %d", maxSlots), fmt.Sprintf("%s to %s", short(minLease), short(maxLease)),
	} {
		if !strings.Contains(doc, strings.TrimSuffix(number, " |")) {
			t.Errorf("the bounds %s are not explained", number)
		}
	}
}

func TestDocumentationExamplesAreClean(t *testing.T) {
	t.Parallel()
	blocks := strings.Split(document(t), "```yaml\n")[1:]
	if len(blocks) < 6 {
		t.Fatalf("only %d examples", len(blocks))
	}
	for i, block := range blocks {
		text, _, closed := strings.Cut(block, "\n```")
		if !closed {
			t.Fatalf("example %d has no end", i)
		}
		f, ps := Parse(fmt.Sprintf("example-%d", i), []byte(text+"\n"), env(nil))
		if ps = ps.And(f.Check(registry(t))); len(ps) > 0 {
			t.Errorf("%s\nin:\n%s", ps.Error(), text)
		}
	}
}
