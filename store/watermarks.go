package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// Watermark reads up to where a connector's remote changes are known (at) and
// up to where a full run has confirmed everything (fullAt, zero when none has).
// ok is false before the first.
func (tx *Tx) Watermark(ctx context.Context, connectorID int64) (at, fullAt time.Time, ok bool, err error) {
	var a, f nullTime
	err = tx.row(ctx, "SELECT at, full_at FROM tandem_watermark WHERE connector_id = ?", connectorID).Scan(&a, &f)
	if errors.Is(err, sql.ErrNoRows) {
		return time.Time{}, time.Time{}, false, nil
	}
	return a.value(), f.value(), err == nil, err
}

// SetWatermark moves a connector's watermark to at, never back; full moves the
// mark of full runs too.
func (tx *Tx) SetWatermark(ctx context.Context, connectorID int64, at time.Time, full bool) error {
	var fullAt any
	if full {
		fullAt = tx.time(at)
	}
	_, err := tx.exec(ctx, `INSERT INTO tandem_watermark AS w (connector_id, at, full_at) VALUES (?, ?, ?)
		ON CONFLICT (connector_id) DO UPDATE SET
			at = CASE WHEN excluded.at > w.at THEN excluded.at ELSE w.at END,
			full_at = CASE WHEN w.full_at IS NULL OR excluded.full_at > w.full_at THEN excluded.full_at ELSE w.full_at END`,
		connectorID, tx.time(at), fullAt)
	if err != nil {
		return fmt.Errorf("watermark of connector %d: %w", connectorID, err)
	}
	return nil
}

// NoteFullRead keeps when the last run began that read all of a connector, by
// our own clock: the watermark tells the remote's, which may be hours off. Only
// a connector that has a watermark has one.
func (tx *Tx) NoteFullRead(ctx context.Context, connectorID int64, began time.Time) error {
	at := tx.time(began)
	_, err := tx.exec(ctx, `UPDATE tandem_watermark SET full_run_at = CASE WHEN full_run_at > ? THEN full_run_at ELSE ? END WHERE connector_id = ?`,
		at, at, connectorID)
	if err != nil {
		return fmt.Errorf("full read of connector %d: %w", connectorID, err)
	}
	return nil
}

// FullRead reads when the last run began that read all of a connector; the zero
// time when none has.
func (tx *Tx) FullRead(ctx context.Context, connectorID int64) (time.Time, error) {
	var at nullTime
	err := tx.row(ctx, "SELECT coalesce(full_run_at, full_at) FROM tandem_watermark WHERE connector_id = ?", connectorID).Scan(&at)
	if errors.Is(err, sql.ErrNoRows) {
		return time.Time{}, nil
	}
	return at.value(), err
}
