// Package fleet runs the built binary as its users do: processes of their own
// against a real RabbitMQ, a real PostgreSQL and SQLite files, with a remote
// that keeps state. Every fault is caused for real: processes are killed and
// frozen, queues deleted, servers ended without warning.
package fleet

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"go.uber.org/goleak"
)

// binary is the tandem that all tests run.
var binary string

func TestMain(m *testing.M) { os.Exit(realMain(m)) }

func realMain(m *testing.M) int {
	dir, err := os.MkdirTemp("", "tandem-fleet-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir) //nolint:errcheck // a temporary folder
	binary = filepath.Join(dir, "tandem")
	build := exec.Command("go", "build", "-o", binary, "../../cmd/tandem") //nolint:noctx // before any test; go test bounds it
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "build tandem:", err)
		return 1
	}
	// These tests wait for leases, retries and restarts far more than they work.
	flag.Parse()
	if err := flag.Set("test.parallel", "20"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	code := m.Run()
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}
