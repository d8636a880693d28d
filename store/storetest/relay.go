package storetest

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tandem-sync/tandem/store"
)

const (
	debounce = time.Hour
	maxDelay = 2 * time.Hour
)

// targets gives the entity "people" to both connectors and "firms" to one.
func (h house) targets(entity string) []int64 {
	return map[string][]int64{"people": {h.companies, h.contacts}, "firms": {h.companies}}[entity]
}

func (h house) log(t *testing.T, list ...store.LocalChange) {
	t.Helper()
	write(t, h.db, func(ctx context.Context, tx *store.Tx) error { return tx.LogChanges(ctx, list) })
}

func (h house) relay(t *testing.T, limit int) (r store.Relayed) {
	t.Helper()
	write(t, h.db, func(ctx context.Context, tx *store.Tx) (err error) {
		r, err = tx.RelayChanges(ctx, limit, h.targets, debounce, maxDelay)
		return err
	})
	return r
}

// dirty reads the dirty rows of a connector by key, claimed or not.
func (h house) dirty(t *testing.T, connector int64) map[string]store.Dirty {
	t.Helper()
	out := map[string]store.Dirty{}
	read(t, h.db, func(ctx context.Context, tx *store.Tx) error {
		rows, err := tx.QueryContext(ctx, fmt.Sprintf("SELECT local_key FROM tandem_dirty WHERE connector_id = %d", connector))
		if err != nil {
			return err
		}
		defer rows.Close()
		var keys []string
		for rows.Next() {
			var k string
			if err := rows.Scan(&k); err != nil {
				return err
			}
			keys = append(keys, k)
		}
		if err := rows.Err(); err != nil {
			return err
		}
		list, err := tx.DirtyOf(ctx, connector, keys)
		for _, d := range list {
			out[d.LocalKey] = d
		}
		return err
	})
	return out
}

func (h house) depth(t *testing.T) (n int64, oldest time.Time) {
	t.Helper()
	read(t, h.db, func(ctx context.Context, tx *store.Tx) (err error) {
		n, oldest, err = tx.ChangeLogDepth(ctx)
		return err
	})
	return n, oldest
}

func keysOf[V any](m map[string]V) string { return fmt.Sprint(slices.Sorted(maps.Keys(m))) }

func change(key string, fields ...string) store.LocalChange {
	return store.LocalChange{Entity: "people", LocalKey: key, Op: store.LogUpsert, Fields: fields}
}

func testRelay(t *testing.T, db *store.DB) {
	h := newHouse(t, db)
	early := *at("2026-11-24T10:00:00.123456Z")
	dated := func(c store.LocalChange, at time.Time) store.LocalChange {
		c.At = at
		return c
	}
	h.log(t, dated(change("1", "email", `odd "name"`), early), change("2"), dated(change("1", "phone"), early.Add(time.Second)),
		dated(change("1"), early.Add(time.Minute)), dated(change("1", "email"), early.Add(-time.Second)),
		store.LocalChange{Entity: "firms", LocalKey: "1", Op: store.LogDelete}, store.LocalChange{Entity: "nobody", LocalKey: "7", Op: store.LogUpsert},
		store.LocalChange{Entity: "firms", Op: store.LogReconcile})
	n, oldest := h.depth(t)
	equal(t, "depth", n, 8)
	equal(t, "oldest", oldest, early)
	r := h.relay(t, 100)
	equal(t, "taken", r.Taken, 8)
	equal(t, "touched", fmt.Sprint(r.Touched), fmt.Sprint([]int64{h.companies, h.contacts}))
	equal(t, "reconcile", fmt.Sprint(r.Reconcile), "[firms]")
	equal(t, "suppressed", len(r.Suppressed), 0)
	n, oldest = h.depth(t)
	equal(t, "depth after", n, 0)
	equal(t, "oldest after", oldest.IsZero(), true)
	equal(t, "nothing left", h.relay(t, 100).Taken, 0)

	rows := h.dirty(t, h.contacts)
	equal(t, "keys", keysOf(rows), "[1 2]")
	d := rows["1"]
	equal(t, "times", fmt.Sprint(d.Times), fmt.Sprint(map[string]time.Time{
		"email": early, `odd "name"`: early, "phone": early.Add(time.Second), store.AnyColumn: early.Add(time.Minute),
	}))
	equal(t, "at", d.At, early.Add(time.Minute))
	if d.Shard != store.DirtyShard("1") || d.Attempts != 0 || d.ClaimEpoch != 0 || d.Reason != "" || d.NextAt != d.FirstAt || time.Since(d.FirstAt) > time.Hour {
		t.Fatalf("%+v", d)
	}
	if d.Version <= rows["2"].Version {
		t.Fatalf("versions %d and %d", d.Version, rows["2"].Version)
	}
	equal(t, "keys of the other", keysOf(h.dirty(t, h.companies)), "[1 2]")

	// What comes later is merged into what waits.
	h.log(t, dated(change("1", "phone"), early), dated(change("1", "email", "name"), early.Add(time.Hour)))
	h.relay(t, 100)
	again := h.dirty(t, h.contacts)["1"]
	equal(t, "merged times", fmt.Sprint(again.Times), fmt.Sprint(map[string]time.Time{
		"email": early.Add(time.Hour), `odd "name"`: early, "phone": early.Add(time.Second), "name": early.Add(time.Hour), store.AnyColumn: early.Add(time.Minute),
	}))
	if again.Version <= d.Version || again.FirstAt != d.FirstAt || again.NextAt != d.NextAt || again.At != early.Add(time.Hour) {
		t.Fatalf("merged: %+v after %+v", again, d)
	}
}

// testRelayFuture dates a change no later than its relay.
func testRelayFuture(t *testing.T, db *store.DB) {
	h := newHouse(t, db)
	c := change("1", "email")
	c.At = time.Now().Add(1000 * time.Hour)
	h.log(t, c)
	h.relay(t, 1)
	d := h.dirty(t, h.contacts)["1"]
	if d.At.After(d.FirstAt) || d.Times["email"] != d.At {
		t.Fatalf("%+v", d)
	}
}

// testRelayEcho puts a person's edit beside our own writes of the same row, in
// every order and batch: the edit goes out, our writes do not come back.
func testRelayEcho(t *testing.T, db *store.DB) {
	h := newHouse(t, db)
	ours := func(key string) store.LocalChange {
		c := change(key, "ours")
		c.Origin = h.contacts
		return c
	}
	h.log(t, ours("only ours"), ours("edit last"), change("edit last", "edit"), change("edit first", "edit"), ours("edit first"),
		ours("in between"), change("in between", "edit"), ours("in between"))
	r := h.relay(t, 100)
	equal(t, "suppressed", fmt.Sprint(r.Suppressed), fmt.Sprint(map[int64]int64{h.contacts: 5}))
	rows := h.dirty(t, h.contacts)
	equal(t, "goes to the one who wrote", keysOf(rows), "[edit first edit last in between]")
	for key, d := range rows {
		equal(t, "columns of "+key, keysOf(d.Times), "[edit]")
	}
	rows = h.dirty(t, h.companies)
	equal(t, "goes to the other", keysOf(rows), "[edit first edit last in between only ours]")
	equal(t, "its columns", keysOf(rows["in between"].Times), "[edit ours]")

	// In batches of their own the outcome is the same.
	h.log(t, change("apart", "edit"), ours("apart"))
	version := func() int64 { return h.dirty(t, h.contacts)["apart"].Version }
	h.relay(t, 1)
	before := version()
	r = h.relay(t, 1)
	equal(t, "the second one is ours", r.Suppressed[h.contacts], 1)
	equal(t, "touched", fmt.Sprint(r.Touched), fmt.Sprint([]int64{h.companies}))
	equal(t, "version", version(), before)
}

// testRelaysAtOnce has several relays empty the log in small batches: every
// change is taken once, and every row has a version that none of its changes
// is beyond.
func testRelaysAtOnce(t *testing.T, db *store.DB) {
	h := newHouse(t, db)
	const changes, keys, relays = 240, 30, 4
	var list []store.LocalChange
	for i := range changes {
		list = append(list, change(fmt.Sprint(i%keys), fmt.Sprint("f", i)))
	}
	h.log(t, list...)
	var wg sync.WaitGroup
	var taken atomic.Int64
	for range relays {
		wg.Go(func() {
			for {
				var r store.Relayed
				err := db.Write(t.Context(), "relay", func(ctx context.Context, tx *store.Tx) (err error) {
					r, err = tx.RelayChanges(ctx, 7, h.targets, debounce, maxDelay)
					return err
				})
				if err != nil {
					t.Error(err)
				}
				if err != nil || r.Taken == 0 {
					return
				}
				taken.Add(int64(r.Taken))
			}
		})
	}
	wg.Wait()
	equal(t, "taken", taken.Load(), changes)
	n, _ := h.depth(t)
	equal(t, "left", n, 0)
	for _, connector := range []int64{h.companies, h.contacts} {
		rows := h.dirty(t, connector)
		equal(t, "rows", len(rows), keys)
		for key, d := range rows {
			equal(t, "changes merged into "+key, len(d.Times), changes/keys)
		}
	}
}

// testRelayRolledBack gives up a relay: nothing is lost, and relays beside it
// pass over what it holds.
func testRelayRolledBack(t *testing.T, db *store.DB) {
	h := newHouse(t, db)
	h.log(t, change("1"), change("2"), change("3"))
	err := db.Write(t.Context(), "relay", func(ctx context.Context, tx *store.Tx) error {
		r, err := tx.RelayChanges(ctx, 2, h.targets, debounce, maxDelay)
		if err != nil {
			return err
		}
		equal(t, "taken", r.Taken, 2)
		if db.Dialect() == store.Postgres { // on SQLite nobody else writes meanwhile
			equal(t, "taken beside it", h.relay(t, 2).Taken, 1)
		}
		return errUndo
	})
	if err == nil {
		t.Fatal("the relay was not given up")
	}
	if db.Dialect() == store.Postgres {
		equal(t, "rows", keysOf(h.dirty(t, h.contacts)), "[3]")
	} else {
		equal(t, "rows", keysOf(h.dirty(t, h.contacts)), "[]")
	}
	h.relay(t, 10)
	equal(t, "rows", keysOf(h.dirty(t, h.contacts)), "[1 2 3]")
}

// testRelayLate lets a change with a small number commit late: the relay has
// been beyond it and takes it all the same.
func testRelayLate(t *testing.T, db *store.DB) {
	h := newHouse(t, db)
	if db.Dialect() == store.Postgres {
		write(t, db, func(ctx context.Context, tx *store.Tx) error {
			if err := tx.LogChanges(ctx, []store.LocalChange{change("late")}); err != nil {
				return err
			}
			h.log(t, change("early"))
			equal(t, "taken", h.relay(t, 10).Taken, 1)
			return nil
		})
		equal(t, "taken late", h.relay(t, 10).Taken, 1)
		equal(t, "rows", keysOf(h.dirty(t, h.contacts)), "[early late]")
	}
	// The number of a late change may be smaller than the version of the row: who
	// has claimed that version must notice the change all the same.
	h.log(t, change("1", "email"))
	h.mark(t, h.contacts, "by hand", "1")
	l, _ := acquire(t, db, h.outward(""), "w1", time.Hour)
	claimed := h.claimRows(t, l, 10, "1")[0]
	h.relay(t, 10)
	equal(t, "done", h.done(t, l, claimed), 0)
	d := h.dirty(t, h.contacts)["1"]
	if d.Version <= claimed.Version || d.ClaimEpoch != 0 || keysOf(d.Times) != "[email]" {
		t.Fatalf("after a late change: %+v", d)
	}
}

// testRelayDebounce works out when a changed row is due.
func testRelayDebounce(t *testing.T, db *store.DB) {
	h := newHouse(t, db)
	written := time.Now().Add(-10 * time.Minute).Truncate(time.Millisecond).UTC()
	hot, cold := link(h.contacts, 1, "r1", "hot"), link(h.contacts, 2, "r2", "cold")
	hot.WrittenAt, cold.WrittenAt = written.UnixMilli(), written.Add(-24*time.Hour).UnixMilli()
	ahead := link(h.contacts, 3, "r3", "ahead") // exported by a worker whose clock is ahead
	ahead.WrittenAt = written.Add(1000 * time.Hour).UnixMilli()
	write(t, db, func(ctx context.Context, tx *store.Tx) error {
		_, err := tx.InsertLinks(ctx, []store.Link{hot, cold, ahead})
		return err
	})
	h.log(t, change("hot"), change("cold"), change("new"), change("ahead"))
	h.relay(t, 10)
	rows := h.dirty(t, h.contacts)
	equal(t, "just exported", rows["hot"].NextAt, written.Add(debounce))
	equal(t, "exported long ago", rows["cold"].NextAt, rows["cold"].FirstAt)
	equal(t, "never exported", rows["new"].NextAt, rows["new"].FirstAt)
	equal(t, "exported in the future", rows["ahead"].NextAt, rows["ahead"].FirstAt.Add(debounce))

	// A row that is put off waits on with every change, a due one stays due.
	h.log(t, change("hot"), change("new"))
	h.relay(t, 10)
	again := h.dirty(t, h.contacts)
	if d := again["hot"]; !d.NextAt.After(rows["hot"].NextAt) || d.NextAt.After(d.FirstAt.Add(maxDelay)) || d.FirstAt != rows["hot"].FirstAt {
		t.Fatalf("merged: %+v", d)
	}
	equal(t, "due stays due", again["new"].NextAt, rows["new"].NextAt)
	// But not for ever.
	age(t, db, "tandem_dirty", "first_at", 90*time.Minute)
	h.log(t, change("hot"))
	h.relay(t, 10)
	d := h.dirty(t, h.contacts)["hot"]
	equal(t, "the longest wait", d.NextAt, d.FirstAt.Add(maxDelay))
}

// testRelayAfterFailure: new data is a new chance.
func testRelayAfterFailure(t *testing.T, db *store.DB) {
	h := newHouse(t, db)
	h.log(t, change("1"))
	h.relay(t, 10)
	l, _ := acquire(t, db, h.outward(""), "w1", time.Hour)
	claimed := h.claimRows(t, l, 10)[0]
	write(t, db, func(ctx context.Context, tx *store.Tx) error {
		return tx.DeferDirty(ctx, l, []store.DirtyDefer{{LocalKey: "1", Version: claimed.Version, Until: time.Now().Add(24 * time.Hour), Reason: "refused", CountAttempt: true}})
	})
	equal(t, "put off", len(h.claimRows(t, l, 10)), 0)
	h.log(t, change("1"))
	h.relay(t, 10)
	list := h.claimRows(t, l, 10)
	if len(list) != 1 || list[0].Attempts != 0 {
		t.Fatalf("%+v", list)
	}
}

// testOrigin sets and clears who writes.
func testOrigin(t *testing.T, db *store.DB) {
	q := "SELECT connector FROM " + store.OriginTable
	if db.Dialect() == store.Postgres {
		q = "SELECT coalesce(nullif(current_setting('" + store.OriginSetting + "', true), ''), '0')::bigint"
	}
	origin := func(ctx context.Context, tx *store.Tx) (n int64) {
		if err := tx.QueryRowxContext(ctx, q).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	write(t, db, func(ctx context.Context, tx *store.Tx) error {
		equal(t, "at first", origin(ctx, tx), 0)
		if err := tx.SetOrigin(ctx, 42); err != nil {
			return err
		}
		equal(t, "set", origin(ctx, tx), 42)
		return tx.ClearOrigin(ctx)
	})
	err := db.Write(t.Context(), "undone", func(ctx context.Context, tx *store.Tx) error {
		if err := tx.SetOrigin(ctx, 43); err != nil {
			return err
		}
		return errUndo
	})
	if err == nil {
		t.Fatal("not undone")
	}
	write(t, db, func(ctx context.Context, tx *store.Tx) error {
		equal(t, "afterwards", origin(ctx, tx), 0)
		return nil
	})
}
