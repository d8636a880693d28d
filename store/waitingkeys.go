package store

import (
	"context"
	"fmt"
)

// WaitingKeys gives the integer keys from first to last that changes, dirty rows,
// creates and deletions under way are about, of whatever entity. No row has such a
// key any more where the table's keys end before it: a new row must not take it
// and be mistaken for the one that is gone. For SQLite, whose keys come again.
func (tx *Tx) WaitingKeys(ctx context.Context, first, last int64) (map[int64]bool, error) {
	keys := map[int64]bool{}
	err := tx.each(ctx, func(row scanner) error {
		var k int64
		err := row.Scan(&k)
		keys[k] = true
		return err
	}, `SELECT k FROM (SELECT local_key, CAST(local_key AS integer) AS k FROM tandem_change_log
		UNION ALL SELECT local_key, CAST(local_key AS integer) FROM tandem_dirty
		UNION ALL SELECT local_key, CAST(local_key AS integer) FROM tandem_intent
		UNION ALL SELECT local_key, CAST(local_key AS integer) FROM tandem_candidate)
		WHERE k BETWEEN ? AND ? AND local_key = CAST(k AS text)`, first, last)
	if err != nil {
		return nil, fmt.Errorf("keys under way: %w", err)
	}
	return keys, nil
}
