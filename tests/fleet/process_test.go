package fleet

import (
	"bytes"
	"context"
	"errors"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// process is a running tandem. It is killed when its test ends, and its log is
// shown when the test has failed.
type process struct {
	t        *testing.T
	name     string
	cmd      *exec.Cmd
	out, log output
	ended    chan struct{}
}

// output collects what a process writes while it runs.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(b)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// spawn starts a program in w's folder and environment.
func (w *world) spawn(program string, args ...string) *process {
	w.t.Helper()
	p := &process{t: w.t, name: strings.Join(args, " "), ended: make(chan struct{})}
	p.cmd = exec.CommandContext(context.Background(), program, args...) // #nosec G204 -- the binary under test
	p.cmd.Dir, p.cmd.Env = w.dir, w.env
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.log
	if err := p.cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	go func() {
		defer close(p.ended)
		_ = p.cmd.Wait() // the exit code says it
	}()
	w.t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		<-p.ended
		if w.t.Failed() {
			w.t.Logf("%s (exit %d):\n%s%s", p.name, p.cmd.ProcessState.ExitCode(), tail(p.out.String()), tail(p.log.String()))
		}
	})
	return p
}

func tail(s string) string {
	const most = 3000
	if len(s) > most {
		return "…" + s[len(s)-most:]
	}
	return s
}

func (p *process) pid() int { return p.cmd.Process.Pid }

// signal sends sig to the process.
func (p *process) signal(sig syscall.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(sig); err != nil {
		p.t.Fatalf("%s: %v", p.name, err)
	}
}

// kill is kill -9, and waits until the process is gone.
func (p *process) kill() {
	p.t.Helper()
	p.signal(syscall.SIGKILL)
	<-p.ended
}

// exit waits for the process to end and gives its exit code.
func (p *process) exit(within time.Duration) int {
	p.t.Helper()
	select {
	case <-p.ended:
		return p.cmd.ProcessState.ExitCode()
	case <-time.After(within):
		p.t.Fatalf("%s does not end within %v", p.name, within)
		return -1
	}
}

// alive fails the test when the process has ended.
func (p *process) alive() {
	p.t.Helper()
	select {
	case <-p.ended:
		p.t.Fatalf("%s ended with %d: %s", p.name, p.cmd.ProcessState.ExitCode(), p.log.String())
	default:
	}
}

// result is a command that ran to its end.
type result struct {
	code        int
	out, errors string
	took        time.Duration
}

// tandem runs one command to its end.
func (w *world) tandem(args ...string) result {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 90*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, args...) // #nosec G204 -- the binary under test
	cmd.Dir, cmd.Env = w.dir, w.env
	var out, log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &log
	began := time.Now()
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) || ctx.Err() != nil {
		w.t.Fatalf("tandem %s: %v %v\n%s", strings.Join(args, " "), err, ctx.Err(), log.String())
	}
	return result{code: cmd.ProcessState.ExitCode(), out: out.String(), errors: log.String(), took: time.Since(began)}
}

// must runs a command that has to succeed.
func (w *world) must(args ...string) string {
	w.t.Helper()
	r := w.tandem(args...)
	if r.code != 0 {
		w.t.Fatalf("tandem %s: exit code %d\n%s%s", strings.Join(args, " "), r.code, r.out, r.errors)
	}
	return r.out
}

// until waits for cond, which is asked often.
func until(t *testing.T, within time.Duration, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(within); !cond(); time.Sleep(30 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited %v in vain for %s", within, what)
		}
	}
}
