package store

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/lib/pq"
)

// DueChannel is a channel at which the scheduler has to look now: a tick is
// due, or something changed.
type DueChannel struct {
	ChannelID int64
	Channel   string // name
	// Revision is the channel's now.
	Revision int64
	// At is the tick that is due, or since when something has to be looked at.
	At time.Time
	// Schedule is what At was worked out from. It does not count where Settings
	// is set: then the schedule has to be read from there and At is no tick.
	Schedule string
	Settings json.RawMessage
	// Start asks for a run at once: the channel was created or enabled.
	Start bool
	// NotBefore holds runs back after failures; nil when it does not.
	NotBefore *time.Time
}

// Tick says what becomes of a due channel.
type Tick struct {
	ChannelID int64
	Channel   string
	// Run asks for the run of the tick At.
	Run bool
	At  time.Time
	// Next is the tick after it; nil for none.
	Next *time.Time
	// Schedule and Revision are what Next was worked out from.
	Schedule string
	Revision int64
}

// NextTick reads when the scheduler has something to do, nil for never, and
// the time now. It costs one look at an index.
func (tx *Tx) NextTick(ctx context.Context) (next *time.Time, now time.Time, err error) {
	var n, at nullTime
	if err = tx.row(ctx, "SELECT (SELECT min(next_at) FROM tandem_schedule WHERE next_at IS NOT NULL), @now").Scan(&n, &at); err != nil {
		return nil, now, fmt.Errorf("next tick: %w", err)
	}
	return n.t, at.value(), nil
}

// ClaimDue takes up to limit channels that are due, the longest due first, and
// the time now. They are locked until the transaction ends; channels that
// somebody else has locked are passed over and stay due.
func (tx *Tx) ClaimDue(ctx context.Context, limit int) (due []DueChannel, now time.Time, err error) {
	if now, err = tx.Now(ctx); err != nil {
		return nil, now, err
	}
	due, err = collect(ctx, tx, func(row scanner) (DueChannel, error) {
		var d DueChannel
		var at, until nullTime
		var settings jsonText
		err := row.Scan(&d.ChannelID, &d.Channel, &d.Revision, &at, &d.Schedule, &settings, &d.Start, &until)
		d.At, d.NotBefore, d.Settings = at.value(), until.t, settings.raw
		return d, err
	}, `SELECT s.channel_id, c.name, c.revision, s.next_at, s.schedule, CASE WHEN s.revision = c.revision THEN NULL ELSE c.settings END,
		s.start_now, s.not_before
		FROM tandem_schedule s JOIN tandem_channel c ON c.id = s.channel_id
		WHERE s.next_at <= ? AND c.enabled ORDER BY s.next_at, s.channel_id LIMIT ? @skipdue`, tx.time(now), limit)
	if err != nil {
		return nil, now, fmt.Errorf("due channels: %w", err)
	}
	return due, now, nil
}

// PlanTicks carries out what was decided about claimed channels, in a few
// statements for all of them: a tick that was never seen to before joins a
// planned run that covers it, or gets a run of its own with a message that
// asks for its start; and every channel learns its next tick. It says how many
// runs were made and how many ticks joined one.
func (tx *Tx) PlanTicks(ctx context.Context, ticks []Tick) (planned, joined int, err error) {
	fresh, err := tx.newTicks(ctx, ticks)
	if err != nil {
		return 0, 0, fmt.Errorf("ticks: %w", err)
	}
	spec := Spec{}.normal()
	joins, err := tx.coveringRuns(ctx, fresh, spec)
	if err != nil {
		return 0, 0, fmt.Errorf("planned runs of ticks: %w", err)
	}
	runs, err := tx.planTickRuns(ctx, fresh, joins, spec)
	if err != nil {
		return 0, 0, fmt.Errorf("runs of ticks: %w", err)
	}
	served := make([]tickRow, 0, len(fresh))
	for _, t := range fresh {
		r := tickRow{Channel: t.ChannelID, At: t.At.UnixMicro(), Run: joins[t.ChannelID]}
		if r.Run == 0 {
			r.Run = runs[t.ChannelID]
		}
		served = append(served, r)
	}
	if err := tx.serveTicks(ctx, served, spec); err != nil {
		return 0, 0, fmt.Errorf("requests of ticks: %w", err)
	}
	if err := tx.nextTicks(ctx, ticks); err != nil {
		return 0, 0, fmt.Errorf("next ticks: %w", err)
	}
	return len(runs), len(joins), nil
}

// tickRow is one row of a set statement's parameter.
type tickRow struct {
	Channel  int64  `json:"c"`
	At       int64  `json:"t,omitempty"` // Unix microseconds
	Run      int64  `json:"r,omitempty"`
	Next     *int64 `json:"n,omitempty"`
	Schedule string `json:"s,omitempty"`
	Revision int64  `json:"v,omitempty"`
	Body     string `json:"b,omitempty"`
}

// number and moment give a member of a row of @rows(?).
func number(key string) string { return "CAST(j.value->>'" + key + "' AS bigint)" }

func (tx *Tx) moment(key string) string {
	if tx.db.dialect == Postgres {
		return "(timestamptz 'epoch' + " + number(key) + " * interval '1 microsecond')"
	}
	return number(key)
}

func (tx *Tx) ints(list []int64) any {
	if tx.db.dialect == Postgres {
		return pq.Int64Array(list)
	}
	return jsonList(list)
}

// newTicks notes the ticks that want a run and gives those nobody noted before.
func (tx *Tx) newTicks(ctx context.Context, ticks []Tick) ([]Tick, error) {
	var rows []tickRow
	for _, t := range ticks {
		if t.Run {
			rows = append(rows, tickRow{Channel: t.ChannelID, At: t.At.UnixMicro()})
		}
	}
	if len(rows) == 0 {
		return nil, nil
	}
	ids, err := collect(ctx, tx, scanInt, "INSERT INTO tandem_tick (channel_id, at) SELECT "+number("c")+", "+tx.moment("t")+
		" FROM @rows(?) WHERE true ON CONFLICT DO NOTHING RETURNING channel_id", jsonList(rows))
	if err != nil {
		return nil, err
	}
	is := make(map[int64]bool, len(ids))
	for _, id := range ids {
		is[id] = true
	}
	var out []Tick
	for _, t := range ticks {
		if t.Run && is[t.ChannelID] {
			out = append(out, t)
		}
	}
	return out, nil
}

// coveringRuns finds, by channel, the planned runs that do what a tick wants.
func (tx *Tx) coveringRuns(ctx context.Context, ticks []Tick, spec Spec) (map[int64]int64, error) {
	out := map[int64]int64{}
	if len(ticks) == 0 {
		return out, nil
	}
	ids := make([]int64, len(ticks))
	for i, t := range ticks {
		ids[i] = t.ChannelID
	}
	runs, err := collect(ctx, tx, scanRun, runSelect+
		" WHERE r.channel_id @any(?) AND r.kind = ? AND r.lane = ? AND r.status = 'planned' AND NOT r.cancel_requested ORDER BY r.id DESC",
		tx.ints(ids), spec.Kind, spec.Lane())
	for _, r := range runs {
		if Covers(r.Spec, spec) {
			out[r.ChannelID] = r.ID // the oldest in the end
		}
	}
	return out, err
}

// planTickRuns makes the runs of ticks that joined none, with their messages.
func (tx *Tx) planTickRuns(ctx context.Context, ticks []Tick, joins map[int64]int64, spec Spec) (map[int64]int64, error) {
	runs := map[int64]int64{}
	var rows []tickRow
	for _, t := range ticks {
		if joins[t.ChannelID] == 0 {
			rows = append(rows, tickRow{Channel: t.ChannelID})
		}
	}
	if len(rows) == 0 {
		return runs, nil
	}
	text, err := json.Marshal(spec)
	if err != nil {
		return nil, err
	}
	err = tx.each(ctx, func(row scanner) error {
		var id, channel int64
		err := row.Scan(&id, &channel)
		runs[channel] = id
		return err
	}, `INSERT INTO tandem_run (channel_id, kind, lane, trigger_by, status, spec, revision, cancel_requested, wait_reason, queued_at, created_at)
		SELECT c.id, ?, ?, ?, 'planned', ?, c.revision, CAST(? AS boolean), '', @now, @now FROM @rows(?) JOIN tandem_channel c ON c.id = `+number("c")+
		` ORDER BY c.id RETURNING id, channel_id`, spec.Kind, spec.Lane(), TriggerSchedule, string(text), false, jsonList(rows))
	if err != nil {
		return nil, err
	}
	out := make([]tickRow, 0, len(runs))
	var key string
	for _, t := range ticks {
		id, ok := runs[t.ChannelID]
		if !ok {
			continue
		}
		m := runMessage(Run{ID: id, Channel: t.Channel, Spec: spec, Trigger: TriggerSchedule}, 0, false)
		key = m.Key
		out = append(out, tickRow{Body: string(m.Body)})
	}
	_, err = tx.exec(ctx, "INSERT INTO tandem_outbox (key, body, created_at) SELECT ?, j.value->>'b', @now FROM @rows(?)", key, jsonList(out))
	return runs, err
}

// serveTicks stores the requests of ticks and which run serves each.
func (tx *Tx) serveTicks(ctx context.Context, rows []tickRow, spec Spec) error {
	if len(rows) == 0 {
		return nil
	}
	text, err := json.Marshal(spec)
	if err != nil {
		return err
	}
	list := jsonList(rows)
	if _, err := tx.exec(ctx, "INSERT INTO tandem_request (channel_id, trigger_by, spec, run_id, created_at) SELECT "+number("c")+", ?, ?, "+number("r")+
		", @now FROM @rows(?)", TriggerSchedule, string(text), list); err != nil {
		return err
	}
	_, err = tx.exec(ctx, "UPDATE tandem_tick SET run_id = "+number("r")+" FROM @rows(?) WHERE channel_id = "+number("c")+" AND at = "+tx.moment("t"), list)
	return err
}

// nextTicks moves every channel to its next tick.
func (tx *Tx) nextTicks(ctx context.Context, ticks []Tick) error {
	rows := make([]tickRow, len(ticks))
	for i, t := range ticks {
		rows[i] = tickRow{Channel: t.ChannelID, Schedule: t.Schedule, Revision: t.Revision}
		if t.Next != nil {
			us := t.Next.UnixMicro()
			rows[i].Next = &us
		}
	}
	_, err := tx.exec(ctx, "UPDATE tandem_schedule SET next_at = "+tx.moment("n")+", schedule = coalesce(j.value->>'s', ''), revision = "+number("v")+
		", start_now = CAST(? AS boolean), planned_at = @now FROM @rows(?) WHERE channel_id = "+number("c"), false, jsonList(rows))
	return err
}
