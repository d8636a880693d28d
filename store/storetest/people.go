package storetest

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/tandem-sync/tandem/store"
)

// testMade: what a run created is kept by batch as long as the run is.
func testMade(t *testing.T, db *store.DB) {
	h := newHouse(t, db)
	run, _ := h.started(t)
	write(t, db, func(ctx context.Context, tx *store.Tx) error {
		for no, links := range [][]uint64{{9, 7, 8, 8, 1 << 40}, nil, {4096, 4097, 5}} {
			if err := tx.AddMade(ctx, run.ID, h.contacts, int64(no), links); err != nil {
				return err
			}
		}
		return nil
	})
	made := func(connector int64) (out [][]uint64) {
		read(t, db, func(ctx context.Context, tx *store.Tx) error {
			out = nil
			return tx.Made(ctx, run.ID, connector, func(links []uint64) error {
				out = append(out, slices.Clone(links))
				return nil
			})
		})
		return out
	}
	equal(t, "made", fmt.Sprint(made(h.contacts)), fmt.Sprint([][]uint64{{7, 8, 9, 1 << 40}, {5, 4096, 4097}}))
	equal(t, "made by another connector", len(made(h.contacts+1000)), 0)
}

// testChangesBack reads a run's lines from its end.
func testChangesBack(t *testing.T, db *store.DB) {
	h := newHouse(t, db)
	run, _ := h.started(t)
	write(t, db, func(ctx context.Context, tx *store.Tx) error {
		var list []store.Change
		for i := range 5 {
			list = append(list, store.Change{Connector: "contacts", Side: "local", Op: "update", LocalID: fmt.Sprint(i)})
		}
		return tx.AddChanges(ctx, run.ID, list)
	})
	read(t, db, func(ctx context.Context, tx *store.Tx) error {
		var ids string
		pages, next := 0, int64(0)
		for {
			list, more, err := tx.ChangesBack(ctx, run.ID, next, 2)
			if err != nil {
				return err
			}
			for _, c := range list {
				ids += c.LocalID
			}
			if pages++; more == 0 || pages > 5 {
				break
			}
			next = more
		}
		equal(t, "lines", ids, "43210")
		equal(t, "pages", pages, 3)
		return nil
	})
}

// testSkippedOut: skips of rows on their way out and of records on their way in
// do not touch each other.
func testSkippedOut(t *testing.T, db *store.DB) {
	h := newHouse(t, db)
	list := parkAll(t, db,
		store.Parked{Kind: store.ParkedRefused, ChannelID: h.channel, ConnectorID: h.contacts, LocalID: "1", RemoteID: "r1", Reason: "out", Outward: true, Print: "l1"},
		store.Parked{Kind: store.ParkedRecord, ChannelID: h.channel, ConnectorID: h.contacts, LocalID: "1", RemoteID: "r1", Reason: "in", Print: "v1"},
	)
	write(t, db, func(ctx context.Context, tx *store.Tx) error {
		open, err := tx.ParkedOf(ctx, h.contacts, "1", "")
		if err == nil {
			equal(t, "about the row", len(open), 2)
			_, err = tx.ResolveAll(ctx, []int64{list[0].ID, list[1].ID}, store.ResolvedSkipped)
		}
		return err
	})
	prints := func() string {
		var in, out map[string][]string
		read(t, db, func(ctx context.Context, tx *store.Tx) (err error) {
			if in, err = tx.SkippedPrints(ctx, h.contacts, []string{"r1"}); err != nil {
				return err
			}
			out, err = tx.SkippedOut(ctx, h.contacts, []string{"1"})
			return err
		})
		return fmt.Sprint(in["r1"], out["1"])
	}
	equal(t, "both", prints(), "[v1] [l1]")
	write(t, db, func(ctx context.Context, tx *store.Tx) error { return tx.EndSkips(ctx, h.contacts, []string{"r1"}) })
	equal(t, "the way in ended", prints(), "[] [l1]")
	write(t, db, func(ctx context.Context, tx *store.Tx) error { return tx.EndSkipsOut(ctx, h.contacts, []string{"1"}) })
	equal(t, "the way out ended", prints(), "[] []")
}

// testRequestExport marks the rows and asks for as many runs as they need.
func testRequestExport(t *testing.T, db *store.DB) {
	h := newHouse(t, db)
	var keys []string
	for i := range 2500 {
		keys = append(keys, fmt.Sprintf("k%04d", i))
	}
	write(t, db, func(ctx context.Context, tx *store.Tx) error {
		runs, err := tx.RequestExport(ctx, store.Connector{ID: h.contacts, ChannelID: h.channel, Name: "contacts"}, store.TriggerManual, "test", append(keys, keys[0]))
		if err != nil {
			return err
		}
		equal(t, "runs", len(runs), 2)
		equal(t, "rows", len(runs[0].Spec.LocalIDs)+len(runs[1].Spec.LocalIDs), 2500)
		equal(t, "kind", runs[1].Spec.Kind, store.KindReverseSync)
		n, oldest, err := tx.ConnectorWaits(ctx, h.contacts)
		equal(t, "waiting", n, 2500)
		equal(t, "since", oldest != nil, true)
		return err
	})
}
