package store_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/tandem-sync/tandem/store"
)

const (
	benchDirty = 100_000 // rows that wait beside those that are measured
	benchClaim = 500
)

func benchWrite(b *testing.B, db *store.DB, fn func(ctx context.Context, tx *store.Tx) error) {
	b.Helper()
	if err := db.Write(b.Context(), "bench", fn); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkRelayChanges moves 2,000 changes of as many linked rows per
// transaction into the dirty set of one connector. A merge meets a row that
// waits already.
func BenchmarkRelayChanges(b *testing.B) {
	for name, keys := range map[string]int{"new": benchLinks, "merge": benchBatch} {
		b.Run(name, func(b *testing.B) {
			benchStores(b, func(b *testing.B, db *store.DB) {
				fillLinks(b, db)
				one := func(string) []int64 { return []int64{1} }
				for n := 0; b.Loop(); n++ {
					b.StopTimer()
					list := make([]store.LocalChange, benchBatch)
					for i := range list {
						list[i] = store.LocalChange{Entity: "contacts", LocalKey: fmt.Sprint((n*benchBatch + i) % keys), Op: store.LogUpsert, Fields: []string{"email", "phone"}}
					}
					benchWrite(b, db, func(ctx context.Context, tx *store.Tx) error { return tx.LogChanges(ctx, list) })
					b.StartTimer()
					benchWrite(b, db, func(ctx context.Context, tx *store.Tx) error {
						r, err := tx.RelayChanges(ctx, benchBatch, one, 2*time.Second, 30*time.Second)
						if err == nil && r.Taken != benchBatch {
							err = fmt.Errorf("%d taken", r.Taken)
						}
						return err
					})
				}
				b.ReportMetric(float64(b.N)*benchBatch/b.Elapsed().Seconds(), "rows/s")
			})
		})
	}
}

// BenchmarkClaimDone claims 500 due rows of 100,000 in one transaction and takes
// them out in another, as an export does.
func BenchmarkClaimDone(b *testing.B) {
	benchStores(b, func(b *testing.B, db *store.DB) {
		lease := benchLease(b, db)
		next := 0
		fill := func(n int) {
			for ; n > 0; n -= benchBatch {
				keys := make([]string, benchBatch)
				for i := range keys {
					keys[i] = fmt.Sprint("key-", next)
					next++
				}
				benchWrite(b, db, func(ctx context.Context, tx *store.Tx) error {
					_, err := tx.MarkDirty(ctx, lease.ConnectorID, keys, "bench")
					return err
				})
			}
		}
		fill(benchDirty)
		left := benchDirty
		for b.Loop() {
			if left < benchDirty/2 {
				b.StopTimer()
				fill(benchDirty / 2)
				left += benchDirty / 2
				b.StartTimer()
			}
			var list []store.Dirty
			benchWrite(b, db, func(ctx context.Context, tx *store.Tx) (err error) {
				list, err = tx.ClaimDirty(ctx, lease, benchClaim, nil)
				return err
			})
			done := make([]store.DirtyDone, len(list))
			for i, d := range list {
				done[i] = store.DirtyDone{LocalKey: d.LocalKey, Version: d.Version}
			}
			benchWrite(b, db, func(ctx context.Context, tx *store.Tx) error {
				n, err := tx.DoneDirty(ctx, lease, done)
				if err == nil && n != benchClaim {
					err = fmt.Errorf("%d done", n)
				}
				return err
			})
			left -= benchClaim
		}
		b.ReportMetric(float64(b.N)*benchClaim/b.Elapsed().Seconds(), "rows/s")
	})
}

// benchLease gives a lease of a connector.
func benchLease(b *testing.B, db *store.DB) (l store.Lease) {
	b.Helper()
	benchWrite(b, db, func(ctx context.Context, tx *store.Tx) error {
		channel, _, _, err := tx.PutChannel(ctx, store.Channel{Name: "crm", Type: "rest", Enabled: true, Settings: []byte("{}")})
		if err != nil {
			return err
		}
		list, err := tx.PutConnectors(ctx, channel, []store.Connector{{Name: "contacts"}})
		if err != nil {
			return err
		}
		l, _, err = tx.AcquireLease(ctx, store.LeaseKey{ChannelID: channel, ConnectorID: list[0].ID, Direction: store.KindReverseSync}, "bench", 24*time.Hour)
		return err
	})
	return l
}

// BenchmarkUpdateLinks writes 500 of 100,000 links after an export.
func BenchmarkUpdateLinks(b *testing.B) {
	benchStores(b, func(b *testing.B, db *store.DB) {
		fillLinks(b, db)
		for n := 0; b.Loop(); n++ {
			list := make([]store.Link, benchClaim)
			for i := range list {
				list[i] = benchLink((n*benchClaim + i) % benchLinks)
				list[i].WrittenAt, list[i].Version = int64(n+1), "v"
			}
			benchWrite(b, db, func(ctx context.Context, tx *store.Tx) error {
				done, err := tx.UpdateLinks(ctx, list)
				if err == nil && done != benchClaim {
					err = fmt.Errorf("%d updated", done)
				}
				return err
			})
		}
		b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/benchClaim, "µs/record")
	})
}
