package store

import (
	"context"
	"encoding/json"
	"fmt"
	"time"
)

// Revision is a channel's settings as they were from CreatedAt on.
type Revision struct {
	Revision  int64
	CreatedAt time.Time
	// Runs counts the runs that worked or will work with it, LastRun is the
	// latest of them; 0 none.
	Runs, LastRun int64
}

// Revisions reads the revisions of a channel that are kept, the latest first, at
// most limit of them.
func (tx *Tx) Revisions(ctx context.Context, channelID int64, limit int) ([]Revision, error) {
	list, err := collect(ctx, tx, func(row scanner) (Revision, error) {
		var r Revision
		var at nullTime
		err := row.Scan(&r.Revision, &at, &r.Runs, &r.LastRun)
		r.CreatedAt = at.value()
		return r, err
	}, `SELECT v.revision, v.created_at, (SELECT count(*) FROM tandem_run r WHERE r.channel_id = v.channel_id AND r.revision = v.revision),
		coalesce((SELECT max(r.id) FROM tandem_run r WHERE r.channel_id = v.channel_id AND r.revision = v.revision), 0)
		FROM tandem_channel_revision v WHERE v.channel_id = ? ORDER BY v.revision DESC LIMIT ?`, channelID, limit)
	if err != nil {
		return nil, fmt.Errorf("revisions of channel %d: %w", channelID, err)
	}
	return list, nil
}

// RevisionAt reads when a channel's revision was stored; an unknown one is a
// not_found fault.
func (tx *Tx) RevisionAt(ctx context.Context, channelID, revision int64) (time.Time, error) {
	var at nullTime
	err := tx.row(ctx, "SELECT created_at FROM tandem_channel_revision WHERE channel_id = ? AND revision = ?", channelID, revision).Scan(&at)
	return at.value(), errNoRow(err, "revision", fmt.Sprintf("%d of channel %d", revision, channelID))
}

// StoredSettings are settings with sealed secrets: those of a channel, or of one
// of its revisions.
type StoredSettings struct {
	ChannelID int64
	Channel   string // name
	Revision  int64  // 0: the channel's own
	Settings  json.RawMessage
}

// AllSettings reads the settings of every channel and of every revision that is
// kept, and keeps other transactions from changing channels until this one ends.
func (tx *Tx) AllSettings(ctx context.Context) ([]StoredSettings, error) {
	// The keys first, as HoldKey does.
	if _, err := tx.exec(ctx, "UPDATE tandem_key SET created_at = created_at"); err != nil {
		return nil, fmt.Errorf("lock the keys: %w", err)
	}
	if _, err := collect(ctx, tx, scanInt, "SELECT id FROM tandem_channel ORDER BY id @nokey"); err != nil {
		return nil, fmt.Errorf("lock channels: %w", err)
	}
	return tx.Settings(ctx)
}

// Settings is AllSettings without its locks.
func (tx *Tx) Settings(ctx context.Context) ([]StoredSettings, error) {
	list, err := collect(ctx, tx, func(row scanner) (StoredSettings, error) {
		var s StoredSettings
		var text jsonText
		err := row.Scan(&s.ChannelID, &s.Channel, &s.Revision, &text)
		s.Settings = text.raw
		return s, err
	}, `SELECT id, name, 0 AS revision, settings FROM tandem_channel
		UNION ALL SELECT v.channel_id, c.name, v.revision, v.settings FROM tandem_channel_revision v JOIN tandem_channel c ON c.id = v.channel_id
		ORDER BY 1, 3`)
	if err != nil {
		return nil, fmt.Errorf("settings: %w", err)
	}
	return list, nil
}

// Reseal replaces settings by the same ones with their secrets sealed anew. It
// makes no revision: nothing changed but the key.
func (tx *Tx) Reseal(ctx context.Context, s StoredSettings) error {
	q, args := "UPDATE tandem_channel SET settings = ? WHERE id = ?", []any{string(s.Settings), s.ChannelID}
	if s.Revision > 0 {
		q, args = "UPDATE tandem_channel_revision SET settings = ? WHERE channel_id = ? AND revision = ?", append(args, s.Revision)
	}
	if _, err := tx.exec(ctx, q, args...); err != nil {
		return fmt.Errorf("seal channel %s anew: %w", s.Channel, err)
	}
	return nil
}
