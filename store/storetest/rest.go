package storetest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/store"
	"github.com/tandem-sync/tandem/store/seal"
)

func testWatermarks(t *testing.T, db *store.DB) {
	h := newHouse(t, db)
	one, two, three := at("2026-01-01T00:00:01Z"), at("2026-01-01T00:00:02Z"), at("2026-01-01T00:00:03Z")
	var zero time.Time
	get := func() (a, f time.Time, ok bool) {
		read(t, db, func(ctx context.Context, tx *store.Tx) (err error) {
			a, f, ok, err = tx.Watermark(ctx, h.contacts)
			return err
		})
		return a, f, ok
	}
	if _, _, ok := get(); ok {
		t.Fatal("a watermark before the first")
	}
	for i, c := range []struct {
		at         time.Time
		full       bool
		want, wful time.Time
	}{
		{*one, false, *one, zero},
		{*two, true, *two, *two},
		{*one, true, *two, *two}, // never back
		{*three, false, *three, *two},
		{*three, true, *three, *three},
	} {
		write(t, db, func(ctx context.Context, tx *store.Tx) error { return tx.SetWatermark(ctx, h.contacts, c.at, c.full) })
		a, f, ok := get()
		if !ok || !a.Equal(c.want) || !f.Equal(c.wful) || f.IsZero() != c.wful.IsZero() {
			t.Fatalf("step %d: %v %v %v", i, a, f, ok)
		}
	}
}

func testSeen(t *testing.T, db *store.DB) {
	h := newHouse(t, db)
	run := h.plan(t, store.Spec{})
	write(t, db, func(ctx context.Context, tx *store.Tx) error {
		return errors.Join(
			tx.AddSeen(ctx, run.ID, h.contacts, 2, []byte{3, 0, 255}),
			tx.AddSeen(ctx, run.ID, h.contacts, 1, []byte{1}),
			tx.AddSeen(ctx, run.ID, h.contacts, 3, nil),
			tx.AddSeen(ctx, run.ID, h.companies, 1, []byte{9}))
	})
	var got [][]byte
	collect := func(ctx context.Context, tx *store.Tx) error {
		got = nil
		return tx.Seen(ctx, run.ID, h.contacts, func(b []byte) error { got = append(got, slices.Clone(b)); return nil })
	}
	read(t, db, collect)
	if fmt.Sprint(got) != "[[1] [3 0 255] []]" {
		t.Fatalf("%v", got)
	}
	err := db.Read(t.Context(), func(ctx context.Context, tx *store.Tx) error {
		return tx.Seen(ctx, run.ID, h.contacts, func([]byte) error { return errUndo })
	})
	if !errors.Is(err, errUndo) {
		t.Fatal(err)
	}
	write(t, db, func(ctx context.Context, tx *store.Tx) error { return tx.DropSeen(ctx, run.ID) })
	read(t, db, collect)
	equal(t, "after drop", len(got), 0)
}

func pair(remote, local string) store.Candidate {
	return store.Candidate{RemoteID: remote, LocalKey: local}
}

func testCandidates(t *testing.T, db *store.DB) {
	list := []store.Candidate{pair("b", "2"), pair("a", "1"), pair(`c"\`, `{"x":1}`)}
	write(t, db, func(ctx context.Context, tx *store.Tx) error {
		if err := tx.AddCandidates(ctx, "slice/1", list); err != nil {
			return err
		}
		if err := tx.AddCandidates(ctx, "slice/1", list[:1]); err != nil {
			return err
		}
		return errors.Join(tx.AddCandidates(ctx, "slice/1", nil), tx.AddCandidates(ctx, "slice/2", list[:1]))
	})
	page := func(owner, after string, limit int) (out []store.Candidate) {
		read(t, db, func(ctx context.Context, tx *store.Tx) (err error) {
			out, err = tx.Candidates(ctx, owner, after, limit)
			return err
		})
		return out
	}
	equal(t, "first", fmt.Sprint(page("slice/1", "", 2)), "[{a 1} {b 2}]")
	if rest := page("slice/1", "b", 2); len(rest) != 1 || rest[0] != list[2] {
		t.Fatalf("rest: %v", rest)
	}
	write(t, db, func(ctx context.Context, tx *store.Tx) error { return tx.MoveCandidates(ctx, "slice/1", "parked/9") })
	count := func(owner string) (n int64) {
		read(t, db, func(ctx context.Context, tx *store.Tx) (err error) {
			n, err = tx.CountCandidates(ctx, owner)
			return err
		})
		return n
	}
	equal(t, "moved away", count("slice/1"), 0)
	equal(t, "moved to", count("parked/9"), 3)
	write(t, db, func(ctx context.Context, tx *store.Tx) error { return tx.DropCandidates(ctx, "parked/9") })
	equal(t, "dropped", count("parked/9"), 0)
	equal(t, "another owner's", count("slice/2"), 1)
}

func testParked(t *testing.T, db *store.DB) {
	h := newHouse(t, db)
	next := time.Now().Add(time.Hour).UTC().Truncate(time.Microsecond)
	items := []store.Parked{
		{
			Kind: store.ParkedRecord, ChannelID: h.channel, Channel: "crm", ConnectorID: h.contacts, Connector: "contacts", RunID: 5, LocalID: "l", RemoteID: "r1",
			Reason: "bad_value", Message: "no", NextAt: &next, Payload: json.RawMessage(`{"a": 1}`),
		},
		{Kind: store.ParkedMessage, Channel: "unknown", Reason: "unknown_channel"},
		{Kind: store.ParkedMassDelete, ChannelID: h.channel, ConnectorID: h.contacts, Reason: "guard"},
	}
	write(t, db, func(ctx context.Context, tx *store.Tx) error {
		n, err := tx.Park(ctx, items)
		equal(t, "new", n, 3)
		return err
	})
	read(t, db, func(ctx context.Context, tx *store.Tx) error {
		got, err := tx.ParkedByID(ctx, items[0].ID)
		if err != nil {
			return err
		}
		if got.Attempts != 1 || got.CreatedAt.IsZero() || !got.NextAt.Equal(next) || string(got.Payload) != `{"a": 1}` || got.Connector != "contacts" ||
			got.RunID != 5 || got.RemoteID != "r1" || got.LocalID != "l" || got.Reason != "bad_value" || got.Message != "no" || got.Resolved != "" {
			t.Fatalf("%+v", got)
		}
		if got, err = tx.ParkedByID(ctx, items[1].ID); err != nil || got.Channel != "unknown" || got.Payload != nil {
			t.Fatalf("%+v %v", got, err)
		}
		for want, f := range map[string]store.ParkedFilter{
			"3 2 1": {}, "3 1": {ChannelID: h.channel}, "2": {Kind: store.ParkedMessage}, "1": {RunID: 5}, "2 1": {Before: items[2].ID}, "3": {Limit: 1},
		} {
			list, err := tx.ListParked(ctx, f)
			ids := make([]any, len(list))
			for i, p := range list {
				ids[i] = slices.IndexFunc(items, func(x store.Parked) bool { return x.ID == p.ID }) + 1
			}
			if got := fmt.Sprintln(ids...); err != nil || got != want+"\n" {
				t.Fatalf("%+v: got %q, want %q (%v)", f, got, want, err)
			}
		}
		_, err = tx.ParkedByID(ctx, items[2].ID+100)
		wantCode(t, "unknown", err, fault.CodeNotFound)
		return nil
	})
	write(t, db, func(ctx context.Context, tx *store.Tx) error { return tx.ResolveParked(ctx, items[2].ID, "approved") })
	err := db.Write(t.Context(), "again", func(ctx context.Context, tx *store.Tx) error { return tx.ResolveParked(ctx, items[2].ID, "skipped") })
	wantCode(t, "resolved twice", err, fault.CodeConflict)
	err = db.Write(t.Context(), "unknown", func(ctx context.Context, tx *store.Tx) error {
		return tx.ResolveParked(ctx, items[2].ID+100, "skipped")
	})
	wantCode(t, "unknown", err, fault.CodeNotFound)
	read(t, db, func(ctx context.Context, tx *store.Tx) error {
		list, err := tx.ListParked(ctx, store.ParkedFilter{Open: true})
		equal(t, "open", len(list), 2)
		return err
	})
}

func testParkedAgain(t *testing.T, db *store.DB) {
	h := newHouse(t, db)
	record := func(remote, reason string) store.Parked {
		return store.Parked{Kind: store.ParkedRecord, ChannelID: h.channel, ConnectorID: h.contacts, RemoteID: remote, Reason: reason, Payload: json.RawMessage(`"` + reason + `"`)}
	}
	park := func(p ...store.Parked) (int, []store.Parked) {
		var n int
		write(t, db, func(ctx context.Context, tx *store.Tx) (err error) {
			n, err = tx.Park(ctx, p)
			return err
		})
		return n, p
	}
	n, first := park(record("r1", "a"), record("r2", "a"), record("", "a"), record("", "b"))
	equal(t, "new", n, 4)
	refused := record("r1", "c")
	refused.Kind = store.ParkedRefused
	n, again := park(refused, record("r3", "a"), record("", "a"))
	equal(t, "new of the second call", n, 1)
	equal(t, "same item", again[0].ID, first[0].ID)
	equal(t, "same content", again[2].ID, first[2].ID)
	equal(t, "attempts", again[0].Attempts, 2)
	read(t, db, func(ctx context.Context, tx *store.Tx) error {
		p, err := tx.ParkedByID(ctx, first[0].ID)
		if err != nil || p.Reason != "c" || p.Kind != store.ParkedRefused || p.Attempts != 2 || string(p.Payload) != `"c"` {
			t.Fatalf("%+v %v", p, err)
		}
		return nil
	})
	mass := store.Parked{Kind: store.ParkedMassDelete, ChannelID: h.channel, ConnectorID: h.contacts}
	n, _ = park(mass, mass)
	equal(t, "one mass_delete at a time", n, 1)
	message := store.Parked{Kind: store.ParkedMessage, Reason: "malformed"}
	n, _ = park(message, message)
	equal(t, "messages are their own", n, 2)
	// The record works now: its item is closed, the guard's is not.
	write(t, db, func(ctx context.Context, tx *store.Tx) error {
		return errors.Join(tx.ResolveRecords(ctx, h.contacts, []string{"r1", "r3", "zz"}, "gone"), tx.ResolveRecords(ctx, h.companies, []string{"r2"}, "gone"),
			tx.ResolveRecords(ctx, h.contacts, nil, "gone"))
	})
	read(t, db, func(ctx context.Context, tx *store.Tx) error {
		list, err := tx.ListParked(ctx, store.ParkedFilter{ChannelID: h.channel, Open: true})
		equal(t, "open", len(list), 4)
		return err
	})
	n, third := park(record("r1", "a"))
	if n != 1 || third[0].ID == first[0].ID {
		t.Fatalf("after it worked, a new failure is a new item: %d %d", n, third[0].ID)
	}
}

func testPurge(t *testing.T, db *store.DB) {
	h := newHouse(t, db)
	old := h.plan(t, store.Spec{})
	kept, _, _ := h.request(t, store.Request{ExternalID: "m-1"}, false)
	for _, r := range []store.Run{old, kept} {
		h.start(t, r.ID)
		h.finish(t, r.ID, store.StatusFinished)
	}
	active, list := h.started(t)
	parked := []store.Parked{{Kind: store.ParkedMassDelete, ConnectorID: 1}, {Kind: store.ParkedMassDelete, ConnectorID: 2}}
	write(t, db, func(ctx context.Context, tx *store.Tx) error {
		if _, err := tx.Park(ctx, parked); err != nil {
			return err
		}
		live := fmt.Sprintf("slice/%d", list[0].ID)
		return errors.Join(
			tx.AddChanges(ctx, old.ID, []store.Change{{Op: "create"}}),
			tx.AddSeen(ctx, kept.ID, h.contacts, 1, []byte{1}), tx.AddSeen(ctx, active.ID, h.contacts, 1, []byte{1}),
			tx.AddCandidates(ctx, live, []store.Candidate{pair("a", "1")}), tx.AddCandidates(ctx, "slice/0", []store.Candidate{pair("a", "1")}),
			tx.AddCandidates(ctx, fmt.Sprintf("parked/%d", parked[0].ID), []store.Candidate{pair("a", "1")}),
			tx.AddCandidates(ctx, fmt.Sprintf("parked/%d", parked[1].ID), []store.Candidate{pair("a", "1")}),
			tx.PutLinks(ctx, []store.Link{link(h.contacts, 1, "r1", "l1")}),
			tx.ResolveParked(ctx, parked[0].ID, "skipped"))
	})
	write(t, db, func(ctx context.Context, tx *store.Tx) error {
		_, _, _, err := tx.PutChannel(ctx, store.Channel{Name: "crm", Type: "rest", Settings: json.RawMessage(`{"new":1}`)})
		return err
	})
	write(t, db, func(ctx context.Context, tx *store.Tx) error { return tx.Purge(ctx, time.Now().Add(time.Minute)) })
	read(t, db, func(ctx context.Context, tx *store.Tx) error {
		_, err := tx.Run(ctx, old.ID)
		wantCode(t, "an ended run", err, fault.CodeNotFound)
		if changes, _, err := tx.Changes(ctx, old.ID, 0, 10); err != nil || len(changes) > 0 {
			t.Fatalf("changes: %v %v", changes, err)
		}
		if _, err := tx.Run(ctx, kept.ID); err != nil {
			t.Fatalf("a run that a remembered request id leads to: %v", err)
		}
		for owner, want := range map[string]int64{
			fmt.Sprintf("slice/%d", list[0].ID): 1, "slice/0": 0, fmt.Sprintf("parked/%d", parked[0].ID): 0, fmt.Sprintf("parked/%d", parked[1].ID): 1,
		} {
			n, err := tx.CountCandidates(ctx, owner)
			equal(t, owner, n, want)
			if err != nil {
				return err
			}
		}
		for run, want := range map[int64]int{kept.ID: 0, active.ID: 1} {
			n := 0
			if err := tx.Seen(ctx, run, h.contacts, func([]byte) error { n++; return nil }); err != nil {
				return err
			}
			equal(t, "seen", n, want)
		}
		// The run under way works with revision 1.
		if _, err := tx.ChannelRevision(ctx, h.channel, 1); err != nil {
			return err
		}
		_, err = tx.ParkedByID(ctx, parked[0].ID)
		wantCode(t, "a resolved item", err, fault.CodeNotFound)
		_, err = tx.ParkedByID(ctx, parked[1].ID)
		return err
	})
	equal(t, "links stay", len(heads(t, db, h.contacts, "r1")), 1)
	h.finish(t, active.ID, store.StatusFinished)
	write(t, db, func(ctx context.Context, tx *store.Tx) error { return tx.Purge(ctx, time.Now().Add(time.Minute)) })
	read(t, db, func(ctx context.Context, tx *store.Tx) error {
		_, err := tx.ChannelRevision(ctx, h.channel, 1) // the run that is kept names it
		return err
	})
	age(t, db, "tandem_request", "created_at", 2*store.ExternalIDMemory)
	write(t, db, func(ctx context.Context, tx *store.Tx) error { return tx.Purge(ctx, time.Now().Add(time.Minute)) })
	read(t, db, func(ctx context.Context, tx *store.Tx) error {
		_, err := tx.ChannelRevision(ctx, h.channel, 1)
		wantCode(t, "a revision that no run names", err, fault.CodeNotFound)
		_, err = tx.ChannelRevision(ctx, h.channel, 2)
		return err
	})
}

func testKeys(t *testing.T, db *store.DB) {
	ring := func(keys ...string) *seal.Keyring {
		r, err := seal.New(keys[0], keys[1:]...)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	one, two, three := seal.NewKey(), seal.NewKey(), seal.NewKey()
	ok := func(what string, r *seal.Keyring) {
		t.Helper()
		if err := db.CheckKey(t.Context(), r); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	ok("first", ring(one))
	ok("again", ring(one))
	err := db.CheckKey(t.Context(), ring(two))
	wantCode(t, "a wrong key", err, fault.CodeConfig)
	if fault.HintOf(err) == "" {
		t.Fatal("no hint")
	}
	ok("rotation", ring(two, one))
	ok("after it", ring(two))
	wantCode(t, "a third", db.CheckKey(t.Context(), ring(three)), fault.CodeConfig)
}
