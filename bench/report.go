package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// spread is a median with its extremes over the rounds.
type spread struct {
	Median float64 `json:"median"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
}

func spreadOf(values []float64) spread {
	v := slices.Sorted(slices.Values(values))
	m := v[len(v)/2]
	if len(v)%2 == 0 {
		m = (v[len(v)/2-1] + m) / 2
	}
	return spread{m, v[0], v[len(v)-1]}
}

// row is one line of bench.json.
type row struct {
	Database  string  `json:"database"`
	Source    string  `json:"source"` // rest or hubspot
	LatencyMS float64 `json:"latency_ms_per_page"`
	Records   int     `json:"records"`
	Case      string  `json:"case"`
	Program   string  `json:"program"`
	Rounds    int     `json:"rounds"`
	Rate      spread  `json:"records_per_second"`
	WallRate  spread  `json:"records_per_second_of_the_process"` // with its start and end
	// Against the first sync of the ideal (PostgreSQL: with two writers) in the
	// same round; the median of the rounds' ratios.
	Ratio *spread `json:"ratio_to_ideal_first_sync,omitempty"`
	// Against the ideal in the same case and round.
	SameCase  *spread `json:"ratio_to_ideal_same_case,omitempty"`
	Floor     float64 `json:"share_of_latency_floor,omitempty"` // pages x latency / time taken
	OwnCPU    float64 `json:"cpu_us_per_record"`
	ServerCPU float64 `json:"cpu_us_per_record_postgres"`
	RSS       float64 `json:"peak_rss_mib"` // the highest of all rounds
	Versions  *int64  `json:"row_versions_made,omitempty"`
}

func (b *bench) report() error {
	rows := b.rows()
	printTable(rows)
	if b.due != nil {
		b.due.print()
	}
	b.back.print()
	doc := map[string]any{
		"at": time.Now().UTC().Format(time.RFC3339), "go": runtime.Version(), "os": runtime.GOOS + "/" + runtime.GOARCH,
		"cpus": runtime.NumCPU(), "cpu": cpuName(), "page_size": pageSize, "rows": rows, "due": b.due, "back": b.back,
	}
	out, err := json.MarshalIndent(doc, "", "  ")
	if err != nil {
		return err
	}
	path := filepath.Join(b.out, "bench.json")
	fmt.Printf("\nwritten to %s\n", path)
	return os.WriteFile(path, append(out, '\n'), 0o600)
}

func (b *bench) rows() []row {
	var rows []row
	for _, key := range b.order {
		samples := b.samples[key]
		pick := func(f func(sample) float64) []float64 {
			var v []float64
			for _, s := range samples {
				v = append(v, f(s))
			}
			return v
		}
		r := row{
			Database: key.Database, Source: cmp.Or(key.Source, "rest"), LatencyMS: float64(key.Latency) / float64(time.Millisecond), Records: key.Records,
			Case: key.Case, Program: key.Program, Rounds: len(samples),
			Rate:      spreadOf(pick(func(s sample) float64 { return s.Rate })),
			WallRate:  spreadOf(pick(func(s sample) float64 { return s.WallRate })),
			OwnCPU:    spreadOf(pick(func(s sample) float64 { return s.OwnCPU })).Median,
			ServerCPU: spreadOf(pick(func(s sample) float64 { return s.ServerCPU })).Median,
			RSS:       slices.Max(pick(func(s sample) float64 { return s.RSS })),
		}
		r.Ratio = b.ratio(key, caseFirst)
		if key.Case != caseFirst {
			r.SameCase = b.ratio(key, key.Case)
		}
		if key.Latency > 0 {
			floor := key.Latency.Seconds() * float64((key.Records+pageSize-1)/pageSize)
			r.Floor = floor * r.Rate.Median / float64(key.Records)
		}
		if key.Database == postgresDB {
			most := samples[0].Versions
			for _, s := range samples {
				most = max(most, s.Versions)
			}
			r.Versions = &most
		}
		rows = append(rows, r)
	}
	return rows
}

// ratio compares a row with the ideal's in the given case, round by round.
func (b *bench) ratio(key rowKey, otherCase string) *spread {
	other := key
	other.Program, other.Case = yardstick[key.Database], otherCase
	ideal, mine := b.samples[other], b.samples[key]
	if other == key || len(ideal) != len(mine) || len(mine) == 0 {
		return nil
	}
	ratios := make([]float64, len(mine))
	for i := range mine {
		ratios[i] = mine[i].Rate / ideal[i].Rate
	}
	s := spreadOf(ratios)
	return &s
}

func printTable(rows []row) {
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	var last rowKey
	for _, r := range rows {
		group := rowKey{Database: r.Database, Source: r.Source, Latency: time.Duration(r.LatencyMS * float64(time.Millisecond)), Records: r.Records}
		if group != last {
			last = group
			_ = w.Flush()
			fmt.Printf("\n%s from %s, %d contacts, %g ms a page\n", r.Database, r.Source, r.Records, r.LatencyMS)
			fmt.Fprintln(w, "case\tprogram\trecords/s (min..max)\tto ideal's first sync\tto ideal here\tof the floor\tCPU µs/record own+PG\tpeak RSS\tnew row versions")
		}
		fmt.Fprintf(w, "%s\t%s\t%.0f (%.0f..%.0f)\t%s\t%s\t%s\t%.1f + %.1f\t%.0f MiB\t%s\n",
			r.Case, r.Program, r.Rate.Median, r.Rate.Min, r.Rate.Max, ratioText(r.Ratio), ratioText(r.SameCase), floorText(r.Floor),
			r.OwnCPU, r.ServerCPU, r.RSS, versionsText(r.Versions))
	}
	_ = w.Flush()
}

func ratioText(s *spread) string {
	if s == nil {
		return ""
	}
	return fmt.Sprintf("%.2f (%.2f..%.2f)", s.Median, s.Min, s.Max)
}

func floorText(share float64) string {
	if share == 0 {
		return ""
	}
	return fmt.Sprintf("%.3f", share)
}

func versionsText(n *int64) string {
	if n == nil {
		return ""
	}
	return fmt.Sprint(*n)
}

func cpuName() string {
	b, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return ""
	}
	_, rest, _ := strings.Cut(string(b), "model name")
	name, _, _ := strings.Cut(strings.TrimLeft(rest, "\t :"), "\n")
	return name
}
