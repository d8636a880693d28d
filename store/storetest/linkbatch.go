package storetest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/store"
)

// exported is a link with everything that the way out knows of it.
func exported(connector, id int64, remote, local string) store.Link {
	l := link(connector, id, remote, local)
	l.Customs, l.Version, l.Pass, l.WrittenAt, l.Writes = `{"n":`+fmt.Sprint(id)+`}`, `W/"`+remote+`"`, 7+id, 1_764_000_000_000+id, `[1]`
	return l
}

func (h house) links(t *testing.T, ids ...string) map[string]store.Link {
	t.Helper()
	out := map[string]store.Link{}
	read(t, h.db, func(ctx context.Context, tx *store.Tx) error {
		list, err := tx.Links(ctx, h.contacts, ids)
		for _, l := range list {
			out[l.RemoteID] = l
		}
		return err
	})
	return out
}

func testLinkInsert(t *testing.T, db *store.DB) {
	h := newHouse(t, db)
	tomb := link(h.contacts, 2, "r2", "l2")
	tomb.State = store.RemoteDeleted
	put(t, db, link(h.contacts, 1, "r1", "l1"), tomb)
	plain := link(h.contacts, 12, "r4", "l4")
	plain.Base = `["` + strings.Repeat("é", 3000) + `"]`
	list := []store.Link{
		exported(h.contacts, 10, "r3", "l3"), exported(h.contacts, 11, "r1", "l9"), // its remote id is linked
		plain, exported(h.contacts, 13, "r2", "l8"), // has a tombstone
		exported(h.contacts, 14, "r5", "l1"),  // its local key is linked
		exported(h.contacts, 15, "r6", "l2"),  // its local key was linked once
		exported(h.contacts, 16, "r7", "l7"),  // the same key twice: one of them
		exported(h.contacts, 17, "r8", "l7"),  //
		exported(h.companies, 18, "r1", "l1"), // another connector
	}
	var collided []store.Link
	write(t, db, func(ctx context.Context, tx *store.Tx) (err error) {
		if collided, err = tx.InsertLinks(ctx, nil); err != nil || collided != nil {
			t.Fatalf("none: %v %v", collided, err)
		}
		collided, err = tx.InsertLinks(ctx, list)
		return err
	})
	want := []store.Link{list[1], list[3], list[4], list[7]}
	if !slices.Equal(collided, want) {
		t.Fatalf("collided: %+v", collided)
	}
	got := h.links(t, "r1", "r2", "r3", "r4", "r5", "r6", "r7", "r8")
	equal(t, "links", keysOf(got), "[r1 r2 r3 r4 r6 r7]")
	for _, l := range []store.Link{list[0], plain, list[5], list[6], tomb} {
		if got[l.RemoteID] != l {
			t.Fatalf("%+v is not %+v", got[l.RemoteID], l)
		}
	}
}

func testLinkUpdate(t *testing.T, db *store.DB) {
	h := newHouse(t, db)
	put(t, db, link(h.contacts, 1, "r1", "l1"), link(h.contacts, 2, "r2", "l2"), link(h.contacts, 3, "r3", "l3"), link(h.companies, 4, "r1", "l1"))
	update := func(list ...store.Link) (n int64) {
		write(t, db, func(ctx context.Context, tx *store.Tx) (err error) {
			n, err = tx.UpdateLinks(ctx, list)
			return err
		})
		return n
	}
	equal(t, "none", update(), 0)
	a, b := exported(h.contacts, 91, "r2", "l2"), exported(h.contacts, 92, "r1", "l1")
	a.Hash, a.Base, a.ReadAt = 77, `["new"]`, 4711
	equal(t, "updated", update(a, b, exported(h.contacts, 93, "missing", "l9")), 2)
	a.ID, b.ID = 2, 1 // stay
	got := h.links(t, "r1", "r2", "r3", "missing")
	if got["r1"] != b || got["r2"] != a || got["r3"] != link(h.contacts, 3, "r3", "l3") || len(got) != 3 {
		t.Fatalf("%+v", got)
	}
	// What direct syncs write leaves what the way out knows.
	direct := link(h.contacts, 1, "r1", "l1")
	direct.Base = `["direct"]`
	put(t, db, direct)
	kept := b
	kept.Base, kept.Hash, kept.ReadAt, kept.Customs = direct.Base, direct.Hash, direct.ReadAt, direct.Customs
	equal(t, "after a direct write", h.links(t, "r1")["r1"], kept)
	// Everything can be taken back, and a local key passes on.
	bare, heir := link(h.contacts, 1, "r1", "l1"), link(h.contacts, 3, "r3", "l1")
	bare.State = store.Unlinked
	equal(t, "passed on", update(heir, bare), 2)
	got = h.links(t, "r1", "r3")
	if got["r1"] != bare || got["r3"] != heir {
		t.Fatalf("%+v", got)
	}
	err := db.Write(t.Context(), "twice", func(ctx context.Context, tx *store.Tx) error {
		_, err := tx.UpdateLinks(ctx, []store.Link{link(h.contacts, 2, "r2", "l1")})
		return err
	})
	if !store.IsDataError(err) {
		t.Fatalf("a second link of a local key: %v", err)
	}
}

func testLinkLocksByLocal(t *testing.T, db *store.DB) {
	h := newHouse(t, db)
	tomb := link(h.contacts, 3, "r3", "l3")
	tomb.State = store.LocalDeleted
	put(t, db, link(h.contacts, 1, "r9", "l1"), link(h.contacts, 2, "r2", "l2"), tomb, link(h.companies, 4, "r4", "l4"))
	var got []store.Link
	write(t, db, func(ctx context.Context, tx *store.Tx) (err error) {
		if got, err = tx.LockLinksByLocal(ctx, h.contacts, nil); err != nil || got != nil {
			t.Fatalf("none: %v %v", got, err)
		}
		got, err = tx.LockLinksByLocal(ctx, h.contacts, []string{"l1", "l2", "l1", "l3", "l4", "x"})
		return err
	})
	// In the order in which direct batches lock them.
	if !slices.Equal(got, []store.Link{link(h.contacts, 2, "r2", "l2"), link(h.contacts, 1, "r9", "l1")}) {
		t.Fatalf("%+v", got)
	}
	if db.Dialect() != store.Postgres {
		return // one writer at a time: nobody to wait for
	}
	// A batch that holds one of them and then takes its local key away.
	locked, begun := make(chan struct{}), make(chan struct{})
	result := make(chan error, 1)
	go func() {
		result <- db.Write(t.Context(), "holder", func(ctx context.Context, tx *store.Tx) error {
			if _, err := tx.LockLinks(ctx, h.contacts, []string{"r2"}); err != nil {
				return err
			}
			close(locked)
			<-begun
			if err := waitBlocked(ctx, tx); err != nil {
				return err
			}
			moved := link(h.contacts, 2, "r2", "other")
			_, err := tx.UpdateLinks(ctx, []store.Link{moved})
			return err
		})
	}()
	<-locked
	write(t, db, func(ctx context.Context, tx *store.Tx) (err error) {
		close(begun)
		got, err = tx.LockLinksByLocal(ctx, h.contacts, []string{"l1", "l2"})
		return err
	})
	if err := <-result; err != nil {
		t.Fatal(err)
	}
	if len(got) != 1 || got[0].RemoteID != "r9" {
		t.Fatalf("after the wait: %+v", got)
	}
}

func testSeenLinks(t *testing.T, db *store.DB) {
	h := newHouse(t, db)
	tomb := link(h.contacts, 3, "r3", "l3")
	tomb.State = store.LocalDeleted
	read := link(h.contacts, 5, "r5", "l5")
	read.ReadAt = 50
	put(t, db, link(h.contacts, 1, "r9", "l1"), link(h.contacts, 2, "r2", "l2"), tomb, link(h.companies, 4, "r4", "l4"), read)
	at := link(h.contacts, 1, "r9", "l1").ReadAt
	other := func(list ...store.LinkSeen) (got []string) {
		write(t, db, func(ctx context.Context, tx *store.Tx) (err error) {
			got, err = tx.LockSeenLinks(ctx, h.contacts, list)
			return err
		})
		slices.Sort(got)
		return got
	}
	if got := other(); got != nil {
		t.Errorf("of none: %v", got)
	}
	if got := other(store.LinkSeen{LocalKey: "l1", RemoteID: "r9", ReadAt: at}, store.LinkSeen{LocalKey: "l2", RemoteID: "r2", ReadAt: at + 1}, store.LinkSeen{LocalKey: "l5", RemoteID: "r5", ReadAt: 50}); got != nil {
		t.Errorf("of those that are as they were: %v", got)
	}
	got := other(
		store.LinkSeen{LocalKey: "l1", RemoteID: "r9", ReadAt: at}, store.LinkSeen{LocalKey: "l2", RemoteID: "r1", ReadAt: at},
		store.LinkSeen{LocalKey: "l3", RemoteID: "r3", ReadAt: at}, store.LinkSeen{LocalKey: "l4", RemoteID: "r4", ReadAt: at},
		store.LinkSeen{LocalKey: "l5", RemoteID: "r5", ReadAt: 49}, store.LinkSeen{LocalKey: "x", RemoteID: "x"},
	)
	if want := []string{"l2", "l3", "l4", "l5", "x"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if db.Dialect() != store.Postgres {
		return // one writer at a time: nobody to wait for
	}
	locked, begun := make(chan struct{}), make(chan struct{})
	result := make(chan error, 1)
	go func() {
		result <- db.Write(t.Context(), "holder", func(ctx context.Context, tx *store.Tx) error {
			if _, err := tx.LockLinks(ctx, h.contacts, []string{"r2"}); err != nil {
				return err
			}
			close(locked)
			<-begun
			if err := waitBlocked(ctx, tx); err != nil {
				return err
			}
			moved := link(h.contacts, 2, "r2", "another")
			_, err := tx.UpdateLinks(ctx, []store.Link{moved})
			return err
		})
	}()
	<-locked
	close(begun)
	if got := other(store.LinkSeen{LocalKey: "l2", RemoteID: "r2", ReadAt: at}); !slices.Equal(got, []string{"l2"}) {
		t.Errorf("after a wait for one that passed to another row: %v", got)
	}
	if err := <-result; err != nil {
		t.Fatal(err)
	}
}

func testOpenOutward(t *testing.T, db *store.DB) {
	h := newHouse(t, db)
	open := func() (conflicts, parked bool) {
		read(t, db, func(ctx context.Context, tx *store.Tx) (err error) {
			conflicts, parked, err = tx.OpenOutward(ctx, h.contacts)
			return err
		})
		return conflicts, parked
	}
	if c, p := open(); c || p {
		t.Errorf("open to begin with: %t %t", c, p)
	}
	item := []store.Parked{{Kind: store.ParkedRecord, ChannelID: h.channel, ConnectorID: h.contacts, LocalID: "l1", Reason: "x", Payload: []byte("{}"), Outward: true}}
	write(t, db, func(ctx context.Context, tx *store.Tx) error {
		if _, err := tx.Park(ctx, item); err != nil {
			return err
		}
		_, err := tx.AddConflicts(ctx, []store.Conflict{{ChannelID: h.channel, ConnectorID: h.contacts, LocalKey: "l1", RemoteID: "r1", Field: "a", Local: []byte("1"), Remote: []byte("2")}})
		return err
	})
	if c, p := open(); !c || !p {
		t.Errorf("open: %t %t", c, p)
	}
	write(t, db, func(ctx context.Context, tx *store.Tx) error {
		if _, err := tx.SettleConflicts(ctx, h.contacts, []store.ConflictKey{{LocalKey: "l1"}}); err != nil {
			return err
		}
		return tx.ResolveOutward(ctx, h.contacts, []string{"l1"}, store.ResolvedRetried)
	})
	if c, p := open(); c || p {
		t.Errorf("open at the end: %t %t", c, p)
	}
}

// waitBlocked waits until another session waits for a lock of this one.
func waitBlocked(ctx context.Context, tx *store.Tx) error {
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); {
		var n int
		if err := tx.QueryRowxContext(ctx, "SELECT count(*) FROM pg_locks WHERE NOT granted AND pg_backend_pid() = ANY(pg_blocking_pids(pid))").Scan(&n); err != nil || n > 0 {
			return err
		}
		time.Sleep(time.Millisecond)
	}
	return fmt.Errorf("nobody came to wait")
}

func testAliases(t *testing.T, db *store.DB) {
	h := newHouse(t, db)
	resolve := func(ids ...string) (got map[string]string) {
		read(t, db, func(ctx context.Context, tx *store.Tx) (err error) {
			got, err = tx.ResolveAliases(ctx, h.contacts, ids)
			return err
		})
		return got
	}
	add := func(old, now string) {
		write(t, db, func(ctx context.Context, tx *store.Tx) error { return tx.AddAlias(ctx, h.contacts, old, now) })
	}
	equal(t, "none", len(resolve("a")), 0)
	add("a", "b")
	add("b", "c")
	add("b", "c")
	add("x", "x")
	equal(t, "a chain", fmt.Sprint(resolve("a", "b", "c", "x")), "map[a:c b:c]")
	add("c", "a") // back again
	equal(t, "a ring", fmt.Sprint(resolve("a", "b", "c")), "map[b:a c:a]")
	read(t, db, func(ctx context.Context, tx *store.Tx) error {
		got, err := tx.ResolveAliases(ctx, h.companies, []string{"b"})
		equal(t, "of another connector", len(got), 0)
		return err
	})
}

func testMoveLink(t *testing.T, db *store.DB) {
	h := newHouse(t, db)
	tomb := link(h.contacts, 3, "r3", "l3")
	tomb.State = store.RemoteDeleted
	first := exported(h.contacts, 1, "r1", "l1")
	write(t, db, func(ctx context.Context, tx *store.Tx) error {
		_, err := tx.InsertLinks(ctx, []store.Link{first, link(h.contacts, 2, "r2", "l2"), tomb})
		return err
	})
	move := func(old, now string) error {
		return db.Write(t.Context(), "move", func(ctx context.Context, tx *store.Tx) error { return tx.MoveLink(ctx, h.contacts, old, now) })
	}
	wantCode(t, "onto a live one", move("r1", "r2"), fault.CodeConflict)
	wantCode(t, "an unknown one", move("r8", "r9"), fault.CodeNotFound)
	for _, to := range []string{"r3", "r3", "r4"} { // onto a tombstone, onto itself, onto nothing
		from := first.RemoteID
		if err := move(from, to); err != nil {
			t.Fatal(err)
		}
		first.RemoteID = to
	}
	got := h.links(t, "r1", "r2", "r3", "r4")
	if len(got) != 2 || got["r4"] != first {
		t.Fatalf("%+v", got)
	}
	read(t, db, func(ctx context.Context, tx *store.Tx) error {
		ids, err := tx.ResolveAliases(ctx, h.contacts, []string{"r1", "r2", "r3", "r4"})
		equal(t, "aliases", fmt.Sprint(ids), "map[r1:r4 r3:r4]")
		return err
	})
}
