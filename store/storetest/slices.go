package storetest

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/tandem-sync/tandem/store"
)

func commitSlice(t *testing.T, db *store.DB, step store.SliceStep) error {
	t.Helper()
	return db.Write(t.Context(), "commit", func(ctx context.Context, tx *store.Tx) error { return tx.CommitSlice(ctx, step) })
}

func endSlice(t *testing.T, db *store.DB, id int64, state store.SliceState, notBefore *time.Time, reason string) (next *store.Slice, err error) {
	t.Helper()
	err = db.Write(t.Context(), "end", func(ctx context.Context, tx *store.Tx) (err error) {
		next, err = tx.EndSlice(ctx, id, state, notBefore, reason)
		return err
	})
	return next, err
}

func testSliceCommit(t *testing.T, db *store.DB) {
	h := newHouse(t, db)
	run, list := h.started(t)
	total := int64(100)
	step := store.SliceStep{
		SliceID: list[0].ID, Expected: 0, Next: 1, Position: json.RawMessage(`{"page": 2}`), Total: &total,
		Add: store.Counters{Read: 9, Created: 1, Updated: 2, Deleted: 3, Unchanged: 4, Skipped: 5, Conflicts: 6, Parked: 7, Pushed: 8},
	}
	if err := commitSlice(t, db, step); err != nil {
		t.Fatal(err)
	}
	wantFenced(t, "the same batch again", commitSlice(t, db, step))
	step.Expected, step.Next, step.Total, step.Position = 1, 3, nil, nil
	if err := commitSlice(t, db, step); err != nil {
		t.Fatal(err)
	}
	wantFenced(t, "a slice whose turn has not come", commitSlice(t, db, store.SliceStep{SliceID: list[1].ID, Next: 1}))
	s := h.slices(t, run.ID)[0]
	want := store.Counters{Read: 18, Created: 2, Updated: 4, Deleted: 6, Unchanged: 8, Skipped: 10, Conflicts: 12, Parked: 14, Pushed: 16}
	if s.BatchNo != 3 || s.Counters != want || s.Total == nil || *s.Total != 100 || s.Position != nil {
		t.Fatalf("slice: %+v", s)
	}
	read(t, db, func(ctx context.Context, tx *store.Tx) error {
		sum, by, expected, err := tx.RunCounters(ctx, run.ID)
		if err != nil || sum != want || by["companies"] != want || by["contacts"] != (store.Counters{}) || len(by) != 2 || expected != nil {
			t.Fatalf("counters: %+v %+v %v %v", sum, by, expected, err)
		}
		return nil
	})
	next, err := endSlice(t, db, list[0].ID, store.SliceDone, nil, "")
	if err != nil || next == nil || next.ID != list[1].ID {
		t.Fatalf("next: %+v %v", next, err)
	}
	if err := commitSlice(t, db, store.SliceStep{SliceID: list[1].ID, Next: 1, Total: &total, Position: json.RawMessage(`{"a": 1}`)}); err != nil {
		t.Fatal(err)
	}
	equal(t, "position as given", string(h.slices(t, run.ID)[1].Position), `{"a": 1}`)
	read(t, db, func(ctx context.Context, tx *store.Tx) error {
		_, _, expected, err := tx.RunCounters(ctx, run.ID)
		if err != nil || expected == nil || *expected != 200 {
			t.Fatalf("expected: %v %v", expected, err)
		}
		return nil
	})
	// A cancelled run's worker is fenced.
	h.finish(t, run.ID, store.StatusCancelled)
	wantFenced(t, "after the end", commitSlice(t, db, store.SliceStep{SliceID: list[1].ID, Expected: 1, Next: 2}))
}

func testSliceTurns(t *testing.T, db *store.DB) {
	h := newHouse(t, db)
	run, list := h.started(t)
	h.takeAll(t)
	// It goes on at once: a message at the tail of the common queue.
	if _, err := endSlice(t, db, list[0].ID, store.SliceActive, nil, ""); err != nil {
		t.Fatal(err)
	}
	wantMessages(t, h.takeAll(t), fmt.Sprintf(`sync {"v":1,"type":"sync","channel":"crm","run":%d,"slice":%d}`, run.ID, list[0].ID))
	// It waits: no message.
	later := time.Now().Add(time.Hour).UTC().Truncate(time.Microsecond)
	if _, err := endSlice(t, db, list[0].ID, store.SliceActive, &later, "rate_limit"); err != nil {
		t.Fatal(err)
	}
	wantMessages(t, h.takeAll(t))
	s := h.slices(t, run.ID)[0]
	if s.State != store.SliceActive || s.NotBefore == nil || !s.NotBefore.Equal(later) || s.WaitReason != "rate_limit" || s.QueuedAt != nil {
		t.Fatalf("waiting slice: %+v", s)
	}
	// Progress clears the wait.
	if err := commitSlice(t, db, store.SliceStep{SliceID: s.ID, Next: 1}); err != nil {
		t.Fatal(err)
	}
	if s = h.slices(t, run.ID)[0]; s.NotBefore != nil || s.WaitReason != "" {
		t.Fatalf("after progress: %+v", s)
	}
	next, err := endSlice(t, db, list[0].ID, store.SliceDone, nil, "")
	if err != nil || next == nil || next.ID != list[1].ID || next.State != store.SliceActive || next.Connector != "contacts" {
		t.Fatalf("next: %+v %v", next, err)
	}
	wantMessages(t, h.takeAll(t), fmt.Sprintf(`sync {"v":1,"type":"sync","channel":"crm","run":%d,"slice":%d}`, run.ID, list[1].ID))
	_, err = endSlice(t, db, list[0].ID, store.SliceDone, nil, "")
	wantFenced(t, "ended twice", err)
	next, err = endSlice(t, db, list[1].ID, store.SliceDone, nil, "")
	if err != nil || next != nil {
		t.Fatalf("last: %+v %v", next, err)
	}
	wantMessages(t, h.takeAll(t))
	if _, err = endSlice(t, db, list[1].ID, store.SlicePending, nil, ""); err == nil {
		t.Fatal("pending is no end")
	}
}

func testSliceAttempts(t *testing.T, db *store.DB) {
	h := newHouse(t, db)
	run, list := h.started(t)
	h.takeAll(t)
	soon := time.Now().Add(time.Minute)
	for want := 1; want <= 3; want++ {
		var got int
		write(t, db, func(ctx context.Context, tx *store.Tx) (err error) {
			got, err = tx.FailAttempt(ctx, list[0].ID, soon, "unreachable")
			return err
		})
		equal(t, "attempts", got, want)
	}
	wantMessages(t, h.takeAll(t))
	if err := commitSlice(t, db, store.SliceStep{SliceID: list[0].ID, Next: 1}); err != nil {
		t.Fatal(err)
	}
	equal(t, "attempts after progress", h.slices(t, run.ID)[0].Attempts, 0)
	if _, err := endSlice(t, db, list[0].ID, store.SliceFailed, nil, ""); err != nil {
		t.Fatal(err)
	}
	equal(t, "the next one's turn is not here", h.slices(t, run.ID)[1].State, store.SlicePending)
	err := db.Write(t.Context(), "fail", func(ctx context.Context, tx *store.Tx) error {
		_, err := tx.FailAttempt(ctx, list[0].ID, soon, "x")
		return err
	})
	wantFenced(t, "an ended slice", err)
}

func testSweepSlices(t *testing.T, db *store.DB) {
	h := newHouse(t, db)
	run, list := h.started(t)
	slice := list[0].ID
	h.takeAll(t)
	sweep := func(idle time.Duration) int {
		t.Helper()
		var got []store.Slice
		write(t, db, func(ctx context.Context, tx *store.Tx) (err error) {
			got, err = tx.StalledSlices(ctx, idle, 10)
			return err
		})
		for _, s := range got {
			if s.ID != slice || s.QueuedAt == nil || s.Connector != "companies" {
				t.Fatalf("swept %+v", s)
			}
		}
		equal(t, "messages", len(h.takeAll(t)), len(got))
		return len(got)
	}
	equal(t, "a fresh message", sweep(time.Hour), 0)
	equal(t, "an old message", sweep(0), 1)
	equal(t, "asked for just now", sweep(time.Hour), 0)
	age(t, db, "tandem_slice", "queued_at", 2*time.Hour)
	key := store.LeaseKey{ChannelID: h.channel, ConnectorID: h.companies, Direction: store.KindSync}
	var lease store.Lease
	write(t, db, func(ctx context.Context, tx *store.Tx) (err error) {
		lease, _, err = tx.AcquireLease(ctx, key, "w1", time.Hour)
		return err
	})
	equal(t, "worked on", sweep(time.Hour), 0)
	age(t, db, "tandem_lease", "expires_at", 2*time.Hour)
	equal(t, "an expired lease", sweep(time.Hour), 1)
	// Whoever held a lease that ran out after the message was asked for has died
	// with it.
	age(t, db, "tandem_slice", "queued_at", 2*time.Minute)
	equal(t, "a young message, and a lease that expired before it", sweep(time.Hour), 0)
	age(t, db, "tandem_lease", "expires_at", -2*time.Hour)
	age(t, db, "tandem_lease", "expires_at", time.Hour+time.Minute)
	equal(t, "a young message, and a lease that expired after it", sweep(time.Hour), 1)
	equal(t, "once for each expiry", sweep(time.Hour), 0)
	age(t, db, "tandem_slice", "queued_at", 2*time.Hour)
	write(t, db, func(ctx context.Context, tx *store.Tx) error { return tx.ReleaseLease(ctx, lease) })
	equal(t, "a released lease", sweep(time.Hour), 1)
	// One that waits is swept when it is due, without an idle time.
	soon := time.Now().Add(time.Hour)
	write(t, db, func(ctx context.Context, tx *store.Tx) error {
		_, err := tx.FailAttempt(ctx, slice, soon, "x")
		return err
	})
	equal(t, "not due", sweep(0), 0)
	age(t, db, "tandem_slice", "not_before", 2*time.Hour)
	equal(t, "due", sweep(time.Hour), 1)
	age(t, db, "tandem_slice", "queued_at", 2*time.Hour)
	h.finish(t, run.ID, store.StatusCancelled)
	equal(t, "an ended run", sweep(0), 0)
}

// A slice whose message met a lease that another run's slice holds is asked for
// again as soon as that one gives it back, or dies. Slices that write to the
// remote share one lease, whatever their runs are for.
func testSliceAwaitsLease(t *testing.T, db *store.DB) {
	h := newHouse(t, db)
	run := h.plan(t, store.Spec{})
	write(t, db, func(ctx context.Context, tx *store.Tx) error {
		_, err := tx.StartRun(ctx, run.ID, []store.Slice{{ConnectorID: h.companies, Shard: store.ShardPush}})
		return err
	})
	id := h.slices(t, run.ID)[0].ID
	h.takeAll(t)
	key := store.LeaseKey{ChannelID: h.channel, ConnectorID: h.companies, Direction: store.KindReverseSync}
	var lease store.Lease
	take := func(owner string) (ok bool) {
		write(t, db, func(ctx context.Context, tx *store.Tx) error {
			l, got, err := tx.AcquireLease(ctx, key, owner, time.Hour)
			if ok = got; err != nil || got {
				lease = l
				return err
			}
			return tx.AwaitLease(ctx, id)
		})
		return ok
	}
	sweep := func() (n int) {
		write(t, db, func(ctx context.Context, tx *store.Tx) error {
			got, err := tx.StalledSlices(ctx, time.Hour, 10)
			n = len(got)
			return err
		})
		equal(t, "messages of the sweep", len(h.takeAll(t)), n)
		return n
	}
	release := func() {
		write(t, db, func(ctx context.Context, tx *store.Tx) error { return tx.ReleaseLease(ctx, lease) })
	}
	equal(t, "free", take("w1"), true)
	release()
	equal(t, "nobody waits", len(h.takeAll(t)), 0)
	equal(t, "free again", take("w1"), true)
	equal(t, "busy", take("w2"), false)
	equal(t, "the holder works", sweep(), 0)
	release()
	equal(t, "given back", len(h.takeAll(t)), 1)
	release()
	equal(t, "given back twice", len(h.takeAll(t)), 0)
	equal(t, "asked for just now", sweep(), 0)
	equal(t, "taken", take("w1"), true)
	equal(t, "busy once more", take("w2"), false)
	age(t, db, "tandem_lease", "expires_at", 2*time.Hour)
	equal(t, "the holder died", sweep(), 1)
}

func testSweepRuns(t *testing.T, db *store.DB) {
	h := newHouse(t, db)
	a, b := h.plan(t, store.Spec{}), h.plan(t, store.Spec{})
	h.takeAll(t)
	sweep := func(idle time.Duration) (ids []int64) {
		write(t, db, func(ctx context.Context, tx *store.Tx) error {
			got, err := tx.StalledRuns(ctx, idle, 10)
			ids = nil
			for _, r := range got {
				ids = append(ids, r.ID)
			}
			return err
		})
		equal(t, "messages", len(h.takeAll(t)), len(ids))
		return ids
	}
	one := func(what string, ids []int64, want int64) {
		t.Helper()
		if len(ids) != 1 || ids[0] != want {
			t.Fatalf("%s: got %v, want %d", what, ids, want)
		}
	}
	equal(t, "fresh", len(sweep(time.Hour)), 0)
	one("old", sweep(0), a.ID)
	equal(t, "asked for just now", len(sweep(time.Hour)), 0)
	h.start(t, a.ID)
	h.takeAll(t)
	equal(t, "beside one that executes", len(sweep(0)), 0)
	h.finish(t, a.ID, store.StatusFinished)
	h.takeAll(t)
	age(t, db, "tandem_run", "queued_at", 2*time.Hour)
	one("its turn", sweep(time.Hour), b.ID)
}
