package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/tandem-sync/tandem/channels"
	"github.com/tandem-sync/tandem/internal/testenv"
	"github.com/tandem-sync/tandem/messages/rabbit"
	"github.com/tandem-sync/tandem/store"
	"github.com/tandem-sync/tandem/workers"
)

const (
	dueChannels   = 10_000
	dueSchedulers = 2
	dueRounds     = 3
	// idleWindow is long enough for all that a scheduler does at times.
	idleWindow  = 5 * time.Second
	idleWindows = 3
	dueAtMost   = 2 * time.Minute
)

// dueResult is what many channels cost that are due in one tick: from the tick
// until each has its run, and until RabbitMQ has confirmed every message.
type dueResult struct {
	Channels   int    `json:"channels"`
	Schedulers int    `json:"schedulers"`
	Rounds     int    `json:"rounds"`
	Planned    spread `json:"planned_seconds"`
	Published  spread `json:"published_seconds"`
	// Idle is what all of the schedulers and relays ask of PostgreSQL while
	// every channel is due at some other time.
	Idle spread `json:"idle_transactions_per_second"`
}

// measureDue lets schedulers with their relays, in this process, see to channels
// on PostgreSQL and RabbitMQ.
func (b *bench) measureDue(ctx context.Context) (err error) {
	b.say("%d channels due in one tick, %d schedulers", dueChannels, dueSchedulers)
	url, drop, err := testenv.FreshPostgres(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, drop(context.WithoutCancel(ctx))) }()
	address, dropBroker, err := testenv.FreshRabbitMQ(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, dropBroker(context.WithoutCancel(ctx))) }()
	db, err := store.Open(ctx, store.Config{URL: url})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	d := dueBench{db: db}
	if err := d.prepare(ctx); err != nil {
		return err
	}
	broker, err := rabbit.New(rabbit.Config{URL: address})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, broker.Close()) }()
	work, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	failed := make(chan error, dueSchedulers)
	for i := range dueSchedulers {
		f, err := workers.NewFleet(workers.Config{
			DB: db, Broker: broker, Registry: &channels.Registry{}, Owner: fmt.Sprint("scheduler-", i),
			Roles: workers.Roles{Scheduler: true, Relay: true},
		})
		if err != nil {
			stop()
			return err
		}
		wg.Go(func() { failed <- f.Run(work) })
	}
	b.due, err = d.rounds(ctx)
	stop()
	wg.Wait()
	for range dueSchedulers {
		err = errors.Join(err, <-failed)
	}
	return err
}

type dueBench struct{ db *store.DB }

// prepare makes the channels, due in an hour.
func (d dueBench) prepare(ctx context.Context) error {
	if err := d.db.Migrate(ctx); err != nil {
		return err
	}
	return d.exec(ctx,
		fmt.Sprintf(`INSERT INTO tandem_channel (name, type, enabled, managed, revision, settings, created_at, updated_at)
			SELECT 'channel-' || n, 'rest', true, '', 1, '{"type":"rest","schedule":"@daily"}', now(), now() FROM generate_series(1, %d) n`, dueChannels),
		`INSERT INTO tandem_schedule (channel_id, next_at, schedule, revision, start_now, failures, planned_at)
			SELECT id, now() + interval '1 hour', '@daily', 1, false, 0, now() FROM tandem_channel`,
		"ANALYZE tandem_channel", "ANALYZE tandem_schedule")
}

func (d dueBench) rounds(ctx context.Context) (*dueResult, error) {
	var planned, published, idle []float64
	for range dueRounds {
		if err := d.exec(ctx, "DELETE FROM tandem_run", "DELETE FROM tandem_tick"); err != nil {
			return nil, err
		}
		begun := time.Now()
		if err := d.exec(ctx, "UPDATE tandem_schedule SET next_at = clock_timestamp()"); err != nil {
			return nil, err
		}
		if err := d.until(ctx, "SELECT count(*) FROM tandem_tick", dueChannels); err != nil {
			return nil, err
		}
		planned = append(planned, time.Since(begun).Seconds())
		if err := d.until(ctx, "SELECT count(*) FROM tandem_outbox", 0); err != nil {
			return nil, err
		}
		published = append(published, time.Since(begun).Seconds())
	}
	if err := d.exec(ctx, "DELETE FROM tandem_run", "DELETE FROM tandem_tick"); err != nil {
		return nil, err
	}
	const transactions = "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = current_database()"
	for range idleWindows {
		before, err := d.number(ctx, transactions)
		if err != nil {
			return nil, err
		}
		begun := time.Now()
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(idleWindow):
		}
		after, err := d.number(ctx, transactions)
		if err != nil {
			return nil, err
		}
		idle = append(idle, float64(after-before-1)/time.Since(begun).Seconds()) // less the question itself
	}
	return &dueResult{
		Channels: dueChannels, Schedulers: dueSchedulers, Rounds: dueRounds,
		Planned: spreadOf(planned), Published: spreadOf(published), Idle: spreadOf(idle),
	}, nil
}

func (d dueBench) exec(ctx context.Context, statements ...string) error {
	return d.db.Write(ctx, "bench", func(ctx context.Context, tx *store.Tx) error {
		for _, q := range statements {
			if _, err := tx.ExecContext(ctx, q); err != nil {
				return fmt.Errorf("%s: %w", q, err)
			}
		}
		return nil
	})
}

func (d dueBench) number(ctx context.Context, q string) (n int64, err error) {
	err = d.db.Read(ctx, func(ctx context.Context, tx *store.Tx) error { return tx.GetContext(ctx, &n, q) })
	return n, err
}

// until asks until the answer is want.
func (d dueBench) until(ctx context.Context, q string, want int64) error {
	for end := time.Now().Add(dueAtMost); ; {
		got, err := d.number(ctx, q)
		if err != nil || got == want {
			return err
		}
		if time.Now().After(end) {
			return fmt.Errorf("%s gives %d after %v, want %d", q, got, dueAtMost, want)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// print adds the result to the table.
func (r *dueResult) print() {
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Printf("\n%d channels due in one tick, %d schedulers with relays, postgres and rabbitmq\n", r.Channels, r.Schedulers)
	fmt.Fprintln(w, "planned s (min..max)\tpublished s\tidle database transactions/s")
	fmt.Fprintf(w, "%.2f (%.2f..%.2f)\t%.2f (%.2f..%.2f)\t%.1f (%.1f..%.1f)\n",
		r.Planned.Median, r.Planned.Min, r.Planned.Max, r.Published.Median, r.Published.Min, r.Published.Max, r.Idle.Median, r.Idle.Min, r.Idle.Max)
	_ = w.Flush()
}
