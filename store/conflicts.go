package store

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/tandem-sync/tandem/fault"
)

// Conflict is a field whose sides disagree and that waits for a person. There is
// one open conflict per connector, local row and field.
type Conflict struct {
	ID          int64
	ChannelID   int64
	Channel     string // name, joined
	ConnectorID int64
	Connector   string
	LocalKey    string
	RemoteID    string
	Field       string
	// The values as JSON; nil absent.
	Local, Remote, Base json.RawMessage
	// Seen is what the judge saw of the field on each side, in the form of
	// mapping.EncodeBase for one field; "" unknown.
	Seen              string
	LocalAt, RemoteAt *time.Time // when each side changed; nil unknown
	RunID             int64      // the run that met it last
	CreatedAt         time.Time
	Resolved          string // "" open, else how it ended
	ResolvedAt        *time.Time
}

// How a conflict ends.
const (
	WinnerLocal  = "local"
	WinnerRemote = "remote"
	ConflictGone = "gone" // the sides agree by themselves, or the pair is no more
)

const conflictSelect = `SELECT f.id, f.channel_id, c.name, f.connector_id, f.connector, f.local_key, f.remote_id, f.field,
	f.local_value, f.remote_value, f.base_value, f.local_at, f.remote_at, f.run_id, f.created_at, f.resolved, f.resolved_at, coalesce(f.seen, '')
	FROM tandem_conflict f JOIN tandem_channel c ON c.id = f.channel_id`

func scanConflict(row scanner) (Conflict, error) {
	var c Conflict
	var local, remote, base jsonText
	var localAt, remoteAt, created, resolved nullTime
	err := row.Scan(&c.ID, &c.ChannelID, &c.Channel, &c.ConnectorID, &c.Connector, &c.LocalKey, &c.RemoteID, &c.Field,
		&local, &remote, &base, &localAt, &remoteAt, &c.RunID, &created, &c.Resolved, &resolved, &c.Seen)
	c.Local, c.Remote, c.Base = local.raw, remote.raw, base.raw
	c.LocalAt, c.RemoteAt, c.CreatedAt, c.ResolvedAt = localAt.t, remoteAt.t, created.value(), resolved.t
	return c, err
}

// conflictLine is a conflict as a statement takes it.
type conflictLine struct {
	Channel   int64  `json:"ch"`
	ID        int64  `json:"co"`
	Connector string `json:"cn"`
	LocalKey  string `json:"k"`
	RemoteID  string `json:"r"`
	Field     string `json:"f"`
	Local     any    `json:"lv"`
	Remote    any    `json:"rv"`
	Base      any    `json:"bv"`
	LocalAt   any    `json:"la"`
	RemoteAt  any    `json:"ra"`
	Run       int64  `json:"run"`
	Seen      string `json:"s"`
}

// AddConflicts keeps conflicts; one that is open already gets the new values. n
// counts those that were not. A field must not come twice in list.
func (tx *Tx) AddConflicts(ctx context.Context, list []Conflict) (n int, err error) {
	if len(list) == 0 {
		return 0, nil
	}
	lines := make([]conflictLine, len(list))
	for i, c := range list {
		lines[i] = conflictLine{
			c.ChannelID, c.ConnectorID, c.Connector, c.LocalKey, c.RemoteID, c.Field,
			nullJSON(c.Local), nullJSON(c.Remote), nullJSON(c.Base), tx.jsonTime(c.LocalAt), tx.jsonTime(c.RemoteAt), c.RunID, c.Seen,
		}
	}
	slices.SortFunc(lines, func(a, b conflictLine) int {
		return cmp.Or(cmp.Compare(a.ID, b.ID), cmp.Compare(a.LocalKey, b.LocalKey), cmp.Compare(a.Field, b.Field))
	})
	text := jsonList(lines)
	var open int
	err = tx.row(ctx, `SELECT count(*) FROM @rows(?) JOIN tandem_conflict f ON f.connector_id = CAST(j.value->>'co' AS bigint)
		AND f.local_key = j.value->>'k' AND f.field = j.value->>'f' AND f.resolved = ''`, text).Scan(&open)
	if err == nil {
		_, err = tx.exec(ctx, `INSERT INTO tandem_conflict (channel_id, connector_id, connector, local_key, remote_id, field,
				local_value, remote_value, base_value, local_at, remote_at, run_id, created_at, resolved, seen)
			SELECT CAST(j.value->>'ch' AS bigint), CAST(j.value->>'co' AS bigint), j.value->>'cn', j.value->>'k', j.value->>'r', j.value->>'f',
				j.value->>'lv', j.value->>'rv', j.value->>'bv', CAST(j.value->>'la' AS @time), CAST(j.value->>'ra' AS @time),
				CAST(j.value->>'run' AS bigint), @now, '', j.value->>'s' FROM @rows(?) WHERE true
			ON CONFLICT (connector_id, local_key, field) WHERE resolved = '' DO UPDATE SET remote_id = excluded.remote_id,
				local_value = excluded.local_value, remote_value = excluded.remote_value, base_value = excluded.base_value,
				local_at = excluded.local_at, remote_at = excluded.remote_at, run_id = excluded.run_id, seen = excluded.seen`, text)
	}
	if err != nil {
		return 0, fmt.Errorf("keep conflicts: %w", err)
	}
	return len(list) - open, nil
}

// ConflictFilter says which conflicts to list. The zero value lists the newest
// hundred, resolved ones included.
type ConflictFilter struct {
	ChannelID   int64  // 0: all
	ConnectorID int64  // 0: all
	Connector   string // by name; "": all
	LocalKey    string // "": all
	Field       string // by its local column; "": all
	RunID       int64  // the latest run that met it; 0: all
	Open        bool   // true: only what still waits
	Before      int64  // with a smaller id; 0: from the newest
	Limit       int    // 0: 100
}

// where gives the condition of the filter without Before and Limit.
func (f ConflictFilter) where() (string, []any) {
	q, args := " WHERE 1 = 1", []any(nil)
	and := func(on bool, cond string, arg any) {
		if on {
			q += " AND " + cond
			args = append(args, arg)
		}
	}
	and(f.ChannelID != 0, "f.channel_id = ?", f.ChannelID)
	and(f.ConnectorID != 0, "f.connector_id = ?", f.ConnectorID)
	and(f.Connector != "", "f.connector = ?", f.Connector)
	and(f.LocalKey != "", "f.local_key = ?", f.LocalKey)
	and(f.Field != "", "f.field = ?", f.Field)
	and(f.RunID != 0, "f.run_id = ?", f.RunID)
	if f.Open {
		q += " AND f.resolved = ''"
	}
	return q, args
}

// Conflicts lists conflicts, the newest first.
func (tx *Tx) Conflicts(ctx context.Context, f ConflictFilter) ([]Conflict, error) {
	where, args := f.where()
	q := conflictSelect + where
	if f.Before > 0 {
		q += " AND f.id < ?"
		args = append(args, f.Before)
	}
	if f.Limit <= 0 {
		f.Limit = defaultLimit
	}
	return collect(ctx, tx, scanConflict, q+" ORDER BY f.id DESC LIMIT ?", append(args, f.Limit)...)
}

// OpenConflicts gives the open conflicts of local rows, in the order of keys and
// fields.
func (tx *Tx) OpenConflicts(ctx context.Context, connectorID int64, keys []string) ([]Conflict, error) {
	if len(keys) == 0 {
		return nil, nil
	}
	return collect(ctx, tx, scanConflict, conflictSelect+` WHERE f.connector_id = ? AND f.resolved = '' AND f.local_key @any(?)
		ORDER BY f.local_key, f.field`, connectorID, tx.texts(sorted(keys)))
}

// Conflict reads a conflict; an unknown one is a not_found fault.
func (tx *Tx) Conflict(ctx context.Context, id int64) (Conflict, error) {
	c, err := scanConflict(tx.row(ctx, conflictSelect+" WHERE f.id = ?", id))
	return c, errNoRow(err, "conflict", id)
}

// ResolveConflict ends an open conflict with a winner. One that has ended
// already gives a conflict fault. What the winner's value is to overwrite is the
// caller's to see to, in the same transaction.
func (tx *Tx) ResolveConflict(ctx context.Context, id int64, winner string) error {
	if winner != WinnerLocal && winner != WinnerRemote && winner != ConflictGone {
		return fmt.Errorf("resolve conflict %d: %q is no winner", id, winner)
	}
	n, err := tx.exec(ctx, "UPDATE tandem_conflict SET resolved = ?, resolved_at = @now WHERE id = ? AND resolved = ''", winner, id)
	if err != nil || n == 1 {
		return err
	}
	c, err := tx.Conflict(ctx, id)
	if err != nil {
		return err
	}
	return fault.New(fault.Permanent, fault.CodeConflict, "resolve", "conflict %d is resolved already: %s", id, c.Resolved)
}

// ConflictKey names a field of a local row; an empty Field all of its fields.
type ConflictKey struct {
	LocalKey string `json:"k"`
	Field    string `json:"f"`
}

// SettleConflicts ends the open conflicts of fields whose sides agree again or
// whose pair is no more; n counts them.
func (tx *Tx) SettleConflicts(ctx context.Context, connectorID int64, list []ConflictKey) (n int64, err error) {
	if len(list) == 0 {
		return 0, nil
	}
	// Nearly always there is none, and every field of every exported row is asked for.
	open := false
	err = tx.row(ctx, "SELECT EXISTS (SELECT 1 FROM tandem_conflict WHERE connector_id = ? AND resolved = '')", connectorID).Scan(&open)
	if err != nil || !open {
		return 0, err
	}
	n, err = tx.exec(ctx, `UPDATE tandem_conflict SET resolved = 'gone', resolved_at = @now WHERE resolved = '' AND id @one(
		SELECT f.id FROM @rows(?) CROSS JOIN tandem_conflict f WHERE f.connector_id = ? AND f.resolved = ''
			AND f.local_key = j.value->>'k' AND j.value->>'f' IN ('', f.field)@end`, jsonList(list), connectorID)
	if err != nil {
		return 0, fmt.Errorf("settle conflicts of connector %d: %w", connectorID, err)
	}
	return n, nil
}
