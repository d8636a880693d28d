package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"
)

// The reasons why a run does nothing at the moment. A reason is one of these
// words, alone or followed by ": " and what a person wants to know; programs
// look at the word only.
const (
	WaitQueued      = "queued"       // for a free worker
	WaitRunAhead    = "run_ahead"    // another run of the channel comes first
	WaitBusy        = "busy"         // somebody else still holds the connector
	WaitRetry       = "retry"        // a failure that may pass; the next try is set
	WaitRateLimited = "rate_limited" // the remote or the channel's own limit asks to wait
	WaitQuota       = "quota"        // the remote's quota is used up until it begins anew
	WaitBreakerOpen = "breaker_open" // too many failures in a row; a probe goes out later
	WaitCancelling  = "cancelling"   // asked to end; it ends with its batch
)

// WaitReason joins a word and its detail.
func WaitReason(word, detail string) string {
	if detail == "" {
		return word
	}
	return word + ": " + detail
}

// WaitWord gives the word of a reason.
func WaitWord(reason string) string {
	word, _, _ := strings.Cut(reason, ":")
	return word
}

// Waiting says why a run does nothing now and until when, nil when that is not
// known; "" means that it works or is over.
func (tx *Tx) Waiting(ctx context.Context, r Run) (reason string, until *time.Time, err error) {
	switch {
	case r.Status.Ended():
		return "", nil, nil
	case r.WaitReason != "":
		return r.WaitReason, r.WaitUntil, nil
	case r.Status == StatusPlanned:
		return tx.waitingForTurn(ctx, r)
	case r.CancelRequested:
		return WaitCancelling, nil, nil
	}
	return tx.sliceWaiting(ctx, r)
}

// waitingForTurn names the run that a planned run waits for: the oldest of its
// channel, kind and lane that is under way or was planned earlier.
func (tx *Tx) waitingForTurn(ctx context.Context, r Run) (string, *time.Time, error) {
	var id int64
	var status Status
	err := tx.row(ctx, `SELECT id, status FROM tandem_run WHERE channel_id = ? AND kind = ? AND lane = ? AND id <> ?
		AND (status IN ('preparing', 'execution') OR status = 'planned' AND id < ?)
		ORDER BY CASE WHEN status = 'planned' THEN 1 ELSE 0 END, id LIMIT 1`,
		r.ChannelID, r.Spec.Kind, r.Lane, r.ID, r.ID).Scan(&id, &status)
	if errors.Is(err, sql.ErrNoRows) {
		return WaitQueued, nil, nil
	}
	if err != nil {
		return "", nil, fmt.Errorf("what run %d waits for: %w", r.ID, err)
	}
	return WaitReason(WaitRunAhead, fmt.Sprintf("run %d of this channel comes first", id)), nil, nil
}

// sliceWaiting looks at the active slices of a run under way. It waits only if
// all of them do; the one that goes on first is named.
func (tx *Tx) sliceWaiting(ctx context.Context, r Run) (reason string, until *time.Time, err error) {
	working := false
	err = tx.each(ctx, func(row scanner) error {
		var why string
		var notBefore, expires nullTime
		var early, held, ours bool
		if err := row.Scan(&why, &notBefore, &early, &held, &ours, &expires); err != nil {
			return err
		}
		var at *time.Time
		switch {
		case early:
			if at = notBefore.t; why == "" {
				why = WaitRetry
			}
		case held && ours:
			working = true
			return nil
		case held:
			why, at = WaitBusy, expires.t
		default:
			why = WaitQueued
		}
		if reason == "" || at == nil && until != nil || at != nil && until != nil && at.Before(*until) {
			reason, until = why, at
		}
		return nil
	}, `SELECT s.wait_reason, s.not_before, coalesce(s.not_before > @now, false), coalesce(l.owner <> '' AND l.expires_at > @now, false),
			coalesce(l.epoch = s.held_epoch, false), l.expires_at
		FROM tandem_slice s JOIN tandem_run r ON r.id = s.run_id LEFT JOIN tandem_lease l ON `+leaseOfSlice+`
		WHERE s.run_id = ? AND s.state = 'active' ORDER BY s.ord, s.id`, r.ID)
	if err != nil {
		return "", nil, fmt.Errorf("what run %d waits for: %w", r.ID, err)
	}
	if working || r.Spec.Flags.DryRun && until == nil {
		return "", nil, nil // a dry run holds no lease: it counts as working
	}
	return reason, until, nil
}

// HoldSlice notes under which lease a slice is worked on from now on, in the
// transaction that took the lease.
func (tx *Tx) HoldSlice(ctx context.Context, sliceID int64, l Lease) error {
	_, err := tx.exec(ctx, "UPDATE tandem_slice SET held_epoch = ? WHERE id = ? AND state = 'active'", l.Epoch, sliceID)
	return err
}
