package store

import (
	"context"
	"fmt"
)

// AddSeen keeps which links a batch of a complete enumeration has seen; ids is
// opaque to the store. Of a batch that two deliveries of a dry run do at a time
// the first one's are kept: their progress marker lets only one of them commit.
func (tx *Tx) AddSeen(ctx context.Context, runID, connectorID, batchNo int64, ids []byte) error {
	if ids == nil {
		ids = []byte{}
	}
	if _, err := tx.exec(ctx, "INSERT INTO tandem_seen (run_id, connector_id, batch_no, ids) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
		runID, connectorID, batchNo, ids); err != nil {
		return fmt.Errorf("links seen by run %d: %w", runID, err)
	}
	return nil
}

// Seen calls fn with each batch's ids in the order of batches, one at a time.
// The bytes are fn's only until it returns.
func (tx *Tx) Seen(ctx context.Context, runID, connectorID int64, fn func(ids []byte) error) error {
	return tx.each(ctx, func(row scanner) error {
		var ids []byte
		if err := row.Scan(&ids); err != nil {
			return err
		}
		return fn(ids)
	}, "SELECT ids FROM tandem_seen WHERE run_id = ? AND connector_id = ? ORDER BY batch_no", runID, connectorID)
}

// DropSeen forgets what a run has seen.
func (tx *Tx) DropSeen(ctx context.Context, runID int64) error {
	_, err := tx.exec(ctx, "DELETE FROM tandem_seen WHERE run_id = ?", runID)
	return err
}
