package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
)

const channelColumns = "id, name, type, enabled, managed, revision, settings, created_at, updated_at"

func scanChannel(row scanner) (Channel, error) {
	var c Channel
	var settings jsonText
	var created, updated nullTime
	err := row.Scan(&c.ID, &c.Name, &c.Type, &c.Enabled, &c.Managed, &c.Revision, &settings, &created, &updated)
	c.Settings, c.CreatedAt, c.UpdatedAt = settings.raw, created.value(), updated.value()
	return c, err
}

// PutChannel stores a channel by its name. The same type, settings and manager
// change nothing; otherwise the revision grows by one and the settings of that
// revision are kept for the runs that work with it. Enabled counts for a new
// channel only; see SetChannelEnabled. What the schedule says counts from now;
// a new channel runs at once.
func (tx *Tx) PutChannel(ctx context.Context, c Channel) (id, revision int64, changed bool, err error) {
	old, err := scanChannel(tx.row(ctx, "SELECT "+channelColumns+" FROM tandem_channel WHERE name = ? @nokey", c.Name))
	switch {
	case errors.Is(err, sql.ErrNoRows):
		id, err = tx.insertChannel(ctx, c)
		revision = 1
	case err != nil:
		return 0, 0, false, fmt.Errorf("read channel %s: %w", c.Name, err)
	case old.Type == c.Type && old.Managed == c.Managed && string(old.Settings) == string(c.Settings):
		return old.ID, old.Revision, false, nil
	default:
		id, revision = old.ID, old.Revision+1
		_, err = tx.exec(ctx, "UPDATE tandem_channel SET type = ?, managed = ?, settings = ?, revision = ?, updated_at = @now WHERE id = ?",
			c.Type, c.Managed, string(c.Settings), revision, id)
	}
	if err != nil {
		return 0, 0, false, fmt.Errorf("store channel %s: %w", c.Name, err)
	}
	_, err = tx.exec(ctx, "INSERT INTO tandem_channel_revision (channel_id, revision, settings, created_at) VALUES (?, ?, ?, @now)",
		id, revision, string(c.Settings))
	if err != nil {
		return 0, 0, false, fmt.Errorf("keep revision %d of channel %s: %w", revision, c.Name, err)
	}
	return id, revision, true, tx.touchSchedule(ctx, id, revision == 1)
}

func (tx *Tx) insertChannel(ctx context.Context, c Channel) (id int64, err error) {
	err = tx.row(ctx, `INSERT INTO tandem_channel (name, type, enabled, managed, revision, settings, created_at, updated_at)
		VALUES (?, ?, ?, ?, 1, ?, @now, @now) RETURNING id`,
		c.Name, c.Type, c.Enabled, c.Managed, string(c.Settings)).Scan(&id)
	return id, err
}

// Channel reads a channel by id; an unknown one is a not_found fault.
func (tx *Tx) Channel(ctx context.Context, id int64) (Channel, error) {
	c, err := scanChannel(tx.row(ctx, "SELECT "+channelColumns+" FROM tandem_channel WHERE id = ?", id))
	return c, errNoRow(err, "channel", id)
}

// ChannelByName reads a channel by name; an unknown one is a not_found fault.
func (tx *Tx) ChannelByName(ctx context.Context, name string) (Channel, error) {
	c, err := scanChannel(tx.row(ctx, "SELECT "+channelColumns+" FROM tandem_channel WHERE name = ?", name))
	return c, errNoRow(err, "channel", name)
}

// Channels reads all channels in order of name.
func (tx *Tx) Channels(ctx context.Context) ([]Channel, error) {
	return collect(ctx, tx, scanChannel, "SELECT "+channelColumns+" FROM tandem_channel ORDER BY name")
}

// ChannelRevision reads the settings a channel had at a revision.
func (tx *Tx) ChannelRevision(ctx context.Context, id, revision int64) (json.RawMessage, error) {
	var settings jsonText
	err := tx.row(ctx, "SELECT settings FROM tandem_channel_revision WHERE channel_id = ? AND revision = ?", id, revision).Scan(&settings)
	return settings.raw, errNoRow(err, "revision", fmt.Sprintf("%d of channel %d", revision, id))
}

// SetChannelEnabled switches a channel on or off. Settings and revision stay. A
// channel that is switched on runs at once.
func (tx *Tx) SetChannelEnabled(ctx context.Context, id int64, enabled bool) error {
	var was bool
	err := tx.row(ctx, "SELECT enabled FROM tandem_channel WHERE id = ? @nokey", id).Scan(&was)
	if err != nil || was == enabled {
		return errNoRow(err, "channel", id)
	}
	if _, err := tx.exec(ctx, "UPDATE tandem_channel SET enabled = ?, updated_at = @now WHERE id = ?", enabled, id); err != nil {
		return fmt.Errorf("enable channel %d: %w", id, err)
	}
	if !enabled {
		return tx.stopSchedule(ctx, id)
	}
	return tx.touchSchedule(ctx, id, true)
}

// LockChannel takes the lock that every transaction about a channel's runs
// takes first, before any row of a run, slice or lease. It does not stop rows
// that refer to the channel from being made. On SQLite the transaction itself
// is the lock. An unknown channel is a not_found fault.
func (tx *Tx) LockChannel(ctx context.Context, id int64) error {
	var got int64
	return errNoRow(tx.row(ctx, "SELECT id FROM tandem_channel WHERE id = ? @nokey", id).Scan(&got), "channel", id)
}

func scanConnector(row scanner) (Connector, error) {
	var c Connector
	return c, row.Scan(&c.ID, &c.ChannelID, &c.Name, &c.Ord, &c.Retired, &c.Entity, &c.Outward)
}

// PutConnectors makes the channel's connectors those of list, by name: known
// ones keep their id and links, new ones get one, missing ones are retired. It
// gives the connectors in the order of list.
func (tx *Tx) PutConnectors(ctx context.Context, channelID int64, list []Connector) ([]Connector, error) {
	names := make([]string, len(list))
	for i, c := range list {
		names[i] = c.Name
	}
	if _, err := tx.exec(ctx, "UPDATE tandem_connector SET retired = ? WHERE channel_id = ? AND NOT retired AND NOT (name @any(?))",
		true, channelID, tx.texts(names)); err != nil {
		return nil, fmt.Errorf("retire connectors: %w", err)
	}
	out := make([]Connector, len(list))
	for i, c := range list {
		var err error
		out[i], err = scanConnector(tx.row(ctx, `INSERT INTO tandem_connector (channel_id, name, ord, retired, entity, outward) VALUES (?, ?, ?, ?, ?, ?)
			ON CONFLICT (channel_id, name) DO UPDATE SET ord = excluded.ord, retired = excluded.retired, entity = excluded.entity, outward = excluded.outward
			RETURNING id, channel_id, name, ord, retired, entity, outward`, channelID, c.Name, c.Ord, false, c.Entity, c.Outward))
		if err != nil {
			return nil, fmt.Errorf("store connector %s: %w", c.Name, err)
		}
	}
	return out, nil
}

// Connectors reads a channel's connectors, retired ones included, in order of
// phase and id.
func (tx *Tx) Connectors(ctx context.Context, channelID int64) ([]Connector, error) {
	return collect(ctx, tx, scanConnector,
		"SELECT id, channel_id, name, ord, retired, entity, outward FROM tandem_connector WHERE channel_id = ? ORDER BY ord, id", channelID)
}

func scanEntity(row scanner) (Entity, error) {
	var e Entity
	var spec jsonText
	err := row.Scan(&e.Name, &spec)
	e.Spec = spec.raw
	return e, err
}

// PutEntity stores an entity by its name; changed is false when it was the same.
func (tx *Tx) PutEntity(ctx context.Context, e Entity) (changed bool, err error) {
	n, err := tx.exec(ctx, `INSERT INTO tandem_entity AS e (name, spec) VALUES (?, ?)
		ON CONFLICT (name) DO UPDATE SET spec = excluded.spec WHERE e.spec <> excluded.spec`, e.Name, string(e.Spec))
	return n > 0, err
}

// Entities reads all entities in order of name.
func (tx *Tx) Entities(ctx context.Context) ([]Entity, error) {
	return collect(ctx, tx, scanEntity, "SELECT name, spec FROM tandem_entity ORDER BY name")
}

// Entity reads an entity by name; an unknown one is a not_found fault.
func (tx *Tx) Entity(ctx context.Context, name string) (Entity, error) {
	e, err := scanEntity(tx.row(ctx, "SELECT name, spec FROM tandem_entity WHERE name = ?", name))
	return e, errNoRow(err, "entity", name)
}
