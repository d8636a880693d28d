package api_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/tandem-sync/tandem/api"
	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/store"
)

// park puts one item of the kind there and gives its id.
func (w *world) park(p store.Parked) int64 {
	w.tb.Helper()
	p.ChannelID, p.ConnectorID = w.crm, w.cons[0].ID
	var id int64
	w.write(func(ctx context.Context, tx *store.Tx) error {
		if _, err := tx.Park(ctx, []store.Parked{p}); err != nil {
			return err
		}
		list, err := tx.ListParked(ctx, store.ParkedFilter{Limit: 1})
		if err != nil || len(list) != 1 {
			return errors.Join(err, fmt.Errorf("%d items", len(list)))
		}
		id = list[0].ID
		return nil
	})
	return id
}

func TestParkedAsContracted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.park(store.Parked{Kind: store.ParkedRecord, RemoteID: "7", Reason: "bad_value", Message: "no date", Payload: json.RawMessage(`{"a":1}`)})
	code, _, b := w.request(http.MethodGet, fmt.Sprintf("/api/v1/parked/%d", id), "")
	var keys map[string]json.RawMessage
	if err := json.Unmarshal(b, &keys); err != nil || code != http.StatusOK {
		t.Fatalf("%d %s %v", code, b, err)
	}
	for _, k := range strings.Fields("id kind channel connector run local_id remote_id reason message attempts created_at next_at payload") {
		if _, ok := keys[k]; !ok {
			t.Errorf("the item has no %q: %s", k, b)
		}
	}
	if string(keys["run"]) != "null" || string(keys["payload"]) != `{"a":1}` || string(keys["connector"]) != `"contacts"` {
		t.Errorf("item = %s", b)
	}
	var page api.ParkedPage
	w.want(http.StatusOK, http.MethodGet, "/api/v1/parked?channel=crm&kind=record", "", &page)
	if len(page.Parked) != 1 || page.Parked[0].RemoteID != "7" {
		t.Errorf("page = %+v", page)
	}
	w.want(http.StatusOK, http.MethodGet, "/api/v1/parked?kind=mass_delete", "", &page)
	if len(page.Parked) != 0 {
		t.Errorf("page = %+v", page)
	}
	w.problem(http.StatusNotFound, http.MethodGet, "/api/v1/parked/99", "")
}

func TestApproveMassDelete(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.park(store.Parked{Kind: store.ParkedMassDelete, Reason: "delete_guard", Message: "300 of 2000"})
	var r api.Run
	w.want(http.StatusAccepted, http.MethodPost, fmt.Sprintf("/api/v1/parked/%d/retry", id), "", &r)
	var spec store.Spec
	if err := w.db.Read(t.Context(), func(ctx context.Context, tx *store.Tx) error {
		run, err := tx.Run(ctx, r.ID)
		spec = run.Spec
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if spec.ApproveParked != id || !slices.Equal(spec.Connectors, []string{"contacts"}) || w.fleet.kicks.Load() != 1 {
		t.Errorf("spec = %+v, kicks %d", spec, w.fleet.kicks.Load())
	}
	if p := w.problem(http.StatusConflict, http.MethodPost, fmt.Sprintf("/api/v1/parked/%d/retry", id), ""); p.Code != fault.CodeConflict {
		t.Errorf("approving twice: %+v", p)
	}
	w.want(http.StatusAccepted, http.MethodPost, fmt.Sprintf("/api/v1/runs/%d/cancel", r.ID), "", nil)
	w.want(http.StatusAccepted, http.MethodPost, fmt.Sprintf("/api/v1/parked/%d/retry", id), "", nil)
	w.write(func(ctx context.Context, tx *store.Tx) error { return tx.ResolveParked(ctx, id, "approved") })
	w.problem(http.StatusConflict, http.MethodPost, fmt.Sprintf("/api/v1/parked/%d/retry", id), "")
}
