package store

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// StalledSlices finds active slices of executing runs that nobody works on and
// nothing will wake: due, without a live lease, and without a message, with one
// older than idle, or with a lease that has run out since: then its worker died
// with the message. Each gets a new message in the outbox of this transaction
// and counts as asked for now.
func (tx *Tx) StalledSlices(ctx context.Context, idle time.Duration, limit int) ([]Slice, error) {
	ids, err := collect(ctx, tx, scanInt, `UPDATE tandem_slice SET queued_at = @now WHERE id @one(
		SELECT s.id FROM tandem_slice s JOIN tandem_run r ON r.id = s.run_id
		WHERE s.state = 'active' AND r.status = 'execution'
			AND (s.not_before IS NULL OR s.not_before <= @now)
			AND (s.queued_at IS NULL OR s.queued_at <= @in(?)
				OR EXISTS (SELECT 1 FROM tandem_lease l WHERE `+leaseOfSlice+` AND l.owner <> '' AND l.expires_at > s.queued_at))
			AND NOT EXISTS (SELECT 1 FROM tandem_lease l WHERE `+leaseOfSlice+` AND l.owner <> '' AND l.expires_at > @now)
		ORDER BY s.id LIMIT ? @skipslice@end RETURNING id`, -idle.Microseconds(), limit)
	if err != nil {
		return nil, fmt.Errorf("stalled slices: %w", err)
	}
	return tx.askAgain(ctx, ids)
}

// askAgain puts a message for each of the slices into the outbox.
func (tx *Tx) askAgain(ctx context.Context, ids []int64) ([]Slice, error) {
	slices.Sort(ids)
	out := make([]Slice, 0, len(ids))
	for _, id := range ids {
		s, err := tx.Slice(ctx, id)
		if err != nil {
			return nil, err
		}
		run, err := tx.Run(ctx, s.RunID)
		if err != nil {
			return nil, err
		}
		if err := tx.AddOutgoing(ctx, runMessage(run, id, true)); err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	return out, nil
}

// ShardPush is the shard of slices that write to the remote. They share one
// lease, whatever asked for them: that of direction reverse-sync without shard.
const ShardPush = "push"

// leaseOfSlice is the condition that lease l is the one under which slice s of
// run r is worked on.
const leaseOfSlice = `l.channel_id = s.channel_id AND l.connector_id = s.connector_id
	AND l.direction = CASE s.shard WHEN '` + ShardPush + `' THEN 'reverse-sync' ELSE r.kind END
	AND l.shard = CASE s.shard WHEN '` + ShardPush + `' THEN '' ELSE s.shard END`

// AwaitLease notes that a message for an active slice met a lease that another
// one holds, in the transaction that tried to take it: ReleaseLease asks for the
// slice again, and so does the sweep should the holder die.
func (tx *Tx) AwaitLease(ctx context.Context, sliceID int64) error {
	_, err := tx.exec(ctx, "UPDATE tandem_slice SET queued_at = NULL WHERE id = ? AND state = 'active' AND not_before IS NULL", sliceID)
	return err
}

// wakeSlices asks for the slices that wait for a lease that is given back now.
func (tx *Tx) wakeSlices(ctx context.Context, l Lease) error {
	ids, err := collect(ctx, tx, scanInt, `UPDATE tandem_slice SET queued_at = @now WHERE id IN (
		SELECT s.id FROM tandem_slice s JOIN tandem_run r ON r.id = s.run_id
			JOIN tandem_lease l ON `+leaseOfSlice+`
		WHERE s.state = 'active' AND r.status = 'execution' AND s.queued_at IS NULL AND s.not_before IS NULL
			AND l.channel_id = ? AND l.connector_id = ? AND l.direction = ? AND l.shard = ?) RETURNING id`,
		l.ChannelID, l.ConnectorID, l.Direction, l.Shard)
	if err != nil {
		return fmt.Errorf("slices that wait for a lease: %w", err)
	}
	_, err = tx.askAgain(ctx, ids)
	return err
}

// StalledRuns finds the planned runs whose turn it is (the oldest of a lane
// where nothing is under way) and whose message is older than idle. Each gets
// a new message in the outbox of this transaction.
func (tx *Tx) StalledRuns(ctx context.Context, idle time.Duration, limit int) ([]Run, error) {
	runs, err := collect(ctx, tx, scanRun, runSelect+` WHERE r.status = 'planned' AND (r.queued_at IS NULL OR r.queued_at <= @in(?))
		AND NOT EXISTS (SELECT 1 FROM tandem_run x WHERE x.channel_id = r.channel_id AND x.kind = r.kind AND x.lane = r.lane
			AND (x.status IN ('preparing', 'execution') OR x.status = 'planned' AND x.id < r.id))
		ORDER BY r.id LIMIT ? @skiprun`, -idle.Microseconds(), limit)
	if err != nil {
		return nil, fmt.Errorf("stalled runs: %w", err)
	}
	for _, r := range runs {
		if err := tx.queueRun(ctx, r); err != nil {
			return nil, fmt.Errorf("stalled run %d: %w", r.ID, err)
		}
	}
	return runs, nil
}

func scanInt(row scanner) (n int64, err error) { return n, row.Scan(&n) }
