package convergence

import (
	"regexp"
	"slices"
	"testing"
	"time"
)

// How much a failing history is worth.
const (
	shrinkTries = 300
	shrinkTime  = time.Minute
)

// shrink makes a failing scenario smaller: what people do first, then what goes
// wrong, then the records that are there from the beginning, each as long as the
// same promise stays broken.
func shrink(t *testing.T, sc scenario, image []byte) (scenario, history) {
	until := time.Now().Add(shrinkTime)
	h, tries := play(t, sc, image), shrinkTries
	if len(h.broken) == 0 {
		return sc, h
	}
	want := promise(h.broken[0])
	fails := func(c scenario) bool {
		if tries--; tries < 0 || time.Now().After(until) {
			return false
		}
		got := play(t, c, image)
		if len(got.broken) == 0 || promise(got.broken[0]) != want {
			return false
		}
		sc, h = c, got
		return true
	}
	for again := true; again && tries > 0 && time.Now().Before(until); {
		again = false
		less := func(n int, cut func(c *scenario, from, to int)) {
			for size := n; size > 0; size /= 2 {
				for from := n - size; from >= 0; from -= size {
					c := sc
					cut(&c, from, from+size)
					again = fails(c) || again
				}
			}
		}
		less(len(sc.Actions), func(c *scenario, from, to int) { c.Actions = without(sc.Actions, from, to) })
		less(len(sc.Faults), func(c *scenario, from, to int) { c.Faults = without(sc.Faults, from, to) })
		for _, c := range simpler(sc) {
			again = fails(c) || again
		}
	}
	return sc, h
}

func without[T any](list []T, from, to int) []T {
	from, to = min(from, len(list)), min(to, len(list))
	return slices.Concat(list[:from], list[to:])
}

// simpler gives scenarios with less in them that nobody did.
func simpler(sc scenario) []scenario {
	var out []scenario
	add := func(change func(c *scenario)) {
		c := sc
		change(&c)
		out = append(out, c)
	}
	if sc.Shape.Rows > 0 {
		add(func(c *scenario) { c.Shape.Rows-- })
	}
	if sc.Shape.Records > 1 {
		add(func(c *scenario) { c.Shape.Records-- })
	}
	add(func(c *scenario) { c.Steps -= 40 })
	for i := range sc.Shape.Remotes {
		if sc.Shape.Remotes[i].Offset {
			add(func(c *scenario) { c.Shape.Remotes[i].Offset = false })
		}
		if sc.Shape.Remotes[i].Upper {
			add(func(c *scenario) { c.Shape.Remotes[i].Upper = false })
		}
	}
	return slices.DeleteFunc(out, func(c scenario) bool { return c.Steps < 40 })
}

var particular = regexp.MustCompile(`(?i)step [0-9]+: |[abl]?-?[0-9]+(@[a-z]+)?|"[^"]*"|\b[AB]\b`)

// promise is a breach without what is particular to it.
func promise(broken string) string { return particular.ReplaceAllString(broken, "_") }
