// Command mutants breaks the code on purpose, one way after the other, each in a
// build of its own, and plays the simulation of two-way sync until it notices. A
// simulation that never fails proves nothing.
package main

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"
)

//go:embed mutants.json
var list []byte

// mutant is a change that takes a promise away.
type mutant struct {
	Name  string `json:"name"`
	Edits []edit `json:"edits"`
	// Equivalent says why nothing can notice it; such a mutant is not played.
	Equivalent string `json:"equivalent"`
}

// edit is one change of the code.
type edit struct {
	File string `json:"file"`
	Old  string `json:"old"` // occurs once
	New  string `json:"new"`
}

// verdict is what became of a mutant.
type verdict struct {
	text     string
	survived bool
}

func main() {
	seeds := flag.Int("seeds", 400, "the most seeds played for one mutant")
	first := flag.Int("first", 1, "the first seed")
	most := flag.Duration("time", 10*time.Minute, "the longest that one mutant is played")
	only := flag.String("only", "", "a part of the names of those to try")
	at := flag.Int("at-once", 2, "how many are tried at a time")
	flag.Parse()
	if err := run(game{first: *first, seeds: *seeds, most: *most}, *only, *at); err != nil {
		fmt.Fprintln(os.Stderr, "mutants:", err)
		os.Exit(1)
	}
}

func run(g game, only string, atOnce int) error {
	var all []mutant
	if err := json.Unmarshal(list, &all); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "tandem-mutants-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }() // a temporary folder
	var mu sync.Mutex
	var errs []error
	survived := 0
	turns := make(chan struct{}, atOnce)
	var wg sync.WaitGroup
	for i, m := range all {
		if !strings.Contains(m.Name, only) {
			continue
		}
		turns <- struct{}{}
		wg.Go(func() {
			defer func() { <-turns }()
			v, err := g.try(filepath.Join(dir, strconv.Itoa(i)), m)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", m.Name, err))
				return
			}
			if v.survived {
				survived++
			}
			fmt.Fprintf(os.Stdout, "%-60s %s\n", m.Name, v.text)
		})
	}
	wg.Wait()
	if survived > 0 {
		errs = append(errs, fmt.Errorf("%d survived", survived))
	}
	return errors.Join(errs...)
}

// game is how long a mutant is played.
type game struct {
	first, seeds int
	most         time.Duration
}

// try builds the simulation with the mutant in it and plays.
func (g game) try(dir string, m mutant) (verdict, error) {
	if m.Equivalent != "" {
		return verdict{text: "not played: " + m.Equivalent}, nil
	}
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return verdict{}, err
	}
	over, err := overlay(dir, m)
	if err != nil {
		return verdict{}, err
	}
	binary := filepath.Join(dir, "convergence.test")
	build := exec.CommandContext(context.Background(), "go", "test", "-c", "-overlay", over, "-o", binary, "./tests/convergence") //nolint:gosec // the go tool
	if out, err := build.CombinedOutput(); err != nil {
		return verdict{}, fmt.Errorf("does not compile: %s", out)
	}
	began := time.Now()
	out, err := g.play(binary)
	took := time.Since(began).Round(time.Second)
	_ = os.Remove(binary) // they are large
	switch seed := failed(out); {
	case err == nil:
		return verdict{fmt.Sprintf("SURVIVED %d seeds (%v)", g.seeds, took), true}, nil
	case seed == 0:
		return verdict{}, fmt.Errorf("ended without a word: %w: %s", err, out)
	case bytes.Contains(out, []byte("test timed out")) && took >= g.most:
		return verdict{fmt.Sprintf("SURVIVED %d seeds in %v", seed-g.first, took), true}, nil
	default:
		return verdict{text: fmt.Sprintf("killed by seed %d after %v: %s", seed, took, why(out))}, nil
	}
}

// overlay writes the broken files and what tells the go tool of them.
func overlay(dir string, m mutant) (string, error) {
	whole := map[string]string{}
	for _, e := range m.Edits {
		text, ok := whole[e.File]
		if !ok {
			b, err := os.ReadFile(e.File)
			if err != nil {
				return "", err
			}
			text = string(b)
		}
		if n := strings.Count(text, e.Old); n != 1 {
			return "", fmt.Errorf("its text occurs %d times in %s", n, e.File)
		}
		whole[e.File] = strings.Replace(text, e.Old, e.New, 1)
	}
	replace := map[string]string{}
	for file, text := range whole {
		from, err := filepath.Abs(file)
		if err != nil {
			return "", err
		}
		to := filepath.Join(dir, strings.ReplaceAll(file, "/", "_"))
		if err := os.WriteFile(to, []byte(text), 0o600); err != nil {
			return "", err
		}
		replace[from] = to
	}
	b, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "overlay.json")
	return path, os.WriteFile(path, b, 0o600)
}

// play runs the seeds one after the other until one fails.
func (g game) play(binary string) ([]byte, error) {
	c := exec.CommandContext(context.Background(), binary, "-test.run", "TestTwoWaySync", "-test.v", "-test.timeout", g.most.String()) //nolint:gosec // just built
	c.Dir = "tests/convergence"
	c.Env = append(os.Environ(), "TANDEM_SIM_FIRST="+strconv.Itoa(g.first), "TANDEM_SIM_SEEDS="+strconv.Itoa(g.seeds),
		"TANDEM_SIM_SHRINK=off", "TANDEM_SIM_STOP=on", "GOMAXPROCS=1")
	return c.CombinedOutput()
}

var started = regexp.MustCompile(`(?m)^=== RUN +TestTwoWaySync/seeds/(\d+)$`)

// failed gives the seed that was played last; 0 none was.
func failed(out []byte) int {
	all := started.FindAllSubmatch(out, -1)
	if len(all) == 0 {
		return 0
	}
	n, err := strconv.Atoi(string(all[len(all)-1][1]))
	if err != nil {
		return 0
	}
	return n
}

var promise = regexp.MustCompile(`(?m)^ +step \d+: (.*)$`)

// why is the first promise that the mutant broke.
func why(out []byte) string {
	m := promise.FindSubmatch(out)
	if m == nil {
		return "it ended in an error"
	}
	if text := string(m[1]); len(text) > 110 {
		return text[:110] + "…"
	}
	return string(m[1])
}
