package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/tandem-sync/tandem/config"
	"github.com/tandem-sync/tandem/fault"
)

func TestExitCodes(t *testing.T) {
	t.Parallel()
	code := func(c string) error {
		return fmt.Errorf("while at work: %w", fault.New(fault.Permanent, c, "", "it went wrong"))
	}
	for _, tc := range []struct {
		err  error
		want int
	}{
		{nil, 0},
		{errors.New("anything"), 1},
		{code(fault.CodeFailed), 1},
		{code(fault.CodeCancelled), 1},
		{code(fault.CodeConflict), 1},
		{code(fault.CodeAuth), 1},
		{code(fault.CodeNotFound), 2},
		{code(fault.CodeUsage), 2},
		{code(fault.CodeConfig), 2},
		{config.Problems{{File: "f", Message: "m"}}, 2},
		{code(fault.CodeLocked), 3},
		{code(fault.CodeUnreachable), 3},
		{code(fault.CodeSchemaOld), 3},
		{code(fault.CodeSchemaNew), 3},
		{errors.Join(silent(2), errors.New("close")), 2},
	} {
		if got := exitCode(tc.err); got != tc.want {
			t.Errorf("%v: exit code %d, want %d", tc.err, got, tc.want)
		}
	}
}

func TestErrorsAreOneObject(t *testing.T) {
	t.Parallel()
	var out, log strings.Builder
	a := newApp(&out, &log, func(string) (string, bool) { return "", false })
	a.json = true
	err := fault.New(fault.Permanent, fault.CodeLocked, "lock", "process %d has it", 7).WithHint("stop it").WithWhere("x.db")
	if got := a.finish(err); got != 3 {
		t.Errorf("exit code %d", got)
	}
	if want := `{"error":{"code":"locked","message":"lock: process 7 has it","hint":"stop it","where":"x.db"}}` + "\n"; out.String() != want || log.String() != "" {
		t.Errorf("stdout %q, stderr %q", out.String(), log.String())
	}
	out.Reset()
	if got := a.finish(fmt.Errorf("read: %w", context.Canceled)); got != 1 || !strings.Contains(out.String(), `"code":"cancelled"`) {
		t.Errorf("%d %q", got, out.String())
	}
	a.json = false
	out.Reset()
	a.finish(err)
	if want := "tandem: x.db: lock: process 7 has it\n  stop it\n"; log.String() != want || out.String() != "" {
		t.Errorf("stdout %q, stderr %q", out.String(), log.String())
	}
}

func TestWantsJSON(t *testing.T) {
	t.Parallel()
	for args, want := range map[string]bool{
		"sync crm -o json":         true,
		"sync --output json":       true,
		"sync -ojson --nosuch":     true,
		"sync --output=json":       true,
		"sync -o text":             false,
		"sync -- -o json":          false,
		"sync -o":                  false,
		"sync --param output=json": false,
	} {
		if got := wantsJSON(strings.Fields(args)); got != want {
			t.Errorf("%s: %v", args, got)
		}
	}
}

func TestServerURL(t *testing.T) {
	t.Parallel()
	for listen, want := range map[string]string{
		"127.0.0.1:8080": "http://127.0.0.1:8080",
		"0.0.0.0:80":     "http://127.0.0.1:80",
		"[::]:8080":      "http://127.0.0.1:8080",
		":8080":          "http://127.0.0.1:8080",
		"[::1]:8080":     "http://[::1]:8080",
		"localhost:1":    "http://localhost:1",
	} {
		if got := serverURL(listen); got != want {
			t.Errorf("%s: %s, want %s", listen, got, want)
		}
	}
	for listen, want := range map[string]bool{"127.0.0.1:1": true, "[::1]:1": true, "localhost:1": true, "0.0.0.0:1": false, ":1": false, "10.0.0.1:1": false} {
		if got := loopbackOnly(listen); got != want {
			t.Errorf("%s on loopback only: %v", listen, got)
		}
	}
}

func TestPrintableDisarmsTerminals(t *testing.T) {
	t.Parallel()
	if got := printable("a\x1b[2Jb\nc\td\u202eé"); got != "a·[2Jb·c·d·é" {
		t.Errorf("got %q", got)
	}
}
