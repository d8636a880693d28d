package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

const runSelect = `SELECT r.id, r.channel_id, c.name, r.spec, r.lane, r.trigger_by, r.status, r.revision, r.cancel_requested,
	r.wait_reason, r.wait_until, r.started_at, r.finished_at, r.created_at, r.error
	FROM tandem_run r JOIN tandem_channel c ON c.id = r.channel_id`

func scanRun(row scanner) (Run, error) {
	var r Run
	var spec, errText jsonText
	var until, started, finished, created nullTime
	if err := row.Scan(&r.ID, &r.ChannelID, &r.Channel, &spec, &r.Lane, &r.Trigger, &r.Status, &r.Revision, &r.CancelRequested,
		&r.WaitReason, &until, &started, &finished, &created, &errText); err != nil {
		return r, err
	}
	r.WaitUntil, r.StartedAt, r.FinishedAt, r.CreatedAt = until.t, started.t, finished.t, created.value()
	if err := json.Unmarshal(spec.raw, &r.Spec); err != nil {
		return r, fmt.Errorf("spec of run %d: %w", r.ID, err)
	}
	if errText.raw == nil {
		return r, nil
	}
	r.Error = &RunError{}
	if err := json.Unmarshal(errText.raw, r.Error); err != nil {
		return r, fmt.Errorf("error of run %d: %w", r.ID, err)
	}
	return r, nil
}

// Run reads a run; an unknown one is a not_found fault.
func (tx *Tx) Run(ctx context.Context, id int64) (Run, error) {
	r, err := scanRun(tx.row(ctx, runSelect+" WHERE r.id = ?", id))
	return r, errNoRow(err, "run", id)
}

// RunFilter says which runs to list. The zero value lists the newest hundred.
type RunFilter struct {
	ChannelID int64    // 0: all channels
	Status    []Status // empty: all
	Before    int64    // runs with a smaller id; 0: from the newest
	Limit     int      // 0: 100
}

const defaultLimit = 100

// Runs lists runs, the newest first.
func (tx *Tx) Runs(ctx context.Context, f RunFilter) ([]Run, error) {
	q := runSelect + " WHERE 1 = 1"
	var args []any
	if f.ChannelID != 0 {
		q += " AND r.channel_id = ?"
		args = append(args, f.ChannelID)
	}
	if len(f.Status) > 0 {
		list := make([]string, len(f.Status))
		for i, s := range f.Status {
			list[i] = string(s)
		}
		q += " AND r.status @any(?)"
		args = append(args, tx.texts(list))
	}
	if f.Before > 0 {
		q += " AND r.id < ?"
		args = append(args, f.Before)
	}
	if f.Limit <= 0 {
		f.Limit = defaultLimit
	}
	return collect(ctx, tx, scanRun, q+" ORDER BY r.id DESC LIMIT ?", append(args, f.Limit)...)
}

// RunCounters sums a run's slices: in all and by connector name. expected is
// how many records the remote announced, nil unless every slice knows.
func (tx *Tx) RunCounters(ctx context.Context, runID int64) (total Counters, byConnector map[string]Counters, expected *int64, err error) {
	byConnector = map[string]Counters{}
	var sum, known, slices int64
	err = tx.each(ctx, func(row scanner) error {
		var name string
		var n Counters
		var t sql.NullInt64
		if err := row.Scan(append([]any{&name, &t}, n.fields()...)...); err != nil {
			return err
		}
		total.Add(n)
		c := byConnector[name]
		c.Add(n)
		byConnector[name] = c
		slices++
		if t.Valid {
			known++
			sum += t.Int64
		}
		return nil
	}, "SELECT k.name, s.total, "+counterColumns+" FROM tandem_slice s JOIN tandem_connector k ON k.id = s.connector_id WHERE s.run_id = ?", runID)
	if err != nil {
		return Counters{}, nil, nil, fmt.Errorf("count run %d: %w", runID, err)
	}
	if slices > 0 && known == slices {
		expected = &sum
	}
	return total, byConnector, expected, nil
}

const counterColumns = "n_read, n_created, n_updated, n_deleted, n_unchanged, n_skipped, n_conflicts, n_parked, n_pushed"

// fields are the counters in the order of counterColumns.
func (c *Counters) fields() []any {
	return []any{&c.Read, &c.Created, &c.Updated, &c.Deleted, &c.Unchanged, &c.Skipped, &c.Conflicts, &c.Parked, &c.Pushed}
}

// lockRun reads a run after its channel has been locked, the lock order of all
// transactions about runs.
func (tx *Tx) lockRun(ctx context.Context, id int64) (Run, error) {
	var channelID int64
	if err := tx.row(ctx, "SELECT channel_id FROM tandem_run WHERE id = ?", id).Scan(&channelID); err != nil {
		return Run{}, errNoRow(err, "run", id)
	}
	if err := tx.LockChannel(ctx, channelID); err != nil {
		return Run{}, err
	}
	return tx.Run(ctx, id)
}

// StartRun begins a planned run: status execution, the channel's revision of
// now, its slices (ConnectorID, Shard, Ord, Position and Total count), and the
// first of them active with a message that asks for it. It refuses (false) when
// the run is not planned, when another run of its channel, kind and lane is
// under way, or when an older one still waits for its turn; the end of that one
// asks for this one again. The channel's row is locked first.
func (tx *Tx) StartRun(ctx context.Context, runID int64, slices []Slice) (started bool, err error) {
	run, err := tx.lockRun(ctx, runID)
	if err != nil || run.Status != StatusPlanned {
		return false, err
	}
	var before int
	err = tx.row(ctx, `SELECT count(*) FROM tandem_run WHERE channel_id = ? AND kind = ? AND lane = ?
		AND (status IN ('preparing', 'execution') OR status = 'planned' AND id < ?)`,
		run.ChannelID, run.Spec.Kind, run.Lane, runID).Scan(&before)
	if err != nil || before > 0 {
		return false, err
	}
	if _, err := tx.exec(ctx, `UPDATE tandem_run SET status = 'execution', started_at = @now, wait_reason = '', wait_until = NULL,
		revision = (SELECT revision FROM tandem_channel WHERE id = tandem_run.channel_id) WHERE id = ?`, runID); err != nil {
		return false, fmt.Errorf("start run %d: %w", runID, err)
	}
	for _, s := range slices {
		if err := tx.insertSlice(ctx, run, s); err != nil {
			return false, fmt.Errorf("slice of run %d: %w", runID, err)
		}
	}
	_, err = tx.activateNext(ctx, run, false)
	return err == nil, err
}

// FinishRun ends a run with an end status. Slices whose turn never came are
// dropped, active ones end with it. The next planned run of its lane gets a
// message; its id comes back, 0 for none. Ending an ended run does nothing.
// The channel's row is locked first.
func (tx *Tx) FinishRun(ctx context.Context, runID int64, status Status, cause *RunError) (next int64, err error) {
	if !status.Ended() {
		return 0, fmt.Errorf("finish run %d: %q is no end", runID, status)
	}
	run, err := tx.lockRun(ctx, runID)
	if err != nil || run.Status.Ended() {
		return 0, err
	}
	if err := tx.endRun(ctx, run, status, cause); err != nil {
		return 0, fmt.Errorf("finish run %d: %w", runID, err)
	}
	if err := tx.noteEnd(ctx, run, status); err != nil {
		return 0, err
	}
	if err := tx.analyzeLinks(ctx, runID); err != nil {
		return 0, err
	}
	return tx.queueNextRun(ctx, run)
}

// manyLinks is how many new links make the statistics of their table worth a
// renewal, which takes some hundredths of a second.
const manyLinks = 1000

// analyzeLinks tells PostgreSQL how large the table of links has become: until
// it knows, statements that join a batch with it read it as a whole.
func (tx *Tx) analyzeLinks(ctx context.Context, runID int64) error {
	if tx.db.dialect != Postgres {
		return nil
	}
	var created int64
	if err := tx.row(ctx, "SELECT coalesce(sum(n_created), 0) FROM tandem_slice WHERE run_id = ?", runID).Scan(&created); err != nil || created < manyLinks {
		return err
	}
	_, err := tx.exec(ctx, "ANALYZE tandem_link")
	return err
}

func (tx *Tx) endRun(ctx context.Context, run Run, status Status, cause *RunError) error {
	var errText any
	if cause != nil {
		b, err := json.Marshal(cause)
		if err != nil {
			return err
		}
		errText = string(b)
	}
	var at nullTime
	if err := tx.row(ctx, `UPDATE tandem_run SET status = ?, finished_at = @now, error = ?, wait_reason = '', wait_until = NULL WHERE id = ?
		RETURNING finished_at`, status, errText, run.ID).Scan(&at); err != nil {
		return err
	}
	tx.noteEnded(run, status, at.value())
	if _, err := tx.exec(ctx, "DELETE FROM tandem_slice WHERE run_id = ? AND state = 'pending'", run.ID); err != nil {
		return err
	}
	end := SliceFailed
	if status == StatusFinished {
		end = SliceDone
	}
	_, err := tx.exec(ctx, "UPDATE tandem_slice SET state = ?, not_before = NULL, wait_reason = '', updated_at = @now WHERE run_id = ? AND state = 'active'",
		end, run.ID)
	return err
}

// queueNextRun asks for the oldest planned run of a lane where nothing runs.
func (tx *Tx) queueNextRun(ctx context.Context, ended Run) (int64, error) {
	next, err := scanRun(tx.row(ctx, runSelect+` WHERE r.channel_id = ? AND r.kind = ? AND r.lane = ? AND r.status = 'planned'
		AND NOT EXISTS (SELECT 1 FROM tandem_run x WHERE x.channel_id = r.channel_id AND x.kind = r.kind AND x.lane = r.lane
			AND x.status IN ('preparing', 'execution')) ORDER BY r.id LIMIT 1`,
		ended.ChannelID, ended.Spec.Kind, ended.Lane))
	if errors.Is(err, sql.ErrNoRows) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("find the next run: %w", err)
	}
	return next.ID, tx.queueRun(ctx, next)
}

// queueRun puts the message that asks for a planned run into the outbox.
func (tx *Tx) queueRun(ctx context.Context, r Run) error {
	if _, err := tx.exec(ctx, "UPDATE tandem_run SET queued_at = @now WHERE id = ?", r.ID); err != nil {
		return err
	}
	return tx.AddOutgoing(ctx, runMessage(r, 0, false))
}

// CancelRun ends a planned run at once and asks one that is under way to stop:
// a slice of it that waits for its time is woken, so that it can end. Cancelling an ended run does nothing. The channel's row is locked first.
func (tx *Tx) CancelRun(ctx context.Context, runID int64) error {
	run, err := tx.lockRun(ctx, runID)
	if err != nil || run.Status.Ended() {
		return err
	}
	if run.Status == StatusPlanned {
		_, err := tx.FinishRun(ctx, runID, StatusCancelled, nil)
		return err
	}
	if _, err := tx.exec(ctx, "UPDATE tandem_run SET cancel_requested = ? WHERE id = ?", true, runID); err != nil {
		return err
	}
	waiting, err := collect(ctx, tx, scanInt, `UPDATE tandem_slice SET not_before = NULL, wait_reason = '', queued_at = @now
		WHERE run_id = ? AND state = 'active' AND not_before IS NOT NULL RETURNING id`, runID)
	if err != nil {
		return fmt.Errorf("wake run %d: %w", runID, err)
	}
	for _, id := range waiting {
		if err := tx.AddOutgoing(ctx, runMessage(run, id, false)); err != nil {
			return err
		}
	}
	return nil
}

// SetRunWaiting notes why a run does not move and until when, if that is
// known; an empty reason clears it. An ended run is left alone.
func (tx *Tx) SetRunWaiting(ctx context.Context, runID int64, reason string, until *time.Time) error {
	_, err := tx.exec(ctx, `UPDATE tandem_run SET wait_reason = ?, wait_until = ?
		WHERE id = ? AND status IN ('planned', 'preparing', 'execution')`, reason, tx.timePtr(until), runID)
	return err
}
