package storetest

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/tandem-sync/tandem/store"
)

// outward is the key of a lease to export contacts.
func (h house) outward(shard string) store.LeaseKey {
	return store.LeaseKey{ChannelID: h.channel, ConnectorID: h.contacts, Direction: store.KindReverseSync, Shard: shard}
}

func (h house) mark(t *testing.T, connector int64, reason string, keys ...string) {
	t.Helper()
	write(t, h.db, func(ctx context.Context, tx *store.Tx) error {
		n, err := tx.MarkDirty(ctx, connector, keys, reason)
		equal(t, "marked", n, int64(len(keys)))
		return err
	})
}

// claimRows claims due rows or, with keys, those.
func (h house) claimRows(t *testing.T, l store.Lease, limit int, keys ...string) (list []store.Dirty) {
	t.Helper()
	write(t, h.db, func(ctx context.Context, tx *store.Tx) (err error) {
		list, err = tx.ClaimDirty(ctx, l, limit, keys)
		return err
	})
	return list
}

func (h house) done(t *testing.T, l store.Lease, claimed ...store.Dirty) (n int64) {
	t.Helper()
	list := make([]store.DirtyDone, len(claimed))
	for i, d := range claimed {
		list[i] = store.DirtyDone{LocalKey: d.LocalKey, Version: d.Version}
	}
	write(t, h.db, func(ctx context.Context, tx *store.Tx) (err error) {
		n, err = tx.DoneDirty(ctx, l, list)
		return err
	})
	return n
}

func (h house) claimedKeys(t *testing.T, keys ...string) (got string) {
	t.Helper()
	read(t, h.db, func(ctx context.Context, tx *store.Tx) error {
		m, err := tx.ClaimedKeys(ctx, h.contacts, keys)
		got = keysOf(m)
		return err
	})
	return got
}

func keyList(list []store.Dirty) string {
	keys := make([]string, len(list))
	for i, d := range list {
		keys[i] = d.LocalKey
	}
	return fmt.Sprint(keys)
}

func testDirtyClaim(t *testing.T, db *store.DB) {
	h := newHouse(t, db)
	h.mark(t, h.contacts, "all", "c")
	h.mark(t, h.contacts, "all", "b", "a", "d")
	h.mark(t, h.companies, "all", "a")
	l, _ := acquire(t, db, h.outward(""), "w1", time.Hour)
	beside, _ := acquire(t, db, h.outward("ids"), "w2", time.Hour)
	list := h.claimRows(t, l, 2)
	equal(t, "the longest due first", keyList(list), "[c a]")
	for _, d := range list {
		if d.ConnectorID != h.contacts || d.ClaimEpoch != l.Epoch || d.Reason != "all" || d.Times != nil || d.Version == 0 {
			t.Fatalf("%+v", d)
		}
	}
	equal(t, "claimed", h.claimedKeys(t, "a", "b", "c", "x"), "[a c]")
	equal(t, "none asked for", h.claimedKeys(t), "[]")
	equal(t, "free ones beside", keyList(h.claimRows(t, beside, 10)), "[b d]")
	equal(t, "none left", keyList(h.claimRows(t, l, 10)), "[]")
	equal(t, "named and claimed", keyList(h.claimRows(t, beside, 10, "a", "c")), "[]")

	// The epochs of the two leases are the same number and yet not the same.
	equal(t, "same epoch", l.Epoch, beside.Epoch)
	equal(t, "done by the other", h.done(t, beside, list...), 0)
	equal(t, "done", h.done(t, l, list...), 2)
	equal(t, "done twice", h.done(t, l, list...), 0)
	equal(t, "left", keysOf(h.dirty(t, h.contacts)), "[b d]")
	equal(t, "of the other connector", keysOf(h.dirty(t, h.companies)), "[a]")

	// Named ones need not be due.
	write(t, db, func(ctx context.Context, tx *store.Tx) error {
		return tx.DeferDirty(ctx, beside, []store.DirtyDefer{{LocalKey: "b", Until: time.Now().Add(time.Hour)}, {LocalKey: "d", Until: time.Now().Add(time.Hour)}})
	})
	equal(t, "nothing due", keyList(h.claimRows(t, l, 10)), "[]")
	equal(t, "named", keyList(h.claimRows(t, l, 10, "d", "b", "d", "x")), "[b d]")
	equal(t, "none named", len(h.claimRows(t, l, 10, []string{}...)), 0)

	// The other lease lives on under the same epoch.
	write(t, db, func(ctx context.Context, tx *store.Tx) error { return tx.ReleaseLease(ctx, l) })
	equal(t, "after its lease", h.claimedKeys(t, "b", "d"), "[]")
	equal(t, "free for the other", keyList(h.claimRows(t, beside, 10, "b", "d")), "[b d]")
}

// testDirtyChanged ends claims of rows that changed meanwhile.
func testDirtyChanged(t *testing.T, db *store.DB) {
	h := newHouse(t, db)
	h.log(t, change("1"), change("2"), change("3"))
	h.relay(t, 10)
	l, _ := acquire(t, db, h.outward(""), "w1", time.Hour)
	list := h.claimRows(t, l, 10)
	equal(t, "claimed", keyList(list), "[1 2 3]")
	age(t, db, "tandem_dirty", "first_at", time.Minute)
	h.log(t, change("2", "email"))
	h.relay(t, 10)
	h.mark(t, h.contacts, "by hand", "3")
	during := h.dirty(t, h.contacts)
	equal(t, "still claimed", h.claimedKeys(t, "1", "2", "3"), "[1 2 3]")
	equal(t, "done", h.done(t, l, list...), 1)
	after := h.dirty(t, h.contacts)
	equal(t, "left", keysOf(after), "[2 3]")
	equal(t, "free", h.claimedKeys(t, "1", "2", "3"), "[]")
	for key, d := range after {
		if !d.FirstAt.After(during[key].FirstAt) || d.NextAt != during[key].NextAt || d.Version != during[key].Version {
			t.Fatalf("%s: %+v after %+v", key, d, during[key])
		}
	}
	// The change of a row that was being exported goes out a while later, what a
	// person asked for at once.
	if d := after["2"]; !d.NextAt.After(d.FirstAt.Add(debounce / 2)) {
		t.Fatalf("changed: %+v", d)
	}
	equal(t, "due", keyList(h.claimRows(t, l, 10)), "[3]")
}

// testDirtyTakeover: a claim ends with its lease, however that ends.
func testDirtyTakeover(t *testing.T, db *store.DB) {
	h := newHouse(t, db)
	h.mark(t, h.contacts, "all", "1", "2", "3")
	old, _ := acquire(t, db, h.outward(""), "w1", time.Hour)
	list := h.claimRows(t, old, 10)
	equal(t, "claimed", keyList(list), "[1 2 3]")
	// Expired: void, although nobody has the lease yet.
	age(t, db, "tandem_lease", "expires_at", 2*time.Hour)
	equal(t, "of a dead worker", h.claimedKeys(t, "1", "2", "3"), "[]")
	l, ok := acquire(t, db, h.outward(""), "w2", time.Hour)
	equal(t, "taken over", ok, true)
	again := h.claimRows(t, l, 2)
	equal(t, "claimed again", keyList(again), "[1 2]")
	equal(t, "by the new one", h.claimedKeys(t, "1", "2", "3"), "[1 2]")
	// The zombie ends nothing and puts off nothing.
	equal(t, "done by a zombie", h.done(t, old, list[:2]...), 0)
	write(t, db, func(ctx context.Context, tx *store.Tx) error {
		return tx.DeferDirty(ctx, old, []store.DirtyDefer{{LocalKey: "1", Until: time.Now().Add(time.Hour), Reason: "zombie", CountAttempt: true}})
	})
	if d := h.dirty(t, h.contacts)["1"]; d.Reason != "all" || d.Attempts != 0 || d.ClaimEpoch != l.Epoch {
		t.Fatalf("after a zombie: %+v", d)
	}
	release := func() (n int64) {
		write(t, db, func(ctx context.Context, tx *store.Tx) (err error) {
			n, err = tx.ReleaseDirty(ctx, l)
			return err
		})
		return n
	}
	equal(t, "freed", release(), 1)
	equal(t, "free", h.dirty(t, h.contacts)["3"].ClaimEpoch, 0)
	equal(t, "freed again", release(), 0)
	equal(t, "done", h.done(t, l, again[0]), 1)
	// Given back: void as well.
	write(t, db, func(ctx context.Context, tx *store.Tx) error { return tx.ReleaseLease(ctx, l) })
	equal(t, "after the lease", h.claimedKeys(t, "1", "2", "3"), "[]")
	other, _ := acquire(t, db, h.outward("ids"), "w3", time.Hour)
	equal(t, "claimed by another shard", keyList(h.claimRows(t, other, 10)), "[2 3]")
}

// testDirtyClaimers claims from several sides at once: every row once.
func testDirtyClaimers(t *testing.T, db *store.DB) {
	h := newHouse(t, db)
	const rows, claimers = 200, 4
	var keys []string
	for i := range rows {
		keys = append(keys, fmt.Sprint(i))
	}
	h.mark(t, h.contacts, "all", keys...)
	var mu sync.Mutex
	times := map[string]int{}
	var wg sync.WaitGroup
	for i := range claimers {
		l, _ := acquire(t, db, h.outward(fmt.Sprint("s", i)), "w", time.Hour)
		wg.Go(func() {
			for empty := 0; empty < 3; {
				var list []store.Dirty
				err := db.Write(t.Context(), "claim", func(ctx context.Context, tx *store.Tx) (err error) {
					list, err = tx.ClaimDirty(ctx, l, 9, nil)
					return err
				})
				if err != nil {
					t.Error(err)
					return
				}
				if len(list) == 0 {
					empty++ // what another claimer held at that moment was passed over
				}
				mu.Lock()
				for _, d := range list {
					times[d.LocalKey]++
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	equal(t, "rows claimed", len(times), rows)
	for key, n := range times {
		equal(t, "claims of "+key, n, 1)
	}
}

func testDirtyDefer(t *testing.T, db *store.DB) {
	h := newHouse(t, db)
	h.log(t, change("1"), change("2"), change("3"))
	h.relay(t, 10)
	l, _ := acquire(t, db, h.outward(""), "w1", time.Hour)
	list := h.claimRows(t, l, 10)
	h.log(t, change("2"))
	h.relay(t, 10)
	until := time.Now().Add(time.Hour).Truncate(time.Microsecond).UTC()
	var put []store.DirtyDefer
	for i, d := range list {
		put = append(put, store.DirtyDefer{LocalKey: d.LocalKey, Version: d.Version, Until: until, Reason: "why " + d.LocalKey, CountAttempt: i < 2})
	}
	slices.Reverse(put)
	write(t, db, func(ctx context.Context, tx *store.Tx) error {
		if err := tx.DeferDirty(ctx, l, nil); err != nil {
			return err
		}
		return tx.DeferDirty(ctx, l, put)
	})
	rows := h.dirty(t, h.contacts)
	for key, attempts := range map[string]int{"1": 1, "3": 0} {
		if d := rows[key]; d.NextAt != until || d.Reason != "why "+key || d.Attempts != attempts || d.ClaimEpoch != 0 {
			t.Fatalf("%s: %+v", key, d)
		}
	}
	if d := rows["2"]; d.Reason != "" || d.Attempts != 0 || d.ClaimEpoch != 0 || d.NextAt.Equal(until) {
		t.Fatalf("changed meanwhile: %+v", d)
	}
	equal(t, "free", h.claimedKeys(t, "1", "2", "3"), "[]")
}

func testDirtyMark(t *testing.T, db *store.DB) {
	h := newHouse(t, db)
	h.log(t, change("1", "email"))
	h.relay(t, 10)
	before := h.dirty(t, h.contacts)["1"]
	write(t, db, func(ctx context.Context, tx *store.Tx) error {
		n, err := tx.MarkDirty(ctx, h.contacts, []string{"2", "1", "2"}, "conflict")
		equal(t, "marked", n, 2)
		if err != nil {
			return err
		}
		n, err = tx.MarkDirty(ctx, h.contacts, nil, "none")
		equal(t, "none", n, 0)
		return err
	})
	rows := h.dirty(t, h.contacts)
	d := rows["1"]
	if d.Version <= before.Version || d.At != before.At || keysOf(d.Times) != "[email]" || d.Reason != "conflict" || d.FirstAt != before.FirstAt {
		t.Fatalf("%+v after %+v", d, before)
	}
	if m := rows["2"]; m.Times != nil || m.At != m.FirstAt || m.NextAt != m.FirstAt || m.Version <= before.Version || m.Shard != store.DirtyShard("2") {
		t.Fatalf("%+v", m)
	}
	n, _ := h.depth(t)
	equal(t, "left in the log", n, 0)
	for key, want := range map[string]int{"": 5, "1": 12, "contact-17": 2, "日本": 1} {
		equal(t, "shard of "+key, store.DirtyShard(key), want)
	}
}

// testDirtyDue finds out for whom there is work.
func testDirtyDue(t *testing.T, db *store.DB) {
	h := newHouse(t, db)
	var off house
	write(t, db, func(ctx context.Context, tx *store.Tx) (err error) {
		if off, err = addHouse(ctx, tx, db, "off"); err != nil {
			return err
		}
		if err = tx.SetChannelEnabled(ctx, off.channel, false); err != nil {
			return err
		}
		_, err = tx.PutConnectors(ctx, h.channel, []store.Connector{{Name: "companies"}, {Name: "contacts", Ord: 1}, {Name: "gone", Ord: 2}})
		return err
	})
	var gone int64
	write(t, db, func(ctx context.Context, tx *store.Tx) error {
		list, err := tx.Connectors(ctx, h.channel)
		for _, k := range list {
			if k.Name == "gone" {
				gone = k.ID
			}
		}
		if err != nil {
			return err
		}
		_, err = tx.PutConnectors(ctx, h.channel, []store.Connector{{Name: "companies"}, {Name: "contacts", Ord: 1}})
		return err
	})
	due := func() string {
		var got []string
		read(t, db, func(ctx context.Context, tx *store.Tx) error {
			list, err := tx.DueConnectors(ctx)
			got = nil
			for _, d := range list {
				equal(t, "channel", d.ChannelID, h.channel)
				got = append(got, fmt.Sprint(d.ConnectorID == h.contacts, d.Count, time.Since(d.Oldest) > 30*time.Minute))
			}
			return err
		})
		return fmt.Sprint(got)
	}
	equal(t, "nothing", due(), "[]")
	h.mark(t, off.contacts, "all", "1")
	h.mark(t, gone, "all", "1")
	h.mark(t, h.contacts, "all", "1", "2")
	age(t, db, "tandem_dirty", "first_at", time.Hour)
	h.mark(t, h.companies, "all", "1")
	equal(t, "due", due(), "[true 2 true false 1 false]")
	read(t, db, func(ctx context.Context, tx *store.Tx) error {
		n, oldest, err := tx.DirtyStats(ctx, h.channel)
		equal(t, "waiting", n, 4)
		equal(t, "for long", time.Since(oldest) > 30*time.Minute, true)
		if err != nil {
			return err
		}
		n, oldest, err = tx.DirtyStats(ctx, -1)
		equal(t, "of no channel", n, 0)
		equal(t, "for no time", oldest.IsZero(), true)
		return err
	})
	l, _ := acquire(t, db, h.outward(""), "w1", time.Hour)
	list := h.claimRows(t, l, 10)
	equal(t, "under way", due(), "[false 1 false]")
	write(t, db, func(ctx context.Context, tx *store.Tx) error {
		return tx.DeferDirty(ctx, l, []store.DirtyDefer{{LocalKey: list[0].LocalKey, Until: time.Now().Add(time.Hour)}})
	})
	write(t, db, func(ctx context.Context, tx *store.Tx) error { return tx.ReleaseLease(ctx, l) })
	equal(t, "left behind", due(), "[true 1 true false 1 false]")
}
