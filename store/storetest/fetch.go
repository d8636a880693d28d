package storetest

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/tandem-sync/tandem/store"
)

// A slice takes up the changes of its entity while it is the only one that has to
// know of them; what asks to look at the whole entity, and what is of others, stays.
func testFetchChanges(t *testing.T, db *store.DB) {
	h := newHouse(t, db)
	var others bool
	fetch := func(connector int64, limit int) (r store.Relayed) {
		t.Helper()
		write(t, h.db, func(ctx context.Context, tx *store.Tx) (err error) {
			if err = tx.CommitLazily(ctx); err == nil {
				r, others, err = tx.FetchChanges(ctx, "people", connector, limit, debounce, maxDelay)
			}
			return err
		})
		return r
	}
	outward := func(connector int64, is bool) {
		t.Helper()
		write(t, h.db, func(ctx context.Context, tx *store.Tx) error {
			_, err := tx.ExecContext(ctx, fmt.Sprintf("UPDATE tandem_connector SET entity = 'people', outward = %t WHERE id = %d", is, connector))
			return err
		})
	}
	outward(h.contacts, true)
	equal(t, "nothing waits", fetch(h.contacts, 10).Taken, 0)

	own := change("3")
	own.Origin = h.contacts
	h.log(t, change("1", "email"), change("2"), change("1", "phone"), own)
	r := fetch(h.contacts, 10)
	equal(t, "taken", r.Taken, 4)
	equal(t, "touched", fmt.Sprint(r.Touched), fmt.Sprint([]int64{h.contacts}))
	equal(t, "own changes", r.Suppressed[h.contacts], 1)
	equal(t, "others", others, false)
	rows := h.dirty(t, h.contacts)
	equal(t, "keys", keysOf(rows), "[1 2]")
	equal(t, "columns", keysOf(rows["1"].Times), "[email phone]")

	h.log(t, store.LocalChange{Entity: "firms", LocalKey: "1", Op: store.LogDelete}, change("4"), store.LocalChange{Entity: "people", Op: store.LogReconcile}, change("5"))
	equal(t, "the first two of all", fetch(h.contacts, 2).Taken, 1)
	equal(t, "others wait", others, true)
	n, _ := h.depth(t)
	equal(t, "left", n, 3)

	outward(h.companies, true)
	equal(t, "another one has to know of them", fetch(h.contacts, 10).Taken, 0)
	outward(h.companies, false)
	equal(t, "the last one", fetch(h.contacts, 10).Taken, 1)
	equal(t, "what stays", fmt.Sprint(h.relay(t, 10).Reconcile), "[people]")
	equal(t, "all keys", keysOf(h.dirty(t, h.contacts)), "[1 2 4 5]")
}

// How long the oldest change waits decides who takes it up; a time that lies ahead
// is no reason to wait.
func testChangesWait(t *testing.T, db *store.DB) {
	h := newHouse(t, db)
	look := func(what string, wantWait, wantFresh bool) {
		t.Helper()
		read(t, h.db, func(ctx context.Context, tx *store.Tx) error {
			wait, fresh, err := tx.ChangesWait(ctx, time.Hour)
			equal(t, what, fmt.Sprint(wait, fresh), fmt.Sprint(wantWait, wantFresh))
			return err
		})
	}
	look("none", false, false)
	for _, c := range []struct {
		what  string
		at    time.Time
		fresh bool
	}{
		{"just now", time.Time{}, true}, {"long ago", *at("2020-01-01T00:00:00Z"), false}, {"in the future", *at("2199-01-01T00:00:00Z"), false},
	} {
		one := change("1")
		one.At = c.at
		h.log(t, one)
		look(c.what, true, c.fresh)
		h.relay(t, 10)
	}
}
