package store

import (
	"context"
	"fmt"
)

// ForgetRows takes the local keys off the tombstones of remote records whose rows
// were removed with them: a key may come again, with another row that has nothing
// to do with the record.
func (tx *Tx) ForgetRows(ctx context.Context, connectorID int64, remoteIDs []string) error {
	if len(remoteIDs) == 0 {
		return nil
	}
	_, err := tx.exec(ctx, "UPDATE tandem_link SET local_key = '' WHERE connector_id = ? AND state <> 0 AND remote_id @any(?)",
		connectorID, tx.texts(sorted(remoteIDs)))
	if err != nil {
		return fmt.Errorf("forget the rows of connector %d: %w", connectorID, err)
	}
	return nil
}
