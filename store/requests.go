package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/tandem-sync/tandem/fault"
)

// ExternalIDMemory is how long a request's external id is unique.
const ExternalIDMemory = 30 * 24 * time.Hour

// AddRequest stores a request and the run that serves it.
//
//   - An ExternalID seen within ExternalIDMemory gives its first run, repeated
//     is true and nothing is stored.
//   - A joinable request joins a planned run that covers it (see Covers), never
//     one that is under way: joined is true.
//   - Else a planned run is made, with a message that asks for its start.
//
// Request, run and message commit together. The channel's row is locked first.
// Request.RunID, ID and CreatedAt are ignored; an empty Trigger is manual.
func (tx *Tx) AddRequest(ctx context.Context, r Request, joinable bool) (run Run, joined, repeated bool, err error) {
	r.Spec = r.Spec.normal()
	if r.Trigger == "" {
		r.Trigger = TriggerManual
	}
	if err := tx.LockChannel(ctx, r.ChannelID); err != nil {
		return Run{}, false, false, err
	}
	if r.ExternalID != "" {
		first, ok, err := tx.firstRun(ctx, r.ExternalID)
		if err != nil || ok {
			return first, false, ok, err
		}
	}
	if r.Trigger == TriggerManual || r.Trigger == TriggerAPI {
		if err := tx.forgiveFailures(ctx, r.ChannelID); err != nil {
			return Run{}, false, false, err
		}
	}
	if joinable {
		run, joined, err = tx.findCovering(ctx, r)
	}
	if err == nil && !joined {
		run, err = tx.planRun(ctx, r)
	}
	if err != nil {
		return Run{}, false, false, fmt.Errorf("plan a run: %w", err)
	}
	if err := tx.insertRequest(ctx, r, run.ID); err != nil {
		return Run{}, false, false, err
	}
	return run, joined, false, nil
}

// firstRun finds the run of an external id and forgets ids that are too old.
func (tx *Tx) firstRun(ctx context.Context, externalID string) (Run, bool, error) {
	_, err := tx.exec(ctx, "UPDATE tandem_request SET external_id = NULL WHERE external_id = ? AND created_at < @in(?)",
		externalID, -ExternalIDMemory.Microseconds())
	if err != nil {
		return Run{}, false, fmt.Errorf("forget an old request id: %w", err)
	}
	var runID int64
	err = tx.row(ctx, "SELECT run_id FROM tandem_request WHERE external_id = ?", externalID).Scan(&runID)
	if errors.Is(err, sql.ErrNoRows) {
		return Run{}, false, nil
	}
	if err != nil {
		return Run{}, false, fmt.Errorf("look up a request id: %w", err)
	}
	run, err := tx.Run(ctx, runID)
	return run, err == nil, err
}

func (tx *Tx) findCovering(ctx context.Context, r Request) (Run, bool, error) {
	if r.Spec.Lane() != LaneMain {
		return Run{}, false, nil
	}
	planned, err := collect(ctx, tx, scanRun, runSelect+
		" WHERE r.channel_id = ? AND r.kind = ? AND r.lane = ? AND r.status = 'planned' AND NOT r.cancel_requested ORDER BY r.id",
		r.ChannelID, r.Spec.Kind, LaneMain)
	if err != nil {
		return Run{}, false, err
	}
	for _, p := range planned {
		if Covers(p.Spec, r.Spec) {
			return p, true, nil
		}
	}
	return Run{}, false, nil
}

func (tx *Tx) planRun(ctx context.Context, r Request) (Run, error) {
	spec, err := json.Marshal(r.Spec)
	if err != nil {
		return Run{}, err
	}
	var id int64
	err = tx.row(ctx, `INSERT INTO tandem_run (channel_id, kind, lane, trigger_by, status, spec, revision, cancel_requested, wait_reason, queued_at, created_at)
		SELECT id, ?, ?, ?, 'planned', ?, revision, ?, '', @now, @now FROM tandem_channel WHERE id = ? RETURNING id`,
		r.Spec.Kind, r.Spec.Lane(), r.Trigger, string(spec), false, r.ChannelID).Scan(&id)
	if err != nil {
		return Run{}, err
	}
	run, err := tx.Run(ctx, id)
	if err != nil {
		return Run{}, err
	}
	return run, tx.AddOutgoing(ctx, runMessage(run, 0, false))
}

func (tx *Tx) insertRequest(ctx context.Context, r Request, runID int64) error {
	spec, err := json.Marshal(r.Spec)
	if err != nil {
		return err
	}
	var external any
	if r.ExternalID != "" {
		external = r.ExternalID
	}
	n, err := tx.exec(ctx, `INSERT INTO tandem_request (external_id, channel_id, trigger_by, spec, run_id, created_at)
		VALUES (?, ?, ?, ?, ?, @now) ON CONFLICT (external_id) DO NOTHING`, external, r.ChannelID, r.Trigger, string(spec), runID)
	if err != nil {
		return fmt.Errorf("store the request: %w", err)
	}
	if n == 0 {
		// Another channel's request with this id committed after our look-up:
		// give everything up, the repetition finds it.
		return fault.New(fault.Retryable, CodeBusy, "store the request", "request id %q was used at the same moment: %w", r.ExternalID, errRepeat)
	}
	return nil
}

// Requests reads the requests that a run serves, in order.
func (tx *Tx) Requests(ctx context.Context, runID int64) ([]Request, error) {
	return collect(ctx, tx, func(row scanner) (Request, error) {
		var r Request
		var external sql.NullString
		var spec []byte
		var created nullTime
		if err := row.Scan(&r.ID, &external, &r.ChannelID, &r.Trigger, &spec, &r.RunID, &created); err != nil {
			return r, err
		}
		r.ExternalID, r.CreatedAt = external.String, created.value()
		return r, json.Unmarshal(spec, &r.Spec)
	}, "SELECT id, external_id, channel_id, trigger_by, spec, run_id, created_at FROM tandem_request WHERE run_id = ? ORDER BY id", runID)
}
