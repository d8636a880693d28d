// Package store keeps Tandem's own rows: channels, requests, runs, slices,
// leases, links, the outbox and what is parked. It is the only place with SQL
// on the tandem_ tables, and it works on SQLite and on PostgreSQL alike.
//
// Every write happens inside an explicit transaction: lib/pq with database/sql
// runs a bare Exec twice when the connection dies after the server has executed
// it, and reports no error.
package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jmoiron/sqlx"
	"go.uber.org/zap"

	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/internal/clock"
	"golang.org/x/sync/semaphore"
)

// Dialect is the kind of database.
type Dialect uint8

// The dialects.
const (
	SQLite Dialect = iota
	Postgres
)

// String gives the dialect's name.
func (d Dialect) String() string {
	if d == Postgres {
		return "postgres"
	}
	return "sqlite"
}

// Config says which database to open. The zero value of every field but URL is
// a sensible default.
type Config struct {
	// URL is "sqlite:path" or "postgres://user:password@host/database?…".
	URL string
	// ReadOnly opens a SQLite file beside the process that owns it: Write,
	// Session and Migrate refuse to work.
	ReadOnly bool
	// Clock is the time source of a SQLite store and of waits between repeats;
	// nil is the machine's. PostgreSQL uses its own clock.
	Clock clock.Clock
	// AllowPlaintext permits a PostgreSQL that is not on this machine without
	// sslmode=verify-full.
	AllowPlaintext bool
	// MaxConns bounds the connections to PostgreSQL; 0 is 16.
	MaxConns int
	// Logger gets what an operator should know; nil is silent.
	Logger *zap.Logger
}

// DB is an open store. It is safe for concurrent use.
type DB struct {
	dialect  Dialect
	write    *sqlx.DB            // SQLite: one connection; nil when read-only
	read     *sqlx.DB            // PostgreSQL: the same pool as write
	turn     *semaphore.Weighted // SQLite: who writes, first come, first served
	path     string              // SQLite file
	url      string              // PostgreSQL, with the password: never shown
	readOnly bool
	clock    clock.Clock
	log      *zap.Logger
	rewrites sync.Map // query template -> the dialect's SQL
	noRoom   atomic.Pointer[fullAt]
	ends     atomic.Pointer[ender]
}

// Open connects to the database and proves that it answers. It changes nothing
// there; see Migrate and CheckSchema. Errors never show the password.
func Open(ctx context.Context, cfg Config) (*DB, error) {
	db := &DB{readOnly: cfg.ReadOnly, turn: semaphore.NewWeighted(1), clock: cfg.Clock, log: cfg.Logger}
	if db.clock == nil {
		db.clock = clock.System{}
	}
	if db.log == nil {
		db.log = zap.NewNop()
	}
	var err error
	switch {
	case strings.HasPrefix(cfg.URL, "sqlite:"):
		db.dialect = SQLite
		err = db.openSQLite(ctx, strings.TrimPrefix(cfg.URL, "sqlite:"))
	case strings.HasPrefix(cfg.URL, "postgres://"), strings.HasPrefix(cfg.URL, "postgresql://"):
		db.dialect = Postgres
		err = db.openPostgres(ctx, cfg)
	default:
		err = fault.New(fault.Permanent, fault.CodeConfig, "open database", "the address is neither sqlite:PATH nor postgres://…").
			WithHint("write `database: sqlite:tandem.db` or `database: postgres://user:password@host:5432/name`")
	}
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
}

// Dialect says which kind of database this is.
func (db *DB) Dialect() Dialect { return db.dialect }

// Close frees the connections. Transactions under way fail.
func (db *DB) Close() error {
	var errs []error
	if db.read != nil && db.read != db.write {
		errs = append(errs, db.read.Close())
	}
	if db.write != nil {
		errs = append(errs, db.write.Close())
	}
	return errors.Join(errs...)
}

// Ping asks the database for a sign of life.
func (db *DB) Ping(ctx context.Context) error {
	return Classify(db.read.PingContext(ctx))
}

// Tx is one transaction: the store's methods by noun, and sqlx's for the
// statements on entity tables. It must not be used after its function returned.
type Tx struct {
	*sqlx.Tx
	db    *DB
	ended []runEnd // told when it is committed
}

// Dialect says which kind of database this is.
func (tx *Tx) Dialect() Dialect { return tx.db.dialect }

// Now is the time that decides in this store: PostgreSQL's clock_timestamp(),
// Config.Clock on SQLite. UTC, whole microseconds.
func (tx *Tx) Now(ctx context.Context) (time.Time, error) {
	if tx.db.dialect == SQLite {
		return tx.db.clock.Now().UTC().Truncate(time.Microsecond), nil
	}
	var t time.Time
	if err := tx.QueryRowxContext(ctx, "SELECT clock_timestamp()").Scan(&t); err != nil {
		return time.Time{}, fmt.Errorf("read the database's clock: %w", err)
	}
	return t.UTC(), nil
}

// errNoRow turns "no rows" into a not_found fault that names what is missing.
func errNoRow(err error, what string, id any) error {
	if errors.Is(err, sql.ErrNoRows) {
		return fault.New(fault.Permanent, fault.CodeNotFound, "store", "no %s %v", what, id)
	}
	return err
}
