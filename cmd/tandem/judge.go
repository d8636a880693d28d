package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/spf13/cobra"

	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/internal/spelling"
	"github.com/tandem-sync/tandem/sync/judge"
	"github.com/tandem-sync/tandem/sync/mapping"
	"github.com/tandem-sync/tandem/sync/record"
	"github.com/tandem-sync/tandem/transport/settings"
)

// judgeModes is what a case may be judged by: Mautic's modes and our policies.
var judgeModes = []string{
	string(judge.Hard), string(judge.Best), string(judge.Fuzzy),
	string(judge.Newest), string(judge.Local), string(judge.Remote), string(judge.Manual),
	string(judge.EvidenceHard), string(judge.EvidenceBest), string(judge.EvidenceFuzzy),
}

// maxCase is the longest line that is read, in bytes.
const maxCase = 16 << 20

func judgeCommand(a *app) *cobra.Command {
	var mode string
	cmd := &cobra.Command{
		Use: "judge", Short: "Say who wins a field, from cases on standard input", Args: cobra.NoArgs,
		Long: `Judge reads one case per line as JSON and prints one line per case, in order:
{"winner":"left"|"right"|"none"|"unresolved","reason":"…"}. Left is the local
side, right the remote one.

A case is {"mode"?, "left":{"value","certain_change","possible_change"},
"right":{…}, "base"?}. certain_change is when the field changed, possible_change
when the record did; both are RFC 3339 or null. base is the value both sides last
held, or {"left":…,"right":…} where each held its own; without it the case is a
first link. Other members are ignored.

Modes hard, best and fuzzy look at times only, as Mautic's judge does. newest,
local, remote, manual and evidence-hard|best|fuzzy are what conflict: takes in the
configuration; with them winner is none when there is nothing to write.`,
		Example: `  echo '{"left":{"value":"Rome"},"right":{"value":"Bern"},"base":"Bern"}' | tandem judge
  tandem judge --mode fuzzy < cases.jsonl`,
	}
	cmd.Flags().StringVar(&mode, "mode", string(judge.Newest), "mode of the cases that name none: "+strings.Join(judgeModes, ", "))
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := checkMode(mode); err != nil {
			return err
		}
		return a.judge(cmd.Context(), cmd.InOrStdin(), mode)
	}
	return cmd
}

// judgeCase is a line of input.
type judgeCase struct {
	Mode  string         `json:"mode"`
	Left  *judgeSide     `json:"left"`
	Right *judgeSide     `json:"right"`
	Base  jsontext.Value `json:"base"`
}

// judgeSide is one side of a case.
type judgeSide struct {
	Value    jsontext.Value            `json:"value"`
	Certain  *string                   `json:"certain_change"`
	Possible *string                   `json:"possible_change"`
	Other    map[string]jsontext.Value `json:",embed"` // members nobody asked for
}

// judgement is a line of output.
type judgement struct {
	Winner string `json:"winner"`
	Reason string `json:"reason"`
}

// judge answers the cases of in line by line, up to the first one that is bad.
// Each answer goes out at once: the asker may be waiting for it.
func (a *app) judge(ctx context.Context, in io.Reader, mode string) error {
	values, err := newCaseValues()
	if err != nil {
		return err
	}
	sc := bufio.NewScanner(in)
	sc.Buffer(nil, maxCase)
	line := 0
	for ctx.Err() == nil && sc.Scan() {
		line++
		if len(bytes.TrimSpace(sc.Bytes())) == 0 {
			continue
		}
		got, err := values.decide(sc.Bytes(), mode)
		if err != nil {
			return badCase(line, err)
		}
		if err := a.printJSON(got); err != nil {
			return err
		}
	}
	if errors.Is(sc.Err(), bufio.ErrTooLong) {
		return badCase(line+1, fmt.Errorf("is longer than %d MiB", maxCase>>20))
	}
	return errors.Join(sc.Err(), ctx.Err())
}

func badCase(line int, err error) error {
	where := fmt.Sprintf("line %d", line)
	return fault.New(fault.Permanent, fault.CodeUsage, "", "%w", err).WithWhere(where).
		WithHint(`a case is {"left":{"value":…,"certain_change":…,"possible_change":…},"right":{…}} on one line; see ` + "`tandem judge --help`")
}

func checkMode(mode string) error {
	if slices.Contains(judgeModes, mode) {
		return nil
	}
	// Two letters that changed places count as two edits, in short words too.
	near, best := "", 3
	for _, m := range judgeModes {
		if d := spelling.Distance(strings.ToLower(mode), m); d < best {
			near, best = m, d
		}
	}
	hint := "want one of " + strings.Join(judgeModes, ", ")
	if near != "" {
		hint = "did you mean " + near + "?"
	}
	return usagef("unknown mode %q; %s", mode, hint)
}

// caseValues brings the values of cases into their one comparable form.
type caseValues struct{ manual *mapping.Manual }

func newCaseValues() (caseValues, error) {
	m, problems := mapping.Compile(mapping.Spec{
		Fields: []mapping.Field{{Local: "value", Remote: "value", Direction: mapping.ToLocal}},
	}, nil)
	if len(problems) > 0 {
		return caseValues{}, fault.New(fault.Permanent, fault.CodeFailed, "judge", "%s", problems[0].Message)
	}
	return caseValues{m}, nil
}

// decide judges one line.
func (c caseValues) decide(text []byte, mode string) (judgement, error) {
	var in judgeCase
	if err := json.Unmarshal(text, &in); err != nil {
		return judgement{}, fmt.Errorf("is no case: %w", err)
	}
	if in.Mode != "" {
		mode = in.Mode
	}
	if err := checkMode(mode); err != nil {
		return judgement{}, err
	}
	var p judge.Pair
	var err error
	if p.Local, err = c.side("left", in.Left); err != nil {
		return judgement{}, err
	}
	if p.Remote, err = c.side("right", in.Right); err != nil {
		return judgement{}, err
	}
	if p.Base, err = c.base(in.Base); err != nil {
		return judgement{}, err
	}
	switch m := judge.Mode(mode); m {
	case judge.Hard, judge.Best, judge.Fuzzy:
		w, why := judge.Evidence(m, p.Local.At, p.Remote.At)
		return judgement{w.String(), why}, nil
	}
	v := judge.Judge(&judge.Rule{Policy: judge.Policy(mode)}, &p)
	return judgement{v.Winner.String(), v.Reason}, nil
}

func (c caseValues) side(name string, in *judgeSide) (judge.Side, error) {
	if in == nil {
		return judge.Side{}, fmt.Errorf("%s is missing", name)
	}
	// A misspelt time would silently count as not known.
	for key := range in.Other {
		if near := settings.Nearest(key, []string{"certain_change", "possible_change"}); near != "" {
			return judge.Side{}, fmt.Errorf("%s: unknown member %q; did you mean %s?", name, key, near)
		}
	}
	v, err := c.value(in.Value)
	if err != nil {
		return judge.Side{}, fmt.Errorf("%s.value: %w", name, err)
	}
	var at judge.Times
	if at.Field, err = caseTime(in.Certain); err != nil {
		return judge.Side{}, fmt.Errorf("%s.certain_change: %w", name, err)
	}
	if at.Record, err = caseTime(in.Possible); err != nil {
		return judge.Side{}, fmt.Errorf("%s.possible_change: %w", name, err)
	}
	return judge.Plain(v, at), nil
}

func caseTime(text *string) (time.Time, error) {
	if text == nil {
		return time.Time{}, nil
	}
	t, err := time.Parse(time.RFC3339, *text)
	if err != nil {
		return t, fmt.Errorf("%q is no RFC 3339 time such as 2026-01-02T15:04:05Z", *text)
	}
	return t, nil
}

// base reads the base of a case: a value, {"value":…} for both sides, or a pair.
func (c caseValues) base(raw jsontext.Value) (judge.Halves, error) {
	left, right := raw, raw
	if raw.Kind() == '{' {
		var members map[string]jsontext.Value
		if err := json.Unmarshal(raw, &members); err != nil {
			return judge.Halves{}, fmt.Errorf("base: %w", err)
		}
		if only(members, "value") {
			left, right = members["value"], members["value"]
		} else if only(members, "left", "right") {
			left, right = members["left"], members["right"]
		}
	}
	l, err := c.value(left)
	if err != nil {
		return judge.Halves{}, fmt.Errorf("base: %w", err)
	}
	r, err := c.value(right)
	if err != nil {
		return judge.Halves{}, fmt.Errorf("base: %w", err)
	}
	return judge.Halves{Local: l, Remote: r}, nil
}

// only reports whether an object has members of these names and no others.
func only(members map[string]jsontext.Value, names ...string) bool {
	found := 0
	for _, name := range names {
		if _, ok := members[name]; ok {
			found++
		}
	}
	return found > 0 && found == len(members)
}

// value reads a value in its canonical form; no JSON at all is an absent one.
func (c caseValues) value(raw jsontext.Value) (record.Value, error) {
	var v record.Value
	switch raw.Kind() {
	case 0:
		return v, nil
	case 'n':
		v = record.NullValue
	case 't', 'f':
		v = record.B(raw.Kind() == 't')
	case '0':
		v = record.N(string(raw))
	case '"':
		var s string
		if err := json.Unmarshal(raw, &s); err != nil {
			return v, err
		}
		v = record.T(s)
	default:
		v = record.J(string(raw))
	}
	vals := []record.Value{v}
	err := c.manual.CanonRemote(vals)
	return vals[0], err
}
