package store

import (
	"context"
	"testing"

	"github.com/tandem-sync/tandem/internal/testenv"
)

// TestUpgradeTwoWay brings a database with rows of before to the schema that
// knows two-way syncs, back, and up again.
func TestUpgradeTwoWay(t *testing.T) {
	t.Parallel()
	for name, url := range map[string]string{"sqlite": "sqlite:" + t.TempDir() + "/a.db", "postgres": testenv.Postgres(t)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db, err := Open(t.Context(), Config{URL: url})
			if err != nil {
				t.Fatal(err)
			}
			defer db.Close()
			to := func(version int64) {
				t.Helper()
				p, err := db.provider()
				if err != nil {
					t.Fatal(err)
				}
				if have, err := p.GetDBVersion(t.Context()); err != nil {
					t.Fatal(err)
				} else if have < version {
					_, err = p.UpTo(t.Context(), version)
					if err != nil {
						t.Fatal(err)
					}
				} else if _, err = p.DownTo(t.Context(), version); err != nil {
					t.Fatal(err)
				}
			}
			const before, twoWay = 4, 5
			to(before)
			old(t, db)
			for range 2 {
				to(twoWay)
				kept(t, db)
				to(before)
			}
			if err := db.Migrate(t.Context()); err != nil {
				t.Fatal(err)
			}
			kept(t, db)
		})
	}
}

// old writes rows as a binary of before did.
func old(t *testing.T, db *DB) {
	t.Helper()
	err := db.Write(t.Context(), "old rows", func(ctx context.Context, tx *Tx) error {
		for _, q := range []string{
			`INSERT INTO tandem_channel (name, type, enabled, managed, revision, settings, created_at, updated_at) VALUES ('crm', 'rest', true, '', 1, '{}', @now, @now)`,
			`INSERT INTO tandem_connector (channel_id, name, ord, retired) VALUES (1, 'contacts', 0, false)`,
			`INSERT INTO tandem_run (channel_id, kind, lane, trigger_by, status, spec, revision, cancel_requested, wait_reason, created_at)
				VALUES (1, 'sync', 'main', 'manual', 'finished', '{}', 1, false, '', @now)`,
			`INSERT INTO tandem_change (run_id, body) VALUES (1, '{"connector":"contacts","op":"update","local_id":"7"}')`,
			`INSERT INTO tandem_link (connector_id, remote_id, local_key, id, hash, base, state, read_at) VALUES (1, 'r7', '7', 9, -3, '["x"]', 0, 5)`,
			`INSERT INTO tandem_parked (kind, channel_id, channel, connector_id, connector, run_id, local_id, remote_id, reason, message, attempts, created_at, resolved)
				VALUES ('record', 1, 'crm', 1, 'contacts', 1, '8', 'r8', 'bad_value', 'm', 1, @now, '')`,
		} {
			if _, err := tx.exec(ctx, q); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// kept reads the rows of before as this binary does.
func kept(t *testing.T, db *DB) {
	t.Helper()
	err := db.Read(t.Context(), func(ctx context.Context, tx *Tx) error {
		links, err := tx.LinksByLocal(ctx, 1, []string{"7"})
		want := Link{LinkHead: LinkHead{ID: 9, RemoteID: "r7", LocalKey: "7", Hash: -3}, ConnectorID: 1, Base: `["x"]`, ReadAt: 5}
		if err != nil || len(links) != 1 || links[0] != want {
			t.Errorf("links: %+v %v", links, err)
		}
		lines, _, err := tx.Changes(ctx, 1, 0, 10)
		if err != nil || len(lines) != 1 || lines[0].LocalID != "7" {
			t.Errorf("changes: %+v %v", lines, err)
		}
		history, err := tx.ChangesOf(ctx, 1, "7", "r7", 10)
		if err != nil || len(history) != 0 {
			t.Errorf("history: %+v %v", history, err)
		}
		parked, err := tx.ListParked(ctx, ParkedFilter{Open: true})
		if err != nil || len(parked) != 1 || parked[0].RemoteID != "r8" {
			t.Errorf("parked: %+v %v", parked, err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
