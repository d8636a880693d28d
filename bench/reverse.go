package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"text/tabwriter"
	"time"
)

// The way back: every contact has another phone number than the remote knows,
// and the rows are waiting to go out. Tandem and a hand-written loop send them to
// the same remote, with the same number of calls at a time, from the same tables.

// The forms in which changes are sent.
const (
	formSingle = "single calls"
	formBatch  = "batches of 100"
)

// reverseConcurrency is how many calls of a form are under way at once.
var reverseConcurrency = map[string]int{formSingle: 32, formBatch: 4}

// reverseLatencies are what a call takes longer at the remote.
var reverseLatencies = []time.Duration{0, 5 * time.Millisecond}

// reverseKey names a row of the table.
type reverseKey struct {
	Database, Form string
	Latency        time.Duration
	Program        string
}

// reverseRow is one line of bench.json.
type reverseRow struct {
	Database    string  `json:"database"`
	Form        string  `json:"form"`
	LatencyMS   float64 `json:"latency_ms_per_call"`
	Concurrency int     `json:"concurrency"`
	Records     int     `json:"records"`
	Program     string  `json:"program"`
	Rounds      int     `json:"rounds"`
	Rate        spread  `json:"records_per_second"`
	Ratio       *spread `json:"ratio_to_ideal,omitempty"` // the median of the rounds' ratios
	OwnCPU      float64 `json:"cpu_us_per_record"`
	ServerCPU   float64 `json:"cpu_us_per_record_postgres"`
	RSS         float64 `json:"peak_rss_mib"`
}

// reverseBench measures the way back.
type reverseBench struct {
	*bench
	samples map[reverseKey][]sample
	order   []reverseKey
	remote  *reverseRemote
	change  int // how often the contacts were changed
}

// measureReverse measures both forms on every database.
func (b *bench) measureReverse(ctx context.Context, databases []string) (rows []reverseRow, err error) {
	r := &reverseBench{bench: b, samples: map[reverseKey][]sample{}}
	if r.remote, err = startReverseRemote(ctx); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.remote.close()) }()
	for _, database := range databases {
		for _, form := range []string{formBatch, formSingle} {
			if b.reverseForm != "" && b.reverseForm != form {
				continue
			}
			if err := r.form(ctx, database, form); err != nil {
				return nil, fmt.Errorf("%s on %s: %w", form, database, err)
			}
		}
	}
	return r.rows(), nil
}

// form measures one form on one database, whose contacts change before each run.
func (r *reverseBench) form(ctx context.Context, database, form string) (err error) {
	t, err := r.reverseTarget(ctx, database, form)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, t.close()) }()
	programs := []string{programIdeal, programTandem}
	for _, latency := range reverseLatencies {
		r.remote.latency.Store(int64(latency))
		for round := range r.reverseRounds {
			r.say("the way back on %s, %s, %v a call, round %d of %d", database, form, latency, round+1, r.reverseRounds)
			for i := range programs {
				key := reverseKey{database, form, latency, programs[(round+i)%len(programs)]}
				if err := r.run(ctx, t, key); err != nil {
					return fmt.Errorf("%s: %w", key.Program, err)
				}
			}
		}
	}
	return nil
}

// run lets one program send every contact once.
func (r *reverseBench) run(ctx context.Context, t *reverseTarget, key reverseKey) error {
	r.change++
	if err := t.changeAll(ctx, r.change); err != nil {
		return fmt.Errorf("change the contacts: %w", err)
	}
	r.remote.received.Store(0)
	cmd := r.tandemCommand(ctx, t.target, "reverse-sync", "bench", "-o", "json")
	if key.Program == programIdeal {
		cmd = exec.CommandContext(ctx, r.self, "ideal-export", "-remote", r.remote.url, "-form", key.Form, //nolint:gosec // this program
			"-connector", strconv.FormatInt(t.connector, 10), "-"+key.Database, t.url)
	}
	out, u, err := runMeasured(cmd, t.postmaster)
	if err != nil {
		return err
	}
	seconds, err := exported(key.Program, out, r.records)
	if err == nil {
		err = t.check(ctx, r.change)
	}
	if got := r.remote.received.Load(); err == nil && got != int64(r.records) {
		err = fmt.Errorf("the remote was told of %d records, not of %d", got, r.records)
	}
	if err != nil {
		return err
	}
	n := float64(r.records)
	s := sample{Rate: n / seconds, WallRate: n / u.Wall.Seconds(), OwnCPU: micros(u.Own) / n, ServerCPU: micros(u.Server) / n, RSS: u.RSS}
	if _, ok := r.samples[key]; !ok {
		r.order = append(r.order, key)
	}
	r.samples[key] = append(r.samples[key], s)
	r.say("  %-18s %7.0f records/s, %5.1f + %.1f µs CPU a record, %3.0f MiB", key.Program, s.Rate, s.OwnCPU, s.ServerCPU, s.RSS)
	return nil
}

// exported reads what a program printed, and how long its work took.
func exported(program string, out []byte, records int) (seconds float64, err error) {
	if program == programIdeal {
		var c counts
		if err := json.Unmarshal(out, &c); err != nil {
			return 0, err
		}
		if c.Updated != records || c.Seconds <= 0 {
			return 0, fmt.Errorf("did %+v, not %d updates", c, records)
		}
		return c.Seconds, nil
	}
	var pushed struct {
		Pushed int `json:"pushed"`
	}
	c, err := parseRun(out)
	if err == nil {
		err = json.Unmarshal(out, &pushed)
	}
	if err == nil && (pushed.Pushed != records || c.Seconds <= 0) {
		err = fmt.Errorf("did %d updates, not %d: %.500s", pushed.Pushed, records, out)
	}
	return c.Seconds, err
}

func (r *reverseBench) rows() []reverseRow {
	var rows []reverseRow
	for _, key := range r.order {
		list := r.samples[key]
		pick := func(f func(sample) float64) spread {
			v := make([]float64, len(list))
			for i := range list {
				v[i] = f(list[i])
			}
			return spreadOf(v)
		}
		row := reverseRow{
			Database: key.Database, Form: key.Form, LatencyMS: float64(key.Latency) / float64(time.Millisecond), Concurrency: reverseConcurrency[key.Form],
			Records: r.records, Program: key.Program, Rounds: len(list),
			Rate:   pick(func(s sample) float64 { return s.Rate }),
			OwnCPU: pick(func(s sample) float64 { return s.OwnCPU }).Median, ServerCPU: pick(func(s sample) float64 { return s.ServerCPU }).Median,
			RSS: pick(func(s sample) float64 { return s.RSS }).Max,
		}
		other := key
		other.Program = programIdeal
		if ideal := r.samples[other]; key != other && len(ideal) == len(list) {
			ratios := make([]float64, len(list))
			for i := range list {
				ratios[i] = list[i].Rate / ideal[i].Rate
			}
			s := spreadOf(ratios)
			row.Ratio = &s
		}
		rows = append(rows, row)
	}
	return rows
}

// printReverse adds the way back to the table.
func printReverse(rows []reverseRow) {
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Printf("\nthe way back: changed rows to a remote\n")
	fmt.Fprintln(w, "database\tform\tms a call\tat once\tprogram\trecords/s (min..max)\tto ideal\tCPU µs/record own+PG\tpeak RSS")
	for _, r := range rows {
		fmt.Fprintf(w, "%s\t%s\t%g\t%d\t%s\t%.0f (%.0f..%.0f)\t%s\t%.1f + %.1f\t%.0f MiB\n", r.Database, r.Form, r.LatencyMS, r.Concurrency, r.Program,
			r.Rate.Median, r.Rate.Min, r.Rate.Max, ratioText(r.Ratio), r.OwnCPU, r.ServerCPU, r.RSS)
	}
	_ = w.Flush()
}
