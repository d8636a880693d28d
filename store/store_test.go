package store_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/tandem-sync/tandem/internal/testenv"
	"github.com/tandem-sync/tandem/store"
	"github.com/tandem-sync/tandem/store/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func openSQLite(tb testing.TB) *store.DB {
	tb.Helper()
	return open(tb, store.Config{URL: "sqlite:" + tb.TempDir() + "/tandem.db"})
}

func openPostgres(tb testing.TB) *store.DB {
	tb.Helper()
	return open(tb, store.Config{URL: testenv.Postgres(tb)})
}

// open gives a store with the schema in place and closes it with the test.
func open(tb testing.TB, cfg store.Config) *store.DB {
	tb.Helper()
	db, err := store.Open(tb.Context(), cfg)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := db.Close(); err != nil {
			tb.Error(err)
		}
	})
	if err := db.Migrate(tb.Context()); err != nil {
		tb.Fatal(err)
	}
	return db
}

func TestSQLite(t *testing.T) {
	t.Parallel()
	storetest.Run(t, openSQLite)
}

func TestPostgres(t *testing.T) {
	t.Parallel()
	storetest.Run(t, openPostgres)
}
