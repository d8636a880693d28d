package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// childFiles are where a child's standard output and error go: the first is made
// anew, the second is added to.
type childFiles struct{ out, log string }

// child is this program as a process of its own. It never outlives its parent
// where the system can see to that.
type child struct {
	cmd     *exec.Cmd
	out     *os.File
	log     *os.File
	logFrom int64         // where its own part of the log begins
	done    chan struct{} // closed when it has ended
	err     error         // how; valid once done is closed
}

// startChild starts this program with the arguments.
func startChild(ctx context.Context, files childFiles, env []string, args ...string) (*child, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	out, err := os.OpenFile(files.out, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	log, err := os.OpenFile(files.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, errors.Join(err, out.Close())
	}
	c := &child{out: out, log: log, done: make(chan struct{})}
	if st, err := log.Stat(); err == nil {
		c.logFrom = st.Size()
	}
	// The end of ctx is told to the process by whoever stops it.
	c.cmd = exec.CommandContext(context.WithoutCancel(ctx), self, args...) //nolint:gosec // this program
	c.cmd.Args[0] = "tandem"
	c.cmd.Env, c.cmd.Stdout, c.cmd.Stderr = env, out, log
	c.cmd.SysProcAttr = childAttr()
	started := make(chan error)
	go c.run(started)
	return c, <-started
}

// run waits for the process on the thread that started it: Linux takes the end
// of that thread for the end of the parent.
func (c *child) run(started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := c.cmd.Start(); err != nil {
		started <- errors.Join(err, c.out.Close(), c.log.Close())
		return
	}
	started <- nil
	defer close(c.done)
	c.err = errors.Join(c.cmd.Wait(), c.out.Close(), c.log.Close())
}

func (c *child) pid() int { return c.cmd.Process.Pid }

// kill ends the process as a crash would.
func (c *child) kill() {
	_ = c.cmd.Process.Kill() // one that has ended is as good
	<-c.done
}

// stop lets the process end by itself, and kills it after the limit.
func (c *child) stop(limit time.Duration) error {
	if c.failed() != nil {
		return nil // told to whoever needed it
	}
	_ = c.cmd.Process.Signal(syscall.SIGTERM)
	t := time.NewTimer(limit)
	defer t.Stop()
	select {
	case <-c.done:
		return c.err
	case <-t.C:
		c.kill()
		return fmt.Errorf("process %d did not end within %s", c.pid(), limit)
	}
}

// failed says how the process ended; nil while it runs.
func (c *child) failed() error {
	select {
	case <-c.done:
		return fmt.Errorf("process %d ended (%v): %s", c.pid(), c.cmd.ProcessState, c.tail())
	default:
		return nil
	}
}

// tail is the end of what the process printed.
func (c *child) tail() string {
	b, err := os.ReadFile(c.log.Name())
	if err != nil {
		return err.Error()
	}
	b = b[min(c.logFrom, int64(len(b))):]
	return strings.TrimSpace(string(bytes.ToValidUTF8(b[max(0, len(b)-1500):], nil)))
}
