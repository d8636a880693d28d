package store

import (
	"context"
	"fmt"
	"time"
)

// Stats are the numbers an operator watches. Ages are by the database's clock
// and 0 where there is nothing.
type Stats struct {
	Outbox       int64         // messages that wait to be published
	OutboxOldest time.Duration // age of the oldest of them
	Runs         map[Status]int64
	RunOldest    time.Duration // age of the oldest planned run
	Parked       []ParkedCount
	BreakersOpen int64 // channels whose circuit breaker is open
}

// ParkedCount is how many items of a kind are open in a channel.
type ParkedCount struct {
	Channel string
	Kind    ParkedKind
	Open    int64
}

// Stats counts what is under way and what waits. It reads indexes of open work
// and never the history.
func (tx *Tx) Stats(ctx context.Context) (Stats, error) {
	s := Stats{Runs: map[Status]int64{StatusPlanned: 0, StatusPreparing: 0, StatusExecution: 0}}
	now, err := tx.Now(ctx)
	if err != nil {
		return s, err
	}
	age := func(t nullTime) time.Duration {
		if t.t == nil {
			return 0
		}
		return max(now.Sub(*t.t), 0)
	}
	var oldest nullTime
	if err := tx.row(ctx, "SELECT count(*), min(created_at) FROM tandem_outbox").Scan(&s.Outbox, &oldest); err != nil {
		return s, fmt.Errorf("stats of the outbox: %w", err)
	}
	s.OutboxOldest = age(oldest)
	err = tx.each(ctx, func(row scanner) error {
		var status Status
		var n int64
		var oldest nullTime
		if err := row.Scan(&status, &n, &oldest); err != nil {
			return err
		}
		if s.Runs[status] = n; status == StatusPlanned {
			s.RunOldest = age(oldest)
		}
		return nil
	}, `SELECT status, count(*), min(created_at) FROM tandem_run WHERE status = 'planned' GROUP BY status
		UNION ALL SELECT status, count(*), min(created_at) FROM tandem_run WHERE status IN ('preparing', 'execution') GROUP BY status`)
	if err != nil {
		return s, fmt.Errorf("stats of runs: %w", err)
	}
	if s.Parked, err = collect(ctx, tx, func(row scanner) (c ParkedCount, err error) {
		err = row.Scan(&c.Channel, &c.Kind, &c.Open)
		return c, err
	}, `SELECT coalesce(c.name, p.channel), p.kind, p.n FROM
		(SELECT channel_id, channel, kind, count(*) AS n FROM tandem_parked WHERE resolved = '' GROUP BY channel_id, channel, kind) p
		LEFT JOIN tandem_channel c ON c.id = p.channel_id ORDER BY 1, 2`); err != nil {
		return s, fmt.Errorf("stats of parked items: %w", err)
	}
	if err := tx.row(ctx, "SELECT count(*) FROM tandem_breaker WHERE state = 'open'").Scan(&s.BreakersOpen); err != nil {
		return s, fmt.Errorf("stats of breakers: %w", err)
	}
	return s, nil
}
