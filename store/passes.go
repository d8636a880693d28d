package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"time"
)

// Pass is one complete round over all linked records of a connector.
type Pass struct {
	ID          int64
	ChannelID   int64
	ConnectorID int64
	StartedAt   time.Time
	FinishedAt  *time.Time // nil under way
	Total       *int64     // nil unknown
	Done        int64
	Created     int64
	Updated     int64
	Skipped     int64
	Failed      int64
	Position    json.RawMessage // the caller's; nil at the start
}

const roundSelect = `SELECT id, channel_id, connector_id, started_at, finished_at, total, done, created, updated, skipped, failed, position FROM tandem_pass`

func scanPass(row scanner) (Pass, error) {
	var p Pass
	var started, finished nullTime
	var total sql.NullInt64
	var position jsonText
	err := row.Scan(&p.ID, &p.ChannelID, &p.ConnectorID, &started, &finished, &total, &p.Done, &p.Created, &p.Updated, &p.Skipped, &p.Failed, &position)
	p.StartedAt, p.FinishedAt, p.Position = started.value(), finished.t, position.raw
	if total.Valid {
		p.Total = &total.Int64
	}
	return p, err
}

// StartPass begins a pass and gives its id. total is nil when it is not known.
func (tx *Tx) StartPass(ctx context.Context, channelID, connectorID int64, total *int64) (id int64, err error) {
	err = tx.row(ctx, `INSERT INTO tandem_pass (channel_id, connector_id, started_at, total, done, created, updated, skipped, failed)
		VALUES (?, ?, @now, ?, 0, 0, 0, 0, 0) RETURNING id`, channelID, connectorID, total).Scan(&id)
	if err != nil {
		return 0, fmt.Errorf("begin a pass of connector %d: %w", connectorID, err)
	}
	return id, nil
}

// PassStep is what a step of a pass did; its numbers are added.
type PassStep struct {
	ID                                      int64
	Done, Created, Updated, Skipped, Failed int64
	Position                                json.RawMessage
	Finished                                bool // the pass is complete
}

// AdvancePass adds a step to a pass; ErrFenced when it is not under way.
func (tx *Tx) AdvancePass(ctx context.Context, s PassStep) error {
	finished := "NULL"
	if s.Finished {
		finished = "@now"
	}
	n, err := tx.exec(ctx, `UPDATE tandem_pass SET done = done + ?, created = created + ?, updated = updated + ?, skipped = skipped + ?,
		failed = failed + ?, position = ?, finished_at = `+finished+` WHERE id = ? AND finished_at IS NULL`,
		s.Done, s.Created, s.Updated, s.Skipped, s.Failed, nullJSON(s.Position), s.ID)
	if err == nil && n != 1 {
		err = ErrFenced
	}
	if err != nil {
		return fmt.Errorf("pass %d: %w", s.ID, err)
	}
	return nil
}

// Pass reads a pass; an unknown one is a not_found fault.
func (tx *Tx) Pass(ctx context.Context, id int64) (Pass, error) {
	p, err := scanPass(tx.row(ctx, roundSelect+" WHERE id = ?", id))
	return p, errNoRow(err, "pass", id)
}

// Passes lists up to limit passes of a channel (0: a hundred), the newest first.
func (tx *Tx) Passes(ctx context.Context, channelID int64, limit int) ([]Pass, error) {
	if limit <= 0 {
		limit = defaultLimit
	}
	return collect(ctx, tx, scanPass, roundSelect+" WHERE channel_id = ? ORDER BY id DESC LIMIT ?", channelID, limit)
}
