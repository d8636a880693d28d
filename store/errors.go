package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"io"
	"net"
	"strings"

	"github.com/lib/pq"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/tandem-sync/tandem/fault"
)

// ErrFenced says that the caller is no longer the one who may write: its lease
// was taken over, or the row it wanted to move is not where it was. Nothing of
// the transaction may stay; the work belongs to somebody else.
var ErrFenced = errors.New("fenced: another worker owns this work now")

// ErrCommitUnknown says that a COMMIT was sent and its answer never came: the
// transaction may or may not have happened. The caller reads its marker (a
// slice's batch number, a request's external id) again before it decides.
var ErrCommitUnknown = errors.New("the outcome of the commit is unknown")

// Codes of database trouble that the shared list of codes does not have.
const (
	CodeDiskFull      = "disk_full"      // no room for the database: make room, work goes on by itself
	CodeBusy          = "busy"           // a lock or a serialization conflict: repeat
	CodeCommitUnknown = "commit_unknown" // see ErrCommitUnknown
	CodeTimeout       = "timeout"        // a statement was cancelled or ran too long
)

const opDatabase = "database"

// SQLState gives the five letters of a PostgreSQL error in err's chain, or ""
// when there is none (a SQLite error, a broken connection, anything else).
func SQLState(err error) string {
	var pe *pq.Error
	if errors.As(err, &pe) {
		return string(pe.Code)
	}
	return ""
}

// sqliteCode gives the primary SQLite result code in err's chain, or 0.
func sqliteCode(err error) int {
	var se *sqlite.Error
	if errors.As(err, &se) {
		return se.Code() & 0xff
	}
	return 0
}

// IsDataError reports whether err blames the data of a row: no repetition can
// help, and the statement without that row would work.
func IsDataError(err error) bool {
	if s := SQLState(err); s != "" {
		return dataState(s)
	}
	switch sqliteCode(err) {
	case sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_MISMATCH, sqlite3.SQLITE_TOOBIG:
		return true
	}
	return false
}

// dataState reports whether an SQLSTATE is about a row's data: 22 data
// exception, 23 integrity, 44 check option, 54000 a value too large for an
// index, P0001 raised by a trigger.
func dataState(s string) bool {
	switch s[:2] {
	case "22", "23", "44":
		return true
	}
	return s == "54000" || s == "P0001"
}

// Classify gives err the class that says what to do about it. Errors that
// carry a class already, ErrFenced, the end of a context and errors that are
// not about a database come back as they are; nil stays nil.
func Classify(err error) error {
	if err == nil || errors.Is(err, ErrFenced) || fault.Of(err) != fault.Unknown {
		return err
	}
	if s := SQLState(err); s != "" {
		return classifyState(s, err)
	}
	if c := sqliteCode(err); c != 0 {
		return classifySQLite(c, err)
	}
	if isConnError(err) {
		return unreachable(err)
	}
	return err
}

func unreachable(err error) error {
	return fault.New(fault.Retryable, fault.CodeUnreachable, opDatabase, "%w", err).
		WithHint("check that the database server runs and can be reached; work goes on by itself when it answers")
}

func diskFull(err error) error {
	return fault.New(fault.Retryable, CodeDiskFull, opDatabase, "%w", err).
		WithHint("make room for the database; work goes on by itself afterwards")
}

func classifyState(s string, err error) error {
	switch {
	case s == "40001" || s == "40P01" || s == "55P03":
		return fault.Wrap(fault.Retryable, CodeBusy, opDatabase, err)
	case s == "57014":
		return fault.Wrap(fault.Retryable, CodeTimeout, opDatabase, err)
	case s == "0A000" && strings.Contains(err.Error(), "cached plan"):
		return fault.Wrap(fault.Retryable, CodeBusy, opDatabase, err)
	case s == "53300":
		return unreachable(err)
	case s[:2] == "53" || s == "58030":
		return diskFull(err)
	case s[:3] == "57P" || s[:2] == "08" || s == "25P03":
		return unreachable(err)
	case s[:2] == "28" || s == "3D000":
		return fault.New(fault.Permanent, fault.CodeConfig, opDatabase, "%w", err).
			WithHint("check user, password and database name of `database:`")
	case dataState(s):
		return fault.Wrap(fault.Permanent, fault.CodeBadRecord, opDatabase, err)
	}
	return err
}

func classifySQLite(code int, err error) error {
	switch code {
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED:
		return fault.Wrap(fault.Retryable, CodeBusy, opDatabase, err)
	case sqlite3.SQLITE_FULL:
		return diskFull(err)
	case sqlite3.SQLITE_INTERRUPT:
		return fault.Wrap(fault.Retryable, CodeTimeout, opDatabase, err)
	case sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_MISMATCH, sqlite3.SQLITE_TOOBIG:
		return fault.Wrap(fault.Permanent, fault.CodeBadRecord, opDatabase, err)
	case sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_IOERR:
		return unreachable(err)
	case sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM:
		return fault.New(fault.Permanent, fault.CodeConfig, opDatabase, "%w", err).
			WithHint("check the path and the permissions of the SQLite file of `database:`")
	}
	return err
}

// isConnError reports whether err is a dead or refused connection rather than
// an answer of the server.
func isConnError(err error) bool {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return false
	}
	var ne net.Error
	var oe *net.OpError
	return errors.Is(err, driver.ErrBadConn) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, sql.ErrConnDone) || errors.Is(err, net.ErrClosed) || errors.As(err, &oe) || errors.As(err, &ne)
}

// connLost reports whether the connection of a failed statement is gone, so
// that its transaction is rolled back by the server.
func connLost(err error) bool {
	if s := SQLState(err); s != "" {
		return s[:3] == "57P" || s[:2] == "08"
	}
	return isConnError(err)
}

// repeatable reports whether a transaction that failed before its COMMIT was
// sent can be repeated as a whole at once.
func repeatable(err error) bool {
	switch SQLState(err) {
	case "40001", "40P01":
		return true
	}
	c := sqliteCode(err)
	return errors.Is(err, errRepeat) || c == sqlite3.SQLITE_BUSY || c == sqlite3.SQLITE_LOCKED || connLost(err)
}
