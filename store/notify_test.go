package store_test

import (
	"context"
	"sync"
	"testing"

	"github.com/tandem-sync/tandem/store"
)

// Whoever listens hears of a change that another program commits, until it is
// switched off; switching twice is as good as once.
func TestNotifyOfChanges(t *testing.T) {
	t.Parallel()
	db := openPostgres(t)
	ctx, cancel := context.WithCancel(t.Context())
	heard := make(chan struct{}, 100)
	var wg sync.WaitGroup
	wg.Go(func() { db.ListenChanges(ctx, func() { heard <- struct{}{} }) })
	<-heard // it has connected
	for range 2 {
		if err := db.NotifyChanges(ctx, true); err != nil {
			t.Fatal(err)
		}
	}
	change := func() {
		err := db.Write(ctx, "test", func(ctx context.Context, tx *store.Tx) error {
			_, err := tx.ExecContext(ctx, "INSERT INTO tandem_change_log (entity, local_key, op) VALUES ('e', '1', 'u'), ('e', '2', 'u')")
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	change()
	<-heard
	for range 2 {
		if err := db.NotifyChanges(ctx, false); err != nil {
			t.Fatal(err)
		}
	}
	change()
	err := db.Write(ctx, "test", func(ctx context.Context, tx *store.Tx) error {
		_, err := tx.ExecContext(ctx, "NOTIFY "+store.NotifyChannel)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	<-heard // notifications keep the order of their commits: one of the change would have come first
	cancel()
	wg.Wait()
	if n := len(heard); n > 0 {
		t.Errorf("%d more notifications", n)
	}
}

// SQLite has nobody to notify: listening waits for its end.
func TestNotifyIsNothingOnSQLite(t *testing.T) {
	t.Parallel()
	db := openSQLite(t)
	if err := db.NotifyChanges(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	db.ListenChanges(ctx, func() { t.Error("a change is told on SQLite") })
}
