package workers

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-sync/tandem/channels"
	"github.com/tandem-sync/tandem/internal/clock"
	"github.com/tandem-sync/tandem/messages"
	"github.com/tandem-sync/tandem/store"
)

// none is a broker that nobody asks for anything.
type none struct{ messages.Broker }

// hands is a clock that stands still until it is moved.
type hands struct {
	clock.System
	now time.Time
}

func (h *hands) Now() time.Time { return h.now }

// timetable is a database with channels, and schedulers that look at it
// whenever something is due.
type timetable struct {
	t          *testing.T
	db         *store.DB
	clock      *hands
	ids        map[string]int64
	schedulers []*Fleet
}

func newTimetable(t *testing.T, schedulers int) *timetable {
	t.Helper()
	tt := &timetable{t: t, ids: map[string]int64{}, clock: &hands{now: clockAt("2026-11-24T00:00:00Z")}}
	db, err := store.Open(t.Context(), store.Config{URL: "sqlite:" + t.TempDir() + "/t.db", Clock: tt.clock})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	if err := db.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	tt.db = db
	tt.restart(schedulers)
	return tt
}

// restart has new schedulers take over.
func (tt *timetable) restart(n int) {
	tt.t.Helper()
	tt.schedulers = nil
	for i := range n {
		tt.schedulers = append(tt.schedulers, newScheduler(tt.t, tt.db, fmt.Sprint("s", i)))
	}
}

func newScheduler(t *testing.T, db *store.DB, owner string) *Fleet {
	t.Helper()
	f, err := NewFleet(Config{DB: db, Broker: none{}, Registry: &channels.Registry{}, Owner: owner, Roles: Roles{Scheduler: true}})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func (tt *timetable) write(fn func(ctx context.Context, tx *store.Tx) error) {
	tt.t.Helper()
	if err := tt.db.Write(tt.t.Context(), "test", fn); err != nil {
		tt.t.Fatal(err)
	}
}

func (tt *timetable) put(name, schedule string) {
	tt.t.Helper()
	tt.write(func(ctx context.Context, tx *store.Tx) error {
		id, _, _, err := tx.PutChannel(ctx, store.Channel{
			Name: name, Type: "rest", Enabled: true, Settings: fmt.Appendf(nil, `{"schedule":%q}`, schedule),
		})
		tt.ids[name] = id
		return err
	})
}

// starts gives when the channel's runs were planned.
func (tt *timetable) starts(name string) []string {
	tt.t.Helper()
	var out []string
	tt.write(func(ctx context.Context, tx *store.Tx) error {
		out = nil
		runs, err := tx.Runs(ctx, store.RunFilter{ChannelID: tt.ids[name], Limit: 10000})
		if err != nil {
			return err
		}
		for i := len(runs) - 1; i >= 0; i-- {
			out = append(out, runs[i].CreatedAt.Format("15:04:05"))
		}
		return nil
	})
	return out
}

// pass lets d go by. Every run that is planned meanwhile ends so, three seconds
// after it was planned; with no end it stays planned.
func (tt *timetable) pass(d time.Duration, end store.Status) {
	tt.t.Helper()
	until := tt.clock.now.Add(d)
	for {
		for _, f := range tt.schedulers {
			for again := true; again; {
				wait, err := f.scheduleOnce(tt.t.Context())
				if err != nil {
					tt.t.Fatal(err)
				}
				again = wait == 0
			}
		}
		tt.end(end)
		if next := tt.next(); next != nil && next.Before(until) {
			if next.After(tt.clock.now) {
				tt.clock.now = *next
			}
			continue
		}
		if until.After(tt.clock.now) {
			tt.clock.now = until
		}
		return
	}
}

func (tt *timetable) next() (next *time.Time) {
	tt.t.Helper()
	err := tt.db.Read(tt.t.Context(), func(ctx context.Context, tx *store.Tx) (err error) {
		next, _, err = tx.NextTick(ctx)
		return err
	})
	if err != nil {
		tt.t.Fatal(err)
	}
	return next
}

func (tt *timetable) end(status store.Status) {
	tt.t.Helper()
	if status == "" {
		return
	}
	tt.write(func(ctx context.Context, tx *store.Tx) error {
		runs, err := tx.Runs(ctx, store.RunFilter{Status: []store.Status{store.StatusPlanned}, Limit: 1000})
		if err != nil || len(runs) == 0 {
			return err
		}
		tt.clock.now = tt.clock.now.Add(3 * time.Second)
		for _, r := range runs {
			if _, err := tx.FinishRun(ctx, r.ID, status, nil); err != nil {
				return err
			}
		}
		return nil
	})
}

func (tt *timetable) want(name string, times ...string) {
	tt.t.Helper()
	if got := tt.starts(name); fmt.Sprint(got) != fmt.Sprint(times) {
		tt.t.Errorf("%s started at %v, want %v", name, got, times)
	}
}

func TestOnTime(t *testing.T) {
	t.Parallel()
	tt := newTimetable(t, 3)
	tt.put("exact", "*/15 * * * *")
	tt.put("off", "off")
	tt.put("often", "@every 10m")
	tt.put("shop", "")
	tt.pass(time.Hour+30*time.Second, store.StatusFinished)
	// All but off start when they are created.
	tt.want("exact", "00:00:00", "00:15:00", "00:30:00", "00:45:00", "01:00:00")
	tt.want("off")
	if n := len(tt.starts("often")); n < 7 || n > 8 {
		t.Errorf("every ten minutes: %v", tt.starts("often"))
	}
	shop := tt.starts("shop")
	if len(shop) < 13 || len(shop) > 14 || shop[2][3:] == "05:00" {
		t.Errorf("every five minutes, by an offset of its own: %v", shop)
	}
}

func TestMissedTicksBecomeOne(t *testing.T) {
	t.Parallel()
	tt := newTimetable(t, 1)
	tt.put("crm", "@hourly")
	tt.pass(90*time.Minute, store.StatusFinished)
	tt.want("crm", "00:00:00", "01:00:00")
	tt.clock.now = tt.clock.now.Add(8 * time.Hour) // nobody is there
	for range 3 {                                  // and restarts repeat nothing
		tt.restart(2)
		tt.pass(time.Minute, store.StatusFinished)
	}
	tt.want("crm", "00:00:00", "01:00:00", "09:30:00")
	tt.pass(time.Hour, store.StatusFinished)
	tt.want("crm", "00:00:00", "01:00:00", "09:30:00", "10:00:00")
}

func TestTicksJoinTheRunThatWaits(t *testing.T) {
	t.Parallel()
	tt := newTimetable(t, 2)
	tt.put("crm", "*/5 * * * *")
	tt.pass(59*time.Minute, "")
	tt.want("crm", "00:00:00")
	var requests int
	tt.write(func(ctx context.Context, tx *store.Tx) error {
		return tx.GetContext(ctx, &requests, "SELECT count(*) FROM tandem_request")
	})
	if requests != 12 {
		t.Errorf("%d requests, want 12", requests)
	}
}

func TestFailuresPutRunsOff(t *testing.T) {
	t.Parallel()
	tt := newTimetable(t, 2)
	tt.put("crm", "*/5 * * * *")
	tt.pass(26*time.Hour, store.StatusFailed)
	// 5, 10, 20, 40, 80, 160, 320 and then 360 minutes, up to the next tick.
	tt.want("crm", "00:00:00", "00:10:00", "00:25:00", "00:50:00", "01:35:00", "03:00:00", "05:45:00", "11:10:00", "17:15:00", "23:20:00")
	tt.write(func(ctx context.Context, tx *store.Tx) error {
		_, _, _, err := tx.AddRequest(ctx, store.Request{ChannelID: tt.ids["crm"], Trigger: store.TriggerManual}, true)
		return err
	})
	tt.pass(9*time.Minute, store.StatusFinished)
	got := tt.starts("crm")
	if tail := fmt.Sprint(got[len(got)-2:]); tail != "[02:00:00 02:05:00]" {
		t.Errorf("after a person asked it started at %v", got)
	}
}

func TestEnabledStartsAtOnce(t *testing.T) {
	t.Parallel()
	tt := newTimetable(t, 2)
	enable := func(on bool) {
		tt.write(func(ctx context.Context, tx *store.Tx) error { return tx.SetChannelEnabled(ctx, tt.ids["crm"], on) })
	}
	tt.put("crm", "@daily")
	tt.pass(time.Hour, store.StatusFinished)
	enable(false)
	tt.pass(24*time.Hour, store.StatusFinished)
	enable(true)
	tt.pass(time.Minute, store.StatusFinished)
	tt.put("crm", "@hourly") // other settings are no reason to start
	tt.pass(30*time.Minute, store.StatusFinished)
	tt.want("crm", "00:00:00", "01:00:00")
	tt.pass(time.Hour, store.StatusFinished)
	tt.want("crm", "00:00:00", "01:00:00", "02:00:00")
}

// TestClockJumps sets the database's clock ten years on and back again.
func TestClockJumps(t *testing.T) {
	t.Parallel()
	tt := newTimetable(t, 2)
	tt.put("crm", "*/5 * * * *")
	tt.pass(6*time.Minute, store.StatusFinished)
	right := tt.clock.now
	tt.clock.now = right.AddDate(10, 0, 0)
	tt.pass(time.Minute, store.StatusFailed)
	tt.want("crm", "00:00:00", "00:05:00", "00:06:00")
	tt.clock.now = right
	tt.schedulers[0].repairSchedules(t.Context())
	tt.pass(10*time.Minute, store.StatusFinished)
	tt.want("crm", "00:00:00", "00:05:00", "00:06:00", "00:10:00", "00:15:00")
}

// TestSchedulerLoop lets three schedulers run in fake time: nothing is late and
// they end when they are told to.
func TestSchedulerLoop(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		db, err := store.Open(t.Context(), store.Config{URL: "sqlite:" + dir + "/t.db"})
		if err != nil {
			t.Fatal(err)
		}
		if err := db.Migrate(t.Context()); err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(context.Background())
		var wg sync.WaitGroup
		for n := range 3 {
			f := newScheduler(t, db, fmt.Sprint("s", n))
			wg.Go(func() { f.schedule(ctx) })
		}
		time.Sleep(100 * time.Millisecond)
		tt := &timetable{t: t, db: db, ids: map[string]int64{}}
		tt.put("crm", "* * * * *")
		for range 3 {
			time.Sleep(55 * time.Second)
			tt.clock = &hands{now: time.Now()}
			tt.end(store.StatusFinished)
		}
		time.Sleep(20 * time.Second)
		tt.want("crm", "00:00:01", "00:01:00", "00:02:00", "00:03:00")
		stop()
		wg.Wait()
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
}
