package store

import (
	"context"
	"fmt"
)

// A channel is deleted in steps, so that no transaction is long however much it
// has left behind: RetireChannel, then DropLinks and DropRuns until they find
// nothing, then DeleteChannel. None of them touches a row of a user's table.
// What was begun and not ended can be done again from the start.

// RetireChannel switches a channel off, ends its runs and takes the right to
// write from every worker that has it.
func (tx *Tx) RetireChannel(ctx context.Context, id int64) error {
	if err := tx.LockChannel(ctx, id); err != nil {
		return err
	}
	if err := tx.SetChannelEnabled(ctx, id, false); err != nil {
		return err
	}
	if err := tx.fenceChannel(ctx, id); err != nil {
		return err
	}
	ids, err := tx.openRuns(ctx, id)
	for _, run := range ids {
		if _, err := tx.FinishRun(ctx, run, StatusCancelled, nil); err != nil {
			return err
		}
	}
	return err
}

// openRuns are the runs of a channel that have not ended, the latest first:
// ending one must not ask for the next of its lane.
func (tx *Tx) openRuns(ctx context.Context, channelID int64) ([]int64, error) {
	ids, err := collect(ctx, tx, scanInt, `SELECT id FROM tandem_run WHERE channel_id = ?
		AND status IN ('planned', 'preparing', 'execution') ORDER BY id DESC`, channelID)
	if err != nil {
		return nil, fmt.Errorf("runs of channel %d: %w", channelID, err)
	}
	return ids, nil
}

// CancelRuns cancels every run of a channel that has not ended; see CancelRun.
func (tx *Tx) CancelRuns(ctx context.Context, channelID int64) error {
	if err := tx.LockChannel(ctx, channelID); err != nil {
		return err
	}
	ids, err := tx.openRuns(ctx, channelID)
	if err != nil {
		return err
	}
	for _, id := range ids {
		if err := tx.CancelRun(ctx, id); err != nil {
			return err
		}
	}
	return nil
}

// fenceChannel frees the leases under new epochs: the old ones commit nothing
// more. The rows stay, because an epoch must never come twice.
func (tx *Tx) fenceChannel(ctx context.Context, id int64) error {
	if _, err := tx.exec(ctx, "UPDATE tandem_lease SET owner = '', epoch = epoch + 1, expires_at = @now WHERE channel_id = ?", id); err != nil {
		return fmt.Errorf("leases of channel %d: %w", id, err)
	}
	return nil
}

// DropLinks deletes up to limit links of a channel, and then rows that wait to go
// out, and says how many it found.
func (tx *Tx) DropLinks(ctx context.Context, channelID int64, limit int) (int64, error) {
	n, err := tx.exec(ctx, `DELETE FROM tandem_link WHERE (connector_id, remote_id) IN (
		SELECT connector_id, remote_id FROM tandem_link
		WHERE connector_id IN (SELECT id FROM tandem_connector WHERE channel_id = ?) LIMIT ?)`, channelID, limit)
	if err != nil {
		return 0, fmt.Errorf("links of channel %d: %w", channelID, err)
	}
	if n >= int64(limit) {
		return n, nil
	}
	waiting, err := tx.exec(ctx, `DELETE FROM tandem_dirty WHERE @ctid @one(SELECT @ctid FROM tandem_dirty
		WHERE connector_id IN (SELECT id FROM tandem_connector WHERE channel_id = ?) LIMIT ?@end`, channelID, int64(limit)-n)
	if err != nil {
		return 0, fmt.Errorf("waiting rows of channel %d: %w", channelID, err)
	}
	return n + waiting, nil
}

// DropRuns deletes up to limit runs of a channel with their requests and slices
// and says how many it found.
func (tx *Tx) DropRuns(ctx context.Context, channelID int64, limit int) (int64, error) {
	n, err := tx.exec(ctx, "DELETE FROM tandem_run WHERE id IN (SELECT id FROM tandem_run WHERE channel_id = ? LIMIT ?)", channelID, limit)
	if err != nil {
		return 0, fmt.Errorf("runs of channel %d: %w", channelID, err)
	}
	return n, nil
}

// DeleteChannel deletes a channel with all that is left of it: links, what waits
// to go out, conflicts, runs, watermarks, schedule, settings and what is parked.
func (tx *Tx) DeleteChannel(ctx context.Context, id int64) error {
	if err := tx.LockChannel(ctx, id); err != nil {
		return err
	}
	if err := tx.fenceChannel(ctx, id); err != nil {
		return err
	}
	for _, q := range []string{
		"DELETE FROM tandem_link WHERE connector_id IN (SELECT id FROM tandem_connector WHERE channel_id = ?)",
		"DELETE FROM tandem_dirty WHERE connector_id IN (SELECT id FROM tandem_connector WHERE channel_id = ?)",
		"DELETE FROM tandem_intent WHERE connector_id IN (SELECT id FROM tandem_connector WHERE channel_id = ?)",
		"DELETE FROM tandem_alias WHERE connector_id IN (SELECT id FROM tandem_connector WHERE channel_id = ?)",
		"DELETE FROM tandem_parked WHERE channel_id = ?",
		"DELETE FROM tandem_channel WHERE id = ?",
	} {
		if _, err := tx.exec(ctx, q, id); err != nil {
			return fmt.Errorf("delete channel %d: %w", id, err)
		}
	}
	return nil
}

// Leavings counts what goes with a channel when it is deleted.
type Leavings struct{ Links, Runs, Parked int64 }

// Leavings counts what deleting a channel would delete.
func (tx *Tx) Leavings(ctx context.Context, channelID int64) (Leavings, error) {
	var l Leavings
	for q, n := range map[string]*int64{
		"SELECT count(*) FROM tandem_link WHERE connector_id IN (SELECT id FROM tandem_connector WHERE channel_id = ?)": &l.Links,
		"SELECT count(*) FROM tandem_run WHERE channel_id = ?":                                                          &l.Runs,
		"SELECT count(*) FROM tandem_parked WHERE channel_id = ? AND resolved = ''":                                     &l.Parked,
	} {
		if err := tx.row(ctx, q, channelID).Scan(n); err != nil {
			return l, fmt.Errorf("what channel %d has: %w", channelID, err)
		}
	}
	return l, nil
}
