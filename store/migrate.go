package store

import (
	"context"
	"embed"
	"fmt"
	"io/fs"
	"time"

	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"

	"github.com/tandem-sync/tandem/fault"
)

//go:embed migrations/sqlite/*.sql migrations/postgres/*.sql
var migrations embed.FS

// schemaTable is where goose notes which migrations ran.
const schemaTable = "tandem_schema"

const (
	migrateTries = 5
	lockSeconds  = 300 // another process's migration may take so long; it is looked for every second
)

// Migrate brings the schema up to this binary's. Several processes may call it
// at once: on PostgreSQL an advisory lock lets one work. It never waits long
// for a lock that running work holds (lock_timeout), and tries again instead.
func (db *DB) Migrate(ctx context.Context) error {
	if err := db.writable(ctx, "migrate"); err != nil {
		return err
	}
	p, err := db.provider()
	if err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	for try := 1; ; try++ {
		_, err = p.Up(ctx)
		if err == nil || try == migrateTries || SQLState(err) != "55P03" {
			return describe("migrate", err)
		}
		if serr := db.clock.Sleep(ctx, time.Duration(try)*time.Second); serr != nil {
			return describe("migrate", serr)
		}
	}
}

func (db *DB) provider() (*goose.Provider, error) {
	files, err := fs.Sub(migrations, "migrations/"+db.dialect.String())
	if err != nil {
		return nil, err
	}
	opts := []goose.ProviderOption{goose.WithTableName(schemaTable), goose.WithDisableGlobalRegistry(true)}
	dialect := goose.DialectSQLite3
	if db.dialect == Postgres {
		dialect = goose.DialectPostgres
		locker, err := lock.NewPostgresSessionLocker(lock.WithLockTimeout(1, lockSeconds))
		if err != nil {
			return nil, err
		}
		opts = append(opts, goose.WithSessionLocker(locker))
	}
	return goose.NewProvider(dialect, db.write.DB, files, opts...)
}

// SchemaVersion is the version this binary works with.
func (db *DB) SchemaVersion() (int64, error) {
	files, err := fs.Glob(migrations, "migrations/"+db.dialect.String()+"/*.sql")
	if err != nil {
		return 0, err
	}
	var latest int64
	for _, f := range files {
		v, err := goose.NumericComponent(f)
		if err != nil {
			return 0, fmt.Errorf("migration %s: %w", f, err)
		}
		latest = max(latest, v)
	}
	return latest, nil
}

// CheckSchema compares the database's schema with this binary's and gives a
// fault with code schema_old or schema_new when they differ.
func (db *DB) CheckSchema(ctx context.Context) error {
	const op = "check schema"
	want, err := db.SchemaVersion()
	if err != nil {
		return err
	}
	var have int64
	err = db.Read(ctx, func(ctx context.Context, tx *Tx) error {
		exists := "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = '" + schemaTable + "'"
		if db.dialect == Postgres {
			exists = "SELECT count(to_regclass('" + schemaTable + "'))"
		}
		var n int
		if err := tx.row(ctx, exists).Scan(&n); err != nil || n == 0 {
			return err
		}
		return tx.row(ctx, "SELECT coalesce(max(version_id), 0) FROM "+schemaTable).Scan(&have)
	})
	switch {
	case err != nil:
		return err
	case have < want:
		return fault.New(fault.Permanent, fault.CodeSchemaOld, op, "the database's schema is version %d, this binary needs %d", have, want).
			WithHint("run `tandem migrate`")
	case have > want:
		return fault.New(fault.Permanent, fault.CodeSchemaNew, op, "the database's schema is version %d, this binary knows %d", have, want).
			WithHint("run a newer tandem")
	}
	return nil
}
