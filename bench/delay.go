package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/tandem-sync/tandem/internal/testenv"
)

// How an application commits changes while the remote waits to hear of them.
const (
	delayRate    = 100 // commits a second, each of one row
	delayClients = 8   // connections that commit
	delayWarm    = 300 // commits that are not counted
	delayAtMost  = 30 * time.Second
)

// delayRow is how long a change takes from just before its COMMIT until the
// remote has received the call.
type delayRow struct {
	Database string  `json:"database"`
	Broker   string  `json:"broker"`
	Notify   bool    `json:"notify"`
	Commits  int     `json:"commits"`
	P50      float64 `json:"p50_ms"`
	P99      float64 `json:"p99_ms"`
	Max      float64 `json:"max_ms"`
	OwnCPU   float64 `json:"cpu_us_per_change"`
}

// delayed is one service whose delay is measured.
type delayed struct {
	*bench
	row    delayRow
	remote *reverseRemote
	target *reverseTarget
	cmd    *exec.Cmd

	mu        sync.Mutex
	committed map[int]time.Time
	heard     map[int]time.Time
}

// measureDelay runs the service in its usual forms.
func (b *bench) measureDelay(ctx context.Context, databases []string) (rows []delayRow, err error) {
	for _, row := range []delayRow{
		{Database: sqliteDB, Broker: "embedded"},
		{Database: postgresDB, Broker: "embedded"},
		{Database: postgresDB, Broker: "rabbitmq"},
		{Database: postgresDB, Broker: "rabbitmq", Notify: true},
		{Database: postgresDB, Broker: "embedded", Notify: true},
	} {
		if !slices.Contains(databases, row.Database) {
			continue
		}
		b.say("from a commit to the remote, %s and %s, notify %t", row.Database, row.Broker, row.Notify)
		d := &delayed{bench: b, row: row, committed: map[int]time.Time{}, heard: map[int]time.Time{}}
		if err := d.measure(ctx); err != nil {
			return nil, fmt.Errorf("delay on %s and %s: %w", row.Database, row.Broker, err)
		}
		rows = append(rows, d.row)
	}
	return rows, nil
}

func (d *delayed) measure(ctx context.Context) (err error) {
	if d.remote, err = startReverseRemote(ctx); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.remote.close()) }()
	d.remote.told = d.told
	broker, drop := "embedded", testenv.Drop(func(context.Context) error { return nil })
	if d.row.Broker != "embedded" {
		if broker, drop, err = testenv.FreshRabbitMQ(ctx); err != nil {
			return err
		}
	}
	defer func() { err = errors.Join(err, drop(context.WithoutCancel(ctx))) }()
	d.row.Commits = int(d.delay.Seconds() * delayRate)
	d.target, err = d.tandemTarget(ctx, d.row.Database, func(url string) string {
		return fmt.Sprintf(reverseRESTFile, url+"\nbroker: "+broker, "triggers", d.remote.url, reverseConcurrency[formSingle])
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.target.close()) }()
	d.target.records = d.row.Commits + delayWarm
	if err := d.target.fill(ctx); err != nil {
		return err
	}
	if err := d.start(ctx); err != nil {
		return err
	}
	err = d.commitAll(ctx)
	return errors.Join(err, d.stop())
}

// start starts the service; what the preparation captured goes out first.
func (d *delayed) start(ctx context.Context) error {
	if d.target.postgres {
		if err := d.target.exec(ctx, "DELETE FROM tandem_change_log", "VACUUM ANALYZE"); err != nil {
			return err
		}
	} else if err := d.target.exec(ctx, "DELETE FROM tandem_change_log"); err != nil {
		return err
	}
	if d.row.Notify {
		d.target.env = append(d.target.env, "TANDEM_NOTIFY=on")
	}
	d.cmd = d.tandemCommand(ctx, d.target.target, "run")
	log, err := os.Create(d.out + "/delay.log") //nolint:gosec // the folder of the results
	if err != nil {
		return err
	}
	defer log.Close()
	d.cmd.Stdout, d.cmd.Stderr = log, log
	return d.cmd.Start()
}

func (d *delayed) stop() error {
	if err := d.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	err := d.cmd.Wait()
	d.row.OwnCPU = micros(d.cmd.ProcessState.UserTime()+d.cmd.ProcessState.SystemTime()) / float64(d.target.records)
	return err
}

// mark stands in the phone number that commit n writes.
const mark = "mark "

func (d *delayed) told(at time.Time, body []byte) {
	_, rest, _ := bytes.Cut(body, []byte(mark))
	digits, _, _ := bytes.Cut(rest, []byte(`"`))
	n, err := strconv.Atoi(string(digits))
	if err != nil {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, again := d.heard[n]; !again {
		d.heard[n] = at
	}
}

// commitAll commits changes at an even rate and waits for the remote to hear of
// them.
func (d *delayed) commitAll(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, d.delay+delayAtMost+time.Minute)
	defer cancel()
	work, failed := make(chan int, d.target.records), make(chan error, delayClients)
	var wg sync.WaitGroup
	for range delayClients {
		wg.Go(func() {
			for n := range work {
				if err := d.commit(ctx, n); err != nil {
					failed <- err
					return
				}
			}
		})
	}
	err := d.pace(ctx, work)
	close(work)
	wg.Wait()
	close(failed)
	for e := range failed {
		err = errors.Join(err, e)
	}
	if err == nil {
		err = d.until(ctx, d.target.records)
	}
	if err == nil {
		d.evaluate()
	}
	return err
}

// pace hands out one commit every hundredth of a second, after a first one that
// shows that the service works.
func (d *delayed) pace(ctx context.Context, work chan<- int) error {
	work <- 0
	if err := d.until(ctx, 1); err != nil {
		return err
	}
	tick := time.NewTicker(time.Second / delayRate)
	defer tick.Stop()
	for n := 1; n < d.target.records; n++ {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
			work <- n
		}
	}
	return nil
}

func (d *delayed) commit(ctx context.Context, n int) error {
	tx, err := d.target.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() //nolint:errcheck // after Commit it does nothing
	if _, err := tx.ExecContext(ctx, fmt.Sprintf("UPDATE contacts SET phone = '%s%d' WHERE id = %d", mark, n, n+1)); err != nil {
		return err
	}
	d.mu.Lock()
	d.committed[n] = time.Now()
	d.mu.Unlock()
	return tx.Commit()
}

// until waits for the remote to have heard of n commits.
func (d *delayed) until(ctx context.Context, n int) error {
	for end := time.Now().Add(delayAtMost); ; {
		d.mu.Lock()
		have := len(d.heard)
		d.mu.Unlock()
		if have >= n {
			return nil
		}
		if time.Now().After(end) {
			log, _ := os.ReadFile(d.out + "/delay.log")
			return fmt.Errorf("the remote heard of %d changes of %d: %s", have, n, lastLines(string(log)))
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func lastLines(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(0, len(lines)-10):], "\n")
}

func (d *delayed) evaluate() {
	var ms []float64
	for n, at := range d.committed {
		if n >= delayWarm {
			ms = append(ms, d.heard[n].Sub(at).Seconds()*1000)
		}
	}
	slices.Sort(ms)
	d.row.P50, d.row.P99, d.row.Max = ms[len(ms)/2], ms[len(ms)*99/100], ms[len(ms)-1]
	d.say("  p50 %.1f ms, p99 %.1f ms, max %.1f ms", d.row.P50, d.row.P99, d.row.Max)
}

// printDelay adds the delays to the table.
func printDelay(rows []delayRow) {
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Printf("\nfrom a commit until the remote has the call, %d single-row commits a second\n", delayRate)
	fmt.Fprintln(w, "database\tbroker\tnotify\tcommits\tp50 ms\tp99 ms\tmax ms\tCPU µs/change")
	for _, r := range rows {
		fmt.Fprintf(w, "%s\t%s\t%t\t%d\t%.1f\t%.1f\t%.1f\t%.0f\n", r.Database, r.Broker, r.Notify, r.Commits, r.P50, r.P99, r.Max, r.OwnCPU)
	}
	_ = w.Flush()
}
