package storetest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/store"
)

func testRequestJoins(t *testing.T, db *store.DB) {
	h := newHouse(t, db)
	first, joined, _ := h.request(t, store.Request{Spec: store.Spec{Connectors: []string{"contacts"}}}, true)
	equal(t, "first joined", joined, false)
	equal(t, "status", first.Status, store.StatusPlanned)
	// Wider than the planned one: a run of its own.
	second, joined, _ := h.request(t, store.Request{Spec: store.Spec{Mode: store.ModeFull}}, true)
	equal(t, "wider joined", joined, false)
	// Covered by both: the older.
	got, joined, _ := h.request(t, store.Request{Spec: store.Spec{Connectors: []string{"contacts"}}}, true)
	if !joined || got.ID != first.ID {
		t.Fatalf("joined %v run %d, want %d", joined, got.ID, first.ID)
	}
	// Covered by the second only.
	got, joined, _ = h.request(t, store.Request{Spec: store.Spec{}}, true)
	if !joined || got.ID != second.ID {
		t.Fatalf("joined %v run %d, want %d", joined, got.ID, second.ID)
	}
	// Not joinable, ids, dry: never.
	for _, c := range []struct {
		spec     store.Spec
		joinable bool
	}{
		{store.Spec{}, false},
		{store.Spec{RemoteIDs: []string{"1"}}, true},
		{store.Spec{Flags: store.Flags{DryRun: true}}, true},
		{store.Spec{Kind: store.KindReverseSync}, true},
	} {
		if _, joined, _ := h.request(t, store.Request{Spec: c.spec}, c.joinable); joined {
			t.Fatalf("%+v joined", c.spec)
		}
	}
	// A run under way is not joined.
	equal(t, "started", h.start(t, first.ID), true)
	got, joined, _ = h.request(t, store.Request{Spec: store.Spec{Connectors: []string{"contacts"}}}, true)
	if !joined || got.ID != second.ID {
		t.Fatalf("after start: joined %v run %d, want %d", joined, got.ID, second.ID)
	}
	read(t, db, func(ctx context.Context, tx *store.Tx) error {
		list, err := tx.Requests(ctx, second.ID)
		if err != nil || len(list) != 3 {
			t.Fatalf("requests of the second run: %+v %v", list, err)
		}
		if list[2].Trigger != store.TriggerManual || list[2].Spec.Connectors[0] != "contacts" || list[2].CreatedAt.IsZero() {
			t.Fatalf("request: %+v", list[2])
		}
		return nil
	})
}

func testRequestRepeats(t *testing.T, db *store.DB) {
	h := newHouse(t, db)
	r := store.Request{ExternalID: "m-1", Trigger: store.TriggerMessage}
	first, _, repeated := h.request(t, r, true)
	equal(t, "first repeated", repeated, false)
	h.takeAll(t)
	h.start(t, first.ID)
	h.finish(t, first.ID, store.StatusFinished)
	h.takeAll(t)
	got, joined, repeated := h.request(t, r, true)
	if !repeated || joined || got.ID != first.ID || got.Status != store.StatusFinished {
		t.Fatalf("again: %+v joined %v repeated %v", got, joined, repeated)
	}
	wantMessages(t, h.takeAll(t))
	// A run of requests without an id is never a repetition.
	if other, _, repeated := h.request(t, store.Request{}, true); repeated || other.ID == first.ID {
		t.Fatalf("no id: run %d repeated %v", other.ID, repeated)
	}
	// After thirty days the id is free again.
	age(t, db, "tandem_request", "created_at", store.ExternalIDMemory+time.Minute)
	got, _, repeated = h.request(t, r, false)
	if repeated || got.ID == first.ID {
		t.Fatalf("after 30 days: run %d repeated %v", got.ID, repeated)
	}
}

// testRequestRace sends one message id to several channels at once: one run.
func testRequestRace(t *testing.T, db *store.DB) {
	var channels []int64
	write(t, db, func(ctx context.Context, tx *store.Tx) error {
		channels = nil
		for i := range 5 {
			h, err := addHouse(ctx, tx, db, fmt.Sprint("crm", i))
			if err != nil {
				return err
			}
			channels = append(channels, h.channel)
		}
		return nil
	})
	var wg sync.WaitGroup
	var mu sync.Mutex
	runs, fresh := map[int64]bool{}, 0
	begin := make(chan struct{})
	for _, id := range channels {
		wg.Go(func() {
			<-begin
			var run store.Run
			var repeated bool
			err := db.Write(t.Context(), "request", func(ctx context.Context, tx *store.Tx) (err error) {
				run, _, repeated, err = tx.AddRequest(ctx, store.Request{ChannelID: id, ExternalID: "m-1"}, true)
				return err
			})
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				t.Error(err)
			}
			runs[run.ID] = true
			if !repeated {
				fresh++
			}
		})
	}
	close(begin)
	wg.Wait()
	if len(runs) != 1 || fresh != 1 {
		t.Fatalf("%d runs, %d of them new", len(runs), fresh)
	}
	equal(t, "messages", depth(t, db), 1)
}

// age moves a time of all rows of a table into the past.
func age(t *testing.T, db *store.DB, table, column string, by time.Duration) {
	t.Helper()
	write(t, db, func(ctx context.Context, tx *store.Tx) error {
		q := fmt.Sprintf("UPDATE %s SET %s = %s - %d", table, column, column, by.Microseconds())
		if db.Dialect() == store.Postgres {
			q = fmt.Sprintf("UPDATE %s SET %s = %s - %d * interval '1 microsecond'", table, column, column, by.Microseconds())
		}
		_, err := tx.ExecContext(ctx, q)
		return err
	})
}

func testRequestMessages(t *testing.T, db *store.DB) {
	h := newHouse(t, db)
	for _, c := range []struct {
		trigger store.Trigger
		kind    store.Kind
		key     string
	}{
		{store.TriggerSchedule, store.KindSync, "sync"},
		{store.TriggerManual, store.KindSync, "sync.now"},
		{store.TriggerAPI, "", "sync.now"},
		{store.TriggerMessage, store.KindSync, "sync.now"},
		{store.TriggerWebhook, store.KindSync, "sync.now"},
		{store.TriggerSchedule, store.KindReverseSync, "reverse-sync"},
		{store.TriggerManual, store.KindReverseSync, "reverse-sync"},
	} {
		run, _, _ := h.request(t, store.Request{Trigger: c.trigger, Spec: store.Spec{Kind: c.kind}}, false)
		kind := c.kind
		if kind == "" {
			kind = store.KindSync
		}
		wantMessages(t, h.takeAll(t), fmt.Sprintf(`%s {"v":1,"type":"%s","channel":"crm","run":%d}`, c.key, kind, run.ID))
	}
	// Undone request: neither run nor message.
	err := db.Write(t.Context(), "undo", func(ctx context.Context, tx *store.Tx) error {
		if _, _, _, err := tx.AddRequest(ctx, store.Request{ChannelID: h.channel}, true); err != nil {
			return err
		}
		return errUndo
	})
	if !errors.Is(err, errUndo) {
		t.Fatal(err)
	}
	wantMessages(t, h.takeAll(t))
	err = db.Write(t.Context(), "unknown", func(ctx context.Context, tx *store.Tx) error {
		_, _, _, err := tx.AddRequest(ctx, store.Request{ChannelID: h.channel + 100}, true)
		return err
	})
	wantCode(t, "unknown channel", err, fault.CodeNotFound)
}
