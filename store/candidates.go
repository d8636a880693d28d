package store

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/lib/pq"
)

// Candidate is a linked pair whose remote record was not seen by a complete
// enumeration: perhaps deleted there.
type Candidate struct {
	RemoteID string
	LocalKey string
}

// AddCandidates keeps candidates for an owner, such as "slice/7"; one that is
// there already stays.
func (tx *Tx) AddCandidates(ctx context.Context, owner string, list []Candidate) error {
	if len(list) == 0 {
		return nil
	}
	ids, keys := make([]string, len(list)), make([]string, len(list))
	for i, c := range list {
		ids[i], keys[i] = c.RemoteID, c.LocalKey
	}
	var err error
	if tx.db.dialect == Postgres {
		_, err = tx.exec(ctx, `INSERT INTO tandem_candidate (owner, remote_id, local_key)
			SELECT ?::text, * FROM unnest(?::text[], ?::text[]) ON CONFLICT DO NOTHING`, owner, pq.StringArray(ids), pq.StringArray(keys))
	} else {
		var pairs []byte
		if pairs, err = json.Marshal(list); err == nil {
			_, err = tx.exec(ctx, `INSERT INTO tandem_candidate (owner, remote_id, local_key)
				SELECT ?, value ->> 'RemoteID', value ->> 'LocalKey' FROM json_each(?) WHERE true ON CONFLICT DO NOTHING`, owner, string(pairs))
		}
	}
	if err != nil {
		return fmt.Errorf("candidates of %s: %w", owner, err)
	}
	return nil
}

// Candidates reads up to limit candidates of an owner in order of remote id,
// after one of them ("" from the first).
func (tx *Tx) Candidates(ctx context.Context, owner, after string, limit int) ([]Candidate, error) {
	return collect(ctx, tx, func(row scanner) (Candidate, error) {
		var c Candidate
		return c, row.Scan(&c.RemoteID, &c.LocalKey)
	}, "SELECT remote_id, local_key FROM tandem_candidate WHERE owner = ? AND remote_id > ? ORDER BY remote_id LIMIT ?", owner, after, limit)
}

// CountCandidates counts an owner's candidates.
func (tx *Tx) CountCandidates(ctx context.Context, owner string) (n int64, err error) {
	err = tx.row(ctx, "SELECT count(*) FROM tandem_candidate WHERE owner = ?", owner).Scan(&n)
	return n, err
}

// MoveCandidates gives all candidates of one owner to another.
func (tx *Tx) MoveCandidates(ctx context.Context, from, to string) error {
	if _, err := tx.exec(ctx, `INSERT INTO tandem_candidate (owner, remote_id, local_key)
		SELECT ?, remote_id, local_key FROM tandem_candidate WHERE owner = ? ON CONFLICT DO NOTHING`, to, from); err != nil {
		return fmt.Errorf("move candidates: %w", err)
	}
	return tx.DropCandidates(ctx, from)
}

// DropCandidates forgets an owner's candidates.
func (tx *Tx) DropCandidates(ctx context.Context, owner string) error {
	_, err := tx.exec(ctx, "DELETE FROM tandem_candidate WHERE owner = ?", owner)
	return err
}
