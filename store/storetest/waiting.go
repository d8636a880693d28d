package storetest

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/tandem-sync/tandem/store"
)

func (h house) waiting(t *testing.T, runID int64) (reason string, until *time.Time) {
	t.Helper()
	read(t, h.db, func(ctx context.Context, tx *store.Tx) error {
		run, err := tx.Run(ctx, runID)
		if err == nil {
			reason, until, err = tx.Waiting(ctx, run)
		}
		return err
	})
	return reason, until
}

// wantWaiting compares the word only where want has no detail.
func (h house) wantWaiting(t *testing.T, what string, runID int64, want string, hasUntil bool) *time.Time {
	t.Helper()
	reason, until := h.waiting(t, runID)
	if (reason != want && store.WaitWord(reason) != want) || (until != nil) != hasUntil {
		t.Fatalf("%s: %q until %v, want %q with a time %v", what, reason, until, want, hasUntil)
	}
	return until
}

func testWaitingTurns(t *testing.T, db *store.DB) {
	h := newHouse(t, db)
	first := h.plan(t, store.Spec{})
	h.wantWaiting(t, "alone", first.ID, store.WaitQueued, false)
	second, third := h.plan(t, store.Spec{Mode: store.ModeFull}), h.plan(t, store.Spec{Mode: store.ModeFull})
	ids := h.plan(t, store.Spec{RemoteIDs: []string{"1"}})
	ahead := fmt.Sprintf("run_ahead: run %d of this channel comes first", first.ID)
	h.wantWaiting(t, "behind a planned run", second.ID, ahead, false)
	h.wantWaiting(t, "another lane", ids.ID, store.WaitQueued, false)
	if !h.start(t, first.ID) {
		t.Fatal("the run did not start")
	}
	h.wantWaiting(t, "behind a run under way", third.ID, ahead, false)
	h.wantWaiting(t, "no worker yet", first.ID, store.WaitQueued, false)
	write(t, db, func(ctx context.Context, tx *store.Tx) error {
		return tx.SetRunWaiting(ctx, second.ID, "quota: until midnight", at("2030-01-01T00:00:00Z"))
	})
	if until := h.wantWaiting(t, "as noted", second.ID, "quota: until midnight", true); !until.Equal(*at("2030-01-01T00:00:00Z")) {
		t.Fatal(until)
	}
	h.finish(t, first.ID, store.StatusFinished)
	h.wantWaiting(t, "over", first.ID, "", false)
	h.wantWaiting(t, "the next in line", third.ID, store.WaitRunAhead, false)
}

func testWaitingSlices(t *testing.T, db *store.DB) {
	h := newHouse(t, db)
	run, slices := h.started(t)
	companies := slices[0]
	key := store.LeaseKey{ChannelID: h.channel, ConnectorID: h.companies, Direction: store.KindSync}
	lease, ok := acquire(t, db, key, "another", time.Hour)
	if !ok {
		t.Fatal("no lease")
	}
	if until := h.wantWaiting(t, "in other hands", run.ID, store.WaitBusy, true); !until.Equal(lease.ExpiresAt) {
		t.Fatalf("until %v, the lease ends %v", until, lease.ExpiresAt)
	}
	write(t, db, func(ctx context.Context, tx *store.Tx) error { return tx.HoldSlice(ctx, companies.ID, lease) })
	h.wantWaiting(t, "at work", run.ID, "", false)
	write(t, db, func(ctx context.Context, tx *store.Tx) error {
		return tx.CommitSlice(ctx, store.SliceStep{SliceID: companies.ID, Next: 1})
	})
	h.wantWaiting(t, "after a batch", run.ID, "", false)
	later := time.Now().Add(time.Hour).UTC().Truncate(time.Millisecond)
	for _, reason := range []string{"rate_limited: 429", "quota: daily", "breaker_open: 503", "retry: reset"} {
		write(t, db, func(ctx context.Context, tx *store.Tx) error {
			_, err := tx.EndSlice(ctx, companies.ID, store.SliceActive, &later, reason)
			if err != nil {
				return err
			}
			return tx.ReleaseLease(ctx, lease)
		})
		if until := h.wantWaiting(t, reason, run.ID, reason, true); !until.Equal(later) {
			t.Fatalf("until %v, want %v", until, later)
		}
	}
	equal(t, "the position is kept", h.slices(t, run.ID)[0].BatchNo, 1)
	write(t, db, func(ctx context.Context, tx *store.Tx) error { return tx.CancelRun(ctx, run.ID) })
	h.wantWaiting(t, "asked to end", run.ID, store.WaitCancelling, false)
}

func testWaitingPast(t *testing.T, db *store.DB) {
	h := newHouse(t, db)
	run, slices := h.started(t)
	past := time.Now().Add(-time.Second)
	write(t, db, func(ctx context.Context, tx *store.Tx) error {
		_, err := tx.FailAttempt(ctx, slices[0].ID, past, "retry: 503")
		return err
	})
	h.wantWaiting(t, "due, but nobody took it yet", run.ID, store.WaitQueued, false)
	dry := h.plan(t, store.Spec{Flags: store.Flags{DryRun: true}})
	if !h.start(t, dry.ID) {
		t.Fatal("the dry run did not start")
	}
	h.wantWaiting(t, "a dry run holds no lease", dry.ID, "", false)
}
