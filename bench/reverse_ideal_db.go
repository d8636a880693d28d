package main

import (
	"context"
	"database/sql"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/lib/pq"
)

// exportPostgres is the ideal's side of PostgreSQL.
type exportPostgres struct{ *sql.DB }

// exportPlansPostgres has a block's rows found by their indexes: left to itself
// PostgreSQL reads whole tables for a thousand keys of a hundred thousand.
const exportPlansPostgres = "&enable_hashjoin=off&enable_mergejoin=off"

const (
	exportClaimPostgres = `UPDATE tandem_dirty SET claim_epoch = 1, claim_by = 'ideal' WHERE ctid = ANY(ARRAY(
		SELECT ctid FROM tandem_dirty WHERE connector_id = $1 AND claim_epoch = 0 AND next_at <= now() ORDER BY next_at LIMIT $2 FOR UPDATE SKIP LOCKED))
		RETURNING local_key, version`
	exportReadPostgres = `SELECT l.local_key, l.remote_id, l.base, c.email, c.first_name, c.last_name, c.phone, c.company, c.score::text,
		c.active::text, c.birthday::text FROM unnest($2::text[]) u(k) JOIN tandem_link l ON l.connector_id = $1 AND l.local_key = u.k AND l.state = 0
		JOIN contacts c ON c.id = u.k::bigint`
	exportLinksPostgres = `UPDATE tandem_link l SET base = u.b, hash = u.h, read_at = $2, written_at = $2
		FROM unnest($3::text[], $4::text[], $5::bigint[]) u(k, b, h) WHERE l.connector_id = $1 AND l.remote_id = u.k`
	exportDonePostgres = `DELETE FROM tandem_dirty d USING unnest($2::text[], $3::bigint[]) u(k, v)
		WHERE d.connector_id = $1 AND d.local_key = u.k AND d.version = u.v`
)

func (p exportPostgres) claim(ctx context.Context, connector int64, limit int) (rows []exportRow, err error) {
	err = inTx(ctx, p.DB, func(tx *sql.Tx) error {
		if rows, err = claimedRows(ctx, tx, exportClaimPostgres, connector, limit); err != nil {
			return err
		}
		return readRows(ctx, tx, rows, exportReadPostgres, connector, pq.StringArray(keysOf(rows)))
	})
	return rows, err
}

func (p exportPostgres) settle(ctx context.Context, connector int64, rows []exportRow) error {
	n := len(rows)
	ids, bases, hashes, versions := make([]string, n), make([]string, n), make([]int64, n), make([]int64, n)
	for i := range rows {
		ids[i], bases[i], hashes[i], versions[i] = rows[i].remoteID, rows[i].next, rows[i].hash, rows[i].version
	}
	return inTx(ctx, p.DB, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, exportLinksPostgres, connector, time.Now().UnixMilli(), pq.StringArray(ids), pq.StringArray(bases), pq.Int64Array(hashes))
		if err == nil {
			_, err = tx.ExecContext(ctx, exportDonePostgres, connector, pq.StringArray(keysOf(rows)), pq.Int64Array(versions))
		}
		return err
	})
}

// exportSQLite is the ideal's side of SQLite.
type exportSQLite struct{ *sql.DB }

const (
	exportClaimSQLite = `UPDATE tandem_dirty SET claim_epoch = 1, claim_by = 'ideal' WHERE (connector_id, local_key) IN (
		SELECT connector_id, local_key FROM tandem_dirty WHERE connector_id = ?1 AND claim_epoch = 0 ORDER BY next_at LIMIT ?2)
		RETURNING local_key, version`
	exportReadSQLite = `SELECT l.local_key, l.remote_id, l.base, c.email, c.first_name, c.last_name, c.phone, c.company, CAST(c.score AS text),
		CASE WHEN c.active THEN 'true' ELSE 'false' END, c.birthday FROM json_each(?2) u
		CROSS JOIN tandem_link l ON l.connector_id = ?1 AND l.local_key = u.value AND l.state = 0 CROSS JOIN contacts c ON c.id = CAST(u.value AS integer)`
	exportLinkSQLite = "UPDATE tandem_link SET base = ?3, hash = ?4, read_at = ?5, written_at = ?5 WHERE connector_id = ?1 AND remote_id = ?2"
	exportDoneSQLite = "DELETE FROM tandem_dirty WHERE connector_id = ?1 AND local_key = ?2 AND version = ?3"
)

func (s exportSQLite) claim(ctx context.Context, connector int64, limit int) (rows []exportRow, err error) {
	err = inTx(ctx, s.DB, func(tx *sql.Tx) error {
		if rows, err = claimedRows(ctx, tx, exportClaimSQLite, connector, limit); err != nil {
			return err
		}
		keys, err := json.Marshal(keysOf(rows))
		if err != nil {
			return err
		}
		return readRows(ctx, tx, rows, exportReadSQLite, connector, string(keys))
	})
	return rows, err
}

// settle runs a prepared statement a row: in one process that is the fastest.
func (s exportSQLite) settle(ctx context.Context, connector int64, rows []exportRow) error {
	now := time.Now().UnixMilli()
	return inTx(ctx, s.DB, func(tx *sql.Tx) error {
		link, err := tx.PrepareContext(ctx, exportLinkSQLite)
		if err != nil {
			return err
		}
		defer link.Close()
		done, err := tx.PrepareContext(ctx, exportDoneSQLite)
		if err != nil {
			return err
		}
		defer done.Close()
		for i := range rows {
			r := &rows[i]
			if _, err := link.ExecContext(ctx, connector, r.remoteID, r.next, r.hash, now); err != nil {
				return err
			}
			if _, err := done.ExecContext(ctx, connector, r.key, r.version); err != nil {
				return err
			}
		}
		return nil
	})
}

func inTx(ctx context.Context, db *sql.DB, work func(*sql.Tx) error) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() //nolint:errcheck // after Commit it does nothing
	if err := work(tx); err != nil {
		return err
	}
	return tx.Commit()
}

func claimedRows(ctx context.Context, tx *sql.Tx, query string, args ...any) (rows []exportRow, err error) {
	list, err := tx.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer list.Close()
	for list.Next() {
		var r exportRow
		if err := list.Scan(&r.key, &r.version); err != nil {
			return nil, err
		}
		rows = append(rows, r)
	}
	return rows, list.Err()
}

func keysOf(rows []exportRow) []string {
	keys := make([]string, len(rows))
	for i := range rows {
		keys[i] = rows[i].key
	}
	return keys
}

// readRows adds what the query says of each row.
func readRows(ctx context.Context, tx *sql.Tx, rows []exportRow, query string, args ...any) error {
	list, err := tx.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	defer list.Close()
	at := make(map[string]*exportRow, len(rows))
	for i := range rows {
		at[rows[i].key] = &rows[i]
	}
	for list.Next() {
		var key, id, base string
		var f [8]sql.NullString
		if err := list.Scan(&key, &id, &base, &f[0], &f[1], &f[2], &f[3], &f[4], &f[5], &f[6], &f[7]); err != nil {
			return err
		}
		r := at[key]
		r.remoteID, r.base, r.fields = id, base, f
	}
	return list.Err()
}
