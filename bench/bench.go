package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/tandem-sync/tandem/internal/testenv"
)

// bench is one whole measurement.
type bench struct {
	options
	dir      string // thrown away afterwards
	self     string // this program, for the hand-written loops
	source   *source
	emulator *emulator
	samples  map[rowKey][]sample
	order    []rowKey
	due      *dueResult
	back     back
}

// rowKey names a row of the table.
type rowKey struct {
	Database string        // postgres or sqlite
	Source   string        // "" or hubspot
	Latency  time.Duration // a page
	Records  int
	Case     string // first sync, unchanged, 1 % changed
	Program  string
}

// The cases and programs, as the table names them.
const (
	caseFirst     = "first sync"
	caseUnchanged = "unchanged re-sync"
	caseChanged   = "1 % changed"

	programTandem = "tandem"
	programIdeal  = "ideal"            // SQLite
	programIdeal1 = "ideal, 1 writer"  // PostgreSQL
	programIdeal2 = "ideal, 2 writers" // PostgreSQL
)

// yardstick is the program whose first sync a database's rows are held against.
var yardstick = map[string]string{postgresDB: programIdeal2, sqliteDB: programIdeal}

const (
	postgresDB = "postgres"
	sqliteDB   = "sqlite"
)

func newBench(ctx context.Context, o options) (*bench, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("/var/tmp", "tandem-bench-") // a disk, not memory
	if err != nil {
		if dir, err = os.MkdirTemp("", "tandem-bench-"); err != nil {
			return nil, err
		}
	}
	b := &bench{options: o, dir: dir, self: self, samples: map[rowKey][]sample{}}
	if b.tandem == "" && !o.idealOnly {
		b.tandem = filepath.Join(dir, "tandem")
		cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", b.tandem, "./cmd/tandem") // #nosec G204
		if out, err := cmd.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("build tandem: %w: %s", err, out)
		}
	}
	if b.tandem, err = filepath.Abs(b.tandem); err != nil {
		return nil, err
	}
	// A server of our own: nobody else works on it.
	return b, os.Setenv(testenv.EnvDir, filepath.Join(dir, "servers"))
}

func (b *bench) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	return errors.Join(b.keepLog(), testenv.Down(ctx), os.RemoveAll(b.dir))
}

// keepLog copies the log of the private PostgreSQL, with the plans in it.
func (b *bench) keepLog() error {
	if b.explain == 0 {
		return nil
	}
	state, err := os.ReadFile(filepath.Join(b.dir, "servers", "postgres.json"))
	if err != nil {
		return err
	}
	var server struct{ Dir string }
	if err := json.Unmarshal(state, &server); err != nil {
		return err
	}
	text, err := os.ReadFile(filepath.Join(server.Dir, "log"))
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(b.out, "postgres.log"), text, 0o600)
}

// measureAll runs all rounds.
func (b *bench) measureAll(ctx context.Context) error {
	for _, database := range strings.Split(b.databases, ",") {
		if yardstick[database] == "" {
			return fmt.Errorf("unknown database %q; known: %s, %s", database, postgresDB, sqliteDB)
		}
		if !b.direct {
			continue
		}
		if err := b.database(ctx, database); err != nil {
			return err
		}
	}
	if err := b.measureBack(ctx, strings.Split(b.databases, ",")); err != nil {
		return err
	}
	if b.hubspot && strings.Contains(b.databases, postgresDB) {
		if err := b.measureHubSpot(ctx); err != nil {
			return err
		}
	}
	if b.schedule && !b.idealOnly {
		if err := b.measureDue(ctx); err != nil {
			return err
		}
	}
	if !b.million {
		return nil
	}
	return b.round(ctx, postgresDB, 1_000_000, 0, []string{programIdeal2, programTandem}, false)
}

func (b *bench) database(ctx context.Context, database string) error {
	programs := map[string][]string{
		postgresDB: {programIdeal2, programIdeal1, programTandem},
		sqliteDB:   {programIdeal, programTandem},
	}[database]
	for r := range b.rounds {
		b.say("%s, 0 ms a page, round %d of %d", database, r+1, b.rounds)
		// Every program takes every place in the order.
		turn := r % len(programs)
		order := append(append([]string(nil), programs[turn:]...), programs[:turn]...)
		if err := b.round(ctx, database, b.records, 0, order, true); err != nil {
			return err
		}
	}
	for r := range b.latencyRounds {
		b.say("%s, %v a page, round %d of %d", database, b.latency, r+1, b.latencyRounds)
		if err := b.round(ctx, database, b.records, b.latency, []string{yardstick[database], programTandem}, false); err != nil {
			return err
		}
	}
	return nil
}

// round lets each program sync the contacts once into an empty database of its
// own; with resync also when nothing and when one in a hundred has changed.
func (b *bench) round(ctx context.Context, database string, records int, latency time.Duration, programs []string, resync bool) (err error) {
	b.source, err = startSource(ctx, records)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.source.close()) }()
	b.source.latency.Store(int64(latency))
	key := rowKey{Database: database, Latency: latency, Records: records}
	want := ""
	for _, program := range programs {
		if program == programTandem && b.idealOnly {
			continue
		}
		key.Program = program
		got, err := b.program(ctx, key, resync && program != programIdeal1)
		if err != nil {
			return fmt.Errorf("%s on %s: %w", program, database, err)
		}
		if resync && program == programIdeal1 {
			continue // its table holds the state before the change
		}
		if want == "" {
			want = got
		}
		if got != want {
			return fmt.Errorf("%s left other contents in the table than the program before it: %s, not %s", program, got, want)
		}
	}
	return nil
}

// program measures one program and returns a digest of what it left behind.
func (b *bench) program(ctx context.Context, key rowKey, resync bool) (digest string, err error) {
	if resync {
		return b.runCases(ctx, key, caseFirst, caseUnchanged, caseChanged)
	}
	return b.runCases(ctx, key, caseFirst)
}

func (b *bench) runCases(ctx context.Context, key rowKey, cases ...string) (digest string, err error) {
	t, err := b.newTarget(ctx, key)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, t.close()) }()
	for _, c := range cases {
		key.Case = c
		if b.source != nil {
			b.source.changed.Store(c == caseChanged)
		}
		s, err := b.measure(ctx, t, key)
		if err != nil {
			return "", fmt.Errorf("%s: %w", c, err)
		}
		b.add(key, s)
		b.say("  %-18s %-18s %7.0f records/s, %5.1f µs CPU a record, %3.0f MiB", key.Program, c, s.Rate, s.OwnCPU+s.ServerCPU, s.RSS)
	}
	return t.digest(ctx)
}

// add records a sample; rows keep the order in which they appeared first.
func (b *bench) add(key rowKey, s sample) {
	if _, ok := b.samples[key]; !ok {
		b.order = append(b.order, key)
	}
	b.samples[key] = append(b.samples[key], s)
}

func (b *bench) say(format string, args ...any) {
	fmt.Fprintf(os.Stderr, format+"\n", args...)
}
