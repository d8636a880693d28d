package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
)

// AddEcho counts writes of a connector that came back to it and were known as
// its own, and those that were nearly taken for a change.
func (tx *Tx) AddEcho(ctx context.Context, connectorID, suppressed, nearMiss int64) error {
	if suppressed == 0 && nearMiss == 0 {
		return nil
	}
	if _, err := tx.exec(ctx, `INSERT INTO tandem_echo (connector_id, suppressed, near_miss) VALUES (?, ?, ?)
		ON CONFLICT (connector_id) DO UPDATE SET suppressed = tandem_echo.suppressed + excluded.suppressed,
			near_miss = tandem_echo.near_miss + excluded.near_miss`, connectorID, suppressed, nearMiss); err != nil {
		return fmt.Errorf("count echoes of connector %d: %w", connectorID, err)
	}
	return nil
}

// Echo gives what AddEcho has counted.
func (tx *Tx) Echo(ctx context.Context, connectorID int64) (suppressed, nearMiss int64, err error) {
	err = tx.row(ctx, "SELECT suppressed, near_miss FROM tandem_echo WHERE connector_id = ?", connectorID).Scan(&suppressed, &nearMiss)
	if errors.Is(err, sql.ErrNoRows) {
		err = nil
	}
	return suppressed, nearMiss, err
}
