package entities

import (
	"context"
	"database/sql"
	"fmt"
	"testing"
	"time"

	"github.com/tandem-sync/tandem/store"
)

const benchRows = 100_000

// BenchmarkCapture updates 100,000 rows in one statement: without a trigger, with
// the plainest trigger that keeps the keys of a statement, and with ours, which
// tells what changed. An op is a round of the three; kept is the share of the bare
// statement's rate.
func BenchmarkCapture(b *testing.B) {
	for _, d := range []store.Dialect{store.Postgres, store.SQLite} {
		b.Run(d.String(), func(b *testing.B) {
			h := open(b, d)
			for _, t := range []string{"bare", "plain", "ours"} {
				h.exec("CREATE TABLE "+t+" (id bigint PRIMARY KEY, name text, mail text, phone text, city text, n bigint)",
					"WITH RECURSIVE i(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM i WHERE i < "+fmt.Sprint(benchRows)+") INSERT INTO "+t+
						" SELECT i, 'name ' || i, 'mail' || i || '@example.org', '+49 ' || i, 'city', i FROM i")
			}
			h.exec("CREATE TABLE box (seq " + h.pick("integer PRIMARY KEY AUTOINCREMENT", "bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY") + ", entity text, local_key text, op text)")
			h.exec(h.pick(`CREATE TRIGGER plain AFTER UPDATE ON plain BEGIN INSERT INTO box (entity, local_key, op) VALUES ('plain', NEW.id, 'u'); END`,
				`CREATE FUNCTION plain() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO box (entity, local_key, op) SELECT ''plain'', id::text, ''u'' FROM n; RETURN NULL; END';
				CREATE TRIGGER plain AFTER UPDATE ON plain REFERENCING NEW TABLE AS n FOR EACH STATEMENT EXECUTE FUNCTION plain()`))
			h.capture("ours", "ours", "name mail phone city n")
			spent := map[string]time.Duration{}
			for i := 0; b.Loop(); i++ {
				for _, t := range []string{"bare", "plain", "ours"} {
					spent[t] += h.bulk(t, i)
				}
			}
			perRow := func(t string) float64 { return float64(spent[t].Nanoseconds()) / float64(b.N) / benchRows }
			b.ReportMetric(perRow("bare"), "ns/bare-row")
			b.ReportMetric(perRow("plain"), "ns/plain-row")
			b.ReportMetric(perRow("ours"), "ns/ours-row")
			b.ReportMetric(perRow("bare")/perRow("plain"), "kept-by-plain")
			b.ReportMetric(perRow("bare")/perRow("ours"), "kept-by-ours")
		})
	}
}

// bulk updates every row of the table and leaves the tables as they were found.
func (h *harness) bulk(table string, round int) time.Duration {
	h.Helper()
	began := time.Now()
	h.write(func(ctx context.Context, tx *store.Tx) error {
		_, err := tx.ExecContext(ctx, fmt.Sprintf("UPDATE %s SET mail = 'm%d.' || id, n = n + 1", table, round))
		return err
	})
	took := time.Since(began)
	if h.pg {
		h.exec("TRUNCATE tandem_change_log, box")
		h.vacuum(table)
	} else {
		h.exec("DELETE FROM tandem_change_log", "DELETE FROM box")
	}
	return took
}

// vacuum makes room of the rows that an update left behind; it cannot run in a
// transaction.
func (h *harness) vacuum(table string) {
	h.Helper()
	db, err := sql.Open("postgres", h.url)
	if err != nil {
		h.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	if _, err := db.ExecContext(context.Background(), "VACUUM ANALYZE "+table); err != nil {
		h.Fatal(err)
	}
}
