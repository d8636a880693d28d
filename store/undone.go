package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// The states of undoing a run.
const (
	UndonePartly = "partly" // it was begun and has not come to its end
	UndoneWhole  = "done"   // all of the run was looked at
)

// Undone is how far a run has been undone. The zero value: nobody did.
type Undone struct {
	State         string // UndonePartly, UndoneWhole or "" not at all
	Fields        int64  // values put back, in all
	Rows, Deleted int64  // rows whose values were put back, rows deleted
	StartedAt     time.Time
	EndedAt       *time.Time // nil while it is partly done
}

// AddUndone notes what was undone of a run, in the transaction that does it: from
// then on the run is undone partly.
func (tx *Tx) AddUndone(ctx context.Context, runID, fields, rows, deleted int64) error {
	_, err := tx.exec(ctx, `INSERT INTO tandem_undo (run_id, state, fields, rows_changed, rows_deleted, started_at) VALUES (?, 'partly', ?, ?, ?, @now)
		ON CONFLICT (run_id) DO UPDATE SET state = 'partly', ended_at = NULL, fields = tandem_undo.fields + excluded.fields,
			rows_changed = tandem_undo.rows_changed + excluded.rows_changed, rows_deleted = tandem_undo.rows_deleted + excluded.rows_deleted`,
		runID, fields, rows, deleted)
	if err != nil {
		return fmt.Errorf("note what was undone of run %d: %w", runID, err)
	}
	return nil
}

// EndUndone notes that all of a run was undone that can be.
func (tx *Tx) EndUndone(ctx context.Context, runID int64) error {
	_, err := tx.exec(ctx, `INSERT INTO tandem_undo (run_id, state, fields, rows_changed, rows_deleted, started_at, ended_at) VALUES (?, 'done', 0, 0, 0, @now, @now)
		ON CONFLICT (run_id) DO UPDATE SET state = 'done', ended_at = excluded.ended_at`, runID)
	if err != nil {
		return fmt.Errorf("end undoing run %d: %w", runID, err)
	}
	return nil
}

// UndoneOf tells how far a run has been undone.
func (tx *Tx) UndoneOf(ctx context.Context, runID int64) (Undone, error) {
	var u Undone
	var began, ended nullTime
	err := tx.row(ctx, "SELECT state, fields, rows_changed, rows_deleted, started_at, ended_at FROM tandem_undo WHERE run_id = ?", runID).
		Scan(&u.State, &u.Fields, &u.Rows, &u.Deleted, &began, &ended)
	if errors.Is(err, sql.ErrNoRows) {
		return Undone{}, nil
	}
	u.StartedAt = began.value()
	if at := ended.value(); !at.IsZero() {
		u.EndedAt = &at
	}
	return u, err
}
