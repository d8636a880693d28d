package storetest

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tandem-sync/tandem/store"
)

func acquire(t *testing.T, db *store.DB, key store.LeaseKey, owner string, ttl time.Duration) (l store.Lease, ok bool) {
	t.Helper()
	write(t, db, func(ctx context.Context, tx *store.Tx) (err error) {
		l, ok, err = tx.AcquireLease(ctx, key, owner, ttl)
		return err
	})
	return l, ok
}

func check(t *testing.T, db *store.DB, l store.Lease) error {
	t.Helper()
	return db.Read(t.Context(), func(ctx context.Context, tx *store.Tx) error { return tx.CheckLease(ctx, l) })
}

func renew(t *testing.T, db *store.DB, l store.Lease, ttl time.Duration) error {
	t.Helper()
	return db.Write(t.Context(), "renew", func(ctx context.Context, tx *store.Tx) error { return tx.RenewLease(ctx, l, ttl) })
}

func (h house) leaseKey() store.LeaseKey {
	return store.LeaseKey{ChannelID: h.channel, ConnectorID: h.contacts, Direction: store.KindSync}
}

func testLeaseLife(t *testing.T, db *store.DB) {
	h := newHouse(t, db)
	key := h.leaseKey()
	wantFenced(t, "no lease at all", check(t, db, store.Lease{LeaseKey: key, Owner: "w1", Epoch: 1}))
	l, ok := acquire(t, db, key, "w1", time.Hour)
	if !ok || l.Epoch != 1 || l.Unclean || l.Owner != "w1" || time.Until(l.ExpiresAt) < time.Minute {
		t.Fatalf("%+v %v", l, ok)
	}
	if _, ok := acquire(t, db, key, "w2", time.Hour); ok {
		t.Fatal("taken twice")
	}
	if _, ok := acquire(t, db, key, "w1", time.Hour); ok {
		t.Fatal("taken twice by one owner")
	}
	other := key
	other.Shard = "ids"
	if _, ok := acquire(t, db, other, "w2", time.Hour); !ok {
		t.Fatal("another shard is free")
	}
	if err := check(t, db, l); err != nil {
		t.Fatal(err)
	}
	if err := renew(t, db, l, 2*time.Hour); err != nil {
		t.Fatal(err)
	}
	foreign := l
	foreign.Epoch++
	wantFenced(t, "renew with another epoch", renew(t, db, foreign, time.Hour))
	write(t, db, func(ctx context.Context, tx *store.Tx) error { return tx.ReleaseLease(ctx, foreign) })
	if err := check(t, db, l); err != nil {
		t.Fatalf("released by a stranger: %v", err)
	}
	write(t, db, func(ctx context.Context, tx *store.Tx) error { return tx.ReleaseLease(ctx, l) })
	wantFenced(t, "check after release", check(t, db, l))
	wantFenced(t, "renew after release", renew(t, db, l, time.Hour))
	next, ok := acquire(t, db, key, "w2", time.Hour)
	if !ok || next.Epoch != 2 || next.Unclean {
		t.Fatalf("after release: %+v %v", next, ok)
	}
	for _, bad := range []func(context.Context, *store.Tx) error{
		func(ctx context.Context, tx *store.Tx) error {
			_, _, err := tx.AcquireLease(ctx, key, "", time.Hour)
			return err
		},
		func(ctx context.Context, tx *store.Tx) error {
			_, _, err := tx.AcquireLease(ctx, key, "w", 0)
			return err
		},
	} {
		if db.Write(t.Context(), "bad", bad) == nil {
			t.Fatal("a lease without owner or time was given")
		}
	}
}

func testLeaseExpiry(t *testing.T, db *store.DB) {
	h := newHouse(t, db)
	key := h.leaseKey()
	l, _ := acquire(t, db, key, "w1", time.Hour)
	age(t, db, "tandem_lease", "expires_at", 2*time.Hour)
	// Expired and not taken over: the epoch is still ours, but not to renew.
	if err := check(t, db, l); err != nil {
		t.Fatal(err)
	}
	wantFenced(t, "renew an expired lease", renew(t, db, l, time.Hour))
	next, ok := acquire(t, db, key, "w2", time.Hour)
	if !ok || next.Epoch != l.Epoch+1 || !next.Unclean {
		t.Fatalf("takeover: %+v %v", next, ok)
	}
	wantFenced(t, "the zombie's check", check(t, db, l))
	wantFenced(t, "the zombie's renewal", renew(t, db, l, time.Hour))
}

func testLeaseOneTaker(t *testing.T, db *store.DB) {
	h := newHouse(t, db)
	key := h.leaseKey()
	var wg sync.WaitGroup
	var taken atomic.Int64
	begin := make(chan struct{})
	const n = 8
	for i := range n {
		wg.Go(func() {
			<-begin
			err := db.Write(t.Context(), "take", func(ctx context.Context, tx *store.Tx) error {
				_, ok, err := tx.AcquireLease(ctx, key, string(rune('a'+i)), time.Hour)
				if ok {
					taken.Add(1)
				}
				return err
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	close(begin)
	wg.Wait()
	equal(t, "takers", taken.Load(), 1)
}

func testLeaseVoid(t *testing.T, db *store.DB) {
	h := newHouse(t, db)
	key := h.leaseKey()
	l, _ := acquire(t, db, key, "w1", time.Hour)
	write(t, db, func(ctx context.Context, tx *store.Tx) error { return tx.VoidLeases(ctx) })
	wantFenced(t, "the dead process's check", check(t, db, l))
	wantFenced(t, "the dead process's renewal", renew(t, db, l, time.Hour))
	next, ok := acquire(t, db, key, "w2", time.Hour)
	if !ok || next.Epoch <= l.Epoch || !next.Unclean {
		t.Fatalf("after voiding: %+v %v", next, ok)
	}
}
