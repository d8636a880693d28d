package store

import (
	"context"
	"database/sql"
	"fmt"
	"slices"

	"github.com/lib/pq"
)

// LinkTable is the table of links. Statements that write entity rows and their
// links from one stage name it; see LinkInsertFromStage. Its columns are
// connector_id, remote_id, local_key, id, hash, base, customs, state, read_at and,
// of exports only, version, pass, written_at, writes.
const LinkTable = "tandem_link"

// LinkInsertFromStage is the statement that makes new links from a stage table
// with the columns n, key, remote_id, link_id, hash, base, link_state and
// read_at. The stage's alias is s, where is a condition on it ("" none), $1 is
// the connector's id. A remote id that has a link, a tombstone included, or a
// local key that is linked already is an error of class 23.
func LinkInsertFromStage(stage, where string) string {
	return "INSERT INTO " + LinkTable + " (connector_id, remote_id, local_key, id, hash, base, state, read_at)" +
		" SELECT CAST($1 AS integer), s.remote_id, s.key, s.link_id, s.hash, s.base, s.link_state, s.read_at FROM " + stage + " AS s" +
		" WHERE " + orTrue(where)
}

// LinkUpdateFromStage is the statement that makes existing links, tombstones
// included, what the stage says; id, customs and what exports know stay. Parameters and stage are
// those of LinkInsertFromStage.
func LinkUpdateFromStage(stage, where string) string {
	return "UPDATE " + LinkTable + " AS l SET local_key = s.key, hash = s.hash, base = s.base, state = s.link_state, read_at = s.read_at" +
		" FROM " + stage + " AS s WHERE l.connector_id = CAST($1 AS integer) AND l.remote_id = s.remote_id AND (" + orTrue(where) + ")"
}

func orTrue(where string) string {
	if where == "" {
		return "true"
	}
	return where
}

const headColumns = "id, remote_id, local_key, hash, state"

func scanHead(row scanner) (LinkHead, error) {
	var h LinkHead
	return h, row.Scan(&h.ID, &h.RemoteID, &h.LocalKey, &h.Hash, &h.State)
}

// LinkHeads finds the links of remote ids, tombstones included, in one query
// and in no particular order. Ids without a link are simply not there; an id
// that is named twice comes once.
func (tx *Tx) LinkHeads(ctx context.Context, connectorID int64, remoteIDs []string) ([]LinkHead, error) {
	if len(remoteIDs) == 0 {
		return nil, nil
	}
	var out []LinkHead
	var err error
	if ids := sorted(remoteIDs); tx.db.dialect == Postgres {
		out, err = tx.linkHeadsPostgres(ctx, connectorID, ids)
	} else {
		out, err = tx.linkHeadsSQLite(ctx, connectorID, ids)
	}
	if err != nil {
		return nil, fmt.Errorf("look up links: %w", err)
	}
	return out, nil
}

// sorted gives the distinct ids in order: locks are taken and indexes read in
// one direction.
func sorted(ids []string) []string {
	ids = slices.Clone(ids)
	slices.Sort(ids)
	return slices.Compact(ids)
}

func (tx *Tx) linkHeadsSQLite(ctx context.Context, connectorID int64, ids []string) (_ []LinkHead, err error) {
	q, args := tx.sql("SELECT "+headColumns+" FROM tandem_link WHERE connector_id = ? AND remote_id @any(?)", []any{connectorID, tx.texts(ids)})
	rows, err := tx.QueryContext(ctx, q, args...)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }() // rows.Err says what went wrong
	out := make([]LinkHead, 0, len(ids))
	var h LinkHead
	dest := []any{&h.ID, &h.RemoteID, &h.LocalKey, &h.Hash, &h.State}
	for rows.Next() {
		if err := rows.Scan(dest...); err != nil {
			return nil, err
		}
		out = append(out, h)
	}
	return out, rows.Err()
}

// byID is the FROM that finds one link per element of a list of remote ids. The
// LIMIT makes PostgreSQL look each one up in the index: joined in any other
// way, a table that has just grown is read as a whole, because its statistics
// still say that it is small.
const byID = " FROM unnest(?::text[]) WITH ORDINALITY AS u(r, n) CROSS JOIN LATERAL" +
	" (SELECT * FROM tandem_link WHERE connector_id = ? AND remote_id = u.r LIMIT 1"

// linkHeadsPostgres has the server write all heads into one text: a row each
// would cost the driver eight allocations.
func (tx *Tx) linkHeadsPostgres(ctx context.Context, connectorID int64, ids []string) ([]LinkHead, error) {
	var text string
	err := tx.row(ctx, "SELECT coalesce(string_agg(concat_ws(' ', u.n, l.id, l.hash, l.state, octet_length(convert_to(l.local_key, 'UTF8')), l.local_key), ' '), '')"+byID+") l",
		pq.StringArray(ids), connectorID).Scan(&text)
	if err != nil {
		return nil, err
	}
	return parseHeads(text, ids)
}

const linkColumns = headColumns + ", connector_id, base, customs, read_at, version, pass, written_at, writes"

func scanLink(row scanner) (Link, error) {
	var l Link
	var customs, version, writes sql.NullString
	var pass, written sql.NullInt64
	err := row.Scan(&l.ID, &l.RemoteID, &l.LocalKey, &l.Hash, &l.State, &l.ConnectorID, &l.Base, &customs, &l.ReadAt, &version, &pass, &written, &writes)
	l.Customs, l.Version, l.Pass, l.WrittenAt, l.Writes = customs.String, version.String, pass.Int64, written.Int64, writes.String
	return l, err
}

// Links is LinkHeads with everything about each link.
func (tx *Tx) Links(ctx context.Context, connectorID int64, remoteIDs []string) ([]Link, error) {
	if len(remoteIDs) == 0 {
		return nil, nil
	}
	ids := sorted(remoteIDs)
	if tx.db.dialect == Postgres {
		return collect(ctx, tx, scanLink, "SELECT "+linkColumns+byID+") l", pq.StringArray(ids), connectorID)
	}
	return collect(ctx, tx, scanLink, "SELECT "+linkColumns+" FROM tandem_link WHERE connector_id = ? AND remote_id @any(?)",
		connectorID, tx.texts(ids))
}

// LinksByLocal finds the live links (no tombstones) of local keys.
func (tx *Tx) LinksByLocal(ctx context.Context, connectorID int64, keys []string) ([]Link, error) {
	if len(keys) == 0 {
		return nil, nil
	}
	keys = sorted(keys)
	if tx.db.dialect == Postgres {
		return collect(ctx, tx, scanLink, "SELECT "+linkColumns+` FROM unnest(?::text[]) AS u(k) CROSS JOIN LATERAL
			(SELECT * FROM tandem_link WHERE connector_id = ? AND state = 0 AND local_key = u.k LIMIT 1) l`, pq.StringArray(keys), connectorID)
	}
	// SQLite would rather read all links of the connector.
	return collect(ctx, tx, scanLink, "SELECT "+linkColumns+" FROM tandem_link INDEXED BY tandem_link_local WHERE connector_id = ? AND state = 0 AND local_key @any(?)",
		connectorID, tx.texts(keys))
}

// LockedLink is a link's head as it is now that its row is locked.
type LockedLink struct {
	LinkHead
	ReadAt int64 // see Link.ReadAt
}

// LockLinks locks the links of remote ids, in order of remote id so that two
// batches never wait for each other crosswise, and reads them as they are now.
func (tx *Tx) LockLinks(ctx context.Context, connectorID int64, remoteIDs []string) ([]LockedLink, error) {
	if len(remoteIDs) == 0 {
		return nil, nil
	}
	ids := sorted(remoteIDs)
	scan := func(row scanner) (LockedLink, error) {
		var l LockedLink
		return l, row.Scan(&l.ID, &l.RemoteID, &l.LocalKey, &l.Hash, &l.State, &l.ReadAt)
	}
	if tx.db.dialect == Postgres {
		return collect(ctx, tx, scan, "SELECT "+headColumns+", read_at"+byID+" @nokey) l", pq.StringArray(ids), connectorID)
	}
	return collect(ctx, tx, scan, "SELECT "+headColumns+", read_at FROM tandem_link WHERE connector_id = ? AND remote_id @any(?) ORDER BY remote_id",
		connectorID, tx.texts(ids))
}

// HasLinks reports whether a connector has any link, tombstones included.
func (tx *Tx) HasLinks(ctx context.Context, connectorID int64) (has bool, err error) {
	err = tx.row(ctx, "SELECT EXISTS (SELECT 1 FROM tandem_link WHERE connector_id = ?)", connectorID).Scan(&has)
	return has, err
}

// CountLinks counts a connector's live links.
func (tx *Tx) CountLinks(ctx context.Context, connectorID int64) (live int64, err error) {
	err = tx.row(ctx, "SELECT count(*) FROM tandem_link WHERE connector_id = ? AND state = 0", connectorID).Scan(&live)
	return live, err
}

// ScanLinks reads up to limit links of a connector, tombstones included, in
// order of remote id (by bytes), after one of them ("" from the first).
func (tx *Tx) ScanLinks(ctx context.Context, connectorID int64, after string, limit int) ([]LinkHead, error) {
	return collect(ctx, tx, scanHead, "SELECT "+headColumns+" FROM tandem_link WHERE connector_id = ? AND remote_id > ? ORDER BY remote_id LIMIT ?",
		connectorID, after, limit)
}

// LiveLinks gives the numbers of the live ones among the next limit links of a
// connector in order of remote id (by bytes), after one of them ("" from the
// first), and the last remote id of the page; "" when there is no further link.
// The database writes the numbers into one text: a row each would cost several
// times as much.
func (tx *Tx) LiveLinks(ctx context.Context, connectorID int64, after string, limit int) (numbers []uint64, last string, err error) {
	join := "group_concat(CASE WHEN state = 0 THEN id END, ' ')"
	if tx.db.dialect == Postgres {
		join = "string_agg(CASE WHEN state = 0 THEN id END::text, ' ')"
	}
	var text string
	err = tx.inOrder(ctx, func() error {
		return tx.row(ctx, "SELECT coalesce("+join+`, ''), coalesce(max(remote_id), '') FROM (SELECT id, state, remote_id FROM tandem_link
			WHERE connector_id = ? AND remote_id > ? ORDER BY connector_id, remote_id LIMIT ?) l`, connectorID, after, limit).Scan(&text, &last)
	})
	if err == nil {
		numbers, err = parseNumbers(text)
	}
	if err != nil {
		return nil, "", fmt.Errorf("list links: %w", err)
	}
	return numbers, last, nil
}
