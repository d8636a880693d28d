package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/lib/pq"
)

// ResolveOutward closes the open items of local rows that went out now.
func (tx *Tx) ResolveOutward(ctx context.Context, connectorID int64, keys []string, how string) error {
	if len(keys) == 0 {
		return nil
	}
	_, err := tx.exec(ctx, `UPDATE tandem_parked SET resolved = ?, resolved_at = @now
		WHERE connector_id = ? AND resolved = '' AND outward AND kind <> 'mass_delete' AND local_id <> '' AND local_id @any(?)`,
		how, connectorID, tx.texts(sorted(keys)))
	if err != nil {
		return fmt.Errorf("close items of connector %d: %w", connectorID, err)
	}
	return nil
}

// OpenOutward reports whether a connector has open conflicts, and whether it has
// open items of rows on their way out.
func (tx *Tx) OpenOutward(ctx context.Context, connectorID int64) (conflicts, parked bool, err error) {
	err = tx.row(ctx, `SELECT EXISTS (SELECT 1 FROM tandem_conflict WHERE connector_id = ? AND resolved = ''),
		EXISTS (SELECT 1 FROM tandem_parked WHERE connector_id = ? AND resolved = '' AND outward)`, connectorID, connectorID).Scan(&conflicts, &parked)
	return conflicts, parked, err
}

// LinksApart finds the tombstones of local keys: pairs that were taken apart.
func (tx *Tx) LinksApart(ctx context.Context, connectorID int64, keys []string) ([]Link, error) {
	if len(keys) == 0 {
		return nil, nil
	}
	keys = sorted(keys)
	if tx.db.dialect == Postgres {
		return collect(ctx, tx, scanLink, "SELECT "+linkColumns+` FROM unnest(?::text[]) AS u(k) CROSS JOIN LATERAL
			(SELECT * FROM tandem_link WHERE connector_id = ? AND state <> 0 AND local_key = u.k ORDER BY id DESC LIMIT 1) l`, pq.StringArray(keys), connectorID)
	}
	return collect(ctx, tx, scanLink, "SELECT "+linkColumns+" FROM tandem_link INDEXED BY tandem_link_apart WHERE connector_id = ? AND state <> 0 AND local_key @any(?) ORDER BY id DESC",
		connectorID, tx.texts(keys))
}

// DirtyOf gives what waits to go out of local keys, in no particular order.
func (tx *Tx) DirtyOf(ctx context.Context, connectorID int64, keys []string) ([]Dirty, error) {
	if len(keys) == 0 {
		return nil, nil
	}
	return collect(ctx, tx, scanDirty, "SELECT "+dirtyColumns+tx.dirtyByKey("", ""), tx.texts(sorted(keys)), connectorID)
}

// DueDirty lists up to limit rows that are due, in the order of their keys, after
// one of them ("" from the first).
func (tx *Tx) DueDirty(ctx context.Context, connectorID int64, after string, limit int) ([]Dirty, error) {
	return collect(ctx, tx, scanDirty, "SELECT "+dirtyColumns+` FROM tandem_dirty
		WHERE connector_id = ? AND local_key > ? AND next_at <= (SELECT @now) ORDER BY local_key LIMIT ?`, connectorID, after, limit)
}

// OutwardConnector is a connector whose values travel to the remote.
type OutwardConnector struct {
	Connector
	Enabled bool // its channel is; changes are kept for it either way
}

// Outward gives the connectors whose values travel to the remote, by entity.
func (tx *Tx) Outward(ctx context.Context) (map[string][]OutwardConnector, error) {
	list, err := collect(ctx, tx, func(row scanner) (OutwardConnector, error) {
		var c OutwardConnector
		return c, row.Scan(&c.ID, &c.ChannelID, &c.Name, &c.Entity, &c.Enabled)
	}, `SELECT k.id, k.channel_id, k.name, k.entity, c.enabled
		FROM tandem_connector k JOIN tandem_channel c ON c.id = k.channel_id WHERE k.outward AND NOT k.retired ORDER BY k.id`)
	out := map[string][]OutwardConnector{}
	for _, c := range list {
		out[c.Entity] = append(out[c.Entity], c)
	}
	return out, err
}

// ForgetPasses forgets the rounds of a channel's connectors that do not write to
// the remote: changes do not reach them, so if they do again, every row has to be
// looked at.
func (tx *Tx) ForgetPasses(ctx context.Context, channelID int64) error {
	_, err := tx.exec(ctx, `DELETE FROM tandem_pass WHERE channel_id = ? AND connector_id IN
		(SELECT id FROM tandem_connector WHERE channel_id = ? AND (retired OR NOT outward))`, channelID, channelID)
	return err
}

// ForgetRounds forgets the rounds of a connector: the next run looks at every row.
func (tx *Tx) ForgetRounds(ctx context.Context, connectorID int64) error {
	_, err := tx.exec(ctx, "DELETE FROM tandem_pass WHERE connector_id = ?", connectorID)
	return err
}

// LastPass gives when the last complete pass of a connector began, not counting
// those that looked at what has a new time of change; zero when there was none.
func (tx *Tx) LastPass(ctx context.Context, channelID, connectorID int64) (time.Time, error) {
	var began nullTime
	err := tx.row(ctx, `SELECT max(started_at) FROM tandem_pass WHERE channel_id = ? AND connector_id = ? AND finished_at IS NOT NULL AND position IS NULL`,
		channelID, connectorID).Scan(&began)
	return began.value(), err
}

// HasRun reports whether a channel has a run of the kind that is planned or, with
// executing, under way.
func (tx *Tx) HasRun(ctx context.Context, channelID int64, kind Kind, executing bool) (has bool, err error) {
	states := "'planned'"
	if executing {
		states = "'planned', 'preparing', 'execution'"
	}
	err = tx.row(ctx, "SELECT EXISTS (SELECT 1 FROM tandem_run WHERE channel_id = ? AND kind = ? AND lane = 'main' AND status IN ("+states+"))",
		channelID, kind).Scan(&has)
	return has, err
}

// HasChanges reports whether a captured change waits to be taken up.
func (tx *Tx) HasChanges(ctx context.Context) (has bool, err error) {
	err = tx.row(ctx, "SELECT EXISTS (SELECT 1 FROM tandem_change_log)").Scan(&has)
	return has, err
}

// ChangesWait tells whether captured changes wait to be taken up, and whether the
// oldest of them has done so for less than a time.
func (tx *Tx) ChangesWait(ctx context.Context, less time.Duration) (wait, fresh bool, err error) {
	err = tx.row(ctx, "SELECT at <= @now AND at > @in(?) FROM tandem_change_log ORDER BY seq LIMIT 1", -less.Microseconds()).Scan(&fresh)
	if errors.Is(err, sql.ErrNoRows) {
		return false, false, nil
	}
	return err == nil, fresh, err
}

// LastPosition gives the position that the last finished pass of a connector
// left; nil when none left one.
func (tx *Tx) LastPosition(ctx context.Context, channelID, connectorID int64) (json.RawMessage, error) {
	var position jsonText
	err := tx.row(ctx, `SELECT position FROM tandem_pass WHERE channel_id = ? AND connector_id = ? AND finished_at IS NOT NULL AND position IS NOT NULL
		ORDER BY id DESC LIMIT 1`, channelID, connectorID).Scan(&position)
	if errors.Is(err, sql.ErrNoRows) {
		err = nil
	}
	return position.raw, err
}

// UntakenTimes gives, per local row, when its columns changed by changes that no
// relay has taken yet, those of one origin left out; changes that name no columns
// are under AnyColumn. A time that is ahead of the database's clock is now.
func (tx *Tx) UntakenTimes(ctx context.Context, entity string, origin int64, keys []string) (map[string]map[string]time.Time, error) {
	out := map[string]map[string]time.Time{}
	if len(keys) == 0 {
		return out, nil
	}
	err := tx.each(ctx, func(row scanner) error {
		var key string
		var fields sql.NullString
		var at, now nullTime
		if err := row.Scan(&key, &fields, &at, &now); err != nil {
			return err
		}
		when := at.value()
		if when.After(now.value()) {
			when = now.value()
		}
		columns := []string{AnyColumn}
		if fields.Valid {
			var named []string
			if json.Unmarshal([]byte(fields.String), &named) == nil {
				columns = named
			}
		}
		if out[key] == nil {
			out[key] = map[string]time.Time{}
		}
		for _, c := range columns {
			if when.After(out[key][c]) {
				out[key][c] = when
			}
		}
		return nil
	}, "SELECT local_key, fields, at, @now FROM tandem_change_log WHERE entity = ? AND origin <> ? AND local_key @any(?)",
		entity, origin, tx.texts(sorted(keys)))
	if err != nil {
		return nil, fmt.Errorf("changes that nobody has taken: %w", err)
	}
	return out, nil
}

// HurryDirty makes rows due that only wait for being left alone for a while.
func (tx *Tx) HurryDirty(ctx context.Context, connectorID int64) error {
	_, err := tx.exec(ctx, `UPDATE tandem_dirty SET next_at = @now
		WHERE connector_id = ? AND next_at > (SELECT @now) AND attempts = 0 AND reason = '' AND claim_epoch = 0`, connectorID)
	if err != nil {
		return fmt.Errorf("hurry rows of connector %d: %w", connectorID, err)
	}
	return nil
}

// WillPush reports whether a sync without a window is going to write a
// connector's changes to the remote: it is planned, or has not come that far.
func (tx *Tx) WillPush(ctx context.Context, c Connector) (bool, error) {
	specs, err := collect(ctx, tx, func(row scanner) (Spec, error) {
		var raw jsonText
		var s Spec
		if err := row.Scan(&raw); err != nil {
			return s, err
		}
		return s, json.Unmarshal(raw.raw, &s)
	}, `SELECT r.spec FROM tandem_run r WHERE r.channel_id = ? AND r.kind = 'sync' AND r.lane = 'main' AND (r.status = 'planned'
		OR r.status IN ('preparing', 'execution') AND EXISTS (SELECT 1 FROM tandem_slice s
			WHERE s.run_id = r.id AND s.connector_id = ? AND s.shard = 'push' AND s.state = 'pending'))`, c.ChannelID, c.ID)
	if err != nil {
		return false, fmt.Errorf("syncs that push: %w", err)
	}
	for _, s := range specs {
		if !s.Flags.NoPush && s.Start == nil && s.End == nil && (len(s.Connectors) == 0 || slices.Contains(s.Connectors, c.Name)) {
			return true, nil
		}
	}
	return false, nil
}
