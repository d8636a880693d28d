package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Environment stands in Problem.File for a value that an environment variable
// gave.
const Environment = "environment"

// Problem is one fault of a configuration.
type Problem struct {
	File    string // as it was named; Environment for a TANDEM_ variable
	Line    int    // from 1; 0 when there is no line
	Column  int    // in characters, from 1; 0 when there is no line
	Field   string // path such as channels[0].connectors[0].mapping[2].local; may be empty
	Message string // what is wrong, never with a secret
	Fix     string // what to do; may be empty
}

// String gives "file:line:column: field: problem; fix".
func (p Problem) String() string {
	var b strings.Builder
	b.WriteString(p.File)
	if p.Line > 0 {
		fmt.Fprintf(&b, ":%d:%d", p.Line, p.Column)
	}
	if p.Field != "" {
		b.WriteString(": " + p.Field)
	}
	b.WriteString(": " + p.Message)
	if p.Fix != "" {
		b.WriteString("; " + p.Fix)
	}
	return b.String()
}

// Problems are faults in order of their place. Empty is none. It is an error
// only through Err, so that an empty list is never a non-nil error.
type Problems []Problem

// Error lists the problems, one a line.
func (ps Problems) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// Err is ps as an error, nil when there is none.
func (ps Problems) Err() error {
	if len(ps) == 0 {
		return nil
	}
	return ps
}

// And joins two lists in order of place and drops what is said twice.
func (ps Problems) And(more Problems) Problems {
	out := append(slices.Clone(ps), more...)
	slices.SortStableFunc(out, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column), cmp.Compare(a.Field, b.Field))
	})
	return slices.Compact(out)
}
