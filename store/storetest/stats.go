package storetest

import (
	"context"
	"testing"
	"time"

	"github.com/tandem-sync/tandem/store"
)

func stats(t *testing.T, db *store.DB) (s store.Stats) {
	t.Helper()
	read(t, db, func(ctx context.Context, tx *store.Tx) (err error) {
		s, err = tx.Stats(ctx)
		return err
	})
	return s
}

// testStats: what waits is counted, what is over is not.
func testStats(t *testing.T, db *store.DB) {
	s := stats(t, db)
	if s.Outbox != 0 || s.OutboxOldest != 0 || s.RunOldest != 0 || len(s.Parked) != 0 || s.BreakersOpen != 0 {
		t.Errorf("an empty store: %+v", s)
	}
	equal(t, "kinds of runs", len(s.Runs), 3)
	h := newHouse(t, db)
	run, _ := h.started(t)
	h.plan(t, store.Spec{Kind: store.KindSync, Mode: store.ModeFull})
	write(t, db, func(ctx context.Context, tx *store.Tx) error {
		if err := tx.SetBreaker(ctx, h.channel, time.Minute, "five failures in a row"); err != nil {
			return err
		}
		_, err := tx.Park(ctx, []store.Parked{
			{Kind: store.ParkedRecord, ChannelID: h.channel, ConnectorID: h.contacts, RemoteID: "1", Reason: "bad_value"},
			{Kind: store.ParkedRecord, ChannelID: h.channel, ConnectorID: h.contacts, RemoteID: "2", Reason: "bad_value"},
			{Kind: store.ParkedMassDelete, ChannelID: h.channel, ConnectorID: h.contacts, Reason: "mass_delete"},
		})
		return err
	})
	time.Sleep(5 * time.Millisecond) // the ages below are of real clocks
	s = stats(t, db)
	equal(t, "planned", s.Runs[store.StatusPlanned], 1)
	equal(t, "executing", s.Runs[store.StatusExecution], 1)
	equal(t, "preparing", s.Runs[store.StatusPreparing], 0)
	equal(t, "breakers", s.BreakersOpen, 1)
	equal(t, "messages", s.Outbox, depth(t, db))
	if s.Outbox == 0 || s.OutboxOldest <= 0 || s.OutboxOldest > time.Minute || s.RunOldest <= 0 || s.RunOldest > time.Minute {
		t.Errorf("ages: %+v", s)
	}
	open := map[store.ParkedKind]int64{}
	for _, p := range s.Parked {
		open[p.Kind] += p.Open
		equal(t, "channel", p.Channel, "crm")
	}
	equal(t, "parked records", open[store.ParkedRecord], 2)
	equal(t, "parked deletions", open[store.ParkedMassDelete], 1)
	h.finish(t, run.ID, store.StatusFinished)
	h.takeAll(t)
	write(t, db, func(ctx context.Context, tx *store.Tx) error {
		list, err := tx.ListParked(ctx, store.ParkedFilter{Open: true, Limit: 10})
		if err != nil {
			return err
		}
		for _, p := range list {
			if err := tx.ResolveParked(ctx, p.ID, "skipped"); err != nil {
				return err
			}
		}
		return tx.SetBreaker(ctx, h.channel, 0, "")
	})
	s = stats(t, db)
	if s.Outbox != 0 || s.OutboxOldest != 0 || len(s.Parked) != 0 || s.BreakersOpen != 0 || s.Runs[store.StatusExecution] != 0 {
		t.Errorf("all is done: %+v", s)
	}
}
