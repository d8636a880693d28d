package store

import (
	"context"
	"fmt"
	"slices"

	"github.com/lib/pq"

	"github.com/tandem-sync/tandem/fault"
)

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
// id to another in one call. list keeps its order. Version, Pass, WrittenAt and
// Writes are neither written nor changed: UpdateLinks does that.
func (tx *Tx) PutLinks(ctx context.Context, list []Link) error {
	if len(list) == 0 {
		return nil
	}
	ordered := slices.Clone(list)
	slices.SortStableFunc(ordered, func(a, b Link) int { return rank(a.State) - rank(b.State) })
	var err error
	if tx.db.dialect == Postgres {
		err = tx.putLinksPostgres(ctx, ordered)
	} else {
		err = tx.putLinksSQLite(ctx, ordered)
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
