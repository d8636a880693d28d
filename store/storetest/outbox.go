package storetest

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/tandem-sync/tandem/store"
)

func depth(t *testing.T, db *store.DB) (n int64) {
	t.Helper()
	read(t, db, func(ctx context.Context, tx *store.Tx) (err error) {
		n, err = tx.OutboxDepth(ctx)
		return err
	})
	return n
}

func testOutbox(t *testing.T, db *store.DB) {
	h := house{db: db}
	write(t, db, func(ctx context.Context, tx *store.Tx) error {
		for i := range 5 {
			if err := tx.AddOutgoing(ctx, store.Outgoing{Key: "sync", Body: fmt.Appendf(nil, "%d", 2*i)}, store.Outgoing{Key: "sync.now", Body: fmt.Appendf(nil, "%d", 2*i+1)}); err != nil {
				return err
			}
		}
		return tx.AddOutgoing(ctx)
	})
	equal(t, "depth", depth(t, db), 10)
	// Taken and undone: they wait again.
	err := db.Write(t.Context(), "undo", func(ctx context.Context, tx *store.Tx) error {
		if list, err := tx.TakeOutgoing(ctx, 100); err != nil || len(list) != 10 {
			return fmt.Errorf("%d messages: %w", len(list), err)
		}
		return errUndo
	})
	if !errors.Is(err, errUndo) {
		t.Fatal(err)
	}
	var first []store.Outgoing
	write(t, db, func(ctx context.Context, tx *store.Tx) (err error) {
		first, err = tx.TakeOutgoing(ctx, 3)
		return err
	})
	if len(first) != 3 || string(first[0].Body) != "0" || first[1].Key != "sync.now" || string(first[2].Body) != "2" || first[0].ID >= first[1].ID {
		t.Fatalf("first: %+v", first)
	}
	equal(t, "rest", len(h.takeAll(t)), 7)
	equal(t, "depth", depth(t, db), 0)
}

// testOutboxTakers has two relays at once: they never take the same message,
// and on PostgreSQL the second does not wait for the first.
func testOutboxTakers(t *testing.T, db *store.DB) {
	write(t, db, func(ctx context.Context, tx *store.Tx) error {
		for i := range 4 {
			if err := tx.AddOutgoing(ctx, store.Outgoing{Key: "sync", Body: fmt.Appendf(nil, "%d", i)}); err != nil {
				return err
			}
		}
		return nil
	})
	seen := map[string]int{}
	take := func(ctx context.Context, tx *store.Tx) error {
		list, err := tx.TakeOutgoing(ctx, 2)
		for _, m := range list {
			seen[string(m.Body)]++
		}
		return err
	}
	if db.Dialect() == store.SQLite { // one writer: the second comes afterwards
		write(t, db, take)
		write(t, db, take)
	} else {
		write(t, db, func(ctx context.Context, tx *store.Tx) error {
			if err := take(ctx, tx); err != nil {
				return err
			}
			return db.Write(t.Context(), "second", take)
		})
	}
	if len(seen) != 4 || seen["0"] != 1 || seen["1"] != 1 || seen["2"] != 1 || seen["3"] != 1 {
		t.Fatalf("%v", seen)
	}
}
