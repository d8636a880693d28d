// Package convergence plays two-way sync between one table and two remotes: the
// real workers, passes and SQL on SQLite in a bubble of fake time, with people
// who edit, create and delete on all three sides and a seeded scheduler that lets
// everything go wrong. When all has come to rest, the sides must agree, and no
// edit may be lost that nobody replaced.
package convergence

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// seeds is how many histories a plain test run plays; TANDEM_SIM_SEEDS plays
// more, from TANDEM_SIM_FIRST on, TANDEM_SIM_SEED one. TANDEM_SIM_SHRINK=off
// leaves a failing history as it is; TANDEM_SIM_STOP=on plays one after the other
// and ends with the first that fails.
const seeds = 500

func TestTwoWaySync(t *testing.T) {
	first, n := uint64(1), uint64(seeds)
	if v, err := strconv.ParseUint(os.Getenv("TANDEM_SIM_SEEDS"), 10, 64); err == nil && v > 0 {
		n = v
	}
	if v, err := strconv.ParseUint(os.Getenv("TANDEM_SIM_FIRST"), 10, 64); err == nil && v > 0 {
		first = v
	}
	if v, err := strconv.ParseUint(os.Getenv("TANDEM_SIM_SEED"), 10, 64); err == nil && v > 0 {
		first, n = v, 1
	}
	image := blank(t)
	var mu sync.Mutex
	var failed []uint64
	faults := map[string]int{}
	t.Run("seeds", func(t *testing.T) {
		stop := os.Getenv("TANDEM_SIM_STOP") == "on"
		for seed := first; seed < first+n && (!stop || !t.Failed()); seed++ {
			t.Run(fmt.Sprint(seed), func(t *testing.T) {
				if !stop {
					t.Parallel()
				}
				h := play(t, generate(seed), image)
				mu.Lock()
				defer mu.Unlock()
				for k, v := range h.faults {
					faults[k] += v
				}
				if len(h.broken) > 0 {
					failed = append(failed, seed)
					t.Errorf("seed %d (play it alone with TANDEM_SIM_SEED=%d):\n%s", seed, seed, strings.Join(h.broken, "\n"))
				}
			})
		}
	})
	t.Logf("%d seeds, faults played: %v", n, faults)
	if len(failed) > 0 && os.Getenv("TANDEM_SIM_SHRINK") != "off" {
		sc, h := shrink(t, generate(slices.Min(failed)), image)
		t.Errorf("the smallest history that fails like seed %d (to be kept in testdata/regress):\n%s\n%s\nwhat happened:\n%s",
			slices.Min(failed), sc.json(), strings.Join(h.broken, "\n"), strings.Join(h.story, "\n"))
	}
}

// TestRegress plays the histories that once failed.
func TestRegress(t *testing.T) {
	files, err := filepath.Glob("testdata/regress/*.json")
	must(t, err)
	image := blank(t)
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			b, err := os.ReadFile(file) //nolint:gosec // a file of this folder
			must(t, err)
			var sc scenario
			must(t, json.Unmarshal(b, &sc))
			if h := play(t, sc, image); len(h.broken) > 0 {
				t.Errorf("%s\n%s", strings.Join(h.broken, "\n"), strings.Join(h.story, "\n"))
			}
		})
	}
}

// TestSameSeedSameHistory is what makes a failing seed worth anything.
func TestSameSeedSameHistory(t *testing.T) {
	image := blank(t)
	for seed := uint64(1); seed <= 8; seed++ {
		a, b := play(t, generate(seed), image), play(t, generate(seed), image)
		if a.hash != b.hash || a.steps != b.steps {
			at := 0
			for at < len(a.story) && at < len(b.story) && a.story[at] == b.story[at] {
				at++
			}
			t.Errorf("seed %d played two histories (%d steps %x, %d steps %x), which part here:\n%s\nor\n%s", seed, a.steps, a.hash, b.steps, b.hash,
				strings.Join(a.story[max(0, at-8):min(at+3, len(a.story))], "\n"), strings.Join(b.story[max(0, at-8):min(at+3, len(b.story))], "\n"))
		}
	}
}
