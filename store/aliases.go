package store

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/tandem-sync/tandem/fault"
)

// AddAlias notes that a remote record goes by another id now, as after a merge.
// Older ids that led to the old one lead to the new one.
func (tx *Tx) AddAlias(ctx context.Context, connectorID int64, oldID, newID string) error {
	if oldID == newID {
		return nil
	}
	// Going back to an id of before must not make a ring.
	_, err := tx.exec(ctx, "DELETE FROM tandem_alias WHERE connector_id = ? AND old_id = ?", connectorID, newID)
	if err == nil {
		_, err = tx.exec(ctx, "UPDATE tandem_alias SET remote_id = ? WHERE connector_id = ? AND remote_id = ?", newID, connectorID, oldID)
	}
	if err == nil {
		_, err = tx.exec(ctx, `INSERT INTO tandem_alias (connector_id, old_id, remote_id, at) VALUES (?, ?, ?, @now)
			ON CONFLICT (connector_id, old_id) DO UPDATE SET remote_id = excluded.remote_id, at = excluded.at`, connectorID, oldID, newID)
	}
	if err != nil {
		return fmt.Errorf("alias of %s: %w", oldID, err)
	}
	return nil
}

// ResolveAliases gives the present id of those ids that are old ones.
func (tx *Tx) ResolveAliases(ctx context.Context, connectorID int64, ids []string) (map[string]string, error) {
	out := map[string]string{}
	if len(ids) == 0 {
		return out, nil
	}
	err := tx.each(ctx, func(row scanner) error {
		var old, now string
		err := row.Scan(&old, &now)
		out[old] = now
		return err
	}, "SELECT old_id, remote_id FROM tandem_alias WHERE connector_id = ? AND old_id @any(?)", connectorID, tx.texts(sorted(ids)))
	return out, err
}

// MoveLink gives a link another remote id, because the record goes by it now,
// and notes the alias. A tombstone of the new id makes room. No link of the old
// id is a not_found fault; a live link of the new id is a conflict fault: two
// local rows then belong to one record, which a person decides.
func (tx *Tx) MoveLink(ctx context.Context, connectorID int64, oldID, newID string) error {
	if oldID == newID {
		return nil
	}
	locked, err := tx.LockLinks(ctx, connectorID, []string{oldID, newID})
	if err != nil {
		return err
	}
	var known bool
	for _, l := range locked {
		if l.RemoteID == newID && l.State == Linked {
			return fault.New(fault.Permanent, fault.CodeConflict, "move a link", "the remote record is linked to another local row already")
		}
		known = known || l.RemoteID == oldID
	}
	if !known {
		return errNoRow(sql.ErrNoRows, "link", oldID)
	}
	_, err = tx.exec(ctx, "DELETE FROM tandem_link WHERE connector_id = ? AND remote_id = ?", connectorID, newID)
	if err == nil {
		_, err = tx.exec(ctx, "UPDATE tandem_link SET remote_id = ? WHERE connector_id = ? AND remote_id = ?", newID, connectorID, oldID)
	}
	if err != nil {
		return fmt.Errorf("move a link of connector %d: %w", connectorID, err)
	}
	return tx.AddAlias(ctx, connectorID, oldID, newID)
}
