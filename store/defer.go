package store

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/lib/pq"
)

// DirtyDefer names a claimed row that could not be dealt with.
type DirtyDefer struct {
	LocalKey     string
	Version      int64     // as it was claimed; 0: whatever it is now
	Until        time.Time // not before
	Reason       string
	CountAttempt bool // it was tried and failed
}

// DeferDirty puts off rows that the lease has claimed and frees them. One that
// changed since it was claimed is freed only: its new data may fare better.
func (tx *Tx) DeferDirty(ctx context.Context, l Lease, list []DirtyDefer) error {
	if len(list) == 0 {
		return nil
	}
	list = slices.SortedFunc(slices.Values(list), func(a, b DirtyDefer) int { return strings.Compare(a.LocalKey, b.LocalKey) })
	var err error
	if tx.db.dialect == Postgres {
		err = tx.deferPostgres(ctx, l, list)
	} else {
		err = tx.deferSQLite(ctx, l, list)
	}
	if err != nil {
		return fmt.Errorf("put off rows of connector %d: %w", l.ConnectorID, err)
	}
	return nil
}

func (d DirtyDefer) tries() int64 {
	if d.CountAttempt {
		return 1
	}
	return 0
}

// deferPostgres locks the rows in the order of their keys, as relays do. An INSERT
// that always meets its row finds each by the index; see byID.
func (tx *Tx) deferPostgres(ctx context.Context, l Lease, list []DirtyDefer) error {
	n := len(list)
	keys, reasons := make([]string, n), make([]string, n)
	versions, untils, tries := make([]int64, n), make([]int64, n), make([]int64, n)
	for i, d := range list {
		keys[i], reasons[i], versions[i], untils[i], tries[i] = d.LocalKey, d.Reason, d.Version, d.Until.UnixMicro(), d.tries()
	}
	_, err := tx.exec(ctx, `INSERT INTO tandem_dirty AS t (connector_id, local_key, shard, version, first_at, at, next_at, times, attempts, reason)
		SELECT d.connector_id, d.local_key, d.shard, u.v, d.first_at, d.at, timestamptz 'epoch' + u.o * interval '1 microsecond', d.times, u.a, u.r
		FROM unnest(?::text[], ?::text[], ?::bigint[], ?::bigint[], ?::bigint[]) WITH ORDINALITY AS u(k, r, v, o, a, n) CROSS JOIN LATERAL
			(SELECT * FROM tandem_dirty WHERE connector_id = ? AND local_key = u.k AND claim_epoch = ? AND claim_by = ? LIMIT 1 @nokey) d
		ORDER BY u.n
		ON CONFLICT (connector_id, local_key) DO UPDATE SET claim_epoch = 0, claim_by = '',
			next_at = CASE WHEN excluded.version IN (0, t.version) THEN excluded.next_at ELSE t.next_at END,
			attempts = CASE WHEN excluded.version IN (0, t.version) THEN t.attempts + excluded.attempts ELSE t.attempts END,
			reason = CASE WHEN excluded.version IN (0, t.version) THEN excluded.reason ELSE t.reason END`,
		pq.StringArray(keys), pq.StringArray(reasons), pq.Int64Array(versions), pq.Int64Array(untils), pq.Int64Array(tries),
		l.ConnectorID, l.Epoch, claimName(l.LeaseKey))
	return err
}

func (tx *Tx) deferSQLite(ctx context.Context, l Lease, list []DirtyDefer) error {
	stmt, err := tx.PrepareContext(ctx, `UPDATE tandem_dirty SET claim_epoch = 0, claim_by = '',
			next_at = CASE WHEN ?1 IN (0, version) THEN ?2 ELSE next_at END,
			attempts = CASE WHEN ?1 IN (0, version) THEN attempts + ?3 ELSE attempts END,
			reason = CASE WHEN ?1 IN (0, version) THEN ?4 ELSE reason END
		WHERE connector_id = ?5 AND local_key = ?6 AND claim_epoch = ?7 AND claim_by = ?8`)
	if err != nil {
		return err
	}
	defer func() { _ = stmt.Close() }() // its own error adds nothing
	for _, d := range list {
		if _, err := stmt.ExecContext(ctx, d.Version, d.Until.UnixMicro(), d.tries(), d.Reason, l.ConnectorID, d.LocalKey, l.Epoch, claimName(l.LeaseKey)); err != nil {
			return err
		}
	}
	return nil
}
