package store_test

import (
	"context"
	"fmt"
	"net/url"
	"sync"
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

// TestPostgres gives every test a schema of its own in one database, which is
// much quicker than a database each, and shows that search_path is respected.
func TestPostgres(t *testing.T) {
	t.Parallel()
	address := testenv.Postgres(t)
	root := open(t, store.Config{URL: address})
	var mu sync.Mutex
	schemas := 0
	storetest.Run(t, func(tb testing.TB) *store.DB {
		tb.Helper()
		mu.Lock() // one migration at a time: others would wait for its lock and look again after a second
		defer mu.Unlock()
		schemas++
		name := fmt.Sprintf("suite%d", schemas)
		if err := root.Write(tb.Context(), "schema", func(ctx context.Context, tx *store.Tx) error {
			_, err := tx.ExecContext(ctx, "CREATE SCHEMA "+name)
			return err
		}); err != nil {
			tb.Fatal(err)
		}
		return open(tb, store.Config{URL: withOption(tb, address, "search_path", name)})
	})
}

func withOption(tb testing.TB, address, key, value string) string {
	tb.Helper()
	u, err := url.Parse(address)
	if err != nil {
		tb.Fatal(err)
	}
	q := u.Query()
	q.Set(key, value)
	u.RawQuery = q.Encode()
	return u.String()
}
