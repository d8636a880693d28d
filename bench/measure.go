package main

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// sample is one measurement of one program.
type sample struct {
	Rate      float64 // records/s, from the start of the work to its end
	WallRate  float64 // records/s, from the start of the process to its end
	OwnCPU    float64 // microseconds a record
	ServerCPU float64 // microseconds a record in PostgreSQL; 0 unknown
	RSS       float64 // peak, MiB
	Versions  int64   // row versions PostgreSQL made in contacts and links
}

// usage is what a process took.
type usage struct {
	Wall   time.Duration
	Own    time.Duration // CPU, user and system
	Server time.Duration // CPU of PostgreSQL meanwhile
	RSS    float64       // MiB
}

func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

// runMeasured runs a program to its end.
func runMeasured(cmd *exec.Cmd, postmaster int) ([]byte, usage, error) {
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	server := serverCPU(postmaster)
	start := time.Now()
	if err := cmd.Start(); err != nil {
		return nil, usage{}, err
	}
	stop, peak := make(chan struct{}), make(chan float64, 1)
	go func() { peak <- watchRSS(cmd.Process.Pid, stop) }()
	err := cmd.Wait()
	u := usage{Wall: time.Since(start)}
	close(stop)
	u.RSS = <-peak
	if err != nil {
		return nil, u, fmt.Errorf("%s: %w: %.3000s%.3000s", filepath.Base(cmd.Path), err, stdout.String(), stderr.String())
	}
	u.Own = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	if u.RSS == 0 {
		u.RSS = maxRSS(cmd.ProcessState)
	}
	time.Sleep(100 * time.Millisecond) // its backends end
	u.Server = serverCPU(postmaster) - server
	return stdout.Bytes(), u, nil
}

// watchRSS reads the peak of a process's memory until it ends. The rusage of a
// child also counts what its parent held when it forked, so it is no measure.
func watchRSS(pid int, stop <-chan struct{}) (mib float64) {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if err == nil {
			if _, rest, ok := strings.Cut(string(b), "VmHWM:"); ok {
				line, _, _ := strings.Cut(rest, "kB")
				if kib, err := strconv.ParseFloat(strings.TrimSpace(line), 64); err == nil {
					mib = max(mib, kib/1024)
				}
			}
		}
		select {
		case <-stop:
			return mib
		case <-tick.C:
		}
	}
}

// maxRSS is the fallback where there is no /proc.
func maxRSS(p *os.ProcessState) float64 {
	r, ok := p.SysUsage().(*syscall.Rusage)
	if !ok {
		return 0
	}
	if runtime.GOOS == "darwin" { // bytes there
		return float64(r.Maxrss) / (1 << 20)
	}
	return float64(r.Maxrss) / (1 << 10)
}

// postmasterOf finds the process that is the parent of all of PostgreSQL's; 0
// when the server runs elsewhere.
func postmasterOf(ctx context.Context, db *sql.DB) int {
	var backend int
	if db.QueryRowContext(ctx, "SELECT pg_backend_pid()").Scan(&backend) != nil {
		return 0
	}
	s, err := readStat(backend)
	if err != nil || !strings.HasPrefix(s.name, "postgres") {
		return 0
	}
	return s.parent
}

// serverCPU sums the CPU of PostgreSQL: the processes that live, and what the
// postmaster collected from those that ended.
func serverCPU(postmaster int) time.Duration {
	if postmaster == 0 {
		return 0
	}
	s, err := readStat(postmaster)
	if err != nil {
		return 0
	}
	ticks := s.own + s.ended
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range stats {
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		if err != nil {
			continue
		}
		if child, err := readStat(pid); err == nil && child.parent == postmaster {
			ticks += child.own
		}
	}
	return time.Duration(ticks) * 10 * time.Millisecond // USER_HZ is 100 on Linux
}

// procStat is the part of /proc/PID/stat that is needed.
type procStat struct {
	name   string
	parent int
	own    int64 // clock ticks, user and system
	ended  int64 // of children that ended and were waited for
}

func readStat(pid int) (procStat, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return procStat{}, err
	}
	open, end := bytes.IndexByte(b, '('), bytes.LastIndexByte(b, ')')
	if open < 0 || end < open {
		return procStat{}, fmt.Errorf("/proc/%d/stat has another form", pid)
	}
	fields := strings.Fields(string(b[end+1:]))
	if len(fields) < 15 {
		return procStat{}, fmt.Errorf("/proc/%d/stat has another form", pid)
	}
	number := func(i int) int64 {
		n, _ := strconv.ParseInt(fields[i], 10, 64)
		return n
	}
	return procStat{
		name: string(b[open+1 : end]), parent: int(number(1)),
		own: number(11) + number(12), ended: number(13) + number(14),
	}, nil
}
