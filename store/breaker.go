package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// The states of a channel's circuit breaker.
const (
	BreakerClosed   = "closed"    // calls go out
	BreakerOpen     = "open"      // no call goes out until Until
	BreakerHalfOpen = "half_open" // the next call is a probe
)

// Breaker is what a channel's circuit breaker did last. Every process that
// talks to the remote has a breaker of its own; this is the latest word of any
// of them.
type Breaker struct {
	State  string     `json:"state"`
	Since  *time.Time `json:"since"`
	Until  *time.Time `json:"until"`  // of an open one: when a probe goes out
	Reason string     `json:"reason"` // what opened it; "" closed
}

// breakerNews is how long after its time an opened breaker is still worth telling:
// the process it was in may be gone, and others begin with a closed one.
const breakerNews = 2 * time.Minute

// Breaker reads the breaker of a channel; one that never opened is closed. An
// open one whose time has passed reads as half open, and after two minutes in
// which nobody made the probe as closed.
func (tx *Tx) Breaker(ctx context.Context, channelID int64) (Breaker, error) {
	var b Breaker
	var since, until nullTime
	var due, old bool
	err := tx.row(ctx, `SELECT state, since, until, reason, coalesce(until <= @now, false), coalesce(until <= @in(?), false)
		FROM tandem_breaker WHERE channel_id = ?`, -breakerNews.Microseconds(), channelID).
		Scan(&b.State, &since, &until, &b.Reason, &due, &old)
	if errors.Is(err, sql.ErrNoRows) {
		return Breaker{State: BreakerClosed}, nil
	}
	b.Since, b.Until = since.t, until.t
	switch {
	case old:
		b.State, b.Until, b.Reason = BreakerClosed, nil, ""
	case b.State == BreakerOpen && due:
		b.State = BreakerHalfOpen
	}
	return b, err
}

// SetBreaker notes that a channel's breaker opened for a time, or closed
// (open 0).
func (tx *Tx) SetBreaker(ctx context.Context, channelID int64, open time.Duration, reason string) error {
	state, until := BreakerClosed, "NULL"
	args := []any{channelID}
	if open > 0 {
		state, until = BreakerOpen, "@in(?)"
		args = append(args, open.Microseconds())
	}
	_, err := tx.exec(ctx, `INSERT INTO tandem_breaker (channel_id, state, since, until, reason) VALUES (?, '`+state+`', @now, `+until+`, ?)
		ON CONFLICT (channel_id) DO UPDATE SET state = excluded.state, since = excluded.since, until = excluded.until, reason = excluded.reason`,
		append(args, reason)...)
	if err != nil {
		return fmt.Errorf("note the breaker: %w", err)
	}
	return nil
}
