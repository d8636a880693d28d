package store

import (
	"context"
	"fmt"
	"time"
)

// Purge forgets history from before a time: ended runs with their requests,
// slices, change lines and links seen, resolved parked items and conflicts,
// passes, settings of channel revisions that no run names any more. It also drops
// what ended runs left behind and what waits for a retired connector. A run that a
// request id of the last 30 days leads to stays, as do links with their tombstones
// and everything else that still waits.
func (tx *Tx) Purge(ctx context.Context, before time.Time) error {
	at := tx.time(before)
	const ended = "('finished', 'failed', 'cancelled')"
	steps := []struct {
		q    string
		args []any
	}{
		{"UPDATE tandem_request SET external_id = NULL WHERE external_id IS NOT NULL AND created_at < @in(?)", []any{-ExternalIDMemory.Microseconds()}},
		{"DELETE FROM tandem_run WHERE status IN " + ended + ` AND finished_at < ? AND NOT EXISTS
			(SELECT 1 FROM tandem_request q WHERE q.run_id = tandem_run.id AND q.external_id IS NOT NULL)`, []any{at}},
		{"DELETE FROM tandem_seen WHERE run_id IN (SELECT id FROM tandem_run WHERE status IN " + ended + ")", nil},
		{"DELETE FROM tandem_candidate WHERE owner LIKE 'slice/%' AND NOT EXISTS (SELECT 1 FROM tandem_slice s JOIN tandem_run r ON r.id = s.run_id WHERE owner = 'slice/' || s.id AND r.status NOT IN " + ended + ")", nil},
		// A tick long past cannot come again: its channel has moved on.
		{"DELETE FROM tandem_tick WHERE at < @in(?)", []any{-time.Hour.Microseconds()}},
		// A skip that still holds is no history.
		{"DELETE FROM tandem_parked WHERE resolved <> '' AND resolved_at < ? AND NOT (resolved = 'skipped' AND print <> '')", []any{at}},
		{"DELETE FROM tandem_candidate WHERE owner LIKE 'parked/%' AND NOT EXISTS (SELECT 1 FROM tandem_parked p WHERE owner = 'parked/' || p.id)", nil},
		{"DELETE FROM tandem_conflict WHERE resolved <> '' AND resolved_at < ?", []any{at}},
		// A pass that never ended is history like the others.
		{"DELETE FROM tandem_pass WHERE coalesce(finished_at, started_at) < ?", []any{at}},
		// Changes do not reach a connector that is no more: should it come back,
		// everything has to be looked at, not only these rows.
		{"DELETE FROM tandem_dirty WHERE connector_id NOT IN (SELECT id FROM tandem_connector WHERE NOT retired)", nil},
		{`DELETE FROM tandem_channel_revision WHERE created_at < ?
			AND revision <> (SELECT c.revision FROM tandem_channel c WHERE c.id = tandem_channel_revision.channel_id)
			AND NOT EXISTS (SELECT 1 FROM tandem_run r WHERE r.channel_id = tandem_channel_revision.channel_id
				AND r.revision = tandem_channel_revision.revision)`, []any{at}},
	}
	for _, s := range steps {
		if _, err := tx.exec(ctx, s.q, s.args...); err != nil {
			return fmt.Errorf("purge: %w", err)
		}
	}
	return nil
}
