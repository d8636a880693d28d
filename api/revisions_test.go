package api_test

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/tandem-sync/tandem/api"
	"github.com/tandem-sync/tandem/store"
)

// TestRevisions changes a channel between two runs: each names the settings that
// it works with, and no secret comes out of them.
func TestRevisions(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	start := func() (run store.Run) {
		w.write(func(ctx context.Context, tx *store.Tx) (err error) {
			if run, _, _, err = tx.AddRequest(ctx, store.Request{ChannelID: w.crm, Trigger: store.TriggerManual}, false); err != nil {
				return err
			}
			if _, err = tx.StartRun(ctx, run.ID, []store.Slice{{ConnectorID: w.cons[0].ID}}); err != nil {
				return err
			}
			_, err = tx.FinishRun(ctx, run.ID, store.StatusFinished, nil)
			return err
		})
		return run
	}
	first := start()
	w.write(func(ctx context.Context, tx *store.Tx) error {
		c, err := tx.Channel(ctx, w.crm)
		if err != nil {
			return err
		}
		c.Settings = json.RawMessage(strings.Replace(string(c.Settings), "crm.example.com", "new.example.com", 1))
		_, _, _, err = tx.PutChannel(ctx, c)
		return err
	})
	second := start()
	for i, run := range []store.Run{first, second} {
		var got api.RunRevision
		w.want(http.StatusOK, http.MethodGet, "/api/v1/runs/"+strconv.FormatInt(run.ID, 10)+"/revision", "", &got)
		host := []string{"crm.example.com", "new.example.com"}[i]
		if got.Run != run.ID || got.Channel != "crm" || got.Revision != int64(i+1) || got.CreatedAt.IsZero() || !strings.Contains(string(got.Settings), host) {
			t.Errorf("run %d: %+v %s", run.ID, got, got.Settings)
		}
		if strings.Contains(string(got.Settings), "tandem:v1") || !strings.Contains(string(got.Settings), `"token":"(secret)"`) {
			t.Errorf("a secret comes out: %s", got.Settings)
		}
	}
	var c api.ChannelDetail
	w.want(http.StatusOK, http.MethodGet, "/api/v1/channels/crm", "", &c)
	if len(c.Revisions) != 2 || c.Revisions[0].Revision != 2 || c.Revisions[0].Runs != 1 || c.Revisions[0].LastRun == nil || *c.Revisions[0].LastRun != second.ID ||
		c.Revisions[1].LastRun == nil || *c.Revisions[1].LastRun != first.ID {
		t.Errorf("%+v", c.Revisions)
	}
	w.problem(http.StatusNotFound, http.MethodGet, "/api/v1/runs/99/revision", "")
}
