package store

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"
)

// DirtyStats counts a channel's rows that wait to be looked at, and says since
// when the first of them waits; zero when there is none.
func (tx *Tx) DirtyStats(ctx context.Context, channelID int64) (count int64, oldest time.Time, err error) {
	var first nullTime
	err = tx.row(ctx, `SELECT count(*), min(first_at) FROM tandem_dirty
		WHERE connector_id IN (SELECT id FROM tandem_connector WHERE channel_id = ?)`, channelID).Scan(&count, &first)
	return count, first.value(), err
}

// DueConnector is a connector with rows that are due and that nobody works on.
type DueConnector struct {
	ChannelID   int64
	ConnectorID int64
	Count       int64     // no more than a thousand are counted
	Oldest      time.Time // since when the one waits that is longest due
}

// dueCount is how far due rows are counted.
const dueCount = 1000

// DueConnectors gives the connectors of enabled channels that have rows due, the
// one first whose row waits longest.
func (tx *Tx) DueConnectors(ctx context.Context) ([]DueConnector, error) {
	const due = `FROM tandem_dirty WHERE connector_id = k.id AND next_at <= (SELECT @now)
		AND (claim_epoch = 0 OR NOT EXISTS (SELECT 1 FROM tandem_lease l WHERE l.channel_id = k.channel_id AND l.connector_id = tandem_dirty.connector_id
			AND l.direction || '/' || l.shard = tandem_dirty.claim_by AND l.epoch = tandem_dirty.claim_epoch AND l.owner <> '' AND l.expires_at > @now))`
	var list []DueConnector
	scan := func(row scanner) (DueConnector, error) {
		var d DueConnector
		var oldest nullTime
		err := row.Scan(&d.ChannelID, &d.ConnectorID, &d.Count, &oldest)
		d.Oldest = oldest.value()
		return d, err
	}
	err := tx.inOrder(ctx, func() (err error) {
		list, err = collect(ctx, tx, scan, `SELECT channel_id, id, n, oldest FROM (SELECT k.channel_id, k.id, (SELECT count(*) FROM (SELECT 1 `+due+` LIMIT ?) x) AS n,
			(SELECT first_at `+due+` ORDER BY next_at LIMIT 1) AS oldest
		FROM tandem_connector k JOIN tandem_channel c ON c.id = k.channel_id WHERE c.enabled AND NOT k.retired) q WHERE n > 0`, dueCount)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("connectors with rows due: %w", err)
	}
	slices.SortFunc(list, func(a, b DueConnector) int {
		return cmp.Or(a.Oldest.Compare(b.Oldest), cmp.Compare(a.ConnectorID, b.ConnectorID))
	})
	return list, nil
}
