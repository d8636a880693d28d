package store

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/lib/pq"
)

// linkLine is a link as a statement on SQLite takes it.
type linkLine struct {
	Connector int64     `json:"c"`
	Remote    string    `json:"r"`
	Key       string    `json:"k"`
	ID        int64     `json:"i"`
	Hash      int64     `json:"h"`
	Base      string    `json:"b"`
	Customs   string    `json:"cu"`
	State     LinkState `json:"s"`
	ReadAt    int64     `json:"a"`
	Version   string    `json:"v"`
	Pass      int64     `json:"p"`
	WrittenAt int64     `json:"w"`
	Writes    string    `json:"t"`
}

const allLinkColumns = "connector_id, remote_id, local_key, id, hash, base, customs, state, read_at, version, pass, written_at, writes"

// linkSource gives a query for the rows of list, as allLinkColumns, and its
// parameters. filter joins to each of them what the statement needs to know.
func (tx *Tx) linkSource(list []Link, filter string) (string, []any) {
	const columns = "SELECT u.c, u.r, u.k, u.i, u.h, u.b, nullif(u.cu, ''), u.s, u.a, nullif(u.v, ''), nullif(u.p, 0), nullif(u.w, 0), nullif(u.t, '') FROM "
	if tx.db.dialect == SQLite {
		lines := make([]linkLine, len(list))
		for i := range list {
			l := &list[i]
			lines[i] = linkLine{
				l.ConnectorID, l.RemoteID, l.LocalKey, l.ID, l.Hash, l.Base, l.Customs, l.State, l.ReadAt, l.Version, l.Pass, l.WrittenAt, l.Writes,
			}
		}
		return columns + `(SELECT j.value->>'c' AS c, j.value->>'r' AS r, j.value->>'k' AS k, j.value->>'i' AS i, j.value->>'h' AS h, j.value->>'b' AS b,
			j.value->>'cu' AS cu, j.value->>'s' AS s, j.value->>'a' AS a, j.value->>'v' AS v, j.value->>'p' AS p, j.value->>'w' AS w, j.value->>'t' AS t
			FROM @rows(?)) u` + filter, []any{jsonList(lines)}
	}
	n := len(list)
	var ints [7][]int64
	var texts [6][]string
	for i := range ints {
		ints[i] = make([]int64, n)
	}
	for i := range texts {
		texts[i] = make([]string, n)
	}
	for i := range list {
		l := &list[i]
		for c, v := range [...]int64{l.ConnectorID, l.ID, l.Hash, int64(l.State), l.ReadAt, l.Pass, l.WrittenAt} {
			ints[c][i] = v
		}
		for c, v := range [...]string{l.RemoteID, l.LocalKey, l.Base, l.Customs, l.Version, l.Writes} {
			texts[c][i] = v
		}
	}
	return columns + `unnest(?::int[], ?::bigint[], ?::bigint[], ?::smallint[], ?::bigint[], ?::bigint[], ?::bigint[],
			?::text[], ?::text[], ?::text[], ?::text[], ?::text[], ?::text[]) WITH ORDINALITY AS u(c, i, h, s, a, p, w, r, k, b, cu, v, t, n)` + filter,
		[]any{
			pq.Int64Array(ints[0]), pq.Int64Array(ints[1]), pq.Int64Array(ints[2]), pq.Int64Array(ints[3]), pq.Int64Array(ints[4]), pq.Int64Array(ints[5]), pq.Int64Array(ints[6]),
			pq.StringArray(texts[0]), pq.StringArray(texts[1]), pq.StringArray(texts[2]), pq.StringArray(texts[3]), pq.StringArray(texts[4]), pq.StringArray(texts[5]),
		}
}

// inLockOrder puts links in the order in which their rows are locked, those that
// are no longer live first: a local key can then pass from one remote id to
// another in one call.
func inLockOrder(list []Link) []Link {
	list = slices.Clone(list)
	slices.SortStableFunc(list, func(a, b Link) int {
		if d := rank(a.State) - rank(b.State); d != 0 {
			return d
		}
		switch {
		case a.RemoteID < b.RemoteID:
			return -1
		case a.RemoteID > b.RemoteID:
			return 1
		}
		return 0
	})
	return list
}

// UpdateLinks makes existing links, tombstones included, what list says: all but
// their id. n counts them; a link that is not there stays away.
func (tx *Tx) UpdateLinks(ctx context.Context, list []Link) (n int64, err error) {
	if len(list) == 0 {
		return 0, nil
	}
	list = inLockOrder(list)
	if tx.db.dialect == SQLite {
		n, err = tx.updateLinksSQLite(ctx, list)
	} else {
		// An INSERT that always meets its row: so PostgreSQL finds each by the index,
		// whatever it believes about the size of the table; see byID.
		source, args := tx.linkSource(list, " CROSS JOIN LATERAL (SELECT 1 FROM tandem_link WHERE connector_id = u.c AND remote_id = u.r LIMIT 1) x ORDER BY u.n")
		n, err = tx.exec(ctx, "INSERT INTO tandem_link ("+allLinkColumns+") "+source+putLinkConflict+
			", version = excluded.version, pass = excluded.pass, written_at = excluded.written_at, writes = excluded.writes", args...)
	}
	if err != nil {
		return 0, fmt.Errorf("update links: %w", err)
	}
	return n, nil
}

// updateLinksSQLite updates link by link, which in one process is the fastest.
// Nearly all stay with their row in their state; a statement that names neither
// leaves the indexes of the two alone.
func (tx *Tx) updateLinksSQLite(ctx context.Context, list []Link) (n int64, err error) {
	const set = `UPDATE tandem_link SET hash = ?, base = ?, customs = nullif(?, ''), read_at = ?,
		version = nullif(?, ''), pass = nullif(?, 0), written_at = nullif(?, 0), writes = nullif(?, '')`
	const at = " WHERE connector_id = ? AND remote_id = ?"
	same, err := tx.PrepareContext(ctx, set+at+" AND local_key = ? AND state = ?")
	if err != nil {
		return 0, err
	}
	defer func() { _ = same.Close() }() // its own error adds nothing
	for i := range list {
		l := &list[i]
		values := []any{l.Hash, l.Base, l.Customs, l.ReadAt, l.Version, l.Pass, l.WrittenAt, l.Writes}
		res, err := same.ExecContext(ctx, append(values, l.ConnectorID, l.RemoteID, l.LocalKey, int64(l.State))...)
		if err != nil {
			return 0, err
		}
		done, err := res.RowsAffected()
		if err != nil {
			return 0, err
		}
		if done == 0 {
			done, err = tx.exec(ctx, set+", local_key = ?, state = ?"+at, append(values, l.LocalKey, int64(l.State), l.ConnectorID, l.RemoteID)...)
			if err != nil {
				return 0, err
			}
		}
		n += done
	}
	return n, nil
}

// InsertLinks makes new links and gives back those that met another one: their
// remote id has a link, a tombstone included, or their local key a live one.
func (tx *Tx) InsertLinks(ctx context.Context, list []Link) (collided []Link, err error) {
	if len(list) == 0 {
		return nil, nil
	}
	filter := " WHERE true"
	if tx.db.dialect == Postgres {
		filter = " ORDER BY u.n"
	}
	source, args := tx.linkSource(inLockOrder(list), filter)
	type place struct {
		connector int64
		remote    string
	}
	made := make(map[place]bool, len(list))
	err = tx.each(ctx, func(row scanner) error {
		var p place
		err := row.Scan(&p.connector, &p.remote)
		made[p] = true
		return err
	}, "INSERT INTO tandem_link ("+allLinkColumns+") "+source+" ON CONFLICT DO NOTHING RETURNING connector_id, remote_id", args...)
	if err != nil {
		return nil, fmt.Errorf("make links: %w", err)
	}
	for _, l := range list {
		p := place{l.ConnectorID, l.RemoteID}
		if !made[p] {
			collided = append(collided, l)
		}
		delete(made, p) // a second one of the same id was not made
	}
	return collided, nil
}

// LockLinksByLocal locks the live links of local keys and reads them as they are
// now. They are locked in the order of their remote ids, like LockLinks does.
func (tx *Tx) LockLinksByLocal(ctx context.Context, connectorID int64, keys []string) ([]Link, error) {
	if len(keys) == 0 {
		return nil, nil
	}
	keys = sorted(keys)
	if tx.db.dialect == SQLite {
		return collect(ctx, tx, scanLink, "SELECT "+linkColumns+" FROM tandem_link INDEXED BY tandem_link_local"+
			" WHERE connector_id = ? AND state = 0 AND local_key @any(?) ORDER BY remote_id",
			connectorID, tx.texts(keys))
	}
	list, err := collect(ctx, tx, scanLink, "SELECT "+linkColumns+` FROM
		(SELECT f.remote_id AS r FROM unnest(?::text[]) AS u(k) CROSS JOIN LATERAL
			(SELECT remote_id FROM tandem_link WHERE connector_id = ? AND local_key = u.k AND state = 0 LIMIT 1) f ORDER BY 1 OFFSET 0) s
		CROSS JOIN LATERAL (SELECT * FROM tandem_link WHERE connector_id = ? AND remote_id = s.r LIMIT 1 @nokey) l`,
		pq.StringArray(keys), connectorID, connectorID)
	if err != nil {
		return nil, fmt.Errorf("lock links: %w", err)
	}
	// What was waited for may have passed to another row.
	return slices.DeleteFunc(list, func(l Link) bool {
		_, asked := slices.BinarySearch(keys, l.LocalKey)
		return !asked || l.State != Linked
	}), nil
}

func scanText(row scanner) (s string, err error) { return s, row.Scan(&s) }

// LinkSeen is a live link as somebody saw it.
type LinkSeen struct {
	LocalKey string `json:"k"`
	RemoteID string `json:"r"`
	ReadAt   int64  `json:"a"`
}

// LockSeenLinks locks links in the order of their remote ids, like LockLinks does,
// and gives the local keys of those that are not as they were seen: there is none
// any more, it is another row's or apart, or its record has been read since.
func (tx *Tx) LockSeenLinks(ctx context.Context, connectorID int64, list []LinkSeen) (other []string, err error) {
	if len(list) == 0 {
		return nil, nil
	}
	if tx.db.dialect == SQLite {
		return collect(ctx, tx, scanText, `SELECT j.value->>'k' FROM @rows(?) LEFT JOIN tandem_link l ON l.connector_id = ? AND l.remote_id = j.value->>'r'
			WHERE l.local_key IS NOT j.value->>'k' OR l.state <> 0 OR l.read_at > j.value->>'a'`, jsonList(list), connectorID)
	}
	list = slices.SortedFunc(slices.Values(list), func(a, b LinkSeen) int { return strings.Compare(a.RemoteID, b.RemoteID) })
	keys, ids, reads := make([]string, len(list)), make([]string, len(list)), make([]int64, len(list))
	for i, l := range list {
		keys[i], ids[i], reads[i] = l.LocalKey, l.RemoteID, l.ReadAt
	}
	other, err = collect(ctx, tx, scanText, `SELECT u.k FROM unnest(?::text[], ?::text[], ?::bigint[]) AS u(k, r, a) LEFT JOIN LATERAL
			(SELECT local_key, state, read_at FROM tandem_link WHERE connector_id = ? AND remote_id = u.r LIMIT 1 @nokey) l ON true
		WHERE l.local_key IS DISTINCT FROM u.k OR l.state <> 0 OR l.read_at > u.a`,
		pq.StringArray(keys), pq.StringArray(ids), pq.Int64Array(reads), connectorID)
	if err != nil {
		return nil, fmt.Errorf("lock links: %w", err)
	}
	return other, nil
}
