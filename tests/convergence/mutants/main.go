// Command mutants breaks the code on purpose, one way after the other, each in a
// copy of its own, and plays the simulation of two-way sync until it notices. A
// simulation that never fails proves nothing.
package main

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

//go:embed mutants.json
var list []byte

// mutant is a change that takes a promise away.
type mutant struct {
	Name string `json:"name"`
	File string `json:"file"`
	Old  string `json:"old"` // occurs once
	New  string `json:"new"`
}

func main() {
	seeds := flag.Int("seeds", 400, "the most seeds played for one mutant")
	only := flag.String("only", "", "a part of the names of those to try")
	flag.Parse()
	if err := run(*seeds, *only); err != nil {
		fmt.Fprintln(os.Stderr, "mutants:", err)
		os.Exit(1)
	}
}

func run(seeds int, only string) error {
	var all []mutant
	if err := json.Unmarshal(list, &all); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "tandem-mutants-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }() // a temporary folder
	if err := copyTree(".", dir); err != nil {
		return err
	}
	survived := 0
	for _, m := range all {
		if !strings.Contains(m.Name, only) {
			continue
		}
		verdict, err := try(dir, m, seeds)
		if err != nil {
			return fmt.Errorf("%s: %w", m.Name, err)
		}
		if strings.HasPrefix(verdict, "SURVIVED") {
			survived++
		}
		fmt.Fprintf(os.Stdout, "%-52s %s\n", m.Name, verdict)
	}
	if survived > 0 {
		return fmt.Errorf("%d survived", survived)
	}
	return nil
}

// copyTree copies the module's Go files and what they embed.
func copyTree(from, to string) error {
	out, err := exec.CommandContext(context.Background(), "git", "-C", from, "ls-files", "-co", "--exclude-standard").Output()
	if err != nil {
		return err
	}
	for _, name := range strings.Fields(string(out)) {
		b, err := os.ReadFile(filepath.Join(from, name)) //nolint:gosec // a file of this repository
		if os.IsNotExist(err) {
			continue // deleted, and not committed yet
		}
		if err != nil {
			return err
		}
		path := filepath.Join(to, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
			return err
		}
		if err := os.WriteFile(path, b, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// try breaks the copy, plays, and mends it again.
func try(dir string, m mutant, seeds int) (string, error) {
	path := filepath.Join(dir, m.File)
	whole, err := os.ReadFile(path) //nolint:gosec // in a temporary folder of our own
	if err != nil {
		return "", err
	}
	if n := bytes.Count(whole, []byte(m.Old)); n != 1 {
		return "", fmt.Errorf("its text occurs %d times in %s", n, m.File)
	}
	defer func() { _ = os.WriteFile(path, whole, 0o600) }() // the next mutant says so if this failed
	broken := bytes.Replace(whole, []byte(m.Old), []byte(m.New), 1)
	if err := os.WriteFile(path, broken, 0o600); err != nil {
		return "", err
	}
	binary := filepath.Join(dir, "convergence.test")
	if out, err := command(dir, "go", "test", "-c", "-o", binary, "./tests/convergence").CombinedOutput(); err != nil {
		return "", fmt.Errorf("does not compile: %s", out)
	}
	began, first := time.Now(), 1
	for n := 10; first <= seeds; n *= 2 {
		n = min(n, seeds-first+1)
		if k := fails(dir, binary, first, n); k > 0 {
			return fmt.Sprintf("killed by seed %d after %s", k, time.Since(began).Round(time.Second)), nil
		}
		first += n
	}
	return fmt.Sprintf("SURVIVED %d seeds", seeds), nil
}

var alone = regexp.MustCompile(`TANDEM_SIM_SEED=(\d+)`)

// fails plays n seeds and gives the first that fails; 0 none.
func fails(dir, binary string, first, n int) int {
	c := command(filepath.Join(dir, "tests/convergence"), binary, "-test.run", "TestTwoWaySync", "-test.timeout", "20m")
	c.Env = append(os.Environ(), "TANDEM_SIM_FIRST="+strconv.Itoa(first), "TANDEM_SIM_SEEDS="+strconv.Itoa(n), "TANDEM_SIM_SHRINK=off")
	out, err := c.CombinedOutput()
	if err == nil {
		return 0
	}
	least := first // it may have ended without a word
	for i, m := range alone.FindAllSubmatch(out, -1) {
		if k, err := strconv.Atoi(string(m[1])); err == nil && (i == 0 || k < least) {
			least = k
		}
	}
	return least
}

func command(dir, name string, args ...string) *exec.Cmd {
	c := exec.CommandContext(context.Background(), name, args...) //nolint:gosec // the go tool and what it built
	c.Dir = dir
	return c
}
