package mapping

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tandem-sync/tandem/sync/record"
)

// TestExpressionsReachNothing: an expression sees the record and nothing of the
// machine. What asks for more is refused before anything runs.
func TestExpressionsReachNothing(t *testing.T) {
	t.Setenv("TANDEM_CANARY", "c4nary")
	for _, src := range []string{
		`env("TANDEM_CANARY")`, `getenv("TANDEM_CANARY")`, `os.Getenv("TANDEM_CANARY")`, `$env.os.Getenv("TANDEM_CANARY")`,
		`readFile("/etc/passwd")`, `open("/etc/passwd")`, `http.Get("http://127.0.0.1")`, `exec("id")`, `import("os")`,
		`value.constructor`, `record.__proto__.x()`, `vm`, `steps`, `Step`, `Value`,
	} {
		m, problems := Compile(Spec{Fields: []Field{field("a", "a", func(f *Field) { f.ToLocalExpr = src })}}, nil)
		if len(problems) > 0 {
			continue
		}
		got, err := toLocal(t, m, record.T("x"))
		if err == nil && got[0].Kind != record.Null {
			t.Errorf("%s gave %+v", src, got[0])
		}
		if strings.Contains(fmt.Sprint(got, err), "c4nary") {
			t.Errorf("%s read the environment: %v %v", src, got, err)
		}
	}
}

// TestPatternsTakeLinearTime: the patterns that take other engines exponential
// time end at once, and one too large to compile is refused.
func TestPatternsTakeLinearTime(t *testing.T) {
	t.Parallel()
	text := strings.Repeat("a", 50_000) + "!"
	for _, pattern := range []string{`^(a+)+$`, `^(a|aa)+$`, `^(.*a){20}$`, `([a-zA-Z]+)*$x`} {
		m := compile(t, Spec{Fields: []Field{field("a", "a", func(f *Field) { f.ToLocalExpr = fmt.Sprintf("value matches %q", pattern) })}})
		began := time.Now()
		if _, err := toLocal(t, m, record.T(text)); err != nil {
			t.Errorf("%s: %v", pattern, err)
		}
		if d := time.Since(began); d > 10*time.Second {
			t.Errorf("%s took %s", pattern, d)
		}
	}
	for _, pattern := range []string{`(a{1000}){1000}`, `(((((a{10}){10}){10}){10}){10})`, `a(?=b)`} {
		m, problems := Compile(Spec{Fields: []Field{field("a", "a", func(f *Field) { f.ToLocalExpr = fmt.Sprintf("value matches %q", pattern) })}}, nil)
		if m != nil || len(problems) != 1 || problems[0].Field != "mapping[0].transform.to_local" {
			t.Errorf("%s was compiled (%v)", pattern, problems)
		}
	}
}
