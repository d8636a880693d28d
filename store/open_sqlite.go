package store

import (
	"context"
	"database/sql"
	"errors"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/jmoiron/sqlx"
	"github.com/tandem-sync/tandem/fault"
)

const (
	fileMode  = 0o600
	readConns = 4
)

func (db *DB) openSQLite(ctx context.Context, path string) error {
	const op = "open database"
	if path == "" || strings.Contains(path, "?") || strings.HasPrefix(path, ":") {
		return fault.New(fault.Permanent, fault.CodeConfig, op, "sqlite:%s names no file", path).
			WithHint("write `database: sqlite:tandem.db`")
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return fault.Wrap(fault.Permanent, fault.CodeConfig, op, err)
	}
	db.path = abs
	if err := ensureFile(abs, db.readOnly); err != nil {
		return err
	}
	if !db.readOnly {
		if db.write, err = sqliteDB(sqliteDSN(abs, "immediate",
			"busy_timeout(5000)", "journal_mode(WAL)", "synchronous(FULL)", "foreign_keys(1)",
			"cache_size(-8000)", "temp_store(2)", "journal_size_limit(67108864)")); err != nil {
			return sqliteOpenError(abs, err)
		}
		db.write.SetMaxOpenConns(1)
		if err := db.write.PingContext(ctx); err != nil {
			return sqliteOpenError(abs, err)
		}
	}
	if db.read, err = sqliteDB(sqliteDSN(abs, "deferred",
		"busy_timeout(5000)", "query_only(1)", "foreign_keys(1)")); err != nil {
		return sqliteOpenError(abs, err)
	}
	db.read.SetMaxOpenConns(readConns)
	db.read.SetMaxIdleConns(readConns)
	if err := db.read.PingContext(ctx); err != nil {
		return sqliteOpenError(abs, err)
	}
	// Opening a file proves nothing; reading its header does.
	var tables int // scanned, because a row that is not keeps its connection
	if err := db.read.GetContext(ctx, &tables, "SELECT count(*) FROM sqlite_schema"); err != nil {
		return sqliteOpenError(abs, err)
	}
	return nil
}

func sqliteDB(dsn string) (*sqlx.DB, error) {
	c, err := newSQLiteConnector(dsn)
	if err != nil {
		return nil, err
	}
	return sqlx.NewDb(sql.OpenDB(c), "sqlite"), nil
}

func sqliteOpenError(path string, err error) error {
	if c := Classify(err); fault.Of(c) != fault.Unknown {
		return c
	}
	return fault.New(fault.Permanent, fault.CodeConfig, "open database", "SQLite file %s: %w", path, err)
}

// ensureFile makes a missing database file readable for its owner only. A
// symbolic link is refused: whoever can place one could make us write elsewhere.
// An existing file keeps its mode, as other programs may share it.
func ensureFile(path string, readOnly bool) error {
	const op = "open database"
	st, err := os.Lstat(path)
	switch {
	case err == nil && st.Mode()&fs.ModeSymlink != 0:
		return fault.New(fault.Permanent, fault.CodeConfig, op, "%s is a symbolic link", path).
			WithHint("name the file itself in `database:`")
	case err == nil && !st.Mode().IsRegular():
		return fault.New(fault.Permanent, fault.CodeConfig, op, "%s is not a file", path)
	case err == nil:
		return nil
	case !errors.Is(err, fs.ErrNotExist):
		return fault.New(fault.Permanent, fault.CodeConfig, op, "%w", err)
	case readOnly:
		return fault.New(fault.Permanent, fault.CodeNotFound, op, "no database at %s", path).
			WithHint("`tandem run` or `tandem migrate` makes it")
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL|syscall.O_NOFOLLOW, fileMode) // #nosec G304 -- the operator names the file
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return fault.New(fault.Permanent, fault.CodeConfig, op, "%w", err).
			WithHint("check that the folder exists and can be written")
	}
	if err != nil {
		return nil // made by somebody else in between
	}
	return f.Close()
}

func sqliteDSN(path, lock string, pragmas ...string) string {
	q := url.Values{"_txlock": {lock}, "_pragma": pragmas}
	return (&url.URL{Scheme: "file", Path: path, RawQuery: q.Encode()}).String()
}
