package store

import (
	"context"
	"fmt"
	"slices"
	"time"

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
			WithHint("set `secret_key:` (TANDEM_SECRET_KEY, or the .key file beside the SQLite file) to the key used before; after an interrupted `tandem keys rotate`, run it again")
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

// FitKey is CheckKey for a process that may know the database before or after a
// rotation: it gives the ring with that of its keys first which the database
// knows, so that nothing more is sealed with a key that is done with.
func (db *DB) FitKey(ctx context.Context, ring *seal.Keyring) (*seal.Keyring, error) {
	var notes []KeyNote
	err := db.Read(ctx, func(ctx context.Context, tx *Tx) (err error) {
		notes, err = tx.KeyNotes(ctx)
		return err
	})
	if err != nil {
		return nil, err
	}
	if !slices.ContainsFunc(notes, func(n KeyNote) bool { return n.KeyID == ring.KeyID() }) {
		for _, n := range notes {
			if ring.Has(n.KeyID) {
				ring = ring.Prefer(n.KeyID)
			}
		}
	}
	return ring, db.CheckKey(ctx, ring)
}

// KeyNote says since when a key is known to this database.
type KeyNote struct {
	KeyID     string
	CreatedAt time.Time
}

// KeyNotes reads the keys that this database knows, in the order in which they
// came.
func (tx *Tx) KeyNotes(ctx context.Context) ([]KeyNote, error) {
	list, err := collect(ctx, tx, func(row scanner) (KeyNote, error) {
		var n KeyNote
		var at nullTime
		err := row.Scan(&n.KeyID, &at)
		n.CreatedAt = at.value()
		return n, err
	}, "SELECT key_id, created_at FROM tandem_key ORDER BY created_at, key_id")
	if err != nil {
		return nil, fmt.Errorf("read the keys: %w", err)
	}
	return list, nil
}

// HoldKey makes sure that the ring's first key is one of the database's until
// the transaction ends, so that nothing is sealed with a key that a rotation
// takes away meanwhile. A database that knows no key yet accepts any.
func (tx *Tx) HoldKey(ctx context.Context, ring *seal.Keyring) error {
	known, err := collect(ctx, tx, func(row scanner) (string, error) {
		var id string
		return id, row.Scan(&id)
	}, "SELECT key_id FROM tandem_key ORDER BY key_id @share")
	if err != nil {
		return fmt.Errorf("hold the secret key: %w", err)
	}
	if len(known) > 0 && !slices.Contains(known, ring.KeyID()) {
		return fault.New(fault.Permanent, fault.CodeConfig, "check the secret key", "the secrets of this database are sealed with another key now").
			WithHint("set TANDEM_SECRET_KEY to the key that `tandem keys rotate` sealed with")
	}
	return nil
}

// ReplaceKeys makes the ring's first key the only one that the database knows.
// Everything must be sealed with it already, in the same transaction.
func (tx *Tx) ReplaceKeys(ctx context.Context, ring *seal.Keyring) error {
	_, err := tx.exec(ctx, "DELETE FROM tandem_key WHERE key_id <> ?", ring.KeyID())
	if err == nil {
		_, err = tx.exec(ctx, "INSERT INTO tandem_key (key_id, canary, created_at) VALUES (?, ?, @now) ON CONFLICT DO NOTHING",
			ring.KeyID(), ring.Seal(canaryText, canaryPlace))
	}
	if err != nil {
		return fmt.Errorf("replace the secret key: %w", err)
	}
	return nil
}
