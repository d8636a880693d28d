package mapping

import (
	"fmt"
	"strings"
)

// badPath says what is wrong with a remote path, or "". The channel type gives
// it its meaning; here only its shape is checked: names with dots between them,
// [0] for a place in a list, ["a.b"] for a name that holds a dot.
func badPath(p string) string {
	switch {
	case p == "":
		return "is missing"
	case strings.TrimSpace(p) != p:
		return "has blanks at its ends"
	}
	for rest := p; rest != ""; {
		next, ok := pathStep(rest)
		if !ok {
			return fmt.Sprintf("%q has an empty part or a malformed index", p)
		}
		rest = next
		if dotted, cut := strings.CutPrefix(rest, "."); cut {
			if rest = dotted; rest == "" {
				return fmt.Sprintf("%q ends with a dot", p)
			}
		}
	}
	return ""
}

// pathStep reads one step of a path and gives what follows.
func pathStep(p string) (rest string, ok bool) {
	if quoted, is := strings.CutPrefix(p, `["`); is {
		_, rest, ok = strings.Cut(quoted, `"]`)
		return rest, ok
	}
	if index, is := strings.CutPrefix(p, "["); is {
		number, rest, closed := strings.Cut(index, "]")
		return rest, closed && number != "" && strings.Trim(number, "0123456789") == ""
	}
	end := strings.IndexAny(p, ".[]")
	if end < 0 {
		return "", true
	}
	return p[end:], end > 0 && p[end] != ']'
}

// pathSteps takes a well-formed path apart: a ["b.c"][0] is "a", "b.c", "0".
func pathSteps(p string) []string {
	var steps []string
	for p != "" {
		rest, ok := pathStep(p)
		if !ok {
			return append(steps, p)
		}
		step := p[:len(p)-len(rest)]
		if name, quoted := strings.CutPrefix(step, `["`); quoted {
			step = strings.TrimSuffix(name, `"]`)
		} else if index, is := strings.CutPrefix(step, "["); is {
			step = strings.TrimSuffix(index, "]")
		}
		steps = append(steps, step)
		p = strings.TrimPrefix(rest, ".")
	}
	return steps
}

// overlaps reports whether two paths are the same or one lies within the other,
// so that not both can be written.
func overlaps(a, b string) bool {
	x, y := pathSteps(a), pathSteps(b)
	for i := range min(len(x), len(y)) {
		if x[i] != y[i] {
			return false
		}
	}
	return true
}
