package store_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/tandem-sync/tandem/internal/testenv"
	"github.com/tandem-sync/tandem/store"
)

// TestWriteRepeatsSerializationFailure lets two serializable transactions read
// what the other one writes: the server ends one, and Write runs it again on
// what the other has made of it.
func TestWriteRepeatsSerializationFailure(t *testing.T) {
	t.Parallel()
	db := openPostgres(t)
	for _, q := range []string{"CREATE TABLE x (n integer)", "INSERT INTO x VALUES (1)"} {
		if err := exec(t, db, q); err != nil {
			t.Fatal(err)
		}
	}
	const parties = 2
	var read sync.WaitGroup
	read.Add(parties)
	calls, done := make(chan struct{}, 100), make(chan error, parties)
	for range parties {
		go func() {
			first := true
			done <- db.Write(t.Context(), "sum", func(ctx context.Context, tx *store.Tx) error {
				calls <- struct{}{}
				if _, err := tx.ExecContext(ctx, "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE"); err != nil {
					return err
				}
				var sum int
				if err := tx.QueryRowxContext(ctx, "SELECT sum(n) FROM x").Scan(&sum); err != nil {
					return err
				}
				if first { // both have read before either writes
					first = false
					read.Done()
					read.Wait()
				}
				_, err := tx.ExecContext(ctx, "INSERT INTO x VALUES ($1)", sum)
				return err
			})
		}()
	}
	for range parties {
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	if len(calls) <= parties {
		t.Errorf("%d calls: nothing was repeated", len(calls))
	}
	var sum int
	if err := db.Read(t.Context(), func(ctx context.Context, tx *store.Tx) error {
		return tx.QueryRowxContext(ctx, "SELECT sum(n) FROM x").Scan(&sum)
	}); err != nil || sum != 4 { // 1, then 1 more, then 2 more
		t.Errorf("sum %d (%v), want 4: one after the other", sum, err)
	}
}

// TestPoolExhausted: more work than connections waits for its turn, and a
// caller that does not want to wait any longer is let go.
func TestPoolExhausted(t *testing.T) {
	t.Parallel()
	const conns, work = 2, 20
	db := open(t, store.Config{URL: testenv.Postgres(t), MaxConns: conns})
	held, free := make(chan struct{}, conns), make(chan struct{})
	var wg sync.WaitGroup
	hold := func(ctx context.Context, _ *store.Tx) error {
		held <- struct{}{}
		select {
		case <-free:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	for range conns {
		wg.Go(func() {
			if err := db.Write(t.Context(), "hold", hold); err != nil {
				t.Error(err)
			}
		})
	}
	for range conns {
		<-held
	}
	add := func(ctx context.Context, tx *store.Tx) error {
		return tx.AddOutgoing(ctx, store.Outgoing{Key: "sync", Body: []byte("x")})
	}
	short, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	began := time.Now()
	if err := db.Write(short, "add", add); err == nil || time.Since(began) > 5*time.Second {
		t.Errorf("without a free connection: %v after %v", err, time.Since(began))
	}
	for range work {
		wg.Go(func() {
			if err := db.Write(t.Context(), "add", add); err != nil {
				t.Error(err)
			}
		})
	}
	time.Sleep(100 * time.Millisecond)
	close(free)
	wg.Wait()
	if err := db.Read(t.Context(), func(ctx context.Context, tx *store.Tx) error {
		n, err := tx.OutboxDepth(ctx)
		if n != work {
			t.Errorf("%d of %d writes were done", n, work)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
}
