package storetest

import (
	"context"
	"encoding/json"
	"sync/atomic"
	"testing"

	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/store"
	"github.com/tandem-sync/tandem/store/seal"
)

func testRevisions(t *testing.T, db *store.DB) {
	h := newHouse(t, db)
	run, _ := h.started(t) // works with revision 1
	write(t, db, func(ctx context.Context, tx *store.Tx) error {
		_, rev, _, err := tx.PutChannel(ctx, store.Channel{Name: "crm", Type: "rest", Settings: json.RawMessage(`{"a":1}`)})
		equal(t, "revision", rev, 2)
		return err
	})
	read(t, db, func(ctx context.Context, tx *store.Tx) error {
		list, err := tx.Revisions(ctx, h.channel, 10)
		if err != nil || len(list) != 2 {
			t.Fatalf("%+v %v", list, err)
		}
		equal(t, "latest", list[0].Revision, 2)
		equal(t, "runs of the latest", list[0].Runs, 0)
		equal(t, "runs of the first", list[1].Runs, 1)
		equal(t, "last run", list[1].LastRun, run.ID)
		at, err := tx.RevisionAt(ctx, h.channel, 1)
		if err != nil || !at.Equal(list[1].CreatedAt) || at.IsZero() {
			t.Fatalf("%v %v, %v", at, list[1].CreatedAt, err)
		}
		_, err = tx.RevisionAt(ctx, h.channel, 3)
		wantCode(t, "unknown revision", err, fault.CodeNotFound)
		if list, err = tx.Revisions(ctx, h.channel, 1); len(list) != 1 || list[0].Revision != 2 {
			t.Fatalf("limited: %+v", list)
		}
		return err
	})
}

func testReseal(t *testing.T, db *store.DB) {
	h := newHouse(t, db)
	write(t, db, func(ctx context.Context, tx *store.Tx) error {
		all, err := tx.AllSettings(ctx)
		if err != nil {
			return err
		}
		if len(all) != 2 || all[0].Revision != 0 || all[1].Revision != 1 || all[0].Channel != "crm" || all[1].ChannelID != h.channel {
			t.Fatalf("%+v", all)
		}
		for i := range all {
			all[i].Settings = json.RawMessage(`{"sealed":` + string('0'+rune(i)) + `}`)
			if err := tx.Reseal(ctx, all[i]); err != nil {
				return err
			}
		}
		return nil
	})
	read(t, db, func(ctx context.Context, tx *store.Tx) error {
		c, err := tx.Channel(ctx, h.channel)
		if err != nil {
			return err
		}
		equal(t, "settings", string(c.Settings), `{"sealed":0}`)
		equal(t, "revision", c.Revision, 1)
		old, err := tx.ChannelRevision(ctx, h.channel, 1)
		equal(t, "kept settings", string(old), `{"sealed":1}`)
		return err
	})
}

func testReplaceKeys(t *testing.T, db *store.DB) {
	ring := func(keys ...string) *seal.Keyring {
		r, err := seal.New(keys[0], keys[1:]...)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	one, two := seal.NewKey(), seal.NewKey()
	hold := func(r *seal.Keyring) error {
		return db.Write(t.Context(), "hold", func(ctx context.Context, tx *store.Tx) error { return tx.HoldKey(ctx, r) })
	}
	if err := hold(ring(one)); err != nil {
		t.Fatalf("no key is known yet: %v", err)
	}
	if err := db.CheckKey(t.Context(), ring(one)); err != nil {
		t.Fatal(err)
	}
	if err := hold(ring(one)); err != nil {
		t.Fatal(err)
	}
	wantCode(t, "another key", hold(ring(two, one)), fault.CodeConfig)
	for range 2 {
		write(t, db, func(ctx context.Context, tx *store.Tx) error { return tx.ReplaceKeys(ctx, ring(two, one)) })
	}
	read(t, db, func(ctx context.Context, tx *store.Tx) error {
		notes, err := tx.KeyNotes(ctx)
		if err != nil || len(notes) != 1 || notes[0].KeyID != ring(two).KeyID() || notes[0].CreatedAt.IsZero() {
			t.Fatalf("%+v %v", notes, err)
		}
		return nil
	})
	wantCode(t, "the old key", db.CheckKey(t.Context(), ring(one)), fault.CodeConfig)
	fit, err := db.FitKey(t.Context(), ring(one, two))
	if err != nil || fit.KeyID() != ring(two).KeyID() || !fit.Has(ring(one).KeyID()) {
		t.Fatalf("a process with both keys: %v", err)
	}
	if _, err = db.FitKey(t.Context(), ring(one)); err == nil {
		t.Fatal("the old key fits")
	}
	read(t, db, func(ctx context.Context, tx *store.Tx) error {
		notes, err := tx.KeyNotes(ctx)
		equal(t, "keys that are known still", len(notes), 1)
		return err
	})
	wantCode(t, "holding the old key", hold(ring(one)), fault.CodeConfig)
	if err := db.CheckKey(t.Context(), ring(two)); err != nil {
		t.Fatal(err)
	}
}

// testKeyRace lets a transaction that seals with the old key meet a rotation: it
// is before it, and then the rotation sees what it wrote, or it is refused.
func testKeyRace(t *testing.T, db *store.DB) {
	old, err := seal.New(seal.NewKey())
	if err != nil {
		t.Fatal(err)
	}
	next, err := seal.New(seal.NewKey())
	if err != nil {
		t.Fatal(err)
	}
	if err := db.CheckKey(t.Context(), old); err != nil {
		t.Fatal(err)
	}
	var seen atomic.Int64
	rotated := make(chan error, 1)
	err = db.Write(t.Context(), "seal", func(ctx context.Context, tx *store.Tx) error {
		if err := tx.HoldKey(ctx, old); err != nil {
			return err
		}
		go func() {
			rotated <- db.Write(t.Context(), "rotate", func(ctx context.Context, tx *store.Tx) error {
				all, err := tx.AllSettings(ctx)
				if err != nil {
					return err
				}
				seen.Store(int64(len(all)))
				return tx.ReplaceKeys(ctx, next.With(old))
			})
		}()
		_, _, _, err := tx.PutChannel(ctx, store.Channel{Name: "late", Type: "rest", Settings: json.RawMessage(`{}`)})
		return err
	})
	if rerr := <-rotated; err != nil || rerr != nil {
		t.Fatal(err, rerr)
	}
	equal(t, "settings that the rotation saw", seen.Load(), 2)
	err = db.Write(t.Context(), "seal", func(ctx context.Context, tx *store.Tx) error { return tx.HoldKey(ctx, old) })
	wantCode(t, "after the rotation", err, fault.CodeConfig)
}

func testLeavings(t *testing.T, db *store.DB) {
	h := newHouse(t, db)
	run, _ := h.started(t)
	put(t, db, link(h.contacts, 1, "r1", "l1"), link(h.contacts, 2, "r2", "l2"))
	write(t, db, func(ctx context.Context, tx *store.Tx) error {
		_, err := tx.Park(ctx, []store.Parked{{Kind: "record", ChannelID: h.channel, Channel: "crm", ConnectorID: h.contacts, Connector: "contacts", RunID: run.ID, RemoteID: "r9", Reason: "bad"}})
		return err
	})
	read(t, db, func(ctx context.Context, tx *store.Tx) error {
		got, err := tx.Leavings(ctx, h.channel)
		equal(t, "leavings", got, store.Leavings{Links: 2, Runs: 1, Parked: 1})
		return err
	})
	if has, err := db.HasSchema(t.Context()); err != nil || !has {
		t.Fatal(has, err)
	}
}
