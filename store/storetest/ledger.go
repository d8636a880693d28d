package storetest

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/tandem-sync/tandem/store"
)

// parkAll parks the items and gives them with their ids.
func parkAll(t *testing.T, db *store.DB, list ...store.Parked) []store.Parked {
	t.Helper()
	write(t, db, func(ctx context.Context, tx *store.Tx) error {
		_, err := tx.Park(ctx, list)
		return err
	})
	return list
}

func testParkedAttempts(t *testing.T, db *store.DB) {
	h := newHouse(t, db)
	item := store.Parked{Kind: store.ParkedRecord, ChannelID: h.channel, ConnectorID: h.contacts, RemoteID: "r1"}
	var id int64
	for i := range 25 {
		item.RunID, item.Reason, item.Message = int64(i+1), fmt.Sprint("reason ", i), "m"
		item.Answer, item.Print = fmt.Sprint("answer ", i), fmt.Sprint("print ", i)
		id = parkAll(t, db, item)[0].ID
	}
	read(t, db, func(ctx context.Context, tx *store.Tx) error {
		p, err := tx.ParkedByID(ctx, id)
		if err != nil || p.Attempts != 25 || p.RunID != 25 || p.Answer != "answer 24" || p.Print != "print 24" {
			t.Fatalf("%+v %v", p, err)
		}
		list, err := tx.ParkedAttempts(ctx, id)
		if err != nil || len(list) != 20 {
			t.Fatalf("%d tries, %v", len(list), err)
		}
		first, last := list[0], list[19]
		if first.N != 6 || first.Run != 6 || first.Reason != "reason 5" || last.N != 25 || last.Message != "m" || time.Since(last.At) > time.Minute {
			t.Fatalf("%+v … %+v", first, last)
		}
		return nil
	})
	// A record that works and then fails again is another item with tries of its own.
	write(t, db, func(ctx context.Context, tx *store.Tx) error {
		return tx.ResolveRecords(ctx, h.contacts, []string{"r1"}, store.ResolvedRetried)
	})
	again := parkAll(t, db, item)[0]
	read(t, db, func(ctx context.Context, tx *store.Tx) error {
		list, err := tx.ParkedAttempts(ctx, again.ID)
		equal(t, "tries of the new item", len(list), 1)
		if p, e := tx.ParkedByID(ctx, id); e != nil || p.Resolved != store.ResolvedRetried || p.ResolvedAt == nil {
			t.Fatalf("%+v %v", p, e)
		}
		return err
	})
}

func testParkedRedacted(t *testing.T, db *store.DB) {
	h := newHouse(t, db)
	p := parkAll(t, db, store.Parked{
		Kind: store.ParkedRecord, ChannelID: h.channel, ConnectorID: h.contacts, RemoteID: "r1",
		Payload: json.RawMessage(`{"name":"Ada","api_token":"s3cret","nested":{"Password":"s3cret"}}`),
	})[0]
	read(t, db, func(ctx context.Context, tx *store.Tx) error {
		got, err := tx.ParkedByID(ctx, p.ID)
		equal(t, "payload", string(got.Payload), `{"name":"Ada","api_token":"***","nested":{"Password":"***"}}`)
		return err
	})
}

func testParkedFilters(t *testing.T, db *store.DB) {
	h := newHouse(t, db)
	items := parkAll(t, db,
		store.Parked{Kind: store.ParkedRecord, ChannelID: h.channel, ConnectorID: h.contacts, RemoteID: "r1", Reason: "bad_value", RunID: 3},
		store.Parked{Kind: store.ParkedDuplicate, ChannelID: h.channel, ConnectorID: h.contacts, RemoteID: "r2", Reason: "duplicate_identity", RunID: 4},
		store.Parked{Kind: store.ParkedRecord, ChannelID: h.channel, ConnectorID: h.companies, RemoteID: "r1", Reason: "bad_value", RunID: 4},
		store.Parked{Kind: store.ParkedMessage, Channel: "nobody", Reason: "malformed", Payload: json.RawMessage(`{"v":9}`)},
		store.Parked{Kind: store.ParkedMassDelete, ChannelID: h.channel, ConnectorID: h.contacts, Reason: "mass_delete", RunID: 4},
		store.Parked{Kind: store.ParkedMessage, Channel: "crm", Reason: "unknown_connector", Payload: json.RawMessage(`{"v":1}`)})
	read(t, db, func(ctx context.Context, tx *store.Tx) error {
		for _, c := range []struct {
			f    store.ParkedFilter
			want []int
		}{
			{store.ParkedFilter{Open: true}, []int{0, 1, 2, 3, 4, 5}},
			{store.ParkedFilter{ChannelID: h.channel}, []int{0, 1, 2, 4, 5}},
			{store.ParkedFilter{Connector: "contacts"}, []int{0, 1, 4}},
			{store.ParkedFilter{Connector: "contacts", NotKind: store.ParkedMassDelete}, []int{0, 1}},
			{store.ParkedFilter{Reason: "bad_value", Kind: store.ParkedRecord}, []int{0, 2}},
			{store.ParkedFilter{ChannelID: h.channel, RunID: 4}, []int{1, 2, 4}},
			{store.ParkedFilter{Since: time.Now().Add(-time.Hour), Kind: store.ParkedMessage}, []int{3, 5}},
			{store.ParkedFilter{Since: time.Now().Add(time.Hour)}, nil},
		} {
			list, err := tx.ParkedHeads(ctx, c.f)
			if err != nil {
				return err
			}
			n, err := tx.CountParked(ctx, c.f)
			if err != nil {
				return err
			}
			equal(t, fmt.Sprintf("count of %+v", c.f), n, int64(len(c.want)))
			equal(t, fmt.Sprintf("heads of %+v", c.f), len(list), len(c.want))
			for i, k := range c.want {
				if list[i].ID != items[k].ID || list[i].Kind != items[k].Kind || list[i].RemoteID != items[k].RemoteID || string(list[i].Payload) != payloadOf(items[k]) {
					t.Fatalf("%+v: item %d is %+v", c.f, i, list[i])
				}
			}
		}
		return nil
	})
}

// payloadOf is what a head keeps of an item's payload.
func payloadOf(p store.Parked) string {
	if p.Kind != store.ParkedMessage {
		return ""
	}
	return string(p.Payload)
}

func testParkedSkips(t *testing.T, db *store.DB) {
	h := newHouse(t, db)
	item := func(remote, mark string) store.Parked {
		return store.Parked{Kind: store.ParkedRecord, ChannelID: h.channel, ConnectorID: h.contacts, RemoteID: remote, Print: mark}
	}
	items := parkAll(t, db, item("r1", "p1"), item("r2", "p2"), item("r3", ""), item("r4", "p4"))
	ids := make([]int64, 3)
	for i := range ids {
		ids[i] = items[i].ID
	}
	state := func(open, skipped bool) {
		t.Helper()
		read(t, db, func(ctx context.Context, tx *store.Tx) error {
			o, s, err := tx.OpenOrSkipped(ctx, h.contacts)
			equal(t, "open", o, open)
			equal(t, "skipped", s, skipped)
			return err
		})
	}
	held := func(want ...string) {
		t.Helper()
		read(t, db, func(ctx context.Context, tx *store.Tx) error {
			list, err := tx.HeldRecords(ctx, h.channel)
			got := []string{}
			for _, p := range list {
				got = append(got, p.RemoteID)
			}
			equal(t, "held", fmt.Sprint(got), fmt.Sprint(want))
			return err
		})
	}
	state(true, false)
	write(t, db, func(ctx context.Context, tx *store.Tx) error {
		n, err := tx.ResolveAll(ctx, ids, store.ResolvedSkipped)
		equal(t, "skipped", n, 3)
		return err
	})
	write(t, db, func(ctx context.Context, tx *store.Tx) error {
		n, err := tx.ResolveAll(ctx, ids, store.ResolvedSkipped)
		equal(t, "skipped twice", n, 0)
		return err
	})
	state(true, true)
	held("r1", "r2", "r4")
	read(t, db, func(ctx context.Context, tx *store.Tx) error {
		got, err := tx.SkippedPrints(ctx, h.contacts, []string{"r1", "r2", "r3", "r4", "x"})
		equal(t, "prints", fmt.Sprint(got), fmt.Sprint(map[string][]string{"r1": {"p1"}, "r2": {"p2"}}))
		return err
	})
	write(t, db, func(ctx context.Context, tx *store.Tx) error { return tx.EndSkip(ctx, items[0].ID) })
	held("r2", "r4")
	// History goes; a skip that holds stays.
	write(t, db, func(ctx context.Context, tx *store.Tx) error { return tx.Purge(ctx, time.Now().Add(time.Minute)) })
	state(true, true)
	write(t, db, func(ctx context.Context, tx *store.Tx) error {
		return tx.EndSkips(ctx, h.contacts, []string{"r2", "r4"})
	})
	state(true, false)
	write(t, db, func(ctx context.Context, tx *store.Tx) error { return tx.Purge(ctx, time.Now().Add(time.Minute)) })
	read(t, db, func(ctx context.Context, tx *store.Tx) error {
		n, err := tx.CountParked(ctx, store.ParkedFilter{})
		equal(t, "left", n, 1)
		return err
	})
}

func testParkedUnseen(t *testing.T, db *store.DB) {
	h := newHouse(t, db)
	item := func(remote string, run int64) store.Parked {
		return store.Parked{Kind: store.ParkedRecord, ChannelID: h.channel, ConnectorID: h.contacts, RemoteID: remote, RunID: run}
	}
	items := parkAll(t, db, item("r1", 7), item("r2", 8), item("r3", 7), item("r4", 7))
	write(t, db, func(ctx context.Context, tx *store.Tx) error {
		return tx.ResolveRecords(ctx, h.contacts, []string{"r4"}, store.ResolvedGone)
	})
	read(t, db, func(ctx context.Context, tx *store.Tx) error {
		list, err := tx.UnseenParked(ctx, h.contacts, 8, 0, 1)
		if err != nil || len(list) != 1 || list[0].RemoteID != "r1" {
			t.Fatalf("%+v %v", list, err)
		}
		list, err = tx.UnseenParked(ctx, h.contacts, 8, items[0].ID, 10)
		if err != nil || len(list) != 1 || list[0].RemoteID != "r3" {
			t.Fatalf("%+v %v", list, err)
		}
		return nil
	})
	many := make([]string, 2500)
	for i := range many {
		many[i] = fmt.Sprint("m", i)
	}
	write(t, db, func(ctx context.Context, tx *store.Tx) error {
		runs, err := tx.RequestRecords(ctx, h.channel, "contacts", store.TriggerManual, many)
		if err != nil || len(runs) != 2 || len(runs[0].Spec.RemoteIDs) != 2000 || len(runs[1].Spec.RemoteIDs) != 500 || runs[1].Lane != store.LaneIDs {
			t.Fatalf("%d runs, %v", len(runs), err)
		}
		return nil
	})
}
