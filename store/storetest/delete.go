package storetest

import (
	"context"
	"testing"
	"time"

	"github.com/tandem-sync/tandem/store"
)

func testDeleteChannel(t *testing.T, db *store.DB) {
	h := newHouse(t, db)
	var other house
	write(t, db, func(ctx context.Context, tx *store.Tx) (err error) {
		other, err = addHouse(ctx, tx, db, "shop")
		return err
	})
	run, _ := h.started(t)
	waiting := h.plan(t, store.Spec{})
	key := store.LeaseKey{ChannelID: h.channel, ConnectorID: h.contacts, Direction: store.KindSync}
	var lease store.Lease
	link := func(connector int64, id string) store.Link {
		return store.Link{LinkHead: store.LinkHead{ID: int64(len(id)), RemoteID: id, LocalKey: id}, ConnectorID: connector}
	}
	write(t, db, func(ctx context.Context, tx *store.Tx) (err error) {
		if lease, _, err = tx.AcquireLease(ctx, key, "worker", time.Minute); err != nil {
			return err
		}
		if err = tx.PutLinks(ctx, []store.Link{link(h.contacts, "1"), link(h.contacts, "12"), link(h.companies, "123"), link(other.contacts, "1")}); err != nil {
			return err
		}
		if err = tx.SetWatermark(ctx, h.contacts, *at("2026-11-24T10:00:00Z"), true); err != nil {
			return err
		}
		_, err = tx.Park(ctx, []store.Parked{{Kind: store.ParkedRecord, ChannelID: h.channel, Channel: "crm", ConnectorID: h.contacts, RemoteID: "9"}})
		return err
	})

	write(t, db, func(ctx context.Context, tx *store.Tx) error { return tx.RetireChannel(ctx, h.channel) })
	equal(t, "planned run", h.run(t, waiting.ID).Status, store.StatusCancelled)
	equal(t, "executing run", h.run(t, run.ID).Status, store.StatusCancelled)
	err := db.Write(t.Context(), "renew", func(ctx context.Context, tx *store.Tx) error { return tx.RenewLease(ctx, lease, time.Minute) })
	wantFenced(t, "the lease of before", err)
	write(t, db, func(ctx context.Context, tx *store.Tx) error {
		again, ok, err := tx.AcquireLease(ctx, key, "worker", time.Minute)
		if err == nil && (!ok || again.Epoch <= lease.Epoch) {
			t.Errorf("taken anew: %v, epoch %d after %d", ok, again.Epoch, lease.Epoch)
		}
		return err
	})

	var links, runs []int64
	write(t, db, func(ctx context.Context, tx *store.Tx) error {
		links, runs = nil, nil
		for range 3 {
			n, err := tx.DropLinks(ctx, h.channel, 2)
			if err != nil {
				return err
			}
			m, err := tx.DropRuns(ctx, h.channel, 1)
			if err != nil {
				return err
			}
			links, runs = append(links, n), append(runs, m)
		}
		return tx.DeleteChannel(ctx, h.channel)
	})
	equal(t, "links in steps", [3]int64(links), [3]int64{2, 1, 0})
	equal(t, "runs in steps", [3]int64(runs), [3]int64{1, 1, 0})
	for _, table := range []string{"channel", "connector", "schedule", "channel_revision"} {
		var n int
		read(t, db, func(ctx context.Context, tx *store.Tx) error {
			return tx.GetContext(ctx, &n, "SELECT count(*) FROM tandem_"+table) //nolint:gosec // names from this test
		})
		want := 1
		if table == "connector" {
			want = 2
		}
		equal(t, "rows of the other channel in "+table, n, want)
	}
	for table, want := range map[string]int{"link": 1, "run": 0, "request": 0, "slice": 0, "lease": 0, "watermark": 0, "parked": 0} {
		var n int
		read(t, db, func(ctx context.Context, tx *store.Tx) error {
			return tx.GetContext(ctx, &n, "SELECT count(*) FROM tandem_"+table) //nolint:gosec // names from this test
		})
		equal(t, "rows in "+table, n, want)
	}
	err = db.Write(t.Context(), "again", func(ctx context.Context, tx *store.Tx) error { return tx.DeleteChannel(ctx, h.channel) })
	wantCode(t, "deleting it again", err, "not_found")
}
