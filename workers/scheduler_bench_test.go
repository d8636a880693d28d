package workers

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/tandem-sync/tandem/channels"
	"github.com/tandem-sync/tandem/internal/testenv"
	"github.com/tandem-sync/tandem/messages/rabbit"
	"github.com/tandem-sync/tandem/store"
)

// BenchmarkTenThousandDue measures how long two schedulers with their relays
// take from 10,000 channels being due in one tick until each has its run and
// RabbitMQ has confirmed every message, on PostgreSQL.
func BenchmarkTenThousandDue(b *testing.B) {
	const due = 10_000
	db := manyChannels(b, due)
	broker, err := rabbit.New(rabbit.Config{URL: testenv.RabbitMQ(b)})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = broker.Close() }()
	ctx, stop := context.WithCancel(b.Context())
	var wg sync.WaitGroup
	for _, owner := range []string{"one", "two"} {
		f, err := NewFleet(Config{DB: db, Broker: broker, Registry: &channels.Registry{}, Owner: owner, Roles: Roles{Scheduler: true, Relay: true}})
		if err != nil {
			b.Fatal(err)
		}
		wg.Go(func() {
			if err := f.Run(ctx); err != nil {
				b.Error(err)
			}
		})
	}
	defer wg.Wait()
	defer stop()
	var planned, published time.Duration
	rounds := 0
	for b.Loop() {
		b.StopTimer()
		sql(b, db, "DELETE FROM tandem_run")
		sql(b, db, "DELETE FROM tandem_tick")
		b.StartTimer()
		begun := time.Now()
		sql(b, db, "UPDATE tandem_schedule SET next_at = clock_timestamp()")
		until(b, db, "SELECT count(*) FROM tandem_tick", due)
		planned += time.Since(begun)
		until(b, db, "SELECT 10000 - count(*) FROM tandem_outbox", due)
		published += time.Since(begun)
		rounds++
	}
	b.ReportMetric(planned.Seconds()/float64(rounds), "s/planned")
	b.ReportMetric(published.Seconds()/float64(rounds), "s/published")
}

// BenchmarkIdleScheduler measures what a scheduler asks of PostgreSQL while
// 10,000 channels are due at some other time.
func BenchmarkIdleScheduler(b *testing.B) {
	db := manyChannels(b, 10_000)
	f, err := NewFleet(Config{DB: db, Broker: none{}, Registry: &channels.Registry{}, Owner: "one", Roles: Roles{Scheduler: true}})
	if err != nil {
		b.Fatal(err)
	}
	transactions := func() (n int64) {
		query(b, db, &n, "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = current_database()")
		return n
	}
	// The median of several windows: autovacuum comes and goes.
	const window, windows = 5 * time.Second, 7
	for b.Loop() {
		ctx, stop := context.WithCancel(b.Context())
		var wg sync.WaitGroup
		wg.Go(func() { f.schedule(ctx) })
		time.Sleep(window)
		rates := make([]float64, windows)
		for i := range rates {
			before := transactions()
			time.Sleep(window)
			rates[i] = float64(transactions()-before-1) / window.Seconds() // less the question itself
		}
		stop()
		wg.Wait()
		slices.Sort(rates)
		b.ReportMetric(rates[windows/2], "transactions/s")
	}
}

func manyChannels(b *testing.B, n int) *store.DB {
	b.Helper()
	db, err := store.Open(b.Context(), store.Config{URL: testenv.Postgres(b)})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = db.Close() })
	if err := db.Migrate(b.Context()); err != nil {
		b.Fatal(err)
	}
	sql(b, db, `INSERT INTO tandem_channel (name, type, enabled, managed, revision, settings, created_at, updated_at)
		SELECT 'channel-' || n, 'rest', true, '', 1, '{"type":"rest","schedule":"@daily"}', now(), now() FROM generate_series(1, $1::int) n`, n)
	sql(b, db, `INSERT INTO tandem_schedule (channel_id, next_at, schedule, revision, start_now, failures, planned_at)
		SELECT id, now() + interval '1 hour', '@daily', 1, false, 0, now() FROM tandem_channel`)
	return db
}

func sql(b *testing.B, db *store.DB, q string, args ...any) {
	b.Helper()
	err := db.Write(b.Context(), "test", func(ctx context.Context, tx *store.Tx) error {
		_, err := tx.ExecContext(ctx, q, args...)
		return err
	})
	if err != nil {
		b.Fatal(err)
	}
}

func query(b *testing.B, db *store.DB, into *int64, q string) {
	b.Helper()
	err := db.Read(b.Context(), func(ctx context.Context, tx *store.Tx) error { return tx.GetContext(ctx, into, q) })
	if err != nil {
		b.Fatal(err)
	}
}

// until asks until the answer is want.
func until(b *testing.B, db *store.DB, q string, want int64) {
	b.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		var got int64
		if query(b, db, &got, q); got == want {
			return
		}
	}
	b.Fatalf("%s: never %d", q, want)
}
