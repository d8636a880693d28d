package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// AcquireLease takes a lease that is free or has expired; false when somebody
// (the same owner included) holds it. Every taking has a new epoch, greater
// than all before. Time is the database's.
func (tx *Tx) AcquireLease(ctx context.Context, key LeaseKey, owner string, ttl time.Duration) (Lease, bool, error) {
	if owner == "" || ttl <= 0 {
		return Lease{}, false, fmt.Errorf("lease %v: an owner and a time to live are needed", key)
	}
	l := Lease{LeaseKey: key, Owner: owner}
	// The row is there before it is locked and read, so that two takers meet at
	// the lock and the second sees what the first did.
	_, err := tx.exec(ctx, `INSERT INTO tandem_lease (channel_id, connector_id, direction, shard, owner, epoch, expires_at)
		VALUES (?, ?, ?, ?, '', 0, @in(?)) ON CONFLICT DO NOTHING`,
		key.ChannelID, key.ConnectorID, key.Direction, key.Shard, int64(-1))
	if err != nil {
		return Lease{}, false, fmt.Errorf("lease: %w", err)
	}
	var before string
	var free bool
	err = tx.row(ctx, `SELECT owner, owner = '' OR expires_at <= @now FROM tandem_lease
		WHERE channel_id = ? AND connector_id = ? AND direction = ? AND shard = ? @nokey`,
		key.ChannelID, key.ConnectorID, key.Direction, key.Shard).Scan(&before, &free)
	if err != nil || !free {
		return Lease{}, false, err
	}
	var expires nullTime
	err = tx.row(ctx, `UPDATE tandem_lease SET owner = ?, epoch = epoch + 1, expires_at = @in(?)
		WHERE channel_id = ? AND connector_id = ? AND direction = ? AND shard = ? RETURNING epoch, expires_at`,
		owner, ttl.Microseconds(), key.ChannelID, key.ConnectorID, key.Direction, key.Shard).Scan(&l.Epoch, &expires)
	if err != nil {
		return Lease{}, false, fmt.Errorf("lease: %w", err)
	}
	l.ExpiresAt, l.Unclean = expires.value(), before != ""
	return l, true, nil
}

// CheckLease reads, without a lock, whether the epoch is still ours; ErrFenced
// when it is not. It is the cheap first look of a batch: RenewLease decides.
func (tx *Tx) CheckLease(ctx context.Context, l Lease) error {
	var ours bool
	err := tx.row(ctx, `SELECT owner = ? AND epoch = ? FROM tandem_lease
		WHERE channel_id = ? AND connector_id = ? AND direction = ? AND shard = ?`,
		l.Owner, l.Epoch, l.ChannelID, l.ConnectorID, l.Direction, l.Shard).Scan(&ours)
	if errors.Is(err, sql.ErrNoRows) || err == nil && !ours {
		return fmt.Errorf("lease of connector %d: %w", l.ConnectorID, ErrFenced)
	}
	return err
}

// RenewLease extends a lease that is ours and has not expired; it locks the
// row, so nobody can take it over before this transaction ends. ErrFenced
// otherwise: the whole transaction must be given up.
func (tx *Tx) RenewLease(ctx context.Context, l Lease, ttl time.Duration) error {
	n, err := tx.exec(ctx, `UPDATE tandem_lease SET expires_at = @in(?)
		WHERE channel_id = ? AND connector_id = ? AND direction = ? AND shard = ? AND owner = ? AND epoch = ? AND expires_at > @now`,
		ttl.Microseconds(), l.ChannelID, l.ConnectorID, l.Direction, l.Shard, l.Owner, l.Epoch)
	if err != nil {
		return fmt.Errorf("renew the lease: %w", err)
	}
	if n != 1 {
		return fmt.Errorf("lease of connector %d: %w", l.ConnectorID, ErrFenced)
	}
	return nil
}

// ReleaseLease gives a lease back, if it is still ours, and asks for the slices
// that met it busy. The epoch stays.
func (tx *Tx) ReleaseLease(ctx context.Context, l Lease) error {
	n, err := tx.exec(ctx, `UPDATE tandem_lease SET owner = '', expires_at = @now
		WHERE channel_id = ? AND connector_id = ? AND direction = ? AND shard = ? AND owner = ? AND epoch = ?`,
		l.ChannelID, l.ConnectorID, l.Direction, l.Shard, l.Owner, l.Epoch)
	if err != nil || n == 0 {
		return err
	}
	return tx.wakeSlices(ctx, l)
}

// VoidLeases ends all leases at once: a process that alone works on a database
// does so when it starts, as their owners are dead. They count as expired, not
// as given back.
func (tx *Tx) VoidLeases(ctx context.Context) error {
	_, err := tx.exec(ctx, "UPDATE tandem_lease SET expires_at = @in(?), epoch = epoch + 1 WHERE owner <> ''", int64(-1))
	return err
}
