package store

import (
	"context"
	"fmt"
	"time"
)

// SkippedOut gives the fingerprints under which local rows on their way out are
// skipped, by local key.
func (tx *Tx) SkippedOut(ctx context.Context, connectorID int64, keys []string) (map[string][]string, error) {
	out := map[string][]string{}
	if len(keys) == 0 {
		return out, nil
	}
	err := tx.each(ctx, func(row scanner) error {
		var key, mark string
		if err := row.Scan(&key, &mark); err != nil {
			return err
		}
		out[key] = append(out[key], mark)
		return nil
	}, `SELECT local_id, print FROM tandem_parked WHERE connector_id = ? AND resolved = 'skipped' AND print <> '' AND outward AND local_id @any(?)`,
		connectorID, tx.texts(sorted(keys)))
	return out, err
}

// ParkedOut gives the fingerprints of local rows that are parked on their way out
// because of their data, by local key.
func (tx *Tx) ParkedOut(ctx context.Context, connectorID int64, keys []string) (map[string][]string, error) {
	out := map[string][]string{}
	err := tx.each(ctx, func(row scanner) error {
		var key, mark string
		if err := row.Scan(&key, &mark); err != nil {
			return err
		}
		out[key] = append(out[key], mark)
		return nil
	}, `SELECT local_id, print FROM tandem_parked WHERE connector_id = ? AND resolved = '' AND print <> '' AND outward
		AND kind IN ('record', 'write_refused') AND local_id <> '' AND local_id @any(?)`, connectorID, tx.texts(sorted(keys)))
	return out, err
}

// EndSkipsOut lets the skips of local rows no longer hold: they are not as they
// were, or are gone.
func (tx *Tx) EndSkipsOut(ctx context.Context, connectorID int64, keys []string) error {
	if len(keys) == 0 {
		return nil
	}
	_, err := tx.exec(ctx, `UPDATE tandem_parked SET print = '' WHERE connector_id = ? AND resolved = 'skipped' AND print <> '' AND outward
		AND local_id @any(?)`, connectorID, tx.texts(sorted(keys)))
	return err
}

// exportChunk is how many rows one targeted export is asked for.
const exportChunk = 2000

// RequestExport marks local rows of a connector and asks for their export, in as
// many runs as they need; it gives the runs. reason is a word for what asked.
func (tx *Tx) RequestExport(ctx context.Context, k Connector, trigger Trigger, reason string, keys []string) ([]Run, error) {
	keys = sorted(keys)
	if _, err := tx.MarkDirty(ctx, k.ID, keys, reason); err != nil {
		return nil, err
	}
	var runs []Run
	for len(keys) > 0 {
		n := min(len(keys), exportChunk)
		run, _, _, err := tx.AddRequest(ctx, Request{ChannelID: k.ChannelID, Trigger: trigger, Spec: Spec{
			Kind: KindReverseSync, Mode: ModeIncremental, Connectors: []string{k.Name}, LocalIDs: keys[:n],
		}}, false)
		if err != nil {
			return nil, err
		}
		runs, keys = append(runs, run), keys[n:]
	}
	return runs, nil
}

// CountConflicts counts the conflicts of a filter; Before and Limit do not count.
func (tx *Tx) CountConflicts(ctx context.Context, f ConflictFilter) (n int64, err error) {
	where, args := f.where()
	if err = tx.row(ctx, "SELECT count(*) FROM tandem_conflict f"+where, args...).Scan(&n); err != nil {
		return 0, fmt.Errorf("count conflicts: %w", err)
	}
	return n, nil
}

// ParkedOf gives the open items about a record of a connector, by either of its
// ids, the newest first; an empty id names nothing.
func (tx *Tx) ParkedOf(ctx context.Context, connectorID int64, localID, remoteID string) ([]Parked, error) {
	return collect(ctx, tx, scanParked, parkedSelect+` WHERE p.connector_id = ? AND p.resolved = ''
		AND (p.local_id <> '' AND p.local_id = ? OR p.remote_id <> '' AND p.remote_id = ?) ORDER BY p.id DESC LIMIT 100`, connectorID, localID, remoteID)
}

// AliasesOf gives the former ids of a remote record, the newest first.
func (tx *Tx) AliasesOf(ctx context.Context, connectorID int64, remoteID string) ([]string, error) {
	return collect(ctx, tx, func(row scanner) (string, error) {
		var id string
		return id, row.Scan(&id)
	}, "SELECT old_id FROM tandem_alias WHERE connector_id = ? AND remote_id = ? ORDER BY at DESC, old_id LIMIT 100", connectorID, remoteID)
}

// ConnectorWaits says how many rows of a connector wait to go out, and since when
// the oldest does; nil none.
func (tx *Tx) ConnectorWaits(ctx context.Context, connectorID int64) (n int64, oldest *time.Time, err error) {
	var at nullTime
	err = tx.row(ctx, "SELECT count(*), min(first_at) FROM tandem_dirty WHERE connector_id = ?", connectorID).Scan(&n, &at)
	return n, at.t, err
}

// LinkedElsewhere tells which local rows another connector of the same entity has
// a record for.
func (tx *Tx) LinkedElsewhere(ctx context.Context, connectorID int64, keys []string) (map[string]bool, error) {
	out := map[string]bool{}
	others, err := collect(ctx, tx, scanInt, `SELECT o.id FROM tandem_connector k JOIN tandem_connector o ON o.entity = k.entity AND o.id <> k.id
		WHERE k.id = ? AND k.entity <> '' AND NOT o.retired ORDER BY o.id`, connectorID)
	if err != nil {
		return nil, err
	}
	for _, id := range others {
		links, err := tx.LinksByLocal(ctx, id, keys)
		if err != nil {
			return nil, err
		}
		for _, l := range links {
			out[l.LocalKey] = true
		}
	}
	return out, nil
}
