// Command bench measures Tandem against a hand-written loop that does the same
// job and nothing else: contacts of a paged REST API into a table, with the
// identity row beside each.
//
// The same is measured with contacts of an emulated HubSpot account.
//
// Tandem and the loops run as processes of their own, in turn, several rounds;
// what counts is the median of the ratios inside the rounds, since the absolute
// figures of a shared machine move by a factor of two. The REST source
// is served by this process, the account by one of its own, PostgreSQL is private. It prints a table and writes
// bench/out/bench.json.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
)

// options are the command line.
type options struct {
	records       int
	rounds        int
	latency       time.Duration
	latencyRounds int
	million       bool
	databases     string
	tandem        string
	idealOnly     bool
	explain       time.Duration
	hubspot       bool
	hubContacts   int
	hubRounds     int
	schedule      bool
	reverse       bool
	reverseForm   string
	reverseRounds int
	delay         time.Duration
	capture       bool
	direct        bool
	out           string
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var err error
	switch {
	case len(os.Args) > 1 && os.Args[1] == "ideal":
		err = runIdeal(ctx, os.Args[2:])
	case len(os.Args) > 1 && os.Args[1] == "ideal-export":
		err = runIdealExport(ctx, os.Args[2:])
	case len(os.Args) > 1 && os.Args[1] == "emulate":
		f := flag.NewFlagSet("emulate", flag.ExitOnError)
		contacts := f.Int("contacts", 50_000, "contacts of the account")
		_ = f.Parse(os.Args[2:]) // exits by itself
		err = runEmulator(ctx, *contacts)
	default:
		err = runBench(ctx, os.Args[1:])
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		stop()
		os.Exit(1) //nolint:gocritic // stop was called
	}
}

// runIdeal is one hand-written loop in a process of its own.
func runIdeal(ctx context.Context, args []string) error {
	f := flag.NewFlagSet("ideal", flag.ExitOnError)
	postgres := f.String("postgres", "", "database `URL`")
	sqlite := f.String("sqlite", "", "database `file`")
	source := f.String("source", "", "`URL` of the source")
	writers := f.Int("writers", 2, "`connections` that write")
	fromHubSpot := f.Bool("hubspot", false, "the source is an emulated HubSpot account")
	resync := f.Bool("resync", false, "compare with the links and write what changed")
	_ = f.Parse(args) // exits by itself
	var c counts
	var err error
	r := readREST()
	if *fromHubSpot {
		r = readHubSpot()
	}
	if *postgres != "" {
		c, err = runIdealPostgres(ctx, *postgres, r, *source, *writers, *resync)
	} else {
		c, err = runIdealSQLite(ctx, *sqlite, r, *source, *resync)
	}
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(c)
}

func runBench(ctx context.Context, args []string) (err error) {
	var o options
	f := flag.NewFlagSet("bench", flag.ExitOnError)
	f.IntVar(&o.records, "records", 100_000, "contacts in the source")
	f.IntVar(&o.rounds, "rounds", 5, "rounds at 0 ms a page")
	f.DurationVar(&o.latency, "latency", 50*time.Millisecond, "what a page takes longer in the slow rounds")
	f.IntVar(&o.latencyRounds, "latency-rounds", 2, "rounds with latency; 0 leaves them out")
	f.BoolVar(&o.million, "million", false, "also sync 1,000,000 contacts once, for the memory")
	f.StringVar(&o.databases, "databases", "postgres,sqlite", "which to measure")
	f.StringVar(&o.tandem, "tandem", "", "`program` to measure; built when not given")
	f.BoolVar(&o.idealOnly, "ideal-only", false, "measure the hand-written loops alone")
	f.DurationVar(&o.explain, "explain", 0, "keep PostgreSQL's plans of statements that take longer in postgres.log of the folder")
	f.BoolVar(&o.hubspot, "hubspot", true, "also read an emulated HubSpot account into PostgreSQL")
	f.IntVar(&o.hubContacts, "hubspot-records", 50_000, "contacts of that account")
	f.IntVar(&o.hubRounds, "hubspot-rounds", 3, "rounds with that account")
	f.BoolVar(&o.schedule, "due", true, "also let 10,000 channels be due in one tick")
	f.BoolVar(&o.direct, "direct", true, "measure the way in")
	f.BoolVar(&o.reverse, "reverse", true, "also measure the way back")
	f.StringVar(&o.reverseForm, "reverse-form", "", "the only `form` of the way back to measure")
	f.IntVar(&o.reverseRounds, "reverse-rounds", 3, "rounds of the way back")
	f.DurationVar(&o.delay, "delay", 20*time.Second, "how long changes are committed to see when the remote hears of them; 0 leaves it out")
	f.BoolVar(&o.capture, "capture", true, "also measure what capturing changes costs the application")
	f.StringVar(&o.out, "out", filepath.Join("bench", "out"), "`folder` for bench.json")
	_ = f.Parse(args) // exits by itself

	if err := os.MkdirAll(o.out, 0o750); err != nil {
		return err
	}
	b, err := newBench(ctx, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.close()) }()
	if err := b.measureAll(ctx); err != nil {
		return err
	}
	return b.report()
}
