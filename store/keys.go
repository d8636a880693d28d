package store

import (
	"context"
	"fmt"

	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/store/seal"
)

const (
	canaryPlace = "tandem_key"
	canaryText  = "the key is right"
)

// CheckKey proves that the ring can open what is sealed in this database. The
// first call on a database keeps a sealed known text; later ones open it. A
// ring with a new first key and an older one that fits is a rotation and is
// noted. A ring that fits nothing is a fault with code config.
func (db *DB) CheckKey(ctx context.Context, ring *seal.Keyring) error {
	known, fits, noted, err := db.readKeys(ctx, ring)
	if err != nil {
		return err
	}
	if known > 0 && !fits {
		return fault.New(fault.Permanent, fault.CodeConfig, "check the secret key", "the secrets of this database were sealed with another key").
			WithHint("set `secret_key:` (TANDEM_SECRET_KEY, or the .key file beside the SQLite file) to the key used before")
	}
	if noted || db.readOnly {
		return nil
	}
	return db.Write(ctx, "note the secret key", func(ctx context.Context, tx *Tx) error {
		_, err := tx.exec(ctx, "INSERT INTO tandem_key (key_id, canary, created_at) VALUES (?, ?, @now) ON CONFLICT DO NOTHING",
			ring.KeyID(), ring.Seal(canaryText, canaryPlace))
		return err
	})
}

// readKeys counts the database's keys and says whether the ring opens one of
// them and whether its first key is noted.
func (db *DB) readKeys(ctx context.Context, ring *seal.Keyring) (known int, fits, noted bool, err error) {
	err = db.Read(ctx, func(ctx context.Context, tx *Tx) error {
		return tx.each(ctx, func(row scanner) error {
			var id, canary string
			if err := row.Scan(&id, &canary); err != nil {
				return err
			}
			known++
			if !ring.Has(id) {
				return nil
			}
			text, err := ring.Open(canary, canaryPlace)
			if err != nil || text != canaryText {
				return nil // counts as a key that does not fit
			}
			fits = true
			noted = noted || id == ring.KeyID()
			return nil
		}, "SELECT key_id, canary FROM tandem_key")
	})
	if err != nil {
		return 0, false, false, fmt.Errorf("check the secret key: %w", err)
	}
	return known, fits, noted, nil
}
