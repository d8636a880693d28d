package store

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
)

// CopyIn runs a COPY … FROM STDIN in the transaction that the session's Write
// has open, and must be called by its function. fill sends the rows in pieces of
// any number of whole lines, in COPY's text format and without the last line's
// end. PostgreSQL only.
//
// The lines go to the driver as they are: a call of database/sql for every row
// costs as much as making the row.
func (s *Session) CopyIn(ctx context.Context, query string, fill func(send func(lines string) error) error) error {
	if s.conn == nil {
		return fmt.Errorf("copy: %w", driver.ErrBadConn)
	}
	return s.conn.Raw(func(conn any) (err error) {
		preparer, ok := conn.(driver.Conn)
		if !ok {
			return errNoCopy
		}
		stmt, err := preparer.Prepare(query)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, stmt.Close()) }() // ends a COPY that failed
		lines, ok := stmt.(interface {
			CopyData(ctx context.Context, lines string) (driver.Result, error)
		})
		if !ok {
			return errNoCopy
		}
		quiet := context.WithoutCancel(ctx) // with another one the driver starts a goroutine for each piece
		if err := fill(func(text string) error {
			if err := ctx.Err(); err != nil {
				return err
			}
			_, err := lines.CopyData(quiet, text)
			return err
		}); err != nil {
			return err
		}
		_, err = stmt.Exec(nil) //nolint:staticcheck // the driver's only way to hear what became of a COPY
		return err
	})
}

var errNoCopy = errors.New("the driver knows no COPY")
