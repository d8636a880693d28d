package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"text/tabwriter"
	"time"
)

// captureRounds is how often each table is updated; the median of the rounds'
// ratios counts.
const captureRounds = 5

// The tables that are updated.
const (
	captureBare  = "no trigger"
	capturePlain = "plain trigger" // written by hand: it keeps the key of every row of a statement, and nothing else
	captureOurs  = "tandem"
)

var captureTables = map[string]string{captureBare: "bare", capturePlain: "plain", captureOurs: "contacts"}

// captureRow is what one way of capturing leaves of the rate at which an
// application updates its own table.
type captureRow struct {
	Database string `json:"database"`
	Rows     int    `json:"rows"`
	PerTx    int    `json:"rows_per_transaction"`
	Way      string `json:"way"`
	Rate     spread `json:"rows_per_second"`
	Kept     spread `json:"ratio_to_no_trigger"`
}

const plainPostgres = `CREATE TABLE box (seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, entity text NOT NULL, local_key text NOT NULL, op text NOT NULL, at timestamptz NOT NULL DEFAULT clock_timestamp());
	CREATE FUNCTION plain() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
		INSERT INTO box (entity, local_key, op) SELECT 'plain', id::text, 'u' FROM changed; RETURN NULL; END $$;
	CREATE TRIGGER plain AFTER UPDATE ON plain REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION plain()`

const plainSQLite = `CREATE TABLE box (seq integer PRIMARY KEY AUTOINCREMENT, entity text NOT NULL, local_key text NOT NULL, op text NOT NULL, at integer NOT NULL DEFAULT 0);
	CREATE TRIGGER plain AFTER UPDATE ON plain BEGIN INSERT INTO box (entity, local_key, op) VALUES ('plain', CAST(NEW.id AS text), 'u'); END`

// measureCapture updates all rows of a table without a trigger, of one with the
// plainest trigger there can be and of one whose changes Tandem captures: in one
// statement, and in transactions of a thousand rows.
func (b *bench) measureCapture(ctx context.Context, databases []string) (rows []captureRow, err error) {
	for _, database := range databases {
		b.say("what capturing costs on %s", database)
		got, err := b.captureOn(ctx, database)
		if err != nil {
			return nil, fmt.Errorf("capture on %s: %w", database, err)
		}
		rows = append(rows, got...)
	}
	return rows, nil
}

func (b *bench) captureOn(ctx context.Context, database string) (rows []captureRow, err error) {
	t, err := b.tandemTarget(ctx, database, func(url string) string {
		return fmt.Sprintf(reverseRESTFile, url, "triggers", "http://127.0.0.1:9", 1) // nobody is called
	})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, t.close()) }()
	t.records = b.records
	if err := t.captureTables(ctx); err != nil {
		return nil, err
	}
	for _, perTx := range []int{b.records, setUpChunk} {
		rates := map[string][]float64{}
		ways := []string{captureBare, capturePlain, captureOurs}
		for round := range captureRounds {
			for i := range ways {
				way := ways[(round+i)%len(ways)]
				took, err := t.update(ctx, captureTables[way], perTx, round)
				if err != nil {
					return nil, err
				}
				rates[way] = append(rates[way], float64(t.records)/took.Seconds())
			}
		}
		for _, way := range ways {
			kept := make([]float64, captureRounds)
			for i := range kept {
				kept[i] = rates[way][i] / rates[captureBare][i]
			}
			rows = append(rows, captureRow{Database: database, Rows: t.records, PerTx: perTx, Way: way, Rate: spreadOf(rates[way]), Kept: spreadOf(kept)})
		}
	}
	return rows, nil
}

// captureTables fills the three tables.
func (t *reverseTarget) captureTables(ctx context.Context) error {
	generate := fmt.Sprintf(`INSERT INTO bare (id, email, first_name, last_name, phone, company, score, active, birthday)
		WITH RECURSIVE i(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM i WHERE i < %d)
		SELECT i, 'person' || i || '@example.com', 'Ada', 'Lovelace', '+49 30 ' || i, 'Company & Sons', i, i %% 3 <> 0, '1990-01-01' FROM i`, t.records)
	plain, empty := plainSQLite, "DELETE FROM tandem_change_log"
	likeContacts := "CREATE TABLE %s (id integer PRIMARY KEY, email text NOT NULL, first_name text, last_name text, phone text, company text, score integer, active boolean, birthday date)"
	if t.postgres {
		plain, empty = plainPostgres, "TRUNCATE tandem_change_log"
		likeContacts = "CREATE TABLE %s (LIKE contacts INCLUDING ALL EXCLUDING IDENTITY)"
		generate = fmt.Sprintf(`INSERT INTO bare SELECT i, 'person' || i || '@example.com', 'Ada', 'Lovelace', '+49 30 ' || i, 'Company & Sons', i, i %% 3 <> 0, '1990-01-01' FROM generate_series(1, %d) i`, t.records)
	}
	return t.exec(ctx, fmt.Sprintf(likeContacts, "bare"), fmt.Sprintf(likeContacts, "plain"), generate,
		"INSERT INTO plain SELECT * FROM bare", plain, "INSERT INTO contacts SELECT * FROM bare", empty)
}

// update changes all rows of a table and takes away what that left behind.
func (t *reverseTarget) update(ctx context.Context, table string, perTx, round int) (time.Duration, error) {
	begun := time.Now()
	for from := 0; from < t.records; from += perTx {
		err := t.exec(ctx, fmt.Sprintf("UPDATE %s SET phone = '+49 %d ' || id, score = score + 1 WHERE id > %d AND id <= %d", table, round, from, from+perTx))
		if err != nil {
			return 0, err
		}
	}
	took := time.Since(begun)
	var kept int
	for name, log := range map[string]string{"plain": "box", "contacts": "tandem_change_log"} {
		if name != table {
			continue
		}
		if err := t.db.QueryRowContext(ctx, "SELECT count(*) FROM "+log).Scan(&kept); err != nil {
			return 0, err
		}
		if kept != t.records {
			return 0, fmt.Errorf("%d changes of %s were kept, not %d", kept, table, t.records)
		}
	}
	if t.postgres {
		return took, t.exec(ctx, "TRUNCATE tandem_change_log, box", "VACUUM ANALYZE "+table, "CHECKPOINT")
	}
	return took, t.exec(ctx, "DELETE FROM tandem_change_log", "DELETE FROM box", "PRAGMA wal_checkpoint(TRUNCATE)")
}

// printCapture adds the cost of capturing to the table.
func printCapture(rows []captureRow) {
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Printf("\nan application updates %d rows of its own\n", rows[0].Rows)
	fmt.Fprintln(w, "database\trows a transaction\tcaptured by\trows/s (min..max)\tkept of the bare rate")
	for _, r := range rows {
		fmt.Fprintf(w, "%s\t%d\t%s\t%.0f (%.0f..%.0f)\t%s\n", r.Database, r.PerTx, r.Way, r.Rate.Median, r.Rate.Min, r.Rate.Max, ratioText(&r.Kept))
	}
	_ = w.Flush()
}
