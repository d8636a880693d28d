package api_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"testing"

	"github.com/tandem-sync/tandem/api"
	"github.com/tandem-sync/tandem/store"
)

// TestEveryEndByAPersonIsTold cancels a planned run, disables a channel with a
// planned one, and deletes it with one that is under way.
func TestEveryEndByAPersonIsTold(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var mu sync.Mutex
	var told []string
	w.db.OnRunEnd(func(e store.RunEnd) {
		mu.Lock()
		defer mu.Unlock()
		told = append(told, fmt.Sprint(e.Channel, " ", e.Kind, " ", e.Status, " ", e.Took > 0))
	})
	want := func(after string, lines ...string) {
		t.Helper()
		mu.Lock()
		defer mu.Unlock()
		if !slices.Equal(told, lines) {
			t.Errorf("after %s: %q, want %q", after, told, lines)
		}
		told = nil
	}
	var r api.Run
	ask := func() {
		t.Helper()
		w.want(http.StatusAccepted, http.MethodPost, "/api/v1/channels/crm/sync", "", &r)
	}
	ask()
	want("asking")
	w.want(http.StatusAccepted, http.MethodPost, fmt.Sprintf("/api/v1/runs/%d/cancel", r.ID), "", nil)
	want("cancelling", "crm sync cancelled false")
	ask()
	w.want(http.StatusOK, http.MethodPost, "/api/v1/channels/crm/disable", "", nil)
	want("disabling", "crm sync cancelled false")
	w.want(http.StatusOK, http.MethodPost, "/api/v1/channels/crm/enable", "", nil)
	ask()
	w.write(func(ctx context.Context, tx *store.Tx) error {
		_, err := tx.StartRun(ctx, r.ID, []store.Slice{{ConnectorID: w.cons[0].ID}})
		return err
	})
	ask()
	w.want(http.StatusOK, http.MethodDelete, "/api/v1/channels/crm", "", nil)
	want("deleting", "crm sync cancelled false", "crm sync cancelled true")
}
