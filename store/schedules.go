package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// A channel whose runs fail one after the other is started by itself only after
// 5 minutes, 10, 20 and so on, at most 6 hours. A success, a request of a person
// or program, other settings and switching the channel on end that.
const (
	backoffFirst = 5 * time.Minute
	backoffMost  = 6 * time.Hour
	// clockSlack is how far a time of ours may lie ahead before the clock counts
	// as set back.
	clockSlack = 5 * time.Second
)

// ScheduleBackoff is how long a channel waits after so many failures in a row.
func ScheduleBackoff(failures int) time.Duration {
	d := backoffFirst
	for n := 1; n < failures && d < backoffMost; n++ {
		d *= 2
	}
	return min(d, backoffMost)
}

// Schedule is when a channel's next run starts by itself.
type Schedule struct {
	// NextAt is the time of the next run; nil when none is to start by itself,
	// and for the moment until the scheduler has looked at a change.
	NextAt *time.Time
	// Failures is how many runs in a row failed.
	Failures int
	// NotBefore is until when that holds runs back; nil when it does not.
	NotBefore *time.Time
}

// Schedules reads when channels run next, by channel id; of one channel, or of
// all for 0. A channel that never was enabled is missing.
func (tx *Tx) Schedules(ctx context.Context, channelID int64) (map[int64]Schedule, error) {
	out := map[int64]Schedule{}
	err := tx.each(ctx, func(row scanner) error {
		var id, revision int64
		var s Schedule
		var next, until nullTime
		if err := row.Scan(&id, &next, &revision, &s.Failures, &until); err != nil {
			return err
		}
		if revision > 0 {
			s.NextAt = next.t
		}
		s.NotBefore = until.t
		out[id] = s
		return nil
	}, "SELECT channel_id, next_at, revision, failures, not_before FROM tandem_schedule WHERE ? = 0 OR channel_id = ?", channelID, channelID)
	if err != nil {
		return nil, fmt.Errorf("schedules: %w", err)
	}
	return out, nil
}

// touchSchedule has the scheduler work out anew when an enabled channel runs
// next, from now on: a tick that is due already stays due. start also asks for
// a run at once. Failures are forgotten: something has changed.
func (tx *Tx) touchSchedule(ctx context.Context, channelID int64, start bool) error {
	_, err := tx.exec(ctx, `INSERT INTO tandem_schedule AS s (channel_id, next_at, schedule, revision, start_now, failures, planned_at)
		SELECT id, @now, '', 0, CAST(? AS boolean), 0, @now FROM tandem_channel WHERE id = ? AND enabled
		ON CONFLICT (channel_id) DO UPDATE SET revision = 0, start_now = s.start_now OR excluded.start_now, failures = 0, not_before = NULL,
			next_at = CASE WHEN s.next_at < excluded.next_at THEN s.next_at ELSE excluded.next_at END, planned_at = excluded.planned_at`, start, channelID)
	if err != nil {
		return fmt.Errorf("schedule of channel %d: %w", channelID, err)
	}
	return nil
}

// stopSchedule ends the ticks of a channel that was disabled.
func (tx *Tx) stopSchedule(ctx context.Context, channelID int64) error {
	_, err := tx.exec(ctx, "UPDATE tandem_schedule SET next_at = NULL, start_now = ?, failures = 0, not_before = NULL WHERE channel_id = ?", false, channelID)
	return err
}

// forgiveFailures lets a channel that was held back run by its schedule again.
func (tx *Tx) forgiveFailures(ctx context.Context, channelID int64) error {
	_, err := tx.exec(ctx, `UPDATE tandem_schedule SET failures = 0, not_before = NULL, revision = 0, planned_at = @now,
		next_at = CASE WHEN next_at > @now THEN @now ELSE next_at END WHERE channel_id = ? AND failures > 0`, channelID)
	if err != nil {
		return fmt.Errorf("schedule of channel %d: %w", channelID, err)
	}
	return nil
}

// noteEnd books how a run ended for the schedule of its channel.
func (tx *Tx) noteEnd(ctx context.Context, run Run, status Status) error {
	if run.Spec.Kind != KindSync || run.Lane != LaneMain {
		return nil
	}
	switch status {
	case StatusFinished:
		return tx.forgiveFailures(ctx, run.ChannelID)
	case StatusFailed:
	default:
		return nil
	}
	var failures int
	err := tx.row(ctx, "SELECT failures FROM tandem_schedule WHERE channel_id = ?", run.ChannelID).Scan(&failures)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	if err == nil {
		_, err = tx.exec(ctx, `UPDATE tandem_schedule SET failures = ?, not_before = @in(?), revision = 0, planned_at = @now,
			next_at = CASE WHEN next_at > @now THEN @now ELSE next_at END WHERE channel_id = ?`,
			failures+1, ScheduleBackoff(failures+1).Microseconds(), run.ChannelID)
	}
	if err != nil {
		return fmt.Errorf("schedule of channel %d: %w", run.ChannelID, err)
	}
	return nil
}

// RepairSchedules makes good what no tick would: schedules worked out by a clock
// that has since been set back, whose ticks would wait for a time long gone,
// and channels without any. It reads every schedule: a call a minute is enough.
func (tx *Tx) RepairSchedules(ctx context.Context) (repaired int64, err error) {
	slack := clockSlack.Microseconds()
	repaired, err = tx.exec(ctx, `UPDATE tandem_schedule SET revision = 0, next_at = @now, planned_at = @now,
		failures = CASE WHEN not_before > @in(?) THEN 0 ELSE failures END, not_before = CASE WHEN not_before > @in(?) THEN NULL ELSE not_before END
		WHERE next_at IS NOT NULL AND (planned_at > @in(?) OR not_before > @in(?))`,
		backoffMost.Microseconds()+slack, backoffMost.Microseconds()+slack, slack, backoffMost.Microseconds()+slack)
	if err == nil && repaired > 0 {
		// What was seen to in a time that has not come yet counts for nothing.
		_, err = tx.exec(ctx, "DELETE FROM tandem_tick WHERE at > @in(?)", slack)
	}
	if err != nil {
		return 0, fmt.Errorf("repair schedules: %w", err)
	}
	n, err := tx.exec(ctx, `INSERT INTO tandem_schedule (channel_id, next_at, schedule, revision, start_now, failures, planned_at)
		SELECT c.id, @now, '', 0, ?, 0, @now FROM tandem_channel c
		WHERE c.enabled AND NOT EXISTS (SELECT 1 FROM tandem_schedule s WHERE s.channel_id = c.id) ON CONFLICT (channel_id) DO NOTHING`, false)
	if err != nil {
		return 0, fmt.Errorf("missing schedules: %w", err)
	}
	return repaired + n, nil
}
