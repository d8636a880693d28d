package store

import (
	"context"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/lib/pq"
)

// DirtyShards is how many shards the dirty rows of a connector fall into.
const DirtyShards = 16

// DirtyShard is the shard of a local key.
func DirtyShard(key string) int {
	h := fnv.New32a()
	_, _ = h.Write([]byte(key)) // never fails
	return int(h.Sum32() % DirtyShards)
}

// Relayed is what one call of RelayChanges did.
type Relayed struct {
	Taken      int             // changes taken out of the log
	Touched    []int64         // connectors that have something more to look at
	Reconcile  []string        // entities to be looked at as a whole, see LogReconcile
	Suppressed map[int64]int64 // by connector: its own changes that did not go back to it
}

// RelayChanges moves up to limit changes from the log into the dirty set of the
// connectors that targets names for their entity; each is asked for once. Any
// number of relays may work at once and in any order.
//
// A change does not go to the connector it came from. That is decided change by
// change, before changes of one row are put together: a person's edit must not
// vanish behind our own write of the same row.
//
// A row that does not wait yet is due at once or, when it was exported less
// than debounce ago, that long after its export. A row that waits for its turn
// takes the change in; one that is put off waits debounce from now on, but
// never longer than maxDelay in all. A failed row is tried with its new data at
// once.
//
// Who takes the change of an entity to be looked at as a whole has to see to it
// in this transaction: its row is gone.
func (tx *Tx) RelayChanges(ctx context.Context, limit int, targets func(entity string) []int64, debounce, maxDelay time.Duration) (Relayed, error) {
	list, now, err := tx.takeChanges(ctx, limit)
	if err != nil {
		return Relayed{}, fmt.Errorf("take changes: %w", err)
	}
	return tx.relay(ctx, list, targets, dirtyTimes{now: now, debounce: debounce, maxDelay: maxDelay})
}

// FetchChanges does what RelayChanges does with the changes of single rows of one
// entity, for the only connector that has to know of them: with another one it
// takes nothing. Who calls it is going to export them. others says, where it took
// any, whether other changes wait beside them.
func (tx *Tx) FetchChanges(ctx context.Context, entity string, connectorID int64, limit int, debounce, maxDelay time.Duration) (out Relayed, others bool, err error) {
	list, now, others, err := tx.takeOwn(ctx, entity, connectorID, limit)
	if err != nil {
		return Relayed{}, false, fmt.Errorf("take changes of %s: %w", entity, err)
	}
	out, err = tx.relay(ctx, list, func(string) []int64 { return []int64{connectorID} }, dirtyTimes{now: now, debounce: debounce, maxDelay: maxDelay})
	return out, others, err
}

// relay moves changes that were taken out of the log into the dirty set.
func (tx *Tx) relay(ctx context.Context, list []LocalChange, targets func(entity string) []int64, when dirtyTimes) (Relayed, error) {
	var out Relayed
	if out.Taken = len(list); out.Taken == 0 {
		return out, nil
	}
	g := gathering{rows: map[dirtyKey]*gathered{}, targets: targets, known: map[string][]int64{}, now: when.now, out: &out}
	for i := range list {
		g.take(&list[i])
	}
	slices.Sort(out.Reconcile)
	if err := tx.putDirty(ctx, g.rows, when); err != nil {
		return out, fmt.Errorf("mark what changed: %w", err)
	}
	touched := map[int64]bool{}
	for k := range g.rows {
		touched[k.connector] = true
	}
	out.Touched = slices.Sorted(maps.Keys(touched))
	return out, nil
}

type dirtyKey struct {
	connector int64
	key       string
}

// gathered are the changes of one row for one connector.
type gathered struct {
	version int64
	at      int64            // microseconds
	times   map[string]int64 // microseconds by column
}

// gathering puts the changes of a batch together.
type gathering struct {
	rows    map[dirtyKey]*gathered
	targets func(string) []int64
	known   map[string][]int64 // what targets said
	now     time.Time
	out     *Relayed
}

func (g *gathering) take(c *LocalChange) {
	if c.Op == LogReconcile {
		if !slices.Contains(g.out.Reconcile, c.Entity) {
			g.out.Reconcile = append(g.out.Reconcile, c.Entity)
		}
		return
	}
	targets, ok := g.known[c.Entity]
	if !ok {
		targets = g.targets(c.Entity)
		g.known[c.Entity] = targets
	}
	// A clock that is ahead must not let a change win over all that follow.
	at := min(c.At.UnixMicro(), g.now.UnixMicro())
	for _, connector := range targets {
		if connector == c.Origin {
			if g.out.Suppressed == nil {
				g.out.Suppressed = map[int64]int64{}
			}
			g.out.Suppressed[connector]++
			continue
		}
		g.merge(dirtyKey{connector, c.LocalKey}, c, at)
	}
}

func (g *gathering) merge(k dirtyKey, c *LocalChange, at int64) {
	r := g.rows[k]
	if r == nil {
		r = &gathered{times: make(map[string]int64, max(len(c.Fields), 1))}
		g.rows[k] = r
	}
	r.version, r.at = max(r.version, c.Seq), max(r.at, at)
	if len(c.Fields) == 0 {
		r.times[AnyColumn] = max(r.times[AnyColumn], at)
	}
	for _, f := range c.Fields {
		r.times[f] = max(r.times[f], at)
	}
}

// dirtyTimes is what decides when a row is due.
type dirtyTimes struct {
	now                time.Time
	debounce, maxDelay time.Duration
}

// putDirty merges rows into the dirty set, in the order of their keys so that
// two relays never wait for each other crosswise.
func (tx *Tx) putDirty(ctx context.Context, rows map[dirtyKey]*gathered, when dirtyTimes) error {
	if len(rows) == 0 {
		return nil
	}
	keys := slices.SortedFunc(maps.Keys(rows), func(a, b dirtyKey) int {
		if a.connector != b.connector {
			return int(a.connector - b.connector)
		}
		return strings.Compare(a.key, b.key)
	})
	if tx.db.dialect == Postgres {
		return tx.putDirtyPostgres(ctx, keys, rows, when)
	}
	return tx.putDirtySQLite(ctx, keys, rows, when)
}

// The version grows with every change that is merged, whatever its number is: a
// number may have been drawn before that of a change that came first, and a
// claim must notice both. A claimed row is about to be exported: its next turn
// comes after that.
const putDirtyConflict = ` ON CONFLICT (connector_id, local_key) DO UPDATE SET
	version = @greatest(tandem_dirty.version + 1, excluded.version),
	at = @greatest(tandem_dirty.at, excluded.at),
	attempts = 0,
	next_at = CASE WHEN tandem_dirty.claim_epoch <> 0 THEN CAST(? AS @time)
		WHEN tandem_dirty.attempts > 0 THEN @least(tandem_dirty.next_at, excluded.next_at)
		WHEN tandem_dirty.next_at <= CAST(? AS @time) THEN tandem_dirty.next_at
		ELSE @least(CAST(? AS @time), tandem_dirty.first_at + @us(?)) END,
	times = CASE WHEN excluded.times IS NULL THEN tandem_dirty.times WHEN tandem_dirty.times IS NULL THEN excluded.times ELSE `

const (
	mergeTimesPostgres = `(SELECT json_object_agg(key, v)::text FROM (SELECT key, max(value::bigint) AS v FROM
		(SELECT * FROM json_each_text(tandem_dirty.times::json) UNION ALL SELECT * FROM json_each_text(excluded.times::json)) a GROUP BY key) b) END`
	mergeTimesSQLite = `(SELECT json_group_object(key, v) FROM (SELECT key, max(value) AS v FROM
		(SELECT key, value FROM json_each(tandem_dirty.times) UNION ALL SELECT key, value FROM json_each(excluded.times)) GROUP BY key)) END`
)

func (w dirtyTimes) conflictArgs(tx *Tx) []any {
	after := tx.time(w.now.Add(w.debounce))
	return []any{after, tx.time(w.now), after, w.maxDelay.Microseconds()}
}

func (tx *Tx) putDirtyPostgres(ctx context.Context, keys []dirtyKey, rows map[dirtyKey]*gathered, when dirtyTimes) error {
	n := len(keys)
	connectors, shards, versions, ats := make([]int64, n), make([]int64, n), make([]int64, n), make([]int64, n)
	names, times := make([]string, n), make([]string, n)
	for i, k := range keys {
		r := rows[k]
		connectors[i], names[i], shards[i], versions[i], ats[i], times[i] = k.connector, k.key, int64(DirtyShard(k.key)), r.version, r.at, timesText(r.times)
	}
	now := when.now.UnixMicro()
	args := append([]any{
		when.now, now, now, when.debounce.Microseconds(),
		pq.Int64Array(connectors), pq.StringArray(names), pq.Int64Array(shards), pq.Int64Array(versions), pq.Int64Array(ats), pq.StringArray(times),
	}, when.conflictArgs(tx)...)
	_, err := tx.exec(ctx, `INSERT INTO tandem_dirty (connector_id, local_key, shard, version, first_at, at, next_at, times, attempts, reason)
		SELECT u.c, u.k, u.s, u.v, ?::timestamptz, timestamptz 'epoch' + u.a * interval '1 microsecond',
			timestamptz 'epoch' + greatest(?::bigint, least(coalesce(l.written_at, 0) * 1000, ?::bigint) + ?::bigint) * interval '1 microsecond', u.t, 0, ''
		FROM unnest(?::int[], ?::text[], ?::smallint[], ?::bigint[], ?::bigint[], ?::text[]) WITH ORDINALITY AS u(c, k, s, v, a, t, n)
		LEFT JOIN LATERAL (SELECT written_at FROM tandem_link WHERE connector_id = u.c AND local_key = u.k AND state = 0 LIMIT 1) l ON true
		ORDER BY u.n`+putDirtyConflict+mergeTimesPostgres, args...)
	return err
}

func (tx *Tx) putDirtySQLite(ctx context.Context, keys []dirtyKey, rows map[dirtyKey]*gathered, when dirtyTimes) error {
	type line struct {
		Connector int64  `json:"c"`
		Key       string `json:"k"`
		Shard     int    `json:"s"`
		Version   int64  `json:"v"`
		At        int64  `json:"a"`
		Times     string `json:"t"`
	}
	lines := make([]line, len(keys))
	for i, k := range keys {
		r := rows[k]
		lines[i] = line{k.connector, k.key, DirtyShard(k.key), r.version, r.at, timesText(r.times)}
	}
	now := when.now.UnixMicro()
	args := append([]any{now, now, now, when.debounce.Microseconds(), jsonList(lines)}, when.conflictArgs(tx)...)
	_, err := tx.exec(ctx, `INSERT INTO tandem_dirty (connector_id, local_key, shard, version, first_at, at, next_at, times, attempts, reason)
		SELECT j.value->>'c', j.value->>'k', j.value->>'s', j.value->>'v', ?, j.value->>'a',
			max(?, min(coalesce(l.written_at, 0) * 1000, ?) + ?), j.value->>'t', 0, ''
		FROM @rows(?) LEFT JOIN tandem_link l ON l.connector_id = j.value->>'c' AND l.local_key = j.value->>'k' AND l.state = 0
		WHERE true`+putDirtyConflict+mergeTimesSQLite, args...)
	return err
}

func timesText(times map[string]int64) string {
	b, err := json.Marshal(times)
	if err != nil { // texts and numbers always encode
		panic(err)
	}
	return string(b)
}
