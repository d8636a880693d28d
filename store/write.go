package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"

	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/internal/jitter"
	"github.com/tandem-sync/tandem/internal/yield"
)

const (
	maxAttempts = 8
	// beginAttempts is less: while nothing can be opened, the caller's own
	// patience decides.
	beginAttempts = 3
	backoffBase   = 10 * time.Millisecond
	backoffCap    = time.Second
)

type txKey struct{}

// InTx reports whether ctx belongs to the function of a Write, a Session's
// Write or a Read: no remote call may be made there.
func InTx(ctx context.Context) bool { return ctx.Value(txKey{}) != nil }

// Write runs fn in one transaction and commits. fn is called again, up to
// eight times in all with full jitter between, when the database reports a
// serialization conflict, a deadlock or a busy file, or when the connection
// dies before COMMIT was sent; so fn must be repeatable and must not keep
// results of an earlier call. The transaction of a failed call is rolled back.
// what names the work in errors.
//
// A COMMIT whose answer is lost gives an error matching ErrCommitUnknown and is
// never repeated here. Other errors are classed (see Classify).
func (db *DB) Write(ctx context.Context, what string, fn func(ctx context.Context, tx *Tx) error) error {
	if err := db.writable(ctx, what); err != nil {
		return err
	}
	for attempt := 1; ; attempt++ {
		err := db.writeOnce(ctx, what, fn)
		db.noteRoom(err)
		if err == nil {
			return nil
		}
		if !repeatable(err) || errors.Is(err, ErrCommitUnknown) || attempt >= attempts(err) {
			return describe(what, err)
		}
		if serr := db.clock.Sleep(ctx, jitter.Between(ctx, 0, min(backoffBase<<attempt, backoffCap))); serr != nil {
			return describe(what, errors.Join(serr, err))
		}
	}
}

// Read runs fn in a read-only transaction with one snapshot: on SQLite from a
// pool of readers that never wait for the writer.
func (db *DB) Read(ctx context.Context, fn func(ctx context.Context, tx *Tx) error) error {
	opts := &sql.TxOptions{ReadOnly: true}
	if db.dialect == Postgres {
		opts.Isolation = sql.LevelRepeatableRead
	}
	t, err := db.read.BeginTxx(ctx, opts)
	if err != nil {
		return describe("read", err)
	}
	defer func() { _ = t.Rollback() }() // nothing was written
	return describe("read", fn(context.WithValue(ctx, txKey{}, db), &Tx{Tx: t, db: db}))
}

// CommitLazily lets this transaction's COMMIT return before it is on disk, on
// PostgreSQL; on SQLite it does nothing. Should the database crash within the next
// moments, the transaction as a whole never happened; a later transaction that
// committed without this takes it to disk with it. It is for what can be done again
// from what was there before.
func (tx *Tx) CommitLazily(ctx context.Context) error {
	if tx.db.dialect != Postgres {
		return nil
	}
	_, err := tx.ExecContext(ctx, "SET LOCAL synchronous_commit = off")
	return err
}

func (db *DB) writable(ctx context.Context, what string) error {
	if db.readOnly {
		return fault.New(fault.Permanent, fault.CodeConflict, what, "the database is open for reading only")
	}
	if InTx(ctx) {
		return fault.New(fault.Permanent, "nested_transaction", what, "a transaction is open already; it would wait for itself")
	}
	return nil
}

// errRepeat marks an error of the store's own that a repetition of the whole
// transaction cures.
var errRepeat = errors.New("repeat")

// errBegin marks a transaction that could not be opened.
var errBegin = errors.New("begin")

func attempts(err error) int {
	if errors.Is(err, errBegin) {
		return beginAttempts
	}
	return maxAttempts
}

func (db *DB) writeOnce(ctx context.Context, what string, fn func(ctx context.Context, tx *Tx) error) error {
	if db.dialect == Postgres {
		return db.transact(ctx, func() (*sqlx.Tx, error) { return db.write.BeginTxx(ctx, nil) }, fn)
	}
	// The wait for the one writer ends with ctx; the transaction itself must
	// not, because a COMMIT that a context interrupts has no known outcome.
	if err := yield.Point(ctx, "tx.wait "+what); err != nil {
		return err
	}
	// database/sql gives a free connection to any of those who wait: under load
	// one of them could wait for ever.
	if err := db.turn.Acquire(ctx, 1); err != nil {
		return err
	}
	defer db.turn.Release(1)
	conn, err := db.write.Connx(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }() // gives it back to the pool
	return db.transact(ctx, func() (*sqlx.Tx, error) { return conn.BeginTxx(context.WithoutCancel(ctx), nil) }, fn)
}

// transact is one attempt: begin, fn, commit, with the points at which a
// simulation may interfere.
func (db *DB) transact(ctx context.Context, begin func() (*sqlx.Tx, error), fn func(ctx context.Context, tx *Tx) error) error {
	if err := yield.Point(ctx, "tx.begin"); err != nil {
		return err
	}
	t, err := begin()
	if err != nil {
		if sqliteCode(err) != 0 {
			return err // busy: worth a repeat
		}
		return fmt.Errorf("%w: %w", errBegin, err)
	}
	defer func() { _ = t.Rollback() }() // after Commit it does nothing
	tx := &Tx{Tx: t, db: db}
	if err := fn(context.WithValue(ctx, txKey{}, db), tx); err != nil {
		return err
	}
	if err := yield.Point(ctx, "tx.before_commit"); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	err = t.Commit()
	if err != nil {
		err = commitError(err)
	} else if err = yield.Point(ctx, "tx.after_commit"); err != nil {
		err = commitUnknown(err)
	}
	db.tellEnds(ctx, tx.ended, err)
	return err
}

// commitError decides whether a failed COMMIT surely did not happen. Only an
// answer of the database says so; FATAL and PANIC end a session and may follow
// a commit that is already durable.
func commitError(err error) error {
	if errors.Is(err, sql.ErrTxDone) || errors.Is(err, pq.ErrInFailedTransaction) || sqliteCode(err) != 0 {
		return err
	}
	var pe *pq.Error
	if errors.As(err, &pe) && pe.Severity != "FATAL" && pe.Severity != "PANIC" {
		return err
	}
	return commitUnknown(err)
}

func commitUnknown(cause error) error {
	return fault.Wrap(fault.Retryable, CodeCommitUnknown, opDatabase, fmt.Errorf("%w: %w", ErrCommitUnknown, cause))
}

func describe(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", what, Classify(err))
}
