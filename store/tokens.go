package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// TokenRow is a channel's OAuth2 token as it is kept. The zero value is "none
// yet".
type TokenRow struct {
	Version int64  // grows with every token and every problem
	Sealed  string // the token, sealed; "" none
	Problem string // why only a person can renew it; "" none
	// Pending is when a renewal began whose answer is not known; nil none.
	Pending *time.Time
}

// Token reads a channel's token; a channel without one has the zero TokenRow.
func (tx *Tx) Token(ctx context.Context, channelID int64) (TokenRow, error) {
	var r TokenRow
	var pending nullTime
	err := tx.row(ctx, "SELECT version, sealed, problem, pending_since FROM tandem_token WHERE channel_id = ?", channelID).
		Scan(&r.Version, &r.Sealed, &r.Problem, &pending)
	if errors.Is(err, sql.ErrNoRows) {
		return TokenRow{}, nil
	}
	r.Pending = pending.t
	return r, err
}

// TokenProblem says why only a person can renew a channel's token; "" when
// nothing is known, or the channel has been changed since.
func (tx *Tx) TokenProblem(ctx context.Context, channelID int64) (problem string, err error) {
	err = tx.row(ctx, `SELECT t.problem FROM tandem_token t JOIN tandem_channel c ON c.id = t.channel_id
		WHERE t.channel_id = ? AND t.updated_at >= c.updated_at`, channelID).Scan(&problem)
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil
	}
	return problem, err
}

// BeginToken takes the right to renew a channel's token for ttl, by the
// database's clock. It refuses (false) when the stored version is another one or
// when somebody holds the right. pending notes, durably, that a renewal begins
// whose answer may get lost.
func (tx *Tx) BeginToken(ctx context.Context, channelID, version int64, owner string, ttl time.Duration, pending bool) (bool, error) {
	if owner == "" || ttl <= 0 {
		return false, errors.New("renew a token: an owner and a time to live are needed")
	}
	// The row is there before it is compared, so that two takers meet at its lock.
	_, err := tx.exec(ctx, `INSERT INTO tandem_token (channel_id, version, sealed, problem, owner, lease_until, updated_at)
		VALUES (?, 0, '', '', '', @in(?), @now) ON CONFLICT DO NOTHING`, channelID, int64(-1))
	if err != nil {
		return false, fmt.Errorf("renew a token: %w", err)
	}
	since := "pending_since"
	if pending {
		since = "coalesce(pending_since, @now)"
	}
	n, err := tx.exec(ctx, `UPDATE tandem_token SET owner = ?, lease_until = @in(?), pending_since = `+since+`, updated_at = @now
		WHERE channel_id = ? AND version = ? AND (owner = '' OR lease_until <= @now)`, owner, ttl.Microseconds(), channelID, version)
	return n == 1, err
}

// TokenEnd is what became of a renewal.
type TokenEnd struct {
	Sealed  *string    // the new token; nil keeps the stored one
	Problem string     // why only a person can renew it from now on
	Pending *time.Time // since when an answer is not known; nil all are
}

// EndToken stores what became of a renewal and gives the right back. A token or
// a problem makes a new version. It refuses (false) when the stored version is
// not the given one any more: somebody else renewed the token meanwhile, and
// theirs is the one that holds.
func (tx *Tx) EndToken(ctx context.Context, channelID, version int64, owner string, end TokenEnd) (bool, error) {
	next := version
	if end.Sealed != nil || end.Problem != "" {
		next++
	}
	var sealed any
	if end.Sealed != nil {
		sealed = *end.Sealed
	}
	n, err := tx.exec(ctx, `UPDATE tandem_token SET version = ?, sealed = coalesce(?, sealed), problem = ?, pending_since = ?,
		lease_until = CASE WHEN owner = ? THEN @now ELSE lease_until END, owner = CASE WHEN owner = ? THEN '' ELSE owner END, updated_at = @now
		WHERE channel_id = ? AND version = ?`,
		next, sealed, end.Problem, tx.timePtr(end.Pending), owner, owner, channelID, version)
	if err != nil {
		return false, fmt.Errorf("store a token: %w", err)
	}
	return n == 1, nil
}

// TokenSeal is a sealed token and the channel it belongs to.
type TokenSeal struct {
	ChannelID int64  `db:"channel_id"`
	Channel   string `db:"name"`
	Sealed    string `db:"sealed"`
}

// TokenSeals lists all sealed tokens, so that they can be sealed anew under
// another key.
func (tx *Tx) TokenSeals(ctx context.Context) ([]TokenSeal, error) {
	return collect(ctx, tx, func(row scanner) (TokenSeal, error) {
		var s TokenSeal
		err := row.Scan(&s.ChannelID, &s.Channel, &s.Sealed)
		return s, err
	}, `SELECT t.channel_id, c.name, t.sealed FROM tandem_token t JOIN tandem_channel c ON c.id = t.channel_id
		WHERE t.sealed <> '' ORDER BY t.channel_id`)
}

// ResealToken replaces a sealed token by the same token under another key;
// false when the stored one is not old any more.
func (tx *Tx) ResealToken(ctx context.Context, channelID int64, old, sealed string) (bool, error) {
	n, err := tx.exec(ctx, "UPDATE tandem_token SET sealed = ? WHERE channel_id = ? AND sealed = ?", sealed, channelID, old)
	return n == 1, err
}
