package storetest

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/store"
)

func testRunLife(t *testing.T, db *store.DB) {
	h := newHouse(t, db)
	run := h.plan(t, store.Spec{Start: at("2026-01-02T03:04:05Z"), Params: map[string]string{"k": "v"}})
	h.takeAll(t)
	equal(t, "start", h.start(t, run.ID), true)
	list := h.slices(t, run.ID)
	wantMessages(t, h.takeAll(t), fmt.Sprintf(`sync.now {"v":1,"type":"sync","channel":"crm","run":%d,"slice":%d}`, run.ID, list[0].ID))
	equal(t, "again", h.start(t, run.ID), false)
	if list[0].State != store.SliceActive || list[1].State != store.SlicePending || list[0].Connector != "companies" || list[0].QueuedAt == nil ||
		list[1].QueuedAt != nil || list[0].Position != nil || list[0].ChannelID != h.channel {
		t.Fatalf("slices: %+v", list)
	}
	got := h.run(t, run.ID)
	if got.Status != store.StatusExecution || got.StartedAt == nil || got.FinishedAt != nil || got.Channel != "crm" || got.Revision != 1 ||
		!got.Spec.Start.Equal(*run.Spec.Start) || got.Spec.Params["k"] != "v" || got.Lane != store.LaneMain {
		t.Fatalf("run: %+v", got)
	}
	until := time.Now().Add(time.Hour).UTC().Truncate(time.Microsecond)
	write(t, db, func(ctx context.Context, tx *store.Tx) error {
		return tx.SetRunWaiting(ctx, run.ID, "rate_limit", &until)
	})
	if got = h.run(t, run.ID); got.WaitReason != "rate_limit" || got.WaitUntil == nil || !got.WaitUntil.Equal(until) {
		t.Fatalf("waiting: %+v", got)
	}
	cause := &store.RunError{Code: "unreachable", Message: "down", Hint: "start it", Where: "a"}
	write(t, db, func(ctx context.Context, tx *store.Tx) error {
		next, err := tx.FinishRun(ctx, run.ID, store.StatusFailed, cause)
		equal(t, "next", next, 0)
		return err
	})
	got = h.run(t, run.ID)
	if got.Status != store.StatusFailed || got.FinishedAt == nil || got.Error == nil || *got.Error != *cause || got.WaitReason != "" || got.WaitUntil != nil {
		t.Fatalf("failed run: %+v", got)
	}
	list = h.slices(t, run.ID)
	if len(list) != 1 || list[0].State != store.SliceFailed {
		t.Fatalf("slices of the failed run: %+v", list)
	}
	// An end is final.
	h.finish(t, run.ID, store.StatusFinished)
	equal(t, "still", h.run(t, run.ID).Status, store.StatusFailed)
	err := db.Write(t.Context(), "odd", func(ctx context.Context, tx *store.Tx) error {
		_, err := tx.FinishRun(ctx, run.ID, store.StatusPlanned, nil)
		return err
	})
	if err == nil {
		t.Fatal("planned is no end")
	}
	err = db.Read(t.Context(), func(ctx context.Context, tx *store.Tx) error { _, err := tx.Run(ctx, run.ID+100); return err })
	wantCode(t, "unknown run", err, fault.CodeNotFound)
}

func testRunOrder(t *testing.T, db *store.DB) {
	h := newHouse(t, db)
	a, b, c := h.plan(t, store.Spec{}), h.plan(t, store.Spec{}), h.plan(t, store.Spec{})
	h.takeAll(t)
	equal(t, "b before a", h.start(t, b.ID), false)
	equal(t, "a", h.start(t, a.ID), true)
	equal(t, "b beside a", h.start(t, b.ID), false)
	h.takeAll(t)
	equal(t, "after a", h.finish(t, a.ID, store.StatusFinished), b.ID)
	wantMessages(t, h.takeAll(t), fmt.Sprintf(`sync.now {"v":1,"type":"sync","channel":"crm","run":%d}`, b.ID))
	equal(t, "c before b", h.start(t, c.ID), false)
	// b ends before it began: c is next.
	equal(t, "after b", h.finish(t, b.ID, store.StatusFailed), c.ID)
	equal(t, "c", h.start(t, c.ID), true)
	equal(t, "after c", h.finish(t, c.ID, store.StatusFinished), 0)
	// Ending a planned run beside one that executes wakes nobody.
	d, e, f := h.plan(t, store.Spec{}), h.plan(t, store.Spec{}), h.plan(t, store.Spec{})
	equal(t, "d", h.start(t, d.ID), true)
	h.takeAll(t)
	equal(t, "after e", h.finish(t, e.ID, store.StatusCancelled), 0)
	wantMessages(t, h.takeAll(t))
	equal(t, "after d", h.finish(t, d.ID, store.StatusFinished), f.ID)
}

func testRunLanes(t *testing.T, db *store.DB) {
	h := newHouse(t, db)
	for _, spec := range []store.Spec{
		{},
		{RemoteIDs: []string{"1"}},
		{Flags: store.Flags{DryRun: true}},
		{Kind: store.KindReverseSync},
	} {
		run, same := h.plan(t, spec), h.plan(t, spec)
		equal(t, "first of its lane", h.start(t, run.ID), true)
		equal(t, "second of its lane", h.start(t, same.ID), false)
	}
	// The revision is the one at the start.
	run := h.plan(t, store.Spec{ApproveParked: 1})
	var other house
	write(t, db, func(ctx context.Context, tx *store.Tx) (err error) {
		_, _, _, err = tx.PutChannel(ctx, store.Channel{Name: "crm", Type: "rest", Settings: json.RawMessage(`{"x":1}`)})
		if err == nil {
			other, err = addHouse(ctx, tx, db, "shop")
		}
		return err
	})
	equal(t, "planned revision", h.run(t, run.ID).Revision, 1)
	var ids []store.Run
	read(t, db, func(ctx context.Context, tx *store.Tx) (err error) {
		ids, err = tx.Runs(ctx, store.RunFilter{ChannelID: h.channel, Status: []store.Status{store.StatusExecution}})
		return err
	})
	equal(t, "executing side by side", len(ids), 4)
	equal(t, "another channel", other.start(t, other.plan(t, store.Spec{}).ID), true)
	h.finish(t, ids[2].ID, store.StatusFinished) // the ids lane: newest first gives reverse, dry, ids, main
	for _, r := range ids {
		h.finish(t, r.ID, store.StatusFinished)
	}
	main := h.plan(t, store.Spec{Connectors: []string{"contacts"}})
	var old []store.Run
	read(t, db, func(ctx context.Context, tx *store.Tx) (err error) {
		old, err = tx.Runs(ctx, store.RunFilter{ChannelID: h.channel, Status: []store.Status{store.StatusPlanned}, Before: main.ID})
		return err
	})
	for _, r := range old {
		h.finish(t, r.ID, store.StatusCancelled)
	}
	equal(t, "main", h.start(t, main.ID), true)
	equal(t, "started revision", h.run(t, main.ID).Revision, 2)
}

func testRunCancel(t *testing.T, db *store.DB) {
	h := newHouse(t, db)
	cancel := func(id int64) {
		write(t, db, func(ctx context.Context, tx *store.Tx) error { return tx.CancelRun(ctx, id) })
	}
	a, b := h.plan(t, store.Spec{}), h.plan(t, store.Spec{})
	cancel(a.ID)
	equal(t, "planned", h.run(t, a.ID).Status, store.StatusCancelled)
	equal(t, "start of a cancelled run", h.start(t, a.ID), false)
	equal(t, "b", h.start(t, b.ID), true)
	cancel(b.ID)
	got := h.run(t, b.ID)
	if got.Status != store.StatusExecution || !got.CancelRequested {
		t.Fatalf("executing: %+v", got)
	}
	// One that waits is woken to end.
	slice, later := h.slices(t, b.ID)[0].ID, time.Now().Add(time.Hour)
	if _, err := endSlice(t, db, slice, store.SliceActive, &later, "rate_limit"); err != nil {
		t.Fatal(err)
	}
	h.takeAll(t)
	cancel(b.ID)
	wantMessages(t, h.takeAll(t), fmt.Sprintf(`sync.now {"v":1,"type":"sync","channel":"crm","run":%d,"slice":%d}`, b.ID, slice))
	if s := h.slices(t, b.ID)[0]; s.NotBefore != nil || s.State != store.SliceActive {
		t.Fatalf("woken: %+v", s)
	}
	h.finish(t, b.ID, store.StatusCancelled)
	cancel(b.ID)
	equal(t, "ended", h.run(t, b.ID).Status, store.StatusCancelled)
	err := db.Write(t.Context(), "cancel", func(ctx context.Context, tx *store.Tx) error { return tx.CancelRun(ctx, b.ID+100) })
	wantCode(t, "unknown", err, fault.CodeNotFound)
}

func testRunList(t *testing.T, db *store.DB) {
	h := newHouse(t, db)
	var ids []int64
	for range 5 {
		ids = append(ids, h.plan(t, store.Spec{}).ID)
	}
	h.start(t, ids[0])
	read(t, db, func(ctx context.Context, tx *store.Tx) error {
		list, err := tx.Runs(ctx, store.RunFilter{Before: ids[4], Limit: 2})
		if err != nil || len(list) != 2 || list[0].ID != ids[3] || list[1].ID != ids[2] {
			t.Fatalf("page: %+v %v", list, err)
		}
		list, err = tx.Runs(ctx, store.RunFilter{Status: []store.Status{store.StatusExecution, store.StatusFailed}})
		if err != nil || len(list) != 1 || list[0].ID != ids[0] {
			t.Fatalf("by status: %+v %v", list, err)
		}
		list, err = tx.Runs(ctx, store.RunFilter{ChannelID: h.channel + 1})
		if err != nil || len(list) != 0 {
			t.Fatalf("other channel: %+v %v", list, err)
		}
		return nil
	})
}

func testRunChanges(t *testing.T, db *store.DB) {
	h := newHouse(t, db)
	a, b := h.plan(t, store.Spec{Flags: store.Flags{DryRun: true}}), h.plan(t, store.Spec{})
	line := func(id string) store.Change {
		return store.Change{
			Connector: "contacts", Side: "local", Op: "update", LocalID: id, RemoteID: "r" + id,
			Fields: []store.FieldChange{{Field: "email", Old: json.RawMessage("null"), New: json.RawMessage(`"x\u0001<"`), Winner: "right", Reason: "only_side"}},
		}
	}
	write(t, db, func(ctx context.Context, tx *store.Tx) error {
		if err := tx.AddChanges(ctx, a.ID, []store.Change{line("1"), line("2"), line("3")}); err != nil {
			return err
		}
		if err := tx.AddChanges(ctx, b.ID, []store.Change{line("9")}); err != nil {
			return err
		}
		return tx.AddChanges(ctx, a.ID, nil)
	})
	read(t, db, func(ctx context.Context, tx *store.Tx) error {
		first, seq, err := tx.Changes(ctx, a.ID, 0, 2)
		if err != nil || len(first) != 2 || first[0].LocalID != "1" || first[1].LocalID != "2" || string(first[0].Fields[0].Old) != "null" {
			t.Fatalf("%+v %v", first, err)
		}
		rest, last, err := tx.Changes(ctx, a.ID, seq, 2)
		if err != nil || len(rest) != 1 || rest[0].LocalID != "3" || last <= seq {
			t.Fatalf("%+v %v", rest, err)
		}
		none, same, err := tx.Changes(ctx, a.ID, last, 2)
		if err != nil || len(none) != 0 || same != last {
			t.Fatalf("%+v %d %v", none, same, err)
		}
		return nil
	})
}

// testOneExecutingRun lets ten requesters ask and start at once.
func testOneExecutingRun(t *testing.T, db *store.DB) {
	h := newHouse(t, db)
	const n = 10
	var wg sync.WaitGroup
	var mu sync.Mutex
	startedRuns, joins := 0, 0
	begin := make(chan struct{})
	for range n {
		wg.Go(func() {
			<-begin
			var run store.Run
			var joined, started bool
			err := db.Write(t.Context(), "request", func(ctx context.Context, tx *store.Tx) (err error) {
				run, joined, _, err = tx.AddRequest(ctx, store.Request{ChannelID: h.channel}, true)
				return err
			})
			if err == nil {
				err = db.Write(t.Context(), "start", func(ctx context.Context, tx *store.Tx) (err error) {
					started, err = tx.StartRun(ctx, run.ID, []store.Slice{{ConnectorID: h.contacts}})
					return err
				})
			}
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			if started {
				startedRuns++
			}
			if joined {
				joins++
			}
		})
	}
	close(begin)
	wg.Wait()
	equal(t, "started", startedRuns, 1)
	var planned, executing []store.Run
	read(t, db, func(ctx context.Context, tx *store.Tx) (err error) {
		if executing, err = tx.Runs(ctx, store.RunFilter{Status: []store.Status{store.StatusExecution}}); err != nil {
			return err
		}
		planned, err = tx.Runs(ctx, store.RunFilter{Status: []store.Status{store.StatusPlanned}})
		return err
	})
	equal(t, "executing", len(executing), 1)
	// Every request is served: by the run that executes, or by one that waits.
	if len(planned) > 1 || joins != n-1-len(planned) {
		t.Fatalf("%d planned, %d joined", len(planned), joins)
	}
}
