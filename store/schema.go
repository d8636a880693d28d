package store

import (
	"context"
	"fmt"
)

// HasSchema reports whether the database has Tandem's tables, of whatever
// version.
func (db *DB) HasSchema(ctx context.Context) (bool, error) {
	q := "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = 'tandem_channel'"
	if db.dialect == Postgres {
		q = "SELECT count(to_regclass('tandem_channel'))"
	}
	var n int
	err := db.Read(ctx, func(ctx context.Context, tx *Tx) error { return tx.row(ctx, q).Scan(&n) })
	if err != nil {
		return false, fmt.Errorf("look for the schema: %w", err)
	}
	return n > 0, nil
}
