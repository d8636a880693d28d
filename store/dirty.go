package store

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/lib/pq"
)

// AnyColumn stands in Dirty.Times for changes of which the columns are not known.
const AnyColumn = "*"

// Dirty says that a local row has to be looked at for a connector. There is one
// per row, however often it changed.
type Dirty struct {
	ConnectorID int64
	LocalKey    string
	Shard       int       // see DirtyShard
	Version     int64     // grows with every change
	FirstAt     time.Time // since when it waits
	At          time.Time // its latest change, or when it was marked
	NextAt      time.Time // it is due from then on
	// Times are the latest changes of single columns; those of changes that named
	// none are under AnyColumn. Nil when no change was captured (MarkDirty).
	Times      map[string]time.Time
	Attempts   int    // failed tries of what it holds now
	ClaimEpoch int64  // the epoch of the lease that has claimed it; 0 nobody
	Reason     string // why it was marked or put off; "" a captured change
}

const dirtyColumns = "connector_id, local_key, shard, version, first_at, at, next_at, times, attempts, claim_epoch, reason"

func scanDirty(row scanner) (Dirty, error) {
	var d Dirty
	var first, at, next nullTime
	var times sql.NullString
	if err := row.Scan(&d.ConnectorID, &d.LocalKey, &d.Shard, &d.Version, &first, &at, &next, &times, &d.Attempts, &d.ClaimEpoch, &d.Reason); err != nil {
		return d, err
	}
	d.FirstAt, d.At, d.NextAt = first.value(), at.value(), next.value()
	if !times.Valid {
		return d, nil
	}
	var micros map[string]int64
	if err := json.Unmarshal([]byte(times.String), &micros); err != nil {
		return d, fmt.Errorf("times of %s: %w", d.LocalKey, err)
	}
	d.Times = make(map[string]time.Time, len(micros))
	for column, us := range micros {
		d.Times[column] = time.UnixMicro(us).UTC()
	}
	return d, nil
}

// claimName says which lease holds a claim, beside its epoch: epochs of two
// shards cannot be compared.
func claimName(k LeaseKey) string { return string(k.Direction) + "/" + k.Shard }

// claimHeld is the condition that a dirty row's claim is held by a lease that
// has not ended, given that it is claimed; ? is the channel.
const claimHeld = `EXISTS (SELECT 1 FROM tandem_lease l WHERE l.channel_id = ? AND l.connector_id = tandem_dirty.connector_id
	AND l.direction || '/' || l.shard = tandem_dirty.claim_by AND l.epoch = tandem_dirty.claim_epoch AND l.owner <> '' AND l.expires_at > @now)`

// MarkDirty marks rows by hand; they are due at once. reason is a word for what
// asked for it. A row that is marked already keeps what is known of its changes
// and, when it is being exported, is looked at once more. n is how many keys
// were marked.
func (tx *Tx) MarkDirty(ctx context.Context, connectorID int64, keys []string, reason string) (n int64, err error) {
	keys = sorted(keys)
	if len(keys) == 0 {
		return 0, nil
	}
	// A number of the change log, so that no version comes twice.
	var version int64
	err = tx.row(ctx, "INSERT INTO tandem_change_log (entity, local_key, op) VALUES ('', '', 'u') RETURNING seq").Scan(&version)
	if err == nil {
		_, err = tx.exec(ctx, "DELETE FROM tandem_change_log WHERE seq = ?", version)
	}
	if err != nil {
		return 0, fmt.Errorf("draw a version: %w", err)
	}
	type line struct {
		Key   string `json:"k"`
		Shard int    `json:"s"`
	}
	lines := make([]line, len(keys))
	for i, k := range keys {
		lines[i] = line{k, DirtyShard(k)}
	}
	n, err = tx.exec(ctx, `INSERT INTO tandem_dirty (connector_id, local_key, shard, version, first_at, at, next_at, attempts, reason)
		SELECT CAST(? AS integer), j.value->>'k', CAST(j.value->>'s' AS smallint), CAST(? AS bigint), t.now, t.now, t.now, 0, CAST(? AS text)
		FROM @rows(?) CROSS JOIN (SELECT @now AS now) t WHERE true
		ON CONFLICT (connector_id, local_key) DO UPDATE SET version = @greatest(tandem_dirty.version + 1, excluded.version),
			next_at = excluded.next_at, attempts = 0, reason = excluded.reason`, connectorID, version, reason, jsonList(lines))
	if err != nil {
		return 0, fmt.Errorf("mark rows of connector %d: %w", connectorID, err)
	}
	return n, nil
}

// ClaimDirty claims up to limit rows of the lease's connector for the lease:
// those of keys or, with nil, the due ones, the longest due first. What another
// live lease has claimed is passed over; a claim ends with its lease, so what a
// dead worker left behind is claimed like a free row. Read the rows' data after
// this: it must not be older than Version says.
func (tx *Tx) ClaimDirty(ctx context.Context, l Lease, limit int, keys []string) ([]Dirty, error) {
	if keys != nil {
		return tx.claimKeys(ctx, l, limit, sorted(keys))
	}
	var list []Dirty
	// Its own claims, of which there may be many, need no look at the lease.
	name := claimName(l.LeaseKey)
	err := tx.inOrder(ctx, func() (err error) {
		list, err = collect(ctx, tx, scanDirty, `UPDATE tandem_dirty SET claim_epoch = ?, claim_by = ? WHERE @ctid @one(
			SELECT @ctid FROM tandem_dirty WHERE connector_id = ? AND next_at <= (SELECT @now)
				AND (claim_epoch = 0 OR (claim_epoch <> ? OR claim_by <> ?) AND NOT `+claimHeld+`)
			ORDER BY next_at LIMIT ? @skip@end RETURNING `+dirtyColumns,
			l.Epoch, name, l.ConnectorID, l.Epoch, name, l.ChannelID, limit)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("claim rows of connector %d: %w", l.ConnectorID, err)
	}
	slices.SortFunc(list, func(a, b Dirty) int {
		return cmp.Or(a.NextAt.Compare(b.NextAt), strings.Compare(a.LocalKey, b.LocalKey))
	})
	return list, nil
}

// dirtyByKey is the FROM that finds one dirty row per element of a list of keys
// that meets a condition; its parameters are the list, the connector and those of
// the condition. It looks each key up in the index, whatever the database believes
// about the size of the table; see byID. lock is a mark, such as @skip.
func (tx *Tx) dirtyByKey(condition, lock string) string {
	if tx.db.dialect == Postgres {
		return ` FROM unnest(?::text[]) WITH ORDINALITY AS u(k, n) CROSS JOIN LATERAL
			(SELECT ctid, tandem_dirty.* FROM tandem_dirty WHERE connector_id = ? AND local_key = u.k` + condition + " LIMIT 1 " + lock + ") tandem_dirty"
	}
	return " FROM json_each(?) u CROSS JOIN tandem_dirty WHERE connector_id = ? AND local_key = u.value" + condition
}

func (tx *Tx) claimKeys(ctx context.Context, l Lease, limit int, keys []string) ([]Dirty, error) {
	if len(keys) == 0 {
		return nil, nil
	}
	list, err := collect(ctx, tx, scanDirty, "UPDATE tandem_dirty SET claim_epoch = ?, claim_by = ? WHERE @ctid @one(SELECT tandem_dirty.@ctid"+
		tx.dirtyByKey(" AND (claim_epoch = 0 OR NOT "+claimHeld+")", "@skip")+" LIMIT ?@end RETURNING "+dirtyColumns,
		l.Epoch, claimName(l.LeaseKey), tx.texts(keys), l.ConnectorID, l.ChannelID, limit)
	if err != nil {
		return nil, fmt.Errorf("claim rows of connector %d: %w", l.ConnectorID, err)
	}
	slices.SortFunc(list, func(a, b Dirty) int { return strings.Compare(a.LocalKey, b.LocalKey) })
	return list, nil
}

// inOrder runs a query that takes the first rows of an index. Without it
// PostgreSQL, when it believes that there are few, reads all and sorts them.
func (tx *Tx) inOrder(ctx context.Context, query func() error) error {
	if tx.db.dialect != Postgres {
		return query()
	}
	if _, err := tx.ExecContext(ctx, "SET LOCAL enable_sort = off; SET LOCAL enable_bitmapscan = off"); err != nil {
		return err
	}
	if err := query(); err != nil {
		return err
	}
	_, err := tx.ExecContext(ctx, "SET LOCAL enable_sort TO DEFAULT; SET LOCAL enable_bitmapscan TO DEFAULT")
	return err
}

// HasDue reports whether a row of the connector is due that nobody has claimed.
func (tx *Tx) HasDue(ctx context.Context, connectorID int64) (has bool, err error) {
	err = tx.row(ctx, "SELECT EXISTS (SELECT 1 FROM tandem_dirty WHERE connector_id = ? AND next_at <= @now AND claim_epoch = 0)", connectorID).Scan(&has)
	return has, err
}

// ReleaseDirty frees the rows of the lease's connector whose claim no live lease
// holds any more and says how many they were. ClaimDirty passes such claims by
// anyhow; a takeover calls this so that the rows look as free as they are.
func (tx *Tx) ReleaseDirty(ctx context.Context, l Lease) (n int64, err error) {
	n, err = tx.exec(ctx, "UPDATE tandem_dirty SET claim_epoch = 0, claim_by = '' WHERE connector_id = ? AND claim_epoch <> 0 AND NOT "+claimHeld,
		l.ConnectorID, l.ChannelID)
	if err != nil {
		return 0, fmt.Errorf("free claims of connector %d: %w", l.ConnectorID, err)
	}
	return n, nil
}

// DirtyDone names a row that was dealt with, as it was claimed.
type DirtyDone struct {
	LocalKey string
	Version  int64
}

// DoneDirty takes rows out of the set that the lease has claimed and that have
// not changed since; done counts them. A row that did change stays, free and due
// as its change made it. One that the lease has not claimed is left alone.
func (tx *Tx) DoneDirty(ctx context.Context, l Lease, list []DirtyDone) (done int64, err error) {
	if len(list) == 0 {
		return 0, nil
	}
	list = slices.SortedFunc(slices.Values(list), func(a, b DirtyDone) int { return strings.Compare(a.LocalKey, b.LocalKey) })
	by := claimName(l.LeaseKey)
	keys, versions := make([]string, len(list)), make([]int64, len(list))
	for i, d := range list {
		keys[i], versions[i] = d.LocalKey, d.Version
	}
	q := `DELETE FROM tandem_dirty WHERE connector_id = ? AND claim_epoch = ? AND claim_by = ? AND (local_key, version) IN
		(SELECT j.value->>'LocalKey', j.value->>'Version' FROM @rows(?))`
	args := []any{l.ConnectorID, l.Epoch, by, jsonList(list)}
	if tx.db.dialect == Postgres {
		q = `DELETE FROM tandem_dirty WHERE ctid = ANY(ARRAY(SELECT d.ctid FROM unnest(?::text[], ?::bigint[]) AS u(k, v) CROSS JOIN LATERAL
			(SELECT ctid FROM tandem_dirty WHERE connector_id = ? AND local_key = u.k AND version = u.v AND claim_epoch = ? AND claim_by = ?
				LIMIT 1 FOR UPDATE) d))`
		args = []any{pq.StringArray(keys), pq.Int64Array(versions), l.ConnectorID, l.Epoch, by}
	}
	if done, err = tx.exec(ctx, q, args...); err == nil && done < int64(len(list)) {
		err = tx.freeDirty(ctx, l, keys)
	}
	if err != nil {
		return 0, fmt.Errorf("end claims of connector %d: %w", l.ConnectorID, err)
	}
	return done, nil
}

// freeDirty frees rows that the lease has claimed and that changed meanwhile:
// what waits from here on is their change.
func (tx *Tx) freeDirty(ctx context.Context, l Lease, keys []string) error {
	_, err := tx.exec(ctx, "UPDATE tandem_dirty SET claim_epoch = 0, claim_by = '', first_at = @now WHERE @ctid @one(SELECT tandem_dirty.@ctid"+
		tx.dirtyByKey(" AND claim_epoch = ? AND claim_by = ?", "@nokey")+"@end", tx.texts(keys), l.ConnectorID, l.Epoch, claimName(l.LeaseKey))
	return err
}

// ClaimedKeys tells which of the keys are claimed by a live lease: they are
// being exported right now.
func (tx *Tx) ClaimedKeys(ctx context.Context, connectorID int64, keys []string) (map[string]bool, error) {
	out := map[string]bool{}
	if len(keys) == 0 {
		return out, nil
	}
	held := strings.Replace(claimHeld, "l.channel_id = ?", "l.channel_id = (SELECT k.channel_id FROM tandem_connector k WHERE k.id = tandem_dirty.connector_id)", 1)
	err := tx.each(ctx, func(row scanner) error {
		var key string
		err := row.Scan(&key)
		out[key] = true
		return err
	}, "SELECT local_key"+tx.dirtyByKey(" AND claim_epoch <> 0 AND "+held, ""), tx.texts(sorted(keys)), connectorID)
	return out, err
}
