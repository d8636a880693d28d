package main

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/tandem-sync/tandem/api"
)

// printJSON writes one object as one line of standard output.
func (a *app) printJSON(v any) error {
	enc := json.NewEncoder(a.stdout)
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// println writes a line of standard output.
func (a *app) println(args ...any) error {
	_, err := fmt.Fprintln(a.stdout, args...)
	return err
}

// note writes a line for a person on standard error.
func (a *app) note(format string, args ...any) {
	fmt.Fprintf(a.stderr, format+"\n", args...)
}

// table writes rows under a heading, in columns. Nothing else than printable
// characters reaches the terminal: cells may hold what a remote sent.
func (a *app) table(heading []string, rows [][]string) error {
	w := tabwriter.NewWriter(a.stdout, 2, 8, 2, ' ', 0)
	fmt.Fprintln(w, strings.Join(heading, "\t"))
	for _, r := range rows {
		cells := make([]string, len(r))
		for i, c := range r {
			cells[i] = printable(c)
		}
		fmt.Fprintln(w, strings.Join(cells, "\t"))
	}
	return w.Flush()
}

// pairs writes names and values in two columns.
func (a *app) pairs(rows ...[2]string) error {
	w := tabwriter.NewWriter(a.stdout, 2, 8, 2, ' ', 0)
	for _, r := range rows {
		fmt.Fprintln(w, r[0]+"\t"+printable(r[1]))
	}
	return w.Flush()
}

// printable replaces control characters, so that a record's text can neither
// break a table nor steer a terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if strconv.IsPrint(r) {
			return r
		}
		return '·'
	}, s)
}

func timeText(t *time.Time) string {
	if t == nil {
		return "-"
	}
	return t.UTC().Format(time.DateTime)
}

func took(r api.Run) string {
	if r.StartedAt == nil {
		return "-"
	}
	end := time.Now()
	if r.FinishedAt != nil {
		end = *r.FinishedAt
	}
	return roundDuration(end.Sub(*r.StartedAt)).String()
}

func roundDuration(d time.Duration) time.Duration {
	switch {
	case d < time.Second:
		return d.Round(time.Millisecond)
	case d < time.Minute:
		return d.Round(100 * time.Millisecond)
	}
	return d.Round(time.Second)
}

func number(n int64) string { return strconv.FormatInt(n, 10) }

// counts says in words what a run did, leaving out what is zero.
func counts(r api.Run) string {
	parts := []string{number(r.Read) + " read"}
	for _, p := range []struct {
		n    int64
		name string
	}{
		{r.Created, "created"},
		{r.Updated, "updated"},
		{r.Unchanged, "unchanged"},
		{r.Deleted, "deleted"},
		{r.Skipped, "skipped"},
		{r.Conflicts, "conflicts"},
		{r.Pushed, "pushed"},
		{r.Parked, "parked"},
	} {
		if p.n > 0 {
			parts = append(parts, number(p.n)+" "+p.name)
		}
	}
	return strings.Join(parts, ", ")
}
