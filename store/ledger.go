package store

import (
	"context"
	"encoding/json"
	"fmt"
)

// keepAttempts is how many of the latest tries of an item are kept.
const keepAttempts = 20

// noteAttempts keeps the tries that parking list was, in one statement.
func (tx *Tx) noteAttempts(ctx context.Context, list []Parked) error {
	type try struct {
		ID      int64  `json:"id"`
		N       int    `json:"n"`
		Run     int64  `json:"run"`
		Reason  string `json:"reason"`
		Message string `json:"message"`
	}
	tries := make([]try, 0, len(list))
	var old []int64
	for i := range list {
		p := &list[i]
		tries = append(tries, try{p.ID, p.Attempts, p.RunID, p.Reason, p.Message})
		if p.Attempts > keepAttempts {
			old = append(old, p.ID)
		}
	}
	if len(tries) == 0 {
		return nil
	}
	_, err := tx.exec(ctx, `INSERT INTO tandem_parked_attempt (parked_id, n, run_id, at, reason, message)
		SELECT CAST(j.value->>'id' AS bigint), CAST(j.value->>'n' AS integer), CAST(j.value->>'run' AS bigint), @now, j.value->>'reason', j.value->>'message'
		FROM @rows(?)`, jsonList(tries))
	if err == nil && len(old) > 0 {
		_, err = tx.exec(ctx, `DELETE FROM tandem_parked_attempt WHERE parked_id @any(?)
			AND n <= (SELECT p.attempts FROM tandem_parked p WHERE p.id = parked_id) - ?`, tx.ints(old), keepAttempts)
	}
	if err != nil {
		return fmt.Errorf("note the tries: %w", err)
	}
	return nil
}

// ParkedAttempts gives the latest tries of a parked item, the first one first.
func (tx *Tx) ParkedAttempts(ctx context.Context, id int64) ([]ParkedAttempt, error) {
	return collect(ctx, tx, func(row scanner) (ParkedAttempt, error) {
		var a ParkedAttempt
		var at nullTime
		err := row.Scan(&a.N, &at, &a.Run, &a.Reason, &a.Message)
		a.At = at.value()
		return a, err
	}, "SELECT n, at, run_id, reason, message FROM tandem_parked_attempt WHERE parked_id = ? ORDER BY n", id)
}

// ParkedHead is what working on many parked items needs of each.
type ParkedHead struct {
	ID          int64
	Kind        ParkedKind
	ChannelID   int64
	Channel     string
	ConnectorID int64
	Connector   string
	LocalID     string
	RemoteID    string
	Outward     bool // about a local row on its way out
	// Payload is a message's body; nil for every other kind.
	Payload json.RawMessage
}

const parkedHeads = `SELECT p.id, p.kind, p.channel_id, coalesce(c.name, p.channel), p.connector_id, coalesce(k.name, p.connector), p.local_id, p.remote_id, p.outward,
	CASE WHEN p.kind = 'message' THEN p.payload END
	FROM tandem_parked p LEFT JOIN tandem_channel c ON c.id = p.channel_id LEFT JOIN tandem_connector k ON k.id = p.connector_id`

func scanParkedHead(row scanner) (ParkedHead, error) {
	var h ParkedHead
	var payload jsonText
	err := row.Scan(&h.ID, &h.Kind, &h.ChannelID, &h.Channel, &h.ConnectorID, &h.Connector, &h.LocalID, &h.RemoteID, &h.Outward, &payload)
	h.Payload = payload.raw
	return h, err
}

// ParkedHeads gives every item the filter names, the oldest first; Before and
// Limit do not count.
func (tx *Tx) ParkedHeads(ctx context.Context, f ParkedFilter) ([]ParkedHead, error) {
	where, args := f.where(tx)
	return collect(ctx, tx, scanParkedHead, parkedHeads+where+" ORDER BY p.id", args...)
}

// CountParked counts the items the filter names; Before and Limit do not count.
func (tx *Tx) CountParked(ctx context.Context, f ParkedFilter) (n int64, err error) {
	where, args := f.where(tx)
	err = tx.row(ctx, `SELECT count(*) FROM tandem_parked p LEFT JOIN tandem_connector k ON k.id = p.connector_id`+where, args...).Scan(&n)
	return n, err
}

// HeldRecords gives the parked records of a channel that a new mapping may set
// free: the open ones and those whose skip still holds.
func (tx *Tx) HeldRecords(ctx context.Context, channelID int64) ([]ParkedHead, error) {
	return collect(ctx, tx, scanParkedHead, parkedHeads+` WHERE p.channel_id = ? AND NOT k.retired
		AND (p.kind IN ('record', 'duplicate_identity', 'write_refused') OR p.outward AND p.kind = 'create_unknown')
		AND (p.resolved = '' OR p.resolved = 'skipped' AND p.print <> '') ORDER BY p.id`, channelID)
}

// ResolveAll closes the open ones of the items and says how many they were.
func (tx *Tx) ResolveAll(ctx context.Context, ids []int64, how string) (int64, error) {
	if len(ids) == 0 {
		return 0, nil
	}
	return tx.exec(ctx, "UPDATE tandem_parked SET resolved = ?, resolved_at = @now WHERE resolved = '' AND id @any(?)", how, tx.ints(ids))
}

// EndSkip lets a skip no longer hold: the item counts as retried.
func (tx *Tx) EndSkip(ctx context.Context, id int64) error {
	_, err := tx.exec(ctx, "UPDATE tandem_parked SET resolved = 'retried', resolved_at = @now, print = '' WHERE id = ? AND resolved = 'skipped'", id)
	return err
}

// OpenOrSkipped reports whether the connector has open parked items, and
// whether it has items whose skip holds.
func (tx *Tx) OpenOrSkipped(ctx context.Context, connectorID int64) (open, skipped bool, err error) {
	err = tx.row(ctx, `SELECT EXISTS (SELECT 1 FROM tandem_parked WHERE connector_id = ? AND resolved = ''),
		EXISTS (SELECT 1 FROM tandem_parked WHERE connector_id = ? AND resolved = 'skipped' AND print <> '')`, connectorID, connectorID).Scan(&open, &skipped)
	return open, skipped, err
}

// SkippedPrints gives the fingerprints under which the named records are
// skipped, by remote id.
func (tx *Tx) SkippedPrints(ctx context.Context, connectorID int64, remoteIDs []string) (map[string][]string, error) {
	out := map[string][]string{}
	err := tx.each(ctx, func(row scanner) error {
		var id, mark string
		if err := row.Scan(&id, &mark); err != nil {
			return err
		}
		out[id] = append(out[id], mark)
		return nil
	}, `SELECT remote_id, print FROM tandem_parked WHERE connector_id = ? AND resolved = 'skipped' AND print <> '' AND NOT outward
		AND remote_id @any(?)`, connectorID, tx.texts(remoteIDs))
	return out, err
}

// EndSkips lets the skips of records no longer hold: their data is another, or
// they are gone.
func (tx *Tx) EndSkips(ctx context.Context, connectorID int64, remoteIDs []string) error {
	if len(remoteIDs) == 0 {
		return nil
	}
	_, err := tx.exec(ctx, `UPDATE tandem_parked SET print = '' WHERE connector_id = ? AND resolved = 'skipped' AND print <> ''
		AND NOT outward AND remote_id <> '' AND remote_id @any(?)`, connectorID, tx.texts(remoteIDs))
	return err
}

// UnseenParked gives up to limit open parked records of a connector, by id after
// a given one, that the run has not met.
func (tx *Tx) UnseenParked(ctx context.Context, connectorID, runID, after int64, limit int) ([]ParkedHead, error) {
	return collect(ctx, tx, scanParkedHead, parkedHeads+` WHERE p.connector_id = ? AND p.resolved = '' AND p.run_id <> ? AND p.id > ? AND p.remote_id <> '' AND NOT p.outward
		AND p.kind IN ('record', 'duplicate_identity', 'write_refused') ORDER BY p.id LIMIT ?`, connectorID, runID, after, limit)
}

// retryChunk is how many records one targeted run is asked for.
const retryChunk = 2000

// RequestRecords asks for records of a connector by id, in as many runs as they
// need, and gives the runs.
func (tx *Tx) RequestRecords(ctx context.Context, channelID int64, connector string, trigger Trigger, remoteIDs []string) ([]Run, error) {
	var runs []Run
	for len(remoteIDs) > 0 {
		n := min(len(remoteIDs), retryChunk)
		run, _, _, err := tx.AddRequest(ctx, Request{ChannelID: channelID, Trigger: trigger, Spec: Spec{
			Kind: KindSync, Mode: ModeIncremental, Connectors: []string{connector}, RemoteIDs: remoteIDs[:n],
		}}, false)
		if err != nil {
			return nil, err
		}
		runs = append(runs, run)
		remoteIDs = remoteIDs[n:]
	}
	return runs, nil
}
