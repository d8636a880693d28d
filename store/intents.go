package store

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
)

// IntentState says what is known about a create.
type IntentState string

// The states of an intent.
const (
	IntentOpen    IntentState = "open"    // about to be sent, or sent by a worker that died
	IntentUnknown IntentState = "unknown" // sent, and whether it was carried out is not known
)

// Intent is the promise to create a record on the remote side. It is committed
// before the call, so that no create is repeated without looking.
type Intent struct {
	ConnectorID int64
	LocalKey    string
	Key         string // the idempotency key: the same in every repeat
	State       IntentState
	Body        json.RawMessage // what is sent, the same in every repeat; nil none
	Attempts    int             // how often the outcome stayed unknown
	CreatedAt   time.Time
	NextAt      time.Time // what became of it is looked up from then on
}

func scanIntent(row scanner) (Intent, error) {
	var i Intent
	var body jsonText
	var created, next nullTime
	err := row.Scan(&i.ConnectorID, &i.LocalKey, &i.Key, &i.State, &body, &i.Attempts, &created, &next)
	i.Body, i.CreatedAt, i.NextAt = body.raw, created.value(), next.value()
	return i, err
}

// PutIntents keeps open intents and gives them as they are kept, in the order of
// their local keys: one that is there already stays what it is, with its key and
// body. State, Attempts and the times of list do not count.
func (tx *Tx) PutIntents(ctx context.Context, list []Intent) ([]Intent, error) {
	if len(list) == 0 {
		return nil, nil
	}
	type line struct {
		Connector int64  `json:"c"`
		LocalKey  string `json:"l"`
		Key       string `json:"k"`
		Body      any    `json:"b"`
	}
	lines := make([]line, len(list))
	keys := map[int64][]string{}
	for n, i := range list {
		lines[n] = line{i.ConnectorID, i.LocalKey, i.Key, nullJSON(i.Body)}
		keys[i.ConnectorID] = append(keys[i.ConnectorID], i.LocalKey)
	}
	slices.SortFunc(lines, func(a, b line) int { return strings.Compare(a.LocalKey, b.LocalKey) })
	if _, err := tx.exec(ctx, `INSERT INTO tandem_intent (connector_id, local_key, key, state, body, attempts, created_at, next_at)
		SELECT CAST(j.value->>'c' AS integer), j.value->>'l', j.value->>'k', 'open', j.value->>'b', 0, @now, @now FROM @rows(?)
		WHERE true ON CONFLICT DO NOTHING`, jsonList(lines)); err != nil {
		return nil, fmt.Errorf("keep intents: %w", err)
	}
	out := make([]Intent, 0, len(list))
	for connector, k := range keys {
		kept, err := tx.Intents(ctx, connector, k)
		if err != nil {
			return nil, err
		}
		out = append(out, kept...)
	}
	slices.SortStableFunc(out, func(a, b Intent) int { return strings.Compare(a.LocalKey, b.LocalKey) })
	return out, nil
}

// Intents gives the intents of local keys, in the order of the keys.
func (tx *Tx) Intents(ctx context.Context, connectorID int64, keys []string) ([]Intent, error) {
	if len(keys) == 0 {
		return nil, nil
	}
	list, err := collect(ctx, tx, scanIntent, `SELECT connector_id, local_key, key, state, body, attempts, created_at, next_at
		FROM tandem_intent WHERE connector_id = ? AND local_key @any(?) ORDER BY local_key`, connectorID, tx.texts(sorted(keys)))
	if err != nil {
		return nil, fmt.Errorf("intents of connector %d: %w", connectorID, err)
	}
	return list, nil
}

// OpenIntents tells which of the keys have an intent, of whatever state.
func (tx *Tx) OpenIntents(ctx context.Context, connectorID int64, keys []string) (map[string]bool, error) {
	list, err := tx.Intents(ctx, connectorID, keys)
	out := make(map[string]bool, len(list))
	for _, i := range list {
		out[i.LocalKey] = true
	}
	return out, err
}

// HasOpenIntents reports whether a connector has any intent.
func (tx *Tx) HasOpenIntents(ctx context.Context, connectorID int64) (has bool, err error) {
	err = tx.row(ctx, "SELECT EXISTS (SELECT 1 FROM tandem_intent WHERE connector_id = ?)", connectorID).Scan(&has)
	return has, err
}

// CloseIntents forgets intents whose outcome is known.
func (tx *Tx) CloseIntents(ctx context.Context, connectorID int64, keys []string) error {
	if len(keys) == 0 {
		return nil
	}
	if _, err := tx.exec(ctx, "DELETE FROM tandem_intent WHERE connector_id = ? AND local_key @any(?)", connectorID, tx.texts(sorted(keys))); err != nil {
		return fmt.Errorf("close intents of connector %d: %w", connectorID, err)
	}
	return nil
}

// MarkIntentsUnknown notes that what became of creates is not known, and when to
// look.
func (tx *Tx) MarkIntentsUnknown(ctx context.Context, connectorID int64, keys []string, nextAt time.Time) error {
	if len(keys) == 0 {
		return nil
	}
	if _, err := tx.exec(ctx, `UPDATE tandem_intent SET state = 'unknown', attempts = attempts + 1, next_at = ?
		WHERE connector_id = ? AND local_key @any(?)`, tx.time(nextAt), connectorID, tx.texts(sorted(keys))); err != nil {
		return fmt.Errorf("intents of connector %d: %w", connectorID, err)
	}
	return nil
}
