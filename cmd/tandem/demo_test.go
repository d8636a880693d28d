package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// runningDemo is a demo in a process of its own, with its folder.
type runningDemo struct {
	cmd *exec.Cmd
	tmp string
	out *bytes.Buffer
}

// startDemo starts a demo and waits until its service is up.
func startDemo(t *testing.T) (runningDemo, announcement) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	d := runningDemo{cmd: exec.CommandContext(t.Context(), self, "demo", "--exit"), tmp: t.TempDir(), out: &bytes.Buffer{}}
	d.cmd.Args[0] = "tandem"
	d.cmd.Env = append(ownVariables(os.Environ()), "TMPDIR="+d.tmp)
	d.cmd.Stdout, d.cmd.Stderr = d.out, d.out
	if err := d.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(90 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if b, err := os.ReadFile(filepath.Join(d.folder(t), "service.json")); err == nil && bytes.HasSuffix(b, []byte("\n")) {
			var said announcement
			if err := json.Unmarshal(b, &said); err != nil {
				t.Fatal(err)
			}
			return d, said
		}
	}
	t.Fatalf("the service does not come up:\n%s", d.out)
	return d, announcement{}
}

// folder is the demo's own; "nowhere" while there is none.
func (d runningDemo) folder(t *testing.T) string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(d.tmp, "tandem-demo-*"))
	if err != nil {
		t.Fatal(err)
	}
	if len(found) == 0 {
		return "nowhere"
	}
	return found[0]
}

// Ctrl-C in the middle ends the service and removes the folder.
func TestDemoInterrupted(t *testing.T) {
	t.Parallel()
	d, said := startDemo(t)
	if err := d.cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	_ = d.cmd.Wait()
	if code := d.cmd.ProcessState.ExitCode(); code != exitFailed {
		t.Errorf("exit code %d:\n%s", code, d.out)
	}
	if took := time.Since(begun); took > demoEnd+time.Minute {
		t.Errorf("it took %v to end", took)
	}
	if left := d.folder(t); left != "nowhere" {
		t.Errorf("%s is left behind", left)
	}
	// The demo waited for its service, so nobody has that process id any more.
	if err := syscall.Kill(said.PID, 0); err == nil {
		t.Errorf("process %d is still there", said.PID)
	}
}

// A service that ends by itself is told with what it said last.
func TestDemoWhoseServiceDies(t *testing.T) {
	t.Parallel()
	d, said := startDemo(t)
	if err := syscall.Kill(said.PID, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	_ = d.cmd.Wait()
	if code := d.cmd.ProcessState.ExitCode(); code == exitDone {
		t.Errorf("exit code %d:\n%s", code, d.out)
	}
	if left := d.folder(t); left != "nowhere" {
		t.Errorf("%s is left behind", left)
	}
}

func TestOwnVariables(t *testing.T) {
	t.Parallel()
	got := strings.Join(ownVariables([]string{"HOME=/root", "TANDEM_LISTEN=:1", "TANDEM_API_TOKEN=x", "MYTANDEM_X=1"}), " ")
	if got != "HOME=/root MYTANDEM_X=1" {
		t.Error(got)
	}
}
