package store

import (
	"context"
	"database/sql"
	"fmt"
	"slices"

	"github.com/lib/pq"

	"github.com/tandem-sync/tandem/fault"
)

// LinkTable is the table of links. Statements that write entity rows and their
// links from one stage name it; see LinkInsertFromStage. Its columns are
// connector_id, remote_id, local_key, id, hash, base, customs, state, read_at.
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
// included, what the stage says; id and customs stay. Parameters and stage are
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
// and in no particular order. Ids without a link are simply not there.
func (tx *Tx) LinkHeads(ctx context.Context, connectorID int64, remoteIDs []string) ([]LinkHead, error) {
	if len(remoteIDs) == 0 {
		return nil, nil
	}
	rows, err := tx.QueryContext(ctx, tx.sql("SELECT "+headColumns+" FROM tandem_link WHERE connector_id = ? AND remote_id @any(?)"),
		connectorID, tx.texts(remoteIDs))
	if err != nil {
		return nil, fmt.Errorf("look up links: %w", err)
	}
	defer func() { _ = rows.Close() }() // rows.Err says what went wrong
	out := make([]LinkHead, 0, len(remoteIDs))
	var h LinkHead
	dest := []any{&h.ID, &h.RemoteID, &h.LocalKey, &h.Hash, &h.State}
	for rows.Next() {
		if err := rows.Scan(dest...); err != nil {
			return nil, fmt.Errorf("look up links: %w", err)
		}
		out = append(out, h)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("look up links: %w", err)
	}
	return out, nil
}

const linkColumns = headColumns + ", connector_id, base, customs, read_at"

func scanLink(row scanner) (Link, error) {
	var l Link
	var customs sql.NullString
	err := row.Scan(&l.ID, &l.RemoteID, &l.LocalKey, &l.Hash, &l.State, &l.ConnectorID, &l.Base, &customs, &l.ReadAt)
	l.Customs = customs.String
	return l, err
}

// Links is LinkHeads with everything about each link.
func (tx *Tx) Links(ctx context.Context, connectorID int64, remoteIDs []string) ([]Link, error) {
	if len(remoteIDs) == 0 {
		return nil, nil
	}
	return collect(ctx, tx, scanLink, "SELECT "+linkColumns+" FROM tandem_link WHERE connector_id = ? AND remote_id @any(?)",
		connectorID, tx.texts(remoteIDs))
}

// LinksByLocal finds the live links (no tombstones) of local keys.
func (tx *Tx) LinksByLocal(ctx context.Context, connectorID int64, keys []string) ([]Link, error) {
	if len(keys) == 0 {
		return nil, nil
	}
	return collect(ctx, tx, scanLink, "SELECT "+linkColumns+" FROM tandem_link WHERE connector_id = ? AND state = 0 AND local_key @any(?)",
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
	return collect(ctx, tx, func(row scanner) (LockedLink, error) {
		var l LockedLink
		return l, row.Scan(&l.ID, &l.RemoteID, &l.LocalKey, &l.Hash, &l.State, &l.ReadAt)
	}, "SELECT "+headColumns+", read_at FROM tandem_link WHERE connector_id = ? AND remote_id @any(?) ORDER BY remote_id @nokey",
		connectorID, tx.texts(remoteIDs))
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

// linkBlock is how many numbers one step of the PostgreSQL sequence draws.
const linkBlock = 4096

const maxDraws = 8

// ReserveLinkIDs draws n link numbers in a row and gives the first. Numbers
// that are not used are lost, which costs nothing.
func (tx *Tx) ReserveLinkIDs(ctx context.Context, n int) (first int64, err error) {
	if n <= 0 {
		return 0, fmt.Errorf("reserve %d link ids: a positive number is needed", n)
	}
	if tx.db.dialect == SQLite {
		err = tx.row(ctx, "UPDATE tandem_counter SET value = value + ? WHERE name = 'link' RETURNING value - ?", n, n).Scan(&first)
		return first, err
	}
	// A block takes no lock that another batch would wait for. More than one
	// block is a row of blocks only when nobody drew in between: draw again.
	blocks := (n + linkBlock - 1) / linkBlock
	for range maxDraws {
		drawn, err := collect(ctx, tx, scanInt, "SELECT nextval('tandem_link_id') FROM generate_series(1, ?)", blocks)
		if err != nil {
			return 0, fmt.Errorf("reserve link ids: %w", err)
		}
		slices.Sort(drawn)
		if drawn[blocks-1]-drawn[0] == int64(blocks-1)*linkBlock {
			return drawn[0], nil
		}
	}
	return 0, fault.New(fault.Retryable, CodeBusy, "reserve link ids", "others drew numbers all the time")
}

// SetLinkState gives links a new state; n counts those that had another one.
func (tx *Tx) SetLinkState(ctx context.Context, connectorID int64, remoteIDs []string, state LinkState) (n int64, err error) {
	if len(remoteIDs) == 0 {
		return 0, nil
	}
	n, err = tx.exec(ctx, "UPDATE tandem_link SET state = ? WHERE connector_id = ? AND state <> ? AND remote_id @any(?)",
		state, connectorID, state, tx.texts(remoteIDs))
	if err != nil {
		return 0, fmt.Errorf("set link state: %w", err)
	}
	return n, nil
}

const putLinkConflict = ` ON CONFLICT (connector_id, remote_id) DO UPDATE SET local_key = excluded.local_key, hash = excluded.hash,
	base = excluded.base, customs = excluded.customs, state = excluded.state, read_at = excluded.read_at`

// PutLinks makes links what list says, by connector and remote id: new ones are
// inserted, known ones (tombstones included) updated except for their id.
// Tombstones of the list go first, so that a local key can pass from one remote
// id to another in one call. list keeps its order.
func (tx *Tx) PutLinks(ctx context.Context, list []Link) error {
	if len(list) == 0 {
		return nil
	}
	sorted := slices.Clone(list)
	slices.SortStableFunc(sorted, func(a, b Link) int { return rank(a.State) - rank(b.State) })
	var err error
	if tx.db.dialect == Postgres {
		err = tx.putLinksPostgres(ctx, sorted)
	} else {
		err = tx.putLinksSQLite(ctx, sorted)
	}
	if err != nil {
		return fmt.Errorf("store links: %w", err)
	}
	return nil
}

func rank(s LinkState) int {
	if s == Linked {
		return 1
	}
	return 0
}

func (tx *Tx) putLinksPostgres(ctx context.Context, list []Link) error {
	n := len(list)
	connectors, ids, hashes, states, reads := make([]int64, n), make([]int64, n), make([]int64, n), make([]int64, n), make([]int64, n)
	remotes, keys, bases, customs := make([]string, n), make([]string, n), make([]string, n), make([]string, n)
	for i := range list {
		l := &list[i]
		connectors[i], ids[i], hashes[i], states[i], reads[i] = l.ConnectorID, l.ID, l.Hash, int64(l.State), l.ReadAt
		remotes[i], keys[i], bases[i], customs[i] = l.RemoteID, l.LocalKey, l.Base, l.Customs
	}
	_, err := tx.exec(ctx, `INSERT INTO tandem_link (connector_id, remote_id, local_key, id, hash, base, customs, state, read_at)
		SELECT c, r, k, i, h, b, nullif(cu, ''), s, a
		FROM unnest(?::int[], ?::text[], ?::text[], ?::bigint[], ?::bigint[], ?::text[], ?::text[], ?::smallint[], ?::bigint[])
			WITH ORDINALITY AS u(c, r, k, i, h, b, cu, s, a, n) ORDER BY n`+putLinkConflict,
		pq.Int64Array(connectors), pq.StringArray(remotes), pq.StringArray(keys), pq.Int64Array(ids), pq.Int64Array(hashes),
		pq.StringArray(bases), pq.StringArray(customs), pq.Int64Array(states), pq.Int64Array(reads))
	return err
}

func (tx *Tx) putLinksSQLite(ctx context.Context, list []Link) (err error) {
	stmt, err := tx.PrepareContext(ctx, `INSERT INTO tandem_link (connector_id, remote_id, local_key, id, hash, base, customs, state, read_at)
		VALUES (?, ?, ?, ?, ?, ?, nullif(?, ''), ?, ?)`+putLinkConflict)
	if err != nil {
		return err
	}
	defer func() { _ = stmt.Close() }() // its own error adds nothing
	for i := range list {
		l := &list[i]
		if _, err := stmt.ExecContext(ctx, l.ConnectorID, l.RemoteID, l.LocalKey, l.ID, l.Hash, l.Base, l.Customs, int64(l.State), l.ReadAt); err != nil {
			return err
		}
	}
	return nil
}

// ScanLinks reads up to limit links of a connector, tombstones included, in
// order of remote id (by bytes), after one of them ("" from the first).
func (tx *Tx) ScanLinks(ctx context.Context, connectorID int64, after string, limit int) ([]LinkHead, error) {
	return collect(ctx, tx, scanHead, "SELECT "+headColumns+" FROM tandem_link WHERE connector_id = ? AND remote_id > ? ORDER BY remote_id LIMIT ?",
		connectorID, after, limit)
}
