// Package docs holds the documentation; its tests keep what it says about the
// tests true.
package docs

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

var (
	// named is a test in the document: package, function and perhaps a subtest.
	named = regexp.MustCompile("`([a-z][a-z0-9/]*)\\.((?:Test|Fuzz)[A-Za-z0-9_]+)(?:/([^`]+))?`")
	// anyTest is what looks like one, so that none escapes the check.
	anyTest = regexp.MustCompile("`[^`]*\\b(?:Test|Fuzz)[A-Z][^`]*`")
	script  = regexp.MustCompile("`([a-z/_]+\\.txtar)`")
	row     = regexp.MustCompile(`(?m)^\| ([FS])(\d+) \|(.*)\|(.*)\|(.*)\|$`)
)

// testsOf gives the test functions of a package, and all texts in its tests,
// among which the names of its subtests are.
func testsOf(dir string) (funcs, texts map[string]bool, err error) {
	files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	if err != nil || len(files) == 0 {
		return nil, nil, fmt.Errorf("%s has no tests (%w)", dir, err)
	}
	funcs, texts = map[string]bool{}, map[string]bool{}
	for _, name := range files {
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			return nil, nil, err
		}
		ast.Inspect(f, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.FuncDecl:
				if n.Recv == nil {
					funcs[n.Name.Name] = true
				}
			case *ast.BasicLit:
				if s, err := strconv.Unquote(n.Value); err == nil && n.Kind == token.STRING {
					texts[s] = true
				}
			}
			return true
		})
	}
	return funcs, texts, nil
}

// missing gives the tests and scripts that a document names and the tree below
// root does not have.
func missing(root, doc string) (out []string) {
	for _, m := range named.FindAllStringSubmatch(doc, -1) {
		funcs, texts, err := testsOf(filepath.Join(root, m[1]))
		if err != nil || !funcs[m[2]] || m[3] != "" && !texts[m[3]] {
			out = append(out, strings.Trim(m[0], "`"))
		}
	}
	for _, text := range anyTest.FindAllString(doc, -1) {
		if !named.MatchString(text) {
			out = append(out, strings.Trim(text, "`"))
		}
	}
	for _, m := range script.FindAllStringSubmatch(doc, -1) {
		if _, err := os.Stat(filepath.Join(root, m[1])); err != nil {
			out = append(out, m[1])
		}
	}
	return out
}

// TestReliabilityNamesTests: every test that the document names exists, and no
// row of its tables is without one.
func TestReliabilityNamesTests(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile("reliability.md")
	if err != nil {
		t.Fatal(err)
	}
	doc := string(b)
	for _, name := range missing("..", doc) {
		t.Errorf("there is no %s", name)
	}
	count := map[string]int{}
	for _, m := range row.FindAllStringSubmatch(doc, -1) {
		count[m[1]]++
		if m[2] != strconv.Itoa(count[m[1]]) {
			t.Errorf("row %s%s is the %d. of its table", m[1], m[2], count[m[1]])
		}
		if strings.TrimSpace(m[3]) == "" || strings.TrimSpace(m[4]) == "" || !named.MatchString(m[5]) {
			t.Errorf("row %s%s lacks the case, the behaviour or a test", m[1], m[2])
		}
	}
	lines := len(regexp.MustCompile(`(?m)^\| [FS]\d`).FindAllString(doc, -1))
	if count["F"] == 0 || count["S"] == 0 || count["F"]+count["S"] != lines {
		t.Errorf("%v rows were read of %d", count, lines)
	}
}

// TestMissingTestsAreFound: the check above can fail.
func TestMissingTestsAreFound(t *testing.T) {
	t.Parallel()
	const there = "as the name of a subtest would be"
	self := "docs.TestMissingTestsAreFound"
	absent := strings.Repeat("no", 3)
	good := []string{self, self + "/" + there}
	bad := []string{"docs.TestNone", "none.TestX", self + "/" + absent, "TestWithoutItsPackage", "cmd/tandem/none.txtar"}
	got := missing("..", "`"+strings.Join(append(good, bad...), "` and `")+"`")
	slices.Sort(got)
	slices.Sort(bad)
	if !slices.Equal(got, bad) {
		t.Errorf("got %q, want %q", got, bad)
	}
}
