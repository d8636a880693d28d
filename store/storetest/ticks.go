package storetest

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tandem-sync/tandem/store"
)

type decision func(due store.DueChannel, now time.Time) store.Tick

// claim takes what is due and lets decide say what becomes of each channel.
func claim(ctx context.Context, db *store.DB, decide decision) (due []store.DueChannel, planned, joined int, err error) {
	err = db.Write(ctx, "tick", func(ctx context.Context, tx *store.Tx) error {
		var now time.Time
		var err error
		if due, now, err = tx.ClaimDue(ctx, 100); err != nil {
			return err
		}
		list := make([]store.Tick, len(due))
		for i, d := range due {
			list[i] = decide(d, now)
		}
		planned, joined, err = tx.PlanTicks(ctx, list)
		return err
	})
	return due, planned, joined, err
}

// later plans the run that is due and the next an hour on.
func later(d store.DueChannel, now time.Time) store.Tick {
	next := now.Add(time.Hour)
	return store.Tick{ChannelID: d.ChannelID, Channel: d.Channel, Run: true, At: d.At, Next: &next, Schedule: "@hourly", Revision: d.Revision}
}

func (h house) claim(t *testing.T, decide decision) (due []store.DueChannel, planned, joined int) {
	t.Helper()
	due, planned, joined, err := claim(t.Context(), h.db, decide)
	if err != nil {
		t.Fatal(err)
	}
	return due, planned, joined
}

func (h house) schedule(t *testing.T) (s store.Schedule) {
	t.Helper()
	read(t, h.db, func(ctx context.Context, tx *store.Tx) error {
		all, err := tx.Schedules(ctx, h.channel)
		s = all[h.channel]
		return err
	})
	return s
}

func (h house) allRuns(t *testing.T) (runs []store.Run) {
	t.Helper()
	read(t, h.db, func(ctx context.Context, tx *store.Tx) (err error) {
		runs, err = tx.Runs(ctx, store.RunFilter{})
		return err
	})
	return runs
}

func testTicks(t *testing.T, db *store.DB) {
	h := newHouse(t, db)
	due, planned, joined := h.claim(t, later)
	if len(due) != 1 || planned != 1 || joined != 0 {
		t.Fatalf("a new channel: %+v, %d planned, %d joined", due, planned, joined)
	}
	d := due[0]
	if d.ChannelID != h.channel || d.Channel != "crm" || d.Revision != 1 || !d.Start || string(d.Settings) != "{}" {
		t.Fatalf("a new channel: %+v", d)
	}
	run := h.allRuns(t)[0]
	equal(t, "trigger", run.Trigger, store.TriggerSchedule)
	equal(t, "status", run.Status, store.StatusPlanned)
	equal(t, "mode", run.Spec.Mode, store.ModeIncremental)
	wantMessages(t, h.takeAll(t), fmt.Sprintf(`sync {"v":1,"type":"sync","channel":"crm","run":%d}`, run.ID))
	read(t, db, func(ctx context.Context, tx *store.Tx) error {
		list, err := tx.Requests(ctx, run.ID)
		if err == nil && (len(list) != 1 || list[0].Trigger != store.TriggerSchedule) {
			t.Errorf("requests: %+v", list)
		}
		next, now, err2 := tx.NextTick(ctx)
		if err2 != nil || next == nil || next.Sub(now) > time.Hour || next.Sub(now) < 50*time.Minute {
			t.Errorf("next tick %v at %v: %v", next, now, err2)
		}
		return err
	})
	if s := h.schedule(t); s.NextAt == nil || s.Failures != 0 || s.NotBefore != nil {
		t.Errorf("schedule: %+v", s)
	}
	due, planned, _ = h.claim(t, later)
	if len(due) != 0 || planned != 0 {
		t.Errorf("nothing is due: %+v, %d planned", due, planned)
	}
}

// testTickTwice has a tick come back, as after a clock that was set back: it
// makes no second run, and the channel moves on.
func testTickTwice(t *testing.T, db *store.DB) {
	h := newHouse(t, db)
	at := time.Now().UTC().Truncate(time.Millisecond)
	again := func(d store.DueChannel, now time.Time) store.Tick {
		tick := later(d, now)
		tick.At, tick.Next = at, &now // due again at once
		return tick
	}
	_, first, _ := h.claim(t, again)
	due, second, joined := h.claim(t, again)
	if first != 1 || second != 0 || joined != 0 || len(due) != 1 {
		t.Fatalf("planned %d, then %d and joined %d of %+v", first, second, joined, due)
	}
	equal(t, "settings of a channel that did not change", len(due[0].Settings), 0)
	equal(t, "schedule", due[0].Schedule, "@hourly")
	equal(t, "start", due[0].Start, false)
	equal(t, "runs", len(h.allRuns(t)), 1)
}

func testTickJoins(t *testing.T, db *store.DB) {
	h := newHouse(t, db)
	narrow := h.plan(t, store.Spec{Connectors: []string{"contacts"}})
	full := h.plan(t, store.Spec{Mode: store.ModeFull})
	h.takeAll(t)
	_, planned, joined := h.claim(t, later)
	if planned != 0 || joined != 1 {
		t.Errorf("planned %d, joined %d", planned, joined)
	}
	read(t, db, func(ctx context.Context, tx *store.Tx) error {
		list, err := tx.Requests(ctx, full.ID)
		if err != nil {
			return err
		}
		equal(t, "requests of the run that covers the tick", len(list), 2)
		list, err = tx.Requests(ctx, narrow.ID)
		equal(t, "requests of the one that does not", len(list), 1)
		return err
	})
	wantMessages(t, h.takeAll(t))
}

// testTickSchedulers has five schedulers meet at the ticks of twenty channels,
// each of which is due three times.
func testTickSchedulers(t *testing.T, db *store.DB) {
	const channels, schedulers, rounds = 20, 5, 3
	write(t, db, func(ctx context.Context, tx *store.Tx) error {
		for n := range channels {
			if _, err := addHouse(ctx, tx, db, fmt.Sprint("channel", n)); err != nil {
				return err
			}
		}
		return nil
	})
	// The schedule's text carries how often the channel was due.
	decide := func(d store.DueChannel, now time.Time) store.Tick {
		n, _ := strconv.Atoi(d.Schedule) // "" is 0
		tick := later(d, now)
		if n++; n < rounds {
			next := d.At.Add(time.Millisecond)
			tick.Next = &next
		}
		tick.Schedule = strconv.Itoa(n)
		return tick
	}
	var wg sync.WaitGroup
	var seen atomic.Int64
	for range schedulers {
		wg.Go(func() {
			for end := time.Now().Add(30 * time.Second); seen.Load() < channels*rounds && time.Now().Before(end); {
				due, _, _, err := claim(t.Context(), db, decide)
				if err != nil {
					t.Error(err)
					return
				}
				seen.Add(int64(len(due)))
			}
		})
	}
	wg.Wait()
	equal(t, "ticks seen to", seen.Load(), channels*rounds)
	var requests, ticks int
	read(t, db, func(ctx context.Context, tx *store.Tx) error {
		return tx.QueryRowContext(ctx, "SELECT (SELECT count(*) FROM tandem_request), (SELECT count(*) FROM tandem_tick WHERE run_id IS NOT NULL)").Scan(&requests, &ticks)
	})
	equal(t, "requests", requests, channels*rounds)
	equal(t, "ticks", ticks, channels*rounds)
	equal(t, "runs", len(house{db: db}.allRuns(t)), channels) // later ticks join the run that waits
}

// testTickOff has a disabled channel, and one without ticks, stay quiet.
func testTickOff(t *testing.T, db *store.DB) {
	h := newHouse(t, db)
	enable := func(on bool) {
		write(t, db, func(ctx context.Context, tx *store.Tx) error { return tx.SetChannelEnabled(ctx, h.channel, on) })
	}
	enable(false)
	if due, _, _ := h.claim(t, later); len(due) != 0 {
		t.Fatalf("disabled and due: %+v", due)
	}
	equal(t, "next run of a disabled channel", h.schedule(t).NextAt, nil)
	enable(true)
	due, planned, _ := h.claim(t, later)
	if len(due) != 1 || !due[0].Start || planned != 1 {
		t.Fatalf("enabled: %+v, %d planned", due, planned)
	}
	enable(true)
	if due, _, _ := h.claim(t, later); len(due) != 0 {
		t.Fatalf("enabled again and due: %+v", due)
	}
	// Other settings: looked at, without a run.
	write(t, db, func(ctx context.Context, tx *store.Tx) error {
		_, _, _, err := tx.PutChannel(ctx, store.Channel{Name: "crm", Type: "rest", Settings: []byte(`{"schedule":"off"}`)})
		return err
	})
	equal(t, "next run while it is worked out", h.schedule(t).NextAt, nil)
	due, _, _ = h.claim(t, func(d store.DueChannel, _ time.Time) store.Tick {
		return store.Tick{ChannelID: d.ChannelID, Channel: d.Channel, Schedule: "off", Revision: d.Revision}
	})
	if len(due) != 1 || due[0].Start || string(due[0].Settings) != `{"schedule":"off"}` {
		t.Fatalf("changed: %+v", due)
	}
	read(t, db, func(ctx context.Context, tx *store.Tx) error {
		next, _, err := tx.NextTick(ctx)
		equal(t, "next tick", next, nil)
		return err
	})
	equal(t, "runs", len(h.allRuns(t)), 1)
}

func testTickBackoff(t *testing.T, db *store.DB) {
	h := newHouse(t, db)
	h.claim(t, later)
	latest := func() int64 { return h.allRuns(t)[0].ID }
	for n := 1; n <= 3; n++ {
		if n > 1 {
			h.request(t, store.Request{Trigger: store.TriggerSchedule}, false)
		}
		h.start(t, latest())
		h.finish(t, latest(), store.StatusFailed)
		s := h.schedule(t)
		equal(t, "failures", s.Failures, n)
		if want := store.ScheduleBackoff(n); s.NotBefore == nil || time.Until(*s.NotBefore) > want || time.Until(*s.NotBefore) < want-time.Minute {
			t.Fatalf("after %d failures it waits until %v, want %v from now", n, s.NotBefore, want)
		}
		due, _, _ := h.claim(t, later)
		if len(due) != 1 || due[0].Settings == nil || due[0].NotBefore == nil {
			t.Fatalf("a failure has the next run worked out anew: %+v", due)
		}
		h.finish(t, latest(), store.StatusCancelled)
		equal(t, "failures after a run that was cancelled", h.schedule(t).Failures, n)
	}
	// A dry run and a run of some ids say nothing about the channel.
	for _, spec := range []store.Spec{{Flags: store.Flags{DryRun: true}}, {RemoteIDs: []string{"1"}}} {
		r, _, _ := h.request(t, store.Request{Trigger: store.TriggerSchedule, Spec: spec}, false)
		h.finish(t, r.ID, store.StatusFinished)
		equal(t, "failures", h.schedule(t).Failures, 3)
	}
	h.request(t, store.Request{Trigger: store.TriggerManual}, true)
	if s := h.schedule(t); s.Failures != 0 || s.NotBefore != nil {
		t.Errorf("a person's request resets it: %+v", s)
	}
	h.finish(t, latest(), store.StatusFailed)
	equal(t, "failures", h.schedule(t).Failures, 1)
	r, _, _ := h.request(t, store.Request{Trigger: store.TriggerMessage}, false)
	equal(t, "failures after a message", h.schedule(t).Failures, 1)
	h.finish(t, r.ID, store.StatusFinished)
	if s := h.schedule(t); s.Failures != 0 || s.NotBefore != nil {
		t.Errorf("a success resets it: %+v", s)
	}
}

func testTickClockBack(t *testing.T, db *store.DB) {
	h := newHouse(t, db)
	h.claim(t, later)
	repair := func() (n int64) {
		write(t, db, func(ctx context.Context, tx *store.Tx) (err error) {
			n, err = tx.RepairSchedules(ctx)
			return err
		})
		return n
	}
	equal(t, "repaired while the clock is right", repair(), 0)
	// As if the clock had been ten years ahead for a while.
	ahead := time.Now().AddDate(10, 0, 0)
	write(t, db, func(ctx context.Context, tx *store.Tx) error {
		var at any = ahead
		if tx.Dialect() == store.SQLite {
			at = ahead.UnixMicro()
		}
		_, err := tx.ExecContext(ctx, "UPDATE tandem_schedule SET planned_at = $1, next_at = $2, not_before = $3, failures = 2", at, at, at)
		return err
	})
	equal(t, "repaired", repair(), 1)
	due, _, _ := h.claim(t, later)
	if len(due) != 1 || due[0].Settings == nil || due[0].NotBefore != nil || time.Since(due[0].At) > time.Minute {
		t.Errorf("after the repair: %+v", due)
	}
	equal(t, "repaired again", repair(), 0)
	write(t, db, func(ctx context.Context, tx *store.Tx) error {
		_, err := tx.ExecContext(ctx, "DELETE FROM tandem_schedule")
		return err
	})
	equal(t, "missing ones made", repair(), 1)
}

func testFullRead(t *testing.T, db *store.DB) {
	h := newHouse(t, db)
	full := func() (at time.Time) {
		read(t, db, func(ctx context.Context, tx *store.Tx) (err error) {
			at, err = tx.FullRead(ctx, h.contacts)
			return err
		})
		return at
	}
	equal(t, "before the first", full().IsZero(), true)
	remote, ours := *at("2026-11-24T05:00:00Z"), *at("2026-11-24T10:00:00Z")
	write(t, db, func(ctx context.Context, tx *store.Tx) error { return tx.SetWatermark(ctx, h.contacts, remote, true) })
	equal(t, "by the watermark alone", full(), remote)
	for _, began := range []time.Time{ours, ours.Add(-time.Hour)} {
		write(t, db, func(ctx context.Context, tx *store.Tx) error { return tx.NoteFullRead(ctx, h.contacts, began) })
		equal(t, "by our clock, never back", full(), ours)
	}
}
