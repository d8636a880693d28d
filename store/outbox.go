package store

import (
	"context"
	"fmt"
	"slices"
)

// AddOutgoing puts messages into the outbox, in order; they go out after this
// transaction has committed. Outgoing.ID is ignored.
func (tx *Tx) AddOutgoing(ctx context.Context, messages ...Outgoing) error {
	for _, m := range messages {
		if _, err := tx.exec(ctx, "INSERT INTO tandem_outbox (key, body, created_at) VALUES (?, ?, @now)", m.Key, string(m.Body)); err != nil {
			return fmt.Errorf("outbox: %w", err)
		}
	}
	return nil
}

// TakeOutgoing takes up to limit messages out of the outbox, the oldest first.
// They are gone when the transaction commits, so publish before that: a message
// may then go out twice, but never not at all. Messages that another relay has
// taken are passed over.
func (tx *Tx) TakeOutgoing(ctx context.Context, limit int) ([]Outgoing, error) {
	out, err := collect(ctx, tx, func(row scanner) (Outgoing, error) {
		var m Outgoing
		var body jsonText
		err := row.Scan(&m.ID, &m.Key, &body)
		m.Body = body.raw
		return m, err
	}, "DELETE FROM tandem_outbox WHERE id @one(SELECT id FROM tandem_outbox ORDER BY id LIMIT ? @skip@end RETURNING id, key, body", limit)
	if err != nil {
		return nil, fmt.Errorf("outbox: %w", err)
	}
	slices.SortFunc(out, func(a, b Outgoing) int { return int(a.ID - b.ID) })
	return out, nil
}

// OutboxDepth counts the messages that wait.
func (tx *Tx) OutboxDepth(ctx context.Context) (n int64, err error) {
	err = tx.row(ctx, "SELECT count(*) FROM tandem_outbox").Scan(&n)
	return n, err
}
