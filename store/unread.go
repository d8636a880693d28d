package store

import (
	"context"
	"fmt"
)

// UnreadRecords reports whether records of a connector's channel that a run left
// for later have not been read since: the run that is to read them by their ids
// is not over, or did not succeed and nothing has read everything since. A
// watermark says nothing about such records.
func (tx *Tx) UnreadRecords(ctx context.Context, channelID, connectorID int64) (left bool, err error) {
	err = tx.row(ctx, `SELECT EXISTS (SELECT 1 FROM tandem_run WHERE channel_id = ? AND kind = ? AND lane = ? AND status <> ?
		AND created_at >= coalesce((SELECT coalesce(full_run_at, full_at) FROM tandem_watermark WHERE connector_id = ?), created_at))`,
		channelID, KindSync, LaneIDs, StatusFinished, connectorID).Scan(&left)
	if err != nil {
		return false, fmt.Errorf("records left for later: %w", err)
	}
	return left, nil
}
