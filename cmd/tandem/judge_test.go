package main

import (
	"bytes"
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/tandem-sync/tandem/fault"
)

// TestConflictExamples: the examples of docs/conflicts.md say what the command
// says.
func TestConflictExamples(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile("../../docs/conflicts.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?s)```console\n\\$ tandem judge(?: --mode (\\S+))?\n(.*?)```").FindAllStringSubmatch(string(b), -1)
	if len(blocks) < 8 {
		t.Fatalf("%d examples were found", len(blocks))
	}
	for _, block := range blocks {
		mode := block[1]
		if mode == "" {
			mode = "newest"
		}
		var in, want, got []string
		for line := range strings.Lines(block[2]) {
			if answer, is := strings.CutPrefix(line, "=> "); is {
				want = append(want, strings.TrimSpace(answer))
			} else {
				in = append(in, line)
			}
		}
		var out bytes.Buffer
		a := newApp(&out, &out, func(string) (string, bool) { return "", false })
		if err := a.judge(t.Context(), strings.NewReader(strings.Join(in, "")), mode); err != nil {
			t.Errorf("%s: %v", block[0], err)
			continue
		}
		for line := range strings.Lines(out.String()) {
			var v struct{ Winner, Reason string }
			if err := json.Unmarshal([]byte(line), &v); err != nil {
				t.Fatal(err)
			}
			got = append(got, v.Winner+" "+v.Reason)
		}
		if len(in) == 0 || !slices.Equal(got, want) {
			t.Errorf("%s gives %q", block[0], got)
		}
	}
}

// TestJudgeRefusesEndlessLines: a line that is too long is told with its number,
// and not kept.
func TestJudgeRefusesEndlessLines(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	a := newApp(&out, &out, func(string) (string, bool) { return "", false })
	in := "{\"left\":{},\"right\":{}}\n" + strings.Repeat(" ", maxCase+1)
	err := a.judge(t.Context(), strings.NewReader(in), "newest")
	if fault.WhereOf(err) != "line 2" || exitCode(err) != exitUsage {
		t.Errorf("%v at %q, want line 2 refused", err, fault.WhereOf(err))
	}
	if got, want := out.String(), "{\"winner\":\"none\",\"reason\":\"absent\"}\n"; got != want {
		t.Errorf("answered %q, want %q", got, want)
	}
}
