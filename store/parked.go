package store

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/tandem-sync/tandem/fault"
	mask "github.com/tandem-sync/tandem/internal/redact"
)

// dedupe gives what makes two open items of a connector the same, or nil: a
// record by its remote id, on the way out by its local one, one without an id by
// its content, and there is one mass_delete at a time each way. Messages are each their own.
func (p Parked) dedupe() any {
	switch p.Kind {
	case ParkedMessage:
		return nil
	case ParkedMassDelete:
		if p.Outward {
			return "mass_delete_out"
		}
		return "mass_delete"
	case ParkedRecord, ParkedDuplicate, ParkedRefused, ParkedUnknown:
	}
	switch {
	case p.Outward && p.LocalID != "":
		return "out:" + p.LocalID
	case p.RemoteID != "":
		return "id:" + p.RemoteID
	}
	sum := sha256.Sum256(append([]byte(p.LocalID+"\x00"+p.Message+"\x00"), p.Payload...))
	return "sum:" + hex.EncodeToString(sum[:])
}

// Park keeps items for a person and writes each one's id into list. An item
// that is open already (see Parked) gets the new reason and one attempt more.
// n counts the new ones. Zero CreatedAt and Attempts mean now and 1. Values of
// the payload whose key says that they are secret are masked.
func (tx *Tx) Park(ctx context.Context, list []Parked) (n int, err error) {
	for i := range list {
		list[i].Payload = mask.JSON(list[i].Payload)
		isNew, err := tx.park(ctx, &list[i])
		if err != nil {
			return 0, fmt.Errorf("park %s %s: %w", list[i].Kind, list[i].RemoteID, err)
		}
		if isNew {
			n++
		}
	}
	return n, tx.noteAttempts(ctx, list)
}

func (tx *Tx) park(ctx context.Context, p *Parked) (isNew bool, err error) {
	same := p.dedupe()
	attempts := max(p.Attempts, 1)
	var created nullTime
	if same != nil {
		err = tx.row(ctx, `UPDATE tandem_parked SET kind = ?, run_id = ?, local_id = ?, reason = ?, message = ?, attempts = attempts + ?,
			next_at = ?, payload = coalesce(?, payload), answer = ?, print = ?
			WHERE connector_id = ? AND dedupe = ? AND resolved = '' RETURNING id, attempts, created_at`,
			p.Kind, p.RunID, p.LocalID, p.Reason, p.Message, attempts, tx.timePtr(p.NextAt), nullJSON(p.Payload), p.Answer, p.Print, p.ConnectorID, same).
			Scan(&p.ID, &p.Attempts, &created)
		if err == nil {
			p.CreatedAt = created.value()
			return false, nil
		}
		if !errors.Is(err, sql.ErrNoRows) {
			return false, err
		}
	}
	err = tx.row(ctx, `INSERT INTO tandem_parked (kind, channel_id, channel, connector_id, connector, run_id, local_id, remote_id, reason, message,
		attempts, created_at, next_at, payload, answer, print, outward, resolved, dedupe) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, @now, ?, ?, ?, ?, ?, '', ?)
		RETURNING id, created_at`,
		p.Kind, p.ChannelID, p.Channel, p.ConnectorID, p.Connector, p.RunID, p.LocalID, p.RemoteID, p.Reason, p.Message,
		attempts, tx.timePtr(p.NextAt), nullJSON(p.Payload), p.Answer, p.Print, p.Outward, same).Scan(&p.ID, &created)
	p.Attempts, p.CreatedAt, p.Resolved = attempts, created.value(), ""
	return true, err
}

const parkedSelect = `SELECT p.id, p.kind, p.channel_id, coalesce(c.name, p.channel), p.connector_id, coalesce(k.name, p.connector), p.run_id,
	p.local_id, p.remote_id, p.reason, p.message, p.attempts, p.created_at, p.next_at, p.payload, p.answer, p.print, p.outward, p.resolved, p.resolved_at
	FROM tandem_parked p LEFT JOIN tandem_channel c ON c.id = p.channel_id LEFT JOIN tandem_connector k ON k.id = p.connector_id`

func scanParked(row scanner) (Parked, error) {
	var p Parked
	var created, next, resolved nullTime
	var payload jsonText
	err := row.Scan(&p.ID, &p.Kind, &p.ChannelID, &p.Channel, &p.ConnectorID, &p.Connector, &p.RunID,
		&p.LocalID, &p.RemoteID, &p.Reason, &p.Message, &p.Attempts, &created, &next, &payload, &p.Answer, &p.Print, &p.Outward, &p.Resolved, &resolved)
	p.CreatedAt, p.NextAt, p.Payload, p.ResolvedAt = created.value(), next.t, payload.raw, resolved.t
	return p, err
}

// ParkedByID reads a parked item; an unknown one is a not_found fault.
func (tx *Tx) ParkedByID(ctx context.Context, id int64) (Parked, error) {
	p, err := scanParked(tx.row(ctx, parkedSelect+" WHERE p.id = ?", id))
	return p, errNoRow(err, "parked item", id)
}

// ParkedFilter says which parked items to list. The zero value lists the
// newest hundred, resolved ones included.
type ParkedFilter struct {
	ChannelID int64      // with messages that name the channel; 0: all
	Connector string     // by name, of whatever channel; "": all
	Kind      ParkedKind // "": all
	Reason    string     // "": all
	RunID     int64      // the latest run that parked it; 0: all
	Since     time.Time  // parked first at or after; zero: all
	Open      bool       // true: only what still waits
	NotKind   ParkedKind // leave these out; "": none
	Before    int64      // items with a smaller id; 0: from the newest
	Limit     int        // 0: 100
}

// where gives the condition of the filter without Before and Limit.
func (f ParkedFilter) where(tx *Tx) (string, []any) {
	q, args := " WHERE 1 = 1", []any(nil)
	and := func(on bool, cond string, arg any) {
		if on {
			q += " AND " + cond
			args = append(args, arg)
		}
	}
	if f.ChannelID != 0 {
		q += " AND (p.channel_id = ? OR p.channel_id = 0 AND p.channel = (SELECT n.name FROM tandem_channel n WHERE n.id = ?))"
		args = append(args, f.ChannelID, f.ChannelID)
	}
	and(f.Connector != "", "coalesce(k.name, p.connector) = ?", f.Connector)
	and(f.Kind != "", "p.kind = ?", f.Kind)
	and(f.Reason != "", "p.reason = ?", f.Reason)
	and(f.RunID != 0, "p.run_id = ?", f.RunID)
	and(f.NotKind != "", "p.kind <> ?", f.NotKind)
	if !f.Since.IsZero() {
		and(true, "p.created_at >= ?", tx.time(f.Since))
	}
	if f.Open {
		q += " AND p.resolved = ''"
	}
	return q, args
}

// ListParked lists parked items, the newest first.
func (tx *Tx) ListParked(ctx context.Context, f ParkedFilter) ([]Parked, error) {
	where, args := f.where(tx)
	q := parkedSelect + where
	if f.Before > 0 {
		q += " AND p.id < ?"
		args = append(args, f.Before)
	}
	if f.Limit <= 0 {
		f.Limit = defaultLimit
	}
	return collect(ctx, tx, scanParked, q+" ORDER BY p.id DESC LIMIT ?", append(args, f.Limit)...)
}

// ResolveParked closes an open item; how is a word such as "approved". An
// item that is closed already gives a conflict fault.
func (tx *Tx) ResolveParked(ctx context.Context, id int64, how string) error {
	if how == "" {
		return fmt.Errorf("resolve parked item %d: a word is needed", id)
	}
	n, err := tx.exec(ctx, "UPDATE tandem_parked SET resolved = ?, resolved_at = @now WHERE id = ? AND resolved = ''", how, id)
	if err != nil || n == 1 {
		return err
	}
	p, err := tx.ParkedByID(ctx, id)
	if err != nil {
		return err
	}
	return fault.New(fault.Permanent, fault.CodeConflict, "resolve", "parked item %d is resolved already: %s", id, p.Resolved)
}

// ResolveRecords closes the open items of records that work now.
func (tx *Tx) ResolveRecords(ctx context.Context, connectorID int64, remoteIDs []string, how string) error {
	if len(remoteIDs) == 0 {
		return nil
	}
	_, err := tx.exec(ctx, `UPDATE tandem_parked SET resolved = ?, resolved_at = @now
		WHERE connector_id = ? AND resolved = '' AND NOT outward AND kind <> 'mass_delete' AND remote_id @any(?)`, how, connectorID, tx.texts(remoteIDs))
	return err
}
