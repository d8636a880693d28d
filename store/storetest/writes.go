package storetest

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tandem-sync/tandem/internal/yield"
	"github.com/tandem-sync/tandem/store"
)

func addOne(ctx context.Context, tx *store.Tx) error {
	return tx.AddOutgoing(ctx, store.Outgoing{Key: "sync", Body: []byte("x")})
}

func testWriteRollsBack(t *testing.T, db *store.DB) {
	calls := 0
	err := db.Write(t.Context(), "the work", func(ctx context.Context, tx *store.Tx) error {
		calls++
		return errors.Join(addOne(ctx, tx), errUndo)
	})
	if !errors.Is(err, errUndo) || calls != 1 || !strings.Contains(err.Error(), "the work") {
		t.Fatalf("%v after %d calls", err, calls)
	}
	equal(t, "after an error", depth(t, db), 0)
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic was swallowed")
			}
		}()
		_ = db.Write(t.Context(), "panic", func(ctx context.Context, tx *store.Tx) error {
			_ = addOne(ctx, tx)
			panic("boom")
		})
	}()
	equal(t, "after a panic", depth(t, db), 0)
	// The store works on, and a write inside a write is refused, not waited for.
	err = db.Write(t.Context(), "outer", func(ctx context.Context, tx *store.Tx) error {
		if !store.InTx(ctx) {
			t.Error("InTx is false inside")
		}
		if err := db.Write(ctx, "inner", addOne); err == nil {
			t.Error("a nested write was accepted")
		}
		return addOne(ctx, tx)
	})
	if err != nil || store.InTx(t.Context()) {
		t.Fatal(err)
	}
	equal(t, "after success", depth(t, db), 1)
}

func testWriteYields(t *testing.T, db *store.DB) {
	stop := errors.New("stop")
	for _, c := range []struct {
		point     string
		unknown   bool
		committed int64
	}{
		{"tx.begin", false, 0}, {"tx.before_commit", false, 0}, {"tx.after_commit", true, 1},
	} {
		before := depth(t, db)
		var seen []string
		ctx := yield.With(t.Context(), func(_ context.Context, point string) error {
			seen = append(seen, point)
			if point == c.point {
				return stop
			}
			return nil
		})
		err := db.Write(ctx, "yield", addOne)
		if !errors.Is(err, stop) || errors.Is(err, store.ErrCommitUnknown) != c.unknown {
			t.Fatalf("%s: %v", c.point, err)
		}
		equal(t, c.point, depth(t, db)-before, c.committed)
		equal(t, c.point+" is the last one", seen[len(seen)-1], c.point)
	}
}

func testWriteConcurrent(t *testing.T, db *store.DB) {
	h := newHouse(t, db)
	run, list := h.started(t)
	// Everybody moves the same slice from where it is: a lost update would show.
	var wg sync.WaitGroup
	const workers, each = 6, 10
	for range workers {
		wg.Go(func() {
			for range each {
				err := db.Write(t.Context(), "move", func(ctx context.Context, tx *store.Tx) error {
					if err := tx.LockChannel(ctx, h.channel); err != nil {
						return err
					}
					s, err := tx.Slice(ctx, list[0].ID)
					if err != nil {
						return err
					}
					return tx.CommitSlice(ctx, store.SliceStep{SliceID: s.ID, Expected: s.BatchNo, Next: s.BatchNo + 1, Add: store.Counters{Read: 1}})
				})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	s := h.slices(t, run.ID)[0]
	if s.BatchNo != workers*each || s.Counters.Read != workers*each {
		t.Fatalf("batch %d, read %d", s.BatchNo, s.Counters.Read)
	}
}

func testWriteCancelled(t *testing.T, db *store.DB) {
	ctx, cancel := context.WithCancel(t.Context())
	err := db.Write(ctx, "cancel", func(ctx context.Context, tx *store.Tx) error {
		defer cancel()
		return addOne(ctx, tx)
	})
	if !errors.Is(err, context.Canceled) || errors.Is(err, store.ErrCommitUnknown) {
		t.Fatalf("cancelled before the commit: %v", err)
	}
	if err := db.Write(ctx, "cancelled", addOne); !errors.Is(err, context.Canceled) {
		t.Fatalf("cancelled before: %v", err)
	}
	equal(t, "nothing happened", depth(t, db), 0)
	write(t, db, addOne)
}

func testReadOnly(t *testing.T, db *store.DB) {
	err := db.Read(t.Context(), addOne)
	if err == nil {
		t.Fatal("a read transaction wrote")
	}
	equal(t, "depth", depth(t, db), 0)
	// One snapshot: what others commit meanwhile does not show.
	read(t, db, func(ctx context.Context, tx *store.Tx) error {
		before, err := tx.OutboxDepth(ctx)
		if err != nil {
			return err
		}
		write(t, db, addOne)
		after, err := tx.OutboxDepth(ctx)
		equal(t, "inside", after, before)
		return err
	})
}

func testSession(t *testing.T, db *store.DB) {
	s, err := db.Session(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	temp := func(ctx context.Context, tx *store.Tx) error {
		_, err := tx.ExecContext(ctx, "CREATE TEMP TABLE stage (n integer)")
		return err
	}
	if err := s.Write(t.Context(), "stage", temp); err != nil {
		t.Fatal(err)
	}
	gen := s.Generation()
	err = s.Write(t.Context(), "use", func(ctx context.Context, tx *store.Tx) error {
		_, err := tx.ExecContext(ctx, "INSERT INTO stage (n) VALUES (1)")
		return errors.Join(err, addOne(ctx, tx))
	})
	if err != nil || s.Generation() != gen {
		t.Fatalf("the temporary table is gone: %v", err)
	}
	calls := 0
	err = s.Write(t.Context(), "once", func(context.Context, *store.Tx) error { calls++; return errUndo })
	if !errors.Is(err, errUndo) || calls != 1 {
		t.Fatalf("%v after %d calls", err, calls)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	equal(t, "depth", depth(t, db), 1)
}

func testNow(t *testing.T, db *store.DB) {
	write(t, db, func(ctx context.Context, tx *store.Tx) error {
		a, err := tx.Now(ctx)
		if err != nil {
			return err
		}
		time.Sleep(2 * time.Millisecond)
		b, err := tx.Now(ctx)
		if err != nil {
			return err
		}
		if !b.After(a) || a.Location() != time.UTC || time.Since(a).Abs() > time.Minute {
			t.Errorf("%v then %v", a, b)
		}
		return nil
	})
}
