package workers

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-sync/tandem/channels"
	"github.com/tandem-sync/tandem/messages"
	"github.com/tandem-sync/tandem/store"
)

// none is a broker that nobody asks for anything.
type none struct{ messages.Broker }

// timetable is a database with channels, and schedulers at work on it, in fake
// time.
type timetable struct {
	t    *testing.T
	db   *store.DB
	ids  map[string]int64
	stop []func()
}

// inBubble runs a test on SQLite in fake time, which begins at midnight.
func inBubble(t *testing.T, test func(tt *timetable)) {
	t.Helper()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		db, err := store.Open(t.Context(), store.Config{URL: "sqlite:" + dir + "/t.db"})
		if err != nil {
			t.Fatal(err)
		}
		if err := db.Migrate(t.Context()); err != nil {
			t.Fatal(err)
		}
		tt := &timetable{t: t, db: db, ids: map[string]int64{}}
		test(tt)
		tt.rest()
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
}

func (tt *timetable) write(fn func(ctx context.Context, tx *store.Tx) error) {
	tt.t.Helper()
	if err := tt.db.Write(context.Background(), "test", fn); err != nil {
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

// schedulers starts n of them.
func (tt *timetable) schedulers(n int) {
	for i := range n {
		f, err := NewFleet(Config{DB: tt.db, Broker: none{}, Registry: &channels.Registry{}, Owner: fmt.Sprint("s", i), Roles: Roles{Scheduler: true}})
		if err != nil {
			tt.t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan struct{})
		go func() {
			defer close(done)
			if err := f.Run(ctx); err != nil {
				tt.t.Errorf("fleet: %v", err)
			}
		}()
		tt.stop = append(tt.stop, func() { cancel(); <-done })
	}
}

// rest ends all schedulers.
func (tt *timetable) rest() {
	for _, stop := range tt.stop {
		stop()
	}
	tt.stop = nil
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

// pass lets d go by; every run that is planned meanwhile ends so at once.
func (tt *timetable) pass(d time.Duration, end store.Status) {
	tt.t.Helper()
	for until := time.Now().Add(d); time.Now().Before(until); {
		time.Sleep(min(10*time.Second, time.Until(until)))
		tt.write(func(ctx context.Context, tx *store.Tx) error {
			runs, err := tx.Runs(ctx, store.RunFilter{Status: []store.Status{store.StatusPlanned}, Limit: 1000})
			for _, r := range runs {
				if err == nil {
					_, err = tx.FinishRun(ctx, r.ID, end, nil)
				}
			}
			return err
		})
	}
}

func (tt *timetable) want(name string, times ...string) {
	tt.t.Helper()
	if got := tt.starts(name); fmt.Sprint(got) != fmt.Sprint(times) {
		tt.t.Errorf("%s started at %v, want %v", name, got, times)
	}
}

func TestSchedulersOnTime(t *testing.T) {
	t.Parallel()
	inBubble(t, func(tt *timetable) {
		tt.schedulers(3)
		time.Sleep(100 * time.Millisecond)
		tt.put("exact", "*/15 * * * *")
		tt.put("off", "off")
		tt.put("often", "@every 10m")
		tt.put("shop", "")
		tt.pass(time.Hour+30*time.Second, store.StatusFinished)
		// All but off start when they are created, a second later at most.
		tt.want("exact", "00:00:01", "00:15:00", "00:30:00", "00:45:00", "01:00:00")
		tt.want("off")
		if n := len(tt.starts("often")); n < 7 || n > 8 {
			tt.t.Errorf("every ten minutes: %v", tt.starts("often"))
		}
		shop := tt.starts("shop")
		if len(shop) < 13 || len(shop) > 14 || shop[2][3:] == "05:00" {
			tt.t.Errorf("every five minutes, by an offset of its own: %v", shop)
		}
	})
}

func TestMissedTicksBecomeOne(t *testing.T) {
	t.Parallel()
	inBubble(t, func(tt *timetable) {
		tt.put("crm", "@hourly")
		tt.schedulers(1)
		tt.pass(90*time.Minute, store.StatusFinished)
		tt.want("crm", "00:00:00", "01:00:00")
		tt.rest()
		time.Sleep(8 * time.Hour)
		for range 3 { // and restarts repeat nothing
			tt.schedulers(2)
			tt.pass(time.Minute, store.StatusFinished)
			tt.rest()
		}
		tt.want("crm", "00:00:00", "01:00:00", "09:30:00")
		tt.schedulers(1)
		tt.pass(time.Hour, store.StatusFinished)
		tt.want("crm", "00:00:00", "01:00:00", "09:30:00", "10:00:00")
	})
}

func TestTicksJoinTheRunThatWaits(t *testing.T) {
	t.Parallel()
	inBubble(t, func(tt *timetable) {
		tt.put("crm", "*/5 * * * *")
		tt.schedulers(2)
		time.Sleep(time.Hour)
		tt.want("crm", "00:00:00")
		var requests int
		tt.write(func(ctx context.Context, tx *store.Tx) error {
			return tx.GetContext(ctx, &requests, "SELECT count(*) FROM tandem_request")
		})
		if requests != 13 && requests != 12 {
			tt.t.Errorf("%d requests", requests)
		}
	})
}

func TestFailuresPutRunsOff(t *testing.T) {
	t.Parallel()
	inBubble(t, func(tt *timetable) {
		tt.put("crm", "*/5 * * * *")
		tt.schedulers(1)
		time.Sleep(3 * time.Second) // so that runs fail a little after they began
		tt.pass(6*time.Hour, store.StatusFailed)
		// 5, 10, 20, 40, 80 and 160 minutes, up to the next tick.
		tt.want("crm", "00:00:00", "00:10:00", "00:25:00", "00:50:00", "01:35:00", "03:00:00", "05:45:00")
		ask := func() {
			tt.write(func(ctx context.Context, tx *store.Tx) error {
				_, _, _, err := tx.AddRequest(ctx, store.Request{ChannelID: tt.ids["crm"], Trigger: store.TriggerManual}, true)
				return err
			})
		}
		ask()
		tt.pass(9*time.Minute, store.StatusFinished)
		got := tt.starts("crm")
		if tail := fmt.Sprint(got[len(got)-2:]); tail != "[06:00:03 06:05:00]" {
			tt.t.Errorf("after a person asked it started at %v", got)
		}
	})
}

func TestEnabledStartsAtOnce(t *testing.T) {
	t.Parallel()
	inBubble(t, func(tt *timetable) {
		enable := func(on bool) {
			tt.write(func(ctx context.Context, tx *store.Tx) error { return tx.SetChannelEnabled(ctx, tt.ids["crm"], on) })
		}
		tt.put("crm", "20 */2 * * *")
		tt.schedulers(1)
		tt.pass(time.Hour/6, store.StatusFinished)
		enable(false)
		tt.pass(50*time.Minute, store.StatusFinished)
		enable(true)
		tt.pass(time.Minute, store.StatusFinished)
		tt.put("crm", "@hourly") // other settings are no reason to start
		tt.pass(10*time.Minute, store.StatusFinished)
		got := tt.starts("crm")
		if len(got) != 2 || got[0] != "00:00:00" || got[1][:7] != "01:00:0" {
			tt.t.Errorf("started at %v", got)
		}
		tt.pass(time.Hour, store.StatusFinished)
		if got = tt.starts("crm"); len(got) != 3 || got[2] != "02:00:00" {
			tt.t.Errorf("started at %v", got)
		}
	})
}
