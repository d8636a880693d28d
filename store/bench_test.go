package store_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/tandem-sync/tandem/store"
)

const (
	benchLinks = 100_000
	benchBatch = 2_000
)

func benchLink(i int) store.Link {
	return store.Link{
		LinkHead:    store.LinkHead{ID: int64(i), RemoteID: fmt.Sprintf("remote-%08d", i), LocalKey: fmt.Sprint(i), Hash: int64(i) * 7919},
		ConnectorID: 1, Base: `["person` + fmt.Sprint(i) + `@example.com","Ada","Lovelace","+49 30 123456",null,["n","12.5"]]`, ReadAt: 1,
	}
}

func benchStores(b *testing.B, fn func(b *testing.B, db *store.DB)) {
	b.Run("sqlite", func(b *testing.B) { fn(b, openSQLite(b)) })
	b.Run("postgres", func(b *testing.B) { fn(b, openPostgres(b)) })
}

func fillLinks(b *testing.B, db *store.DB) {
	b.Helper()
	for from := 0; from < benchLinks; from += benchBatch {
		putRange(b, db, from)
	}
}

func putRange(b *testing.B, db *store.DB, from int) {
	b.Helper()
	list := make([]store.Link, benchBatch)
	for i := range list {
		list[i] = benchLink(from + i)
	}
	if err := db.Write(b.Context(), "fill", func(ctx context.Context, tx *store.Tx) error { return tx.PutLinks(ctx, list) }); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkLinkHeads looks 2,000 remote ids up among 100,000 links: what an
// unchanged batch costs.
func BenchmarkLinkHeads(b *testing.B) {
	benchStores(b, func(b *testing.B, db *store.DB) {
		fillLinks(b, db)
		all := make([]string, benchLinks)
		for i := range all {
			all[i] = benchLink(i).RemoteID
		}
		b.ReportAllocs()
		for n := 0; b.Loop(); n++ {
			from := n * benchBatch % benchLinks
			ids := all[from : from+benchBatch]
			if err := db.Read(b.Context(), func(ctx context.Context, tx *store.Tx) error {
				heads, err := tx.LinkHeads(ctx, 1, ids)
				if len(heads) != len(ids) {
					b.Errorf("%d of %d found", len(heads), len(ids))
				}
				return err
			}); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/benchBatch, "µs/record")
	})
}

// BenchmarkPutLinks writes 2,000 new links in a transaction.
func BenchmarkPutLinks(b *testing.B) {
	benchStores(b, func(b *testing.B, db *store.DB) {
		b.ReportAllocs()
		for n := 0; b.Loop(); n++ {
			putRange(b, db, n*benchBatch)
		}
		b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/benchBatch, "µs/record")
	})
}
