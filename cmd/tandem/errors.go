package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/tandem-sync/tandem/api"
	"github.com/tandem-sync/tandem/config"
	"github.com/tandem-sync/tandem/fault"
)

// The exit codes.
const (
	exitDone    = 0 // done; records may be parked
	exitFailed  = 1 // the work failed or was cancelled
	exitUsage   = 2 // usage or configuration
	exitService = 3 // a needed service is unreachable or too old
)

// silent is an error whose result has been printed already; only the exit code
// is left to give.
type silent int

func (s silent) Error() string { return fmt.Sprintf("exit code %d", int(s)) }

func usagef(format string, args ...any) error {
	return fault.New(fault.Permanent, fault.CodeUsage, "", format, args...)
}

// usageError marks what the command-line parser complains about.
func usageError(err error) error {
	if fault.CodeOf(err) != "" {
		return err
	}
	return fault.New(fault.Permanent, fault.CodeUsage, "", "%w", err).WithHint("see `tandem --help`")
}

// exitCode says what the shell gets for an error.
func exitCode(err error) int {
	var s silent
	var ps config.Problems
	switch {
	case err == nil:
		return exitDone
	case errors.As(err, &s):
		return int(s)
	case errors.As(err, &ps):
		return exitUsage
	}
	switch fault.CodeOf(err) {
	case fault.CodeNotFound, fault.CodeUsage, fault.CodeConfig, api.CodeUnsupported, api.CodeUnauthorized, api.CodeForbidden, api.CodeTooLarge:
		return exitUsage
	case fault.CodeLocked, fault.CodeUnreachable, fault.CodeSchemaOld, fault.CodeSchemaNew:
		return exitService
	}
	return exitFailed
}

// errorJSON is how an error looks with -o json.
type errorJSON struct {
	Error struct {
		Code    string `json:"code"`
		Message string `json:"message"`
		Hint    string `json:"hint"`
		Where   string `json:"where"`
	} `json:"error"`
	Problems []problemJSON `json:"problems,omitempty"`
}

type problemJSON struct {
	File    string `json:"file"`
	Line    int    `json:"line"`
	Column  int    `json:"column"`
	Field   string `json:"field"`
	Message string `json:"message"`
	Fix     string `json:"fix"`
}

func describe(err error) errorJSON {
	var out errorJSON
	out.Error.Code, out.Error.Message = fault.CodeOf(err), err.Error()
	out.Error.Hint, out.Error.Where = fault.HintOf(err), fault.WhereOf(err)
	var ps config.Problems
	switch {
	case errors.As(err, &ps):
		out.Error.Code = fault.CodeConfig
		out.Error.Where, out.Error.Hint = place(ps[0]), ps[0].Fix
		for _, p := range ps {
			out.Problems = append(out.Problems, problemJSON{p.File, p.Line, p.Column, p.Field, p.Message, p.Fix})
		}
	case errors.Is(err, context.Canceled) && out.Error.Code == "":
		out.Error.Code, out.Error.Message = fault.CodeCancelled, "interrupted"
	case out.Error.Code == "":
		out.Error.Code = fault.CodeFailed
	}
	return out
}

func place(p config.Problem) string {
	if p.Line == 0 {
		return p.File
	}
	return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column)
}

// finish prints the error, if any, and gives the exit code: with -o json as the
// object on standard output, else as text on standard error.
func (a *app) finish(err error) int {
	var s silent
	if err == nil || errors.As(err, &s) {
		return exitCode(err)
	}
	d := describe(err)
	if a.json {
		if werr := json.NewEncoder(a.stdout).Encode(d); werr != nil {
			fmt.Fprintln(a.stderr, "tandem:", werr)
		}
		return exitCode(err)
	}
	var ps config.Problems
	if errors.As(err, &ps) {
		fmt.Fprintln(a.stderr, err)
		return exitCode(err)
	}
	line := "tandem: " + d.Error.Message
	if d.Error.Where != "" {
		line = "tandem: " + d.Error.Where + ": " + d.Error.Message
	}
	fmt.Fprintln(a.stderr, line)
	if d.Error.Hint != "" {
		fmt.Fprintln(a.stderr, "  "+d.Error.Hint)
	}
	return exitCode(err)
}
