package storetest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tandem-sync/tandem/store"
)

func link(connector, id int64, remote, local string) store.Link {
	return store.Link{
		LinkHead:    store.LinkHead{ID: id, RemoteID: remote, LocalKey: local, Hash: -id},
		ConnectorID: connector, Base: `["` + remote + `"]`, ReadAt: 1000 + id,
	}
}

func put(t *testing.T, db *store.DB, list ...store.Link) {
	t.Helper()
	write(t, db, func(ctx context.Context, tx *store.Tx) error { return tx.PutLinks(ctx, list) })
}

func heads(t *testing.T, db *store.DB, connector int64, ids ...string) map[string]store.LinkHead {
	t.Helper()
	out := map[string]store.LinkHead{}
	read(t, db, func(ctx context.Context, tx *store.Tx) error {
		list, err := tx.LinkHeads(ctx, connector, ids)
		for _, l := range list {
			out[l.RemoteID] = l
		}
		if len(out) != len(list) {
			t.Fatalf("a link came twice: %+v", list)
		}
		return err
	})
	return out
}

func testLinks(t *testing.T, db *store.DB) {
	h := newHouse(t, db)
	c := h.contacts
	read(t, db, func(ctx context.Context, tx *store.Tx) error {
		has, err := tx.HasLinks(ctx, c)
		equal(t, "has", has, false)
		return err
	})
	a, b := link(c, 1, "r1", "l1"), link(c, 2, "r2", "l2")
	a.Customs = `{"k":1}`
	put(t, db, a, b, link(h.companies, 3, "r1", "l1"))
	got := heads(t, db, c, "r1", "r2", "r3")
	if len(got) != 2 || got["r1"] != a.LinkHead || got["r2"] != b.LinkHead {
		t.Fatalf("heads: %+v", got)
	}
	equal(t, "no ids", len(heads(t, db, c)), 0)
	equal(t, "an id twice", len(heads(t, db, c, "r1", "r2", "r1")), 2)
	read(t, db, func(ctx context.Context, tx *store.Tx) error {
		full, err := tx.Links(ctx, c, []string{"r1", "x"})
		if err != nil || len(full) != 1 || full[0] != a {
			t.Fatalf("links: %+v %v", full, err)
		}
		full, err = tx.LinksByLocal(ctx, c, []string{"l2", "x"})
		if err != nil || len(full) != 1 || full[0] != b {
			t.Fatalf("by local: %+v %v", full, err)
		}
		n, err := tx.CountLinks(ctx, c)
		equal(t, "count", n, 2)
		if err != nil {
			return err
		}
		has, err := tx.HasLinks(ctx, c)
		equal(t, "has", has, true)
		return err
	})
	// An update keeps the id.
	a2 := a
	a2.ID, a2.LocalKey, a2.Hash, a2.Base, a2.ReadAt, a2.Customs = 77, "l9", 5, "[]", 9999, ""
	put(t, db, a2)
	read(t, db, func(ctx context.Context, tx *store.Tx) error {
		full, err := tx.Links(ctx, c, []string{"r1"})
		a2.ID = 1
		if err != nil || len(full) != 1 || full[0] != a2 {
			t.Fatalf("updated: %+v %v", full, err)
		}
		return nil
	})
	// One live link per local key.
	err := db.Write(t.Context(), "twice", func(ctx context.Context, tx *store.Tx) error {
		return tx.PutLinks(ctx, []store.Link{link(c, 5, "r5", "l2")})
	})
	if !store.IsDataError(err) {
		t.Fatalf("a second link of a local key: %v", err)
	}
}

// testLinkIDsExact looks ids up that a careless list would mangle.
func testLinkIDsExact(t *testing.T, db *store.DB) {
	h := newHouse(t, db)
	ids := []string{
		"1", "01", "1.0", "1e3", "9007199254740993", "NULL", "null", `"`, `\`, `a\b`, "{}", "{a,b}", "a,b", "a b", " ", "'", "''; --", "é", "e\u0301",
		"日本", "\U0001F600", "<&>", "\u2028", "a\tb", "a\nb", "true", "A", "a", strings.Repeat("x", 500),
	}
	var list []store.Link
	for i, id := range ids {
		list = append(list, link(h.contacts, int64(i+1), id, "k"+id))
	}
	put(t, db, list...)
	got := heads(t, db, h.contacts, ids...)
	equal(t, "found", len(got), len(ids))
	for i, id := range ids {
		if got[id] != list[i].LinkHead {
			t.Fatalf("%q: got %+v, want %+v", id, got[id], list[i].LinkHead)
		}
	}
	equal(t, "not there", len(heads(t, db, h.contacts, "1.00", "N", "b", "É", "X", "")), 0)
}

func testLinkStates(t *testing.T, db *store.DB) {
	h := newHouse(t, db)
	c := h.contacts
	put(t, db, link(c, 1, "r1", "l1"), link(c, 2, "r2", "l2"))
	setState := func(s store.LinkState, ids ...string) (n int64) {
		write(t, db, func(ctx context.Context, tx *store.Tx) (err error) {
			n, err = tx.SetLinkState(ctx, c, ids, s)
			return err
		})
		return n
	}
	equal(t, "changed", setState(store.RemoteDeleted, "r1", "r9"), 1)
	equal(t, "again", setState(store.RemoteDeleted, "r1"), 0)
	equal(t, "none", setState(store.RemoteDeleted), 0)
	equal(t, "a tombstone is still found", heads(t, db, c, "r1")["r1"].State, store.RemoteDeleted)
	read(t, db, func(ctx context.Context, tx *store.Tx) error {
		n, err := tx.CountLinks(ctx, c)
		equal(t, "live", n, 1)
		if err != nil {
			return err
		}
		list, err := tx.LinksByLocal(ctx, c, []string{"l1", "l2"})
		if err != nil || len(list) != 1 || list[0].RemoteID != "r2" {
			t.Fatalf("by local: %+v %v", list, err)
		}
		return nil
	})
	// The local row of a tombstone may be linked again, even in the call that
	// buries the old link, whatever the order.
	gone := link(c, 2, "r2", "l2")
	gone.State = store.Unlinked
	put(t, db, link(c, 3, "r3", "l2"), gone, link(c, 4, "r4", "l1"))
	equal(t, "r3", heads(t, db, c, "r3")["r3"].LocalKey, "l2")
	err := db.Write(t.Context(), "revive", func(ctx context.Context, tx *store.Tx) error {
		_, err := tx.SetLinkState(ctx, c, []string{"r2"}, store.Linked)
		return err
	})
	if !store.IsDataError(err) {
		t.Fatalf("two live links of one row: %v", err)
	}
}

func testLinkLocks(t *testing.T, db *store.DB) {
	h := newHouse(t, db)
	c := h.contacts
	put(t, db, link(c, 1, "r1", "l1"), link(c, 2, "r2", "l2"), link(c, 3, "r3", "l3"))
	locked, release := make(chan struct{}), make(chan struct{})
	letGo := sync.OnceFunc(func() { close(release) })
	var wg sync.WaitGroup
	defer wg.Wait()
	defer letGo()
	wg.Go(func() {
		hold := sync.OnceFunc(func() { close(locked) })
		defer hold() // also when it fails, or nobody would go on
		err := db.Write(t.Context(), "holder", func(ctx context.Context, tx *store.Tx) error {
			list, err := tx.LockLinks(ctx, c, []string{"r3", "r1", "x"})
			if err != nil {
				return err
			}
			if len(list) != 2 || list[0].RemoteID != "r1" || list[1].RemoteID != "r3" || list[0].ReadAt != 1001 || list[1].LinkHead != link(c, 3, "r3", "l3").LinkHead {
				t.Errorf("locked: %+v", list)
			}
			hold()
			<-release
			_, err = tx.SetLinkState(ctx, c, []string{"r1"}, store.Unlinked)
			return err
		})
		if err != nil {
			t.Error(err)
		}
	})
	<-locked
	// Readers never wait.
	equal(t, "before", heads(t, db, c, "r1")["r1"].State, store.Linked)
	time.AfterFunc(50*time.Millisecond, letGo)
	// A second locker waits and sees what the first did.
	write(t, db, func(ctx context.Context, tx *store.Tx) error {
		list, err := tx.LockLinks(ctx, c, []string{"r1"})
		if err == nil && (len(list) != 1 || list[0].State != store.Unlinked) {
			t.Errorf("second: %+v", list)
		}
		return err
	})
}

func testLinkNumbers(t *testing.T, db *store.DB) {
	type span struct{ first, n int64 }
	var mu sync.Mutex
	var got []span
	var wg sync.WaitGroup
	for _, n := range []int{1, 2000, 4096, 1, 5000, 20000, 3, 1} {
		wg.Go(func() {
			err := db.Write(t.Context(), "reserve", func(ctx context.Context, tx *store.Tx) error {
				first, err := tx.ReserveLinkIDs(ctx, n)
				mu.Lock()
				defer mu.Unlock()
				if err == nil {
					got = append(got, span{first, int64(n)})
				}
				return err
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	slices.SortFunc(got, func(a, b span) int { return int(a.first - b.first) })
	end := int64(0)
	for _, s := range got {
		if s.first <= end {
			t.Fatalf("overlap: %+v", got)
		}
		end = s.first + s.n - 1
	}
	err := db.Write(t.Context(), "none", func(ctx context.Context, tx *store.Tx) error {
		_, err := tx.ReserveLinkIDs(ctx, 0)
		return err
	})
	if err == nil {
		t.Fatal("no numbers asked for")
	}
}

func testLinkStage(t *testing.T, db *store.DB) {
	h := newHouse(t, db)
	c := h.contacts
	old := link(c, 1, "r1", "l1")
	old.Customs = "{}"
	put(t, db, old, link(h.companies, 9, "r1", "x"))
	write(t, db, func(ctx context.Context, tx *store.Tx) error {
		for _, q := range []string{
			"CREATE TEMP TABLE stage (n integer, key text, remote_id text, link_id bigint, hash bigint, base text, link_state smallint, read_at bigint)",
			"INSERT INTO stage VALUES (1, 'l7', 'r1', 50, 51, '[1]', 0, 52), (2, 'l2', 'r2', 60, 61, '[2]', 0, 62), (3, 'l3', 'r3', 70, 71, '[3]', 1, 72)",
		} {
			if _, err := tx.ExecContext(ctx, q); err != nil {
				return err
			}
		}
		if _, err := tx.ExecContext(ctx, store.LinkUpdateFromStage("stage", "s.n = 1"), c); err != nil {
			return err
		}
		res, err := tx.ExecContext(ctx, store.LinkInsertFromStage("stage", "s.n BETWEEN 2 AND 3"), c)
		if err != nil {
			return err
		}
		n, err := res.RowsAffected()
		equal(t, "inserted", n, 2)
		if err != nil {
			return err
		}
		res, err = tx.ExecContext(ctx, store.LinkUpdateFromStage("stage", ""), c)
		if err != nil {
			return err
		}
		n, err = res.RowsAffected()
		equal(t, "updated", n, 3)
		return err
	})
	read(t, db, func(ctx context.Context, tx *store.Tx) error {
		list, err := tx.Links(ctx, c, []string{"r1", "r2", "r3"})
		if err != nil {
			return err
		}
		slices.SortFunc(list, func(a, b store.Link) int { return strings.Compare(a.RemoteID, b.RemoteID) })
		want := []store.Link{
			{LinkHead: store.LinkHead{ID: 1, RemoteID: "r1", LocalKey: "l7", Hash: 51}, ConnectorID: c, Base: "[1]", Customs: "{}", ReadAt: 52},
			{LinkHead: store.LinkHead{ID: 60, RemoteID: "r2", LocalKey: "l2", Hash: 61}, ConnectorID: c, Base: "[2]", ReadAt: 62},
			{LinkHead: store.LinkHead{ID: 70, RemoteID: "r3", LocalKey: "l3", Hash: 71, State: 1}, ConnectorID: c, Base: "[3]", ReadAt: 72},
		}
		if !slices.Equal(list, want) {
			t.Fatalf("got %+v, want %+v", list, want)
		}
		return nil
	})
	equal(t, "another connector's link", heads(t, db, h.companies, "r1")["r1"].LocalKey, "x")
}

func testLinkScan(t *testing.T, db *store.DB) {
	h := newHouse(t, db)
	ids := []string{"B", "a", "é", "Z", "10", "9", "_"}
	var list []store.Link
	for i, id := range ids {
		list = append(list, link(h.contacts, int64(i+1), id, fmt.Sprint(i)))
	}
	list[2].State = store.RemoteDeleted
	put(t, db, list...)
	slices.Sort(ids)
	var got []string
	read(t, db, func(ctx context.Context, tx *store.Tx) error {
		for after := ""; ; {
			page, err := tx.ScanLinks(ctx, h.contacts, after, 3)
			if err != nil || len(page) == 0 {
				return err
			}
			for _, l := range page {
				got = append(got, l.RemoteID)
			}
			after = got[len(got)-1]
		}
	})
	if !slices.Equal(got, ids) {
		t.Fatalf("got %q, want %q", got, ids)
	}
	var live []uint64
	var lasts []string
	read(t, db, func(ctx context.Context, tx *store.Tx) error {
		for after := ""; ; {
			numbers, last, err := tx.LiveLinks(ctx, h.contacts, after, 3)
			if err != nil || last == "" {
				return err
			}
			live, lasts, after = append(live, numbers...), append(lasts, last), last
		}
	})
	slices.Sort(live)
	equal(t, "live links", fmt.Sprint(live), "[1 2 4 5 6 7]") // the third is a tombstone
	equal(t, "ends of pages", fmt.Sprint(lasts), fmt.Sprint([]string{ids[2], ids[5], ids[6]}))
}
