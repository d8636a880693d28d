package api_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tandem-sync/tandem/api"
	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/store"
)

func TestNextRun(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var c api.ChannelDetail
	w.want(http.StatusOK, http.MethodGet, "/api/v1/channels/crm", "", &c)
	if c.Schedule != "every 5 minutes" || c.NextRunAt != nil || c.Waiting != nil {
		t.Errorf("before the scheduler looked: %q, %v, %+v", c.Schedule, c.NextRunAt, c.Waiting)
	}
	next := time.Now().Add(time.Hour).UTC().Truncate(time.Millisecond)
	plan := func(ctx context.Context, tx *store.Tx) error {
		_, _, err := tx.ClaimDue(ctx, 1)
		if err == nil {
			_, _, err = tx.PlanTicks(ctx, []store.Tick{{ChannelID: w.crm, Channel: "crm", Next: &next, Revision: 1}})
		}
		return err
	}
	w.write(plan)
	w.want(http.StatusOK, http.MethodGet, "/api/v1/channels/crm", "", &c)
	if c.NextRunAt == nil || !c.NextRunAt.Equal(next) || c.Waiting != nil {
		t.Errorf("planned: %v, %+v", c.NextRunAt, c.Waiting)
	}
	for n := range 2 {
		w.write(func(ctx context.Context, tx *store.Tx) error {
			run, _, _, err := tx.AddRequest(ctx, store.Request{ChannelID: w.crm, Trigger: store.TriggerSchedule}, false)
			if err == nil {
				_, err = tx.FinishRun(ctx, run.ID, store.StatusFailed, nil)
			}
			return err
		})
		w.write(plan)
		var list struct{ Channels []api.Channel }
		w.want(http.StatusOK, http.MethodGet, "/api/v1/channels", "", &list)
		want := []string{"backoff: the last run failed", "backoff: the last 2 runs failed"}[n]
		if got := list.Channels[0].Waiting; got == nil || got.Reason != want || got.Until == nil || !got.Until.Equal(next) {
			t.Errorf("after %d failures: %+v", n+1, got)
		}
	}
}

func TestEnableAndDisable(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var planned, under api.Run
	w.want(http.StatusAccepted, http.MethodPost, "/api/v1/channels/crm/sync", "", &under)
	w.write(func(ctx context.Context, tx *store.Tx) error {
		_, err := tx.StartRun(ctx, under.ID, []store.Slice{{ConnectorID: w.cons[0].ID}})
		return err
	})
	w.want(http.StatusAccepted, http.MethodPost, "/api/v1/channels/crm/sync", "", &planned)

	var c api.Channel
	kicks := w.fleet.kicks.Load()
	w.want(http.StatusOK, http.MethodPost, "/api/v1/channels/crm/disable", "", &c)
	if c.Enabled || c.NextRunAt != nil {
		t.Errorf("disabled: %+v", c)
	}
	if w.fleet.kicks.Load() == kicks {
		t.Error("the workers were not woken")
	}
	w.write(func(ctx context.Context, tx *store.Tx) error {
		for id, want := range map[int64]store.Status{planned.ID: store.StatusCancelled, under.ID: store.StatusExecution} {
			r, err := tx.Run(ctx, id)
			if err != nil {
				return err
			}
			if r.Status != want || r.Status == store.StatusExecution && !r.CancelRequested {
				t.Errorf("run %d: %+v", id, r)
			}
		}
		return nil
	})
	p := w.problem(http.StatusConflict, http.MethodPost, "/api/v1/channels/crm/sync", "")
	if p.Code != fault.CodeConflict || !strings.Contains(p.Detail, "disabled") {
		t.Errorf("sync of a disabled channel: %+v", p)
	}
	w.want(http.StatusOK, http.MethodPost, "/api/v1/channels/crm/enable", "", &c)
	if !c.Enabled {
		t.Errorf("enabled: %+v", c)
	}
	for _, verb := range []string{"enable", "disable"} {
		w.problem(http.StatusNotFound, http.MethodPost, "/api/v1/channels/nosuch/"+verb, "")
	}
}

func TestDeleteChannel(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var run api.Run
	w.want(http.StatusAccepted, http.MethodPost, "/api/v1/channels/crm/sync", "", &run)
	w.write(func(ctx context.Context, tx *store.Tx) error {
		if _, err := tx.ExecContext(ctx, "CREATE TABLE contacts (id integer primary key)"); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, "INSERT INTO contacts (id) VALUES (1)"); err != nil {
			return err
		}
		return tx.PutLinks(ctx, []store.Link{{LinkHead: store.LinkHead{ID: 1, RemoteID: "r1", LocalKey: "1"}, ConnectorID: w.cons[0].ID}})
	})
	var gone api.Channel
	w.want(http.StatusOK, http.MethodDelete, "/api/v1/channels/crm", "", &gone)
	if gone.Name != "crm" || gone.ManagedBy != "file" {
		t.Errorf("deleted: %+v", gone)
	}
	w.problem(http.StatusNotFound, http.MethodDelete, "/api/v1/channels/crm", "")
	w.problem(http.StatusNotFound, http.MethodGet, "/api/v1/channels/crm", "")
	w.problem(http.StatusNotFound, http.MethodGet, "/api/v1/runs/1", "")
	var rows, links int
	w.write(func(ctx context.Context, tx *store.Tx) error {
		return tx.QueryRowContext(ctx, "SELECT (SELECT count(*) FROM contacts), (SELECT count(*) FROM tandem_link)").Scan(&rows, &links)
	})
	if rows != 1 || links != 0 {
		t.Errorf("%d rows and %d links are left, want the row alone", rows, links)
	}
}
