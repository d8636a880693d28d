package store

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Facts is what a database says about itself that decides whether Tandem can
// work on it well.
type Facts struct {
	// Version is the server's, for a person; VersionNum is PostgreSQL's number,
	// such as 150008, or 0.
	Version    string
	VersionNum int
	// Skew is how far the database's clock is ahead of ours, Unsure how far off
	// that may be. Both are 0 on SQLite, which has no clock.
	Skew, Unsure time.Duration
	// Lacking names privileges that are missing on Tandem's own tables, as
	// "UPDATE on tandem_run".
	Lacking []string
	// Owner is who owns them.
	Owner string
	// ReadOnly: the server is a standby or takes no writes by default.
	ReadOnly bool
	// NoTemp: no temporary table may be made, and batches are staged in one.
	NoTemp bool
	// Settings are those that may bite, by name, as the session has them.
	Settings map[string]string
	// Connections are open of MaxConnections.
	Connections, MaxConnections int
	// Prepared are prepared transactions that nobody finished for a minute.
	Prepared []string
	// Idle are sessions that have kept a transaction open for ten minutes.
	Idle []string
	// Journal is SQLite's journal mode.
	Journal string
	// Path is SQLite's file.
	Path string
}

// bitingSettings are read by Examine. statement_timeout and the like are pinned
// by every session of ours and cannot bite.
var bitingSettings = []string{
	"idle_session_timeout", "transaction_timeout", "default_transaction_isolation", "server_encoding",
	"standard_conforming_strings", "statement_timeout", "idle_in_transaction_session_timeout", "lock_timeout",
}

// Examine looks the database over without changing anything.
func (db *DB) Examine(ctx context.Context) (Facts, error) {
	f := Facts{Settings: map[string]string{}, Path: db.path}
	err := db.Read(ctx, func(ctx context.Context, tx *Tx) error {
		if db.dialect == SQLite {
			return errors.Join(tx.row(ctx, "SELECT sqlite_version()").Scan(&f.Version), tx.row(ctx, "PRAGMA journal_mode").Scan(&f.Journal))
		}
		for _, look := range []func(context.Context, *Tx, *Facts) error{
			examineServer, examineClock, examineGrants, examineSettings, examineSessions,
		} {
			if err := look(ctx, tx, &f); err != nil {
				return err
			}
		}
		return nil
	})
	return f, err
}

func examineServer(ctx context.Context, tx *Tx, f *Facts) error {
	return tx.row(ctx, `SELECT current_setting('server_version'), current_setting('server_version_num')::int,
		pg_is_in_recovery() OR (SELECT reset_val = 'on' FROM pg_settings WHERE name = 'default_transaction_read_only'),
		NOT has_database_privilege(current_database(), 'TEMPORARY'),
		(SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'), current_setting('max_connections')::int`).
		Scan(&f.Version, &f.VersionNum, &f.ReadOnly, &f.NoTemp, &f.Connections, &f.MaxConnections)
}

// examineClock compares the clocks; of three tries the quickest counts.
func examineClock(ctx context.Context, tx *Tx, f *Facts) error {
	for try := range 3 {
		asked := time.Now()
		now, err := tx.Now(ctx)
		if err != nil {
			return err
		}
		half := time.Since(asked) / 2
		if try == 0 || half < f.Unsure {
			f.Skew, f.Unsure = now.Sub(asked.Add(half)), half
		}
	}
	return nil
}

func examineGrants(ctx context.Context, tx *Tx, f *Facts) error {
	return tx.each(ctx, func(row scanner) error {
		var what, owner string
		err := row.Scan(&what, &owner)
		if owner != "" {
			f.Owner = owner
		}
		f.Lacking = append(f.Lacking, what)
		return err
	}, `SELECT p || ' on ' || c.relname, pg_get_userbyid(c.relowner) FROM pg_class c, unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) p
		WHERE c.relnamespace = (SELECT relnamespace FROM pg_class WHERE oid = to_regclass('tandem_channel')) AND c.relname LIKE 'tandem\_%'
			AND c.relkind IN ('r', 'p') AND c.relname <> '`+schemaTable+`' AND NOT has_table_privilege(c.oid, p)
		UNION ALL
		SELECT 'USAGE on sequence ' || c.relname, pg_get_userbyid(c.relowner) FROM pg_class c
		WHERE c.relnamespace = (SELECT relnamespace FROM pg_class WHERE oid = to_regclass('tandem_channel')) AND c.relname LIKE 'tandem\_%'
			AND CASE WHEN c.relkind = 'S' THEN NOT has_sequence_privilege(c.oid, 'USAGE') END
		UNION ALL
		SELECT 'SELECT on `+schemaTable+`', '' WHERE to_regclass('`+schemaTable+`') IS NOT NULL AND NOT has_table_privilege(to_regclass('`+schemaTable+`'), 'SELECT')
		ORDER BY 1`)
}

func examineSettings(ctx context.Context, tx *Tx, f *Facts) error {
	return tx.each(ctx, func(row scanner) error {
		var name, value string
		err := row.Scan(&name, &value)
		f.Settings[name] = value
		return err
	}, "SELECT name, current_setting(name) FROM pg_settings WHERE name @any(?)", tx.texts(bitingSettings))
}

// examineSessions looks for what keeps locks and hinders vacuum.
func examineSessions(ctx context.Context, tx *Tx, f *Facts) error {
	err := tx.each(ctx, func(row scanner) error {
		var gid, owner string
		var age float64
		err := row.Scan(&gid, &owner, &age)
		f.Prepared = append(f.Prepared, fmt.Sprintf("%s of %s, %s old", gid, owner, seconds(age)))
		return err
	}, `SELECT gid, owner::text, extract(epoch FROM clock_timestamp() - prepared)::float8 FROM pg_prepared_xacts
		WHERE database = current_database() AND prepared < clock_timestamp() - interval '1 minute' ORDER BY prepared LIMIT 20`)
	if err != nil {
		return err
	}
	return tx.each(ctx, func(row scanner) error {
		var pid int
		var who string
		var age float64
		err := row.Scan(&pid, &who, &age)
		f.Idle = append(f.Idle, fmt.Sprintf("process %d (%s), %s old", pid, strings.TrimSpace(who), seconds(age)))
		return err
	}, `SELECT pid, coalesce(usename::text, '') || ' ' || coalesce(application_name, ''), extract(epoch FROM clock_timestamp() - xact_start)::float8
		FROM pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle in transaction%'
			AND xact_start < clock_timestamp() - interval '10 minutes' ORDER BY xact_start LIMIT 20`)
}

func seconds(s float64) time.Duration { return (time.Duration(s) * time.Second).Round(time.Second) }
