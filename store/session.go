package store

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/jmoiron/sqlx"
)

// Session is a connection of its own, for a batch writer whose temporary
// tables live on it. On SQLite it shares the one writer connection. Its methods
// may be called from several goroutines; writes happen one after the other.
type Session struct {
	db         *DB
	mu         sync.Mutex
	conn       *sqlx.Conn // PostgreSQL only; nil until the next Write replaces a dead one
	generation atomic.Int64
}

// Session takes a connection out of the pool. Close gives it up.
func (db *DB) Session(ctx context.Context) (*Session, error) {
	const what = "open a session"
	if err := db.writable(ctx, what); err != nil {
		return nil, err
	}
	s := &Session{db: db}
	s.generation.Store(1)
	if db.dialect == SQLite {
		return s, nil
	}
	conn, err := db.write.Connx(ctx)
	if err != nil {
		return nil, describe(what, err)
	}
	s.conn = conn
	return s, nil
}

// DB is the store the session belongs to.
func (s *Session) DB() *DB { return s.db }

// Generation changes when the session got a new connection: temporary tables
// have to be made again. It never changes on SQLite.
func (s *Session) Generation() int64 { return s.generation.Load() }

// Write runs fn in one transaction on the session's connection and commits. It
// repeats nothing, as the caller alone knows which batches depend on this one;
// but a connection found dead before the transaction began is replaced.
// Errors are those of DB.Write.
func (s *Session) Write(ctx context.Context, what string, fn func(ctx context.Context, tx *Tx) error) error {
	if err := s.db.writable(ctx, what); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.db.dialect == SQLite {
		err := s.db.writeOnce(ctx, what, fn)
		s.db.hasRoom(err)
		return describe(what, err)
	}
	err := s.db.transact(ctx, func() (*sqlx.Tx, error) { return s.begin(ctx) }, fn)
	if err != nil && (connLost(err) || errors.Is(err, ErrCommitUnknown)) {
		s.drop()
	}
	s.db.hasRoom(err)
	return describe(what, err)
}

// begin opens the transaction, on a new connection when the old one is dead.
func (s *Session) begin(ctx context.Context) (*sqlx.Tx, error) {
	if s.conn != nil {
		t, err := s.conn.BeginTxx(ctx, nil)
		if err == nil || !connLost(err) {
			return t, err
		}
		s.drop()
	}
	conn, err := s.db.write.Connx(ctx)
	if err != nil {
		return nil, err
	}
	s.conn = conn
	s.generation.Add(1)
	t, err := conn.BeginTxx(ctx, nil)
	if err != nil && connLost(err) {
		// The pool gave an idle connection that had died too.
		s.drop()
		return nil, fmt.Errorf("after a reconnect: %w", err)
	}
	return t, err
}

// drop closes the session's connection for good, temporary tables included.
func (s *Session) drop() {
	if s.conn == nil {
		return
	}
	// Only an ErrBadConn makes the pool forget a connection.
	_ = s.conn.Raw(func(any) error { return driver.ErrBadConn })
	_ = s.conn.Close()
	s.conn = nil
}

// Close closes the session's connection, so that nothing of its temporary
// tables reaches the next user of the pool.
func (s *Session) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drop()
	return nil
}
