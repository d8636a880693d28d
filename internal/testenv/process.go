package testenv

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// owner is the user a server runs as. PostgreSQL refuses to run as root.
type owner struct {
	uid, gid int // -1: as we are
}

// serverOwner picks the user: ourselves, or when we are root the first of names
// that exists.
func serverOwner(names ...string) (owner, error) {
	if os.Getuid() != 0 {
		return owner{-1, -1}, nil
	}
	for _, name := range append(names, "nobody") {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, errU := strconv.Atoi(u.Uid)
		gid, errG := strconv.Atoi(u.Gid)
		if errU == nil && errG == nil && uid != 0 {
			return owner{uid, gid}, nil
		}
	}
	return owner{}, fmt.Errorf("running as root, and none of the users %v, nobody exists to run the server as", names)
}

func (o owner) chown(path string) error {
	if o.uid < 0 {
		return nil
	}
	return os.Chown(path, o.uid, o.gid)
}

// write makes a file that belongs to the owner.
func (o owner) write(path, content string) error {
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		return err
	}
	return o.chown(path)
}

// command prepares a program of the owner in a session of its own, so that the
// signals of a terminal or of `go test` do not reach it. It lives beyond ctx.
func (o owner) command(dir string, env []string, program string, args ...string) *exec.Cmd {
	cmd := exec.Command(program, args...) //nolint:noctx,gosec // outlives its caller on purpose; fixed programs
	cmd.Dir = dir
	cmd.Env = env
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if o.uid >= 0 {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(o.uid), Gid: uint32(o.gid)}
	}
	return cmd
}

// run runs a program to its end and gives what it printed in the error.
func (o owner) run(dir string, env []string, program string, args ...string) error {
	cmd := o.command(dir, env, program, args...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", filepath.Base(program), err, tail(out))
	}
	return nil
}

// start starts a server that outlives us, its output in a file.
func (o owner) start(dir, logFile string, env []string, program string, args ...string) (*process, error) {
	f, err := os.OpenFile(logFile, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600) // #nosec G304 -- own folder
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // the child has its own copy
	if err := o.chown(logFile); err != nil {
		return nil, err
	}
	cmd := o.command(dir, env, program, args...)
	cmd.Stdout, cmd.Stderr = f, f
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", filepath.Base(program), err)
	}
	return &process{pid: cmd.Process.Pid, name: filepath.Base(program), log: logFile}, nil
}

// process is a server we have just started.
type process struct {
	pid  int
	name string
	log  string
}

// await calls ready until it succeeds, the process ends or ctx does. There is
// no goroutine that waits for the process: it is to outlive this test binary.
func (p *process) await(ctx context.Context, ready func(context.Context) error) error {
	for {
		err := ready(ctx)
		if err == nil {
			return nil
		}
		var ws syscall.WaitStatus
		if got, _ := syscall.Wait4(p.pid, &ws, syscall.WNOHANG, nil); got == p.pid {
			return fmt.Errorf("%s ended while starting: %s", p.name, p.lastLines())
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s did not get ready: %w: %s", p.name, err, p.lastLines())
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func (p *process) lastLines() string {
	b, err := os.ReadFile(p.log)
	if err != nil {
		return "no log"
	}
	return tail(b)
}

func tail(b []byte) string {
	b = bytes.TrimSpace(b)
	if len(b) > 1200 {
		b = b[len(b)-1200:]
	}
	return string(b)
}

// stop ends a server and removes its files. Only processes that carry the
// server's folder in their arguments are touched: a process id may have gone to
// somebody else since.
func (s *server) stop() error {
	for _, pid := range s.PIDs {
		if !carries(pid, s.Dir) {
			continue
		}
		_ = syscall.Kill(pid, syscall.SIGQUIT) // PostgreSQL: at once, without a checkpoint
		for i := 0; carries(pid, s.Dir) && i < 50; i++ {
			if i == 10 {
				_ = syscall.Kill(-pid, syscall.SIGKILL) // its whole session
			}
			time.Sleep(50 * time.Millisecond)
		}
		if carries(pid, s.Dir) {
			return fmt.Errorf("process %d does not end", pid)
		}
	}
	if !strings.Contains(filepath.Base(s.Dir), "tandem-testenv-") {
		return nil // never remove what we did not make
	}
	if err := os.RemoveAll(s.Dir); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove the server's files: %w", err)
	}
	return nil
}

// carries reports whether the process exists and has mark in its arguments.
func carries(pid int, mark string) bool {
	if pid <= 1 || mark == "" {
		return false
	}
	// A child of ours that ended stays visible until it is waited for.
	var ws syscall.WaitStatus
	if got, _ := syscall.Wait4(pid, &ws, syscall.WNOHANG, nil); got == pid {
		return false
	}
	if b, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid)); err == nil {
		return bytes.Contains(b, []byte(mark))
	}
	if _, err := os.Stat("/proc/self"); err == nil {
		return false
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, "ps", "-ww", "-o", "command=", "-p", strconv.Itoa(pid)).Output() // #nosec G204
	return err == nil && bytes.Contains(out, []byte(mark))
}

// find looks for a program on the PATH and at the places packages put it; of
// several versions the highest wins.
func find(program string, globs ...string) string {
	if path, err := exec.LookPath(program); err == nil {
		if resolved, err := filepath.EvalSymlinks(path); err == nil {
			return resolved
		}
	}
	best, bestVersion := "", -1
	for _, glob := range globs {
		matches, _ := filepath.Glob(glob)
		for _, m := range matches {
			if v := versionOf(m); v > bestVersion {
				best, bestVersion = m, v
			}
		}
	}
	return best
}

// versionOf gives the first number in a path, 0 when there is none.
func versionOf(path string) int {
	n, found := 0, false
	for _, r := range path {
		if r >= '0' && r <= '9' {
			n, found = n*10+int(r-'0'), true
		} else if found {
			break
		}
	}
	return n
}

// install installs a Debian package when that is possible: as root, with apt-get.
func install(ctx context.Context, pkg string) error {
	apt, err := exec.LookPath("apt-get")
	if err != nil || os.Getuid() != 0 {
		return fmt.Errorf("%s is not installed and cannot be installed from here (needs root and apt-get); install it, or name a running server in %s or %s",
			pkg, EnvPostgres, EnvAMQP)
	}
	fmt.Fprintf(os.Stderr, "testenv: installing %s with apt-get\n", pkg)
	for _, args := range [][]string{{"update", "-q"}, {"install", "-q", "-y", "--no-install-recommends", pkg}} {
		cmd := exec.CommandContext(ctx, apt, args...) // #nosec G204 -- fixed programs
		// RUNLEVEL=1 keeps the package from starting its service.
		cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive", "RUNLEVEL=1")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("apt-get %s: %w: %s", strings.Join(args, " "), err, tail(out))
		}
	}
	service := strings.TrimSuffix(pkg, "-server")
	for _, name := range []string{pkg, service} { // where it was started all the same
		_ = exec.CommandContext(ctx, "service", name, "stop").Run() // #nosec G204
	}
	return nil
}
