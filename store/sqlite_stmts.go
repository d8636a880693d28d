package store

import (
	"container/list"
	"context"
	"database/sql/driver"
	"errors"
	"strings"

	"modernc.org/sqlite"
)

// mostStatements is how many prepared statements a connection to SQLite keeps.
const mostStatements = 192

// longestStatement is the longest text of a statement that is worth keeping.
const longestStatement = 16 << 10

// keepingConnector opens connections that keep their prepared statements: SQLite
// reads and plans a statement in more time than most of ours take to run.
type keepingConnector struct{ driver.Connector }

func newSQLiteConnector(dsn string) (driver.Connector, error) {
	c, err := sqlite.NewConnector(dsn)
	if err != nil {
		return nil, err
	}
	return keepingConnector{c}, nil
}

// sqliteConn is what the driver's connections can do.
type sqliteConn interface {
	driver.Conn
	driver.ConnPrepareContext
	driver.ConnBeginTx
	driver.ExecerContext
	driver.QueryerContext
	driver.Pinger
	driver.SessionResetter
	driver.Validator
}

// sqliteStmt is what the driver's statements can do.
type sqliteStmt interface {
	driver.Stmt
	driver.StmtExecContext
	driver.StmtQueryContext
}

// Connect opens a connection.
func (c keepingConnector) Connect(ctx context.Context) (driver.Conn, error) {
	conn, err := c.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	inner, ok := conn.(sqliteConn)
	if !ok {
		return conn, nil
	}
	return &keepingConn{sqliteConn: inner, free: map[string]*list.Element{}, order: list.New()}, nil
}

// keepingConn is a connection with its prepared statements. database/sql uses it
// from one goroutine at a time.
type keepingConn struct {
	sqliteConn
	free   map[string]*list.Element // of those that nobody uses
	order  *list.List               // *keptStmt, the latest used first
	closed bool
}

// keptStmt is a statement that goes back to its connection when it is closed.
type keptStmt struct {
	sqliteStmt
	conn  *keepingConn
	query string
}

// Close gives the statement back.
func (s *keptStmt) Close() error { return s.conn.give(s) }

// worthKeeping reports whether a statement is worth keeping. Pragmas are not: some of
// them take effect while they are prepared.
func worthKeeping(query string) bool {
	if len(query) > longestStatement {
		return false
	}
	word, _, _ := strings.Cut(strings.TrimSpace(query), " ")
	switch strings.ToUpper(word) {
	case "SELECT", "INSERT", "UPDATE", "DELETE", "WITH":
		return true
	}
	return false
}

// take gives a statement that nobody else uses until it is closed.
func (c *keepingConn) take(ctx context.Context, query string) (*keptStmt, error) {
	if e := c.free[query]; e != nil {
		delete(c.free, query)
		return c.order.Remove(e).(*keptStmt), nil //nolint:errcheck,forcetypeassert // nothing else is in the list
	}
	s, err := c.sqliteConn.PrepareContext(ctx, query)
	if err != nil {
		return nil, err
	}
	inner, ok := s.(sqliteStmt)
	if !ok {
		return nil, errors.Join(errors.New("the driver's statements take no context"), s.Close())
	}
	return &keptStmt{sqliteStmt: inner, conn: c, query: query}, nil
}

func (c *keepingConn) give(s *keptStmt) error {
	if c.closed || c.free[s.query] != nil {
		return s.sqliteStmt.Close()
	}
	c.free[s.query] = c.order.PushFront(s)
	if c.order.Len() <= mostStatements {
		return nil
	}
	old := c.order.Remove(c.order.Back()).(*keptStmt) //nolint:errcheck,forcetypeassert // nothing else is in the list
	delete(c.free, old.query)
	return old.sqliteStmt.Close()
}

// PrepareContext gives a statement of its own to the caller.
func (c *keepingConn) PrepareContext(ctx context.Context, query string) (driver.Stmt, error) {
	if !worthKeeping(query) {
		return c.sqliteConn.PrepareContext(ctx, query)
	}
	return c.take(ctx, query)
}

// ExecContext runs a statement.
func (c *keepingConn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	if !worthKeeping(query) {
		return c.sqliteConn.ExecContext(ctx, query, args)
	}
	s, err := c.take(ctx, query)
	if err != nil {
		return nil, err
	}
	res, err := s.ExecContext(ctx, args)
	if cerr := s.Close(); err == nil {
		err = cerr
	}
	return res, err
}

// QueryContext runs a query; its statement is free again when the rows are closed.
func (c *keepingConn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	if !worthKeeping(query) {
		return c.sqliteConn.QueryContext(ctx, query, args)
	}
	s, err := c.take(ctx, query)
	if err != nil {
		return nil, err
	}
	rows, err := s.QueryContext(ctx, args)
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return &keptRows{rows, s}, nil
}

// keptRows are the rows of a kept statement.
type keptRows struct {
	driver.Rows
	s *keptStmt
}

// Close ends the query and frees its statement.
func (r *keptRows) Close() error {
	err := r.Rows.Close()
	if cerr := r.s.Close(); err == nil {
		err = cerr
	}
	return err
}

// Close ends the connection and its statements.
func (c *keepingConn) Close() error {
	c.closed = true
	var errs []error
	for e := c.order.Front(); e != nil; e = e.Next() {
		errs = append(errs, e.Value.(*keptStmt).sqliteStmt.Close()) //nolint:errcheck,forcetypeassert // nothing else is in the list
	}
	return errors.Join(append(errs, c.sqliteConn.Close())...)
}
