package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

const sliceSelect = `SELECT s.id, s.run_id, s.channel_id, s.connector_id, k.name, s.shard, s.ord, s.state, s.position, s.batch_no,
	s.total, s.not_before, s.wait_reason, s.queued_at, s.attempts, s.updated_at, ` + counterColumns + `
	FROM tandem_slice s JOIN tandem_connector k ON k.id = s.connector_id`

func scanSlice(row scanner) (Slice, error) {
	var s Slice
	var position jsonText
	var total sql.NullInt64
	var notBefore, queued, updated nullTime
	err := row.Scan(append([]any{
		&s.ID, &s.RunID, &s.ChannelID, &s.ConnectorID, &s.Connector, &s.Shard, &s.Ord, &s.State, &position,
		&s.BatchNo, &total, &notBefore, &s.WaitReason, &queued, &s.Attempts, &updated,
	}, s.Counters.fields()...)...)
	s.Position, s.NotBefore, s.QueuedAt, s.UpdatedAt = position.raw, notBefore.t, queued.t, updated.value()
	if total.Valid {
		s.Total = &total.Int64
	}
	return s, err
}

// Slice reads a slice; an unknown one is a not_found fault.
func (tx *Tx) Slice(ctx context.Context, id int64) (Slice, error) {
	s, err := scanSlice(tx.row(ctx, sliceSelect+" WHERE s.id = ?", id))
	return s, errNoRow(err, "slice", id)
}

// Slices reads a run's slices in the order of their turns.
func (tx *Tx) Slices(ctx context.Context, runID int64) ([]Slice, error) {
	return collect(ctx, tx, scanSlice, sliceSelect+" WHERE s.run_id = ? ORDER BY s.ord, s.id", runID)
}

func (tx *Tx) insertSlice(ctx context.Context, run Run, s Slice) error {
	var total any
	if s.Total != nil {
		total = *s.Total
	}
	_, err := tx.exec(ctx, `INSERT INTO tandem_slice (run_id, channel_id, connector_id, shard, ord, state, position, batch_no, `+counterColumns+`,
		total, wait_reason, attempts, updated_at)
		VALUES (?, ?, ?, ?, ?, 'pending', ?, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, ?, '', 0, @now)`,
		run.ID, run.ChannelID, s.ConnectorID, s.Shard, s.Ord, nullJSON(s.Position), total)
	return err
}

// SliceStep is what one batch moves: the batch number, by compare-and-set, and
// with it position and counters.
type SliceStep struct {
	SliceID  int64
	Expected int64           // the batch number the batch was read at
	Next     int64           // the batch number afterwards, usually Expected+1
	Position json.RawMessage // nil: back to the beginning
	Add      Counters        // added to the slice's counters
	Total    *int64          // records expected; nil leaves what is known
}

// CommitSlice moves an active slice by one batch and clears its failures and
// waits. ErrFenced says that the slice is not active or not at Expected any
// more: the whole transaction must be given up.
func (tx *Tx) CommitSlice(ctx context.Context, step SliceStep) error {
	var total any
	if step.Total != nil {
		total = *step.Total
	}
	a := step.Add
	n, err := tx.exec(ctx, `UPDATE tandem_slice SET batch_no = ?, position = ?, total = coalesce(?, total),
		n_read = n_read + ?, n_created = n_created + ?, n_updated = n_updated + ?, n_deleted = n_deleted + ?, n_unchanged = n_unchanged + ?,
		n_skipped = n_skipped + ?, n_conflicts = n_conflicts + ?, n_parked = n_parked + ?, n_pushed = n_pushed + ?,
		attempts = 0, not_before = NULL, wait_reason = '', updated_at = @now
		WHERE id = ? AND batch_no = ? AND state = 'active'`,
		step.Next, nullJSON(step.Position), total,
		a.Read, a.Created, a.Updated, a.Deleted, a.Unchanged, a.Skipped, a.Conflicts, a.Parked, a.Pushed,
		step.SliceID, step.Expected)
	if err != nil {
		return fmt.Errorf("commit batch %d of slice %d: %w", step.Next, step.SliceID, err)
	}
	if n != 1 {
		return fmt.Errorf("slice %d is not at batch %d: %w", step.SliceID, step.Expected, ErrFenced)
	}
	return nil
}

// EndSlice ends one delivery's work on an active slice.
//
//   - SliceDone: the slice is over; the run's next pending slice becomes active
//     with a message and comes back, nil when none is left.
//   - SliceFailed: the slice is over; the rest of the run is the caller's.
//   - SliceActive: the slice goes on. Without notBefore a message asks for it
//     at once; with it none does, the sweep sends one when it is due.
//
// reason says what an active slice waits for. ErrFenced when it is not active.
func (tx *Tx) EndSlice(ctx context.Context, sliceID int64, state SliceState, notBefore *time.Time, reason string) (next *Slice, err error) {
	if state == SlicePending {
		return nil, fmt.Errorf("end slice %d: pending is no end", sliceID)
	}
	queued := "NULL"
	if state == SliceActive && notBefore == nil {
		queued = "@now"
	}
	var runID int64
	err = tx.row(ctx, "UPDATE tandem_slice SET state = ?, not_before = ?, wait_reason = ?, queued_at = "+queued+
		", updated_at = @now WHERE id = ? AND state = 'active' RETURNING run_id",
		state, tx.timePtr(notBefore), reason, sliceID).Scan(&runID)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, fmt.Errorf("slice %d is not active: %w", sliceID, ErrFenced)
	}
	if err != nil {
		return nil, fmt.Errorf("end slice %d: %w", sliceID, err)
	}
	if state == SliceFailed || state == SliceActive && notBefore != nil {
		return nil, nil
	}
	run, err := tx.Run(ctx, runID)
	if err != nil {
		return nil, err
	}
	if state == SliceActive {
		return nil, tx.AddOutgoing(ctx, runMessage(run, sliceID, true))
	}
	return tx.activateNext(ctx, run, true)
}

// activateNext makes a run's next pending slice active and asks for it.
func (tx *Tx) activateNext(ctx context.Context, run Run, continuing bool) (*Slice, error) {
	var id int64
	err := tx.row(ctx, `UPDATE tandem_slice SET state = 'active', queued_at = @now, updated_at = @now
		WHERE id = (SELECT id FROM tandem_slice WHERE run_id = ? AND state = 'pending' ORDER BY ord, id LIMIT 1) RETURNING id`, run.ID).Scan(&id)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("next slice of run %d: %w", run.ID, err)
	}
	next, err := tx.Slice(ctx, id)
	if err != nil {
		return nil, err
	}
	return &next, tx.AddOutgoing(ctx, runMessage(run, id, continuing))
}

// FailAttempt notes a failed delivery of an active slice: no message goes out,
// the sweep sends one at notBefore. attempts are the failures in a row.
// ErrFenced when the slice is not active.
func (tx *Tx) FailAttempt(ctx context.Context, sliceID int64, notBefore time.Time, reason string) (attempts int, err error) {
	err = tx.row(ctx, `UPDATE tandem_slice SET attempts = attempts + 1, not_before = ?, wait_reason = ?, queued_at = NULL, updated_at = @now
		WHERE id = ? AND state = 'active' RETURNING attempts`, tx.time(notBefore), reason, sliceID).Scan(&attempts)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, fmt.Errorf("slice %d is not active: %w", sliceID, ErrFenced)
	}
	return attempts, err
}
