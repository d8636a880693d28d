package api_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tandem-sync/tandem/api"
	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/store"
	"github.com/tandem-sync/tandem/sync/explain"
	"github.com/tandem-sync/tandem/sync/resolve"
	"github.com/tandem-sync/tandem/sync/undo"
)

// ExplainRecord explains every record in the same way.
func (f *fleet) ExplainRecord(_ context.Context, channel, connector string, q explain.Query) (explain.Record, error) {
	at := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	id := int64(1)
	return explain.Record{
		Channel: channel, Connector: connector, LocalID: q.LocalID, RemoteID: "r" + q.LocalID,
		Link:  &explain.Link{State: "linked", Aliases: []string{"old"}, Customs: json.RawMessage(`{"a":1}`), ReadAt: &at},
		Local: explain.Side{Exists: true}, Remote: explain.Side{Problem: "connection refused"},
		Fields: []explain.Field{{
			Local: "email", Remote: "email", Direction: "both", LocalValue: json.RawMessage(`"a@x.org"`), BaseLocal: json.RawMessage(`null`),
			Now: &explain.Verdict{Winner: "local", Reason: "local_changed", Writes: "remote"}, Last: &explain.Last{Winner: "remote", Side: "local", At: &at, Run: 1}, Conflict: &id,
		}},
		Waits: &explain.Waits{Since: at, Next: at}, Create: &explain.Create{State: "open", Since: at, Next: at},
		Conflicts: []explain.Dispute{{ID: 1, Field: "email", Since: at}}, Parked: []explain.Held{{ID: 1, Kind: store.ParkedRecord, Since: at}},
		History: []explain.Line{{Run: 1, At: &at, Side: "local", Op: "update", Fields: []store.FieldChange{}}},
	}, nil
}

// SettleConflicts refuses what is about row 13.
func (f *fleet) SettleConflicts(_ context.Context, list []store.Conflict, _ string) (resolve.Settled, error) {
	out := resolve.Settled{Refused: map[int64]error{}, Notes: []string{"noted"}}
	for _, c := range list {
		if c.LocalKey == "13" {
			out.Refused[c.ID] = fault.New(fault.Permanent, fault.CodeConflict, "", "row 13 is not linked any more")
			continue
		}
		out.Done = append(out.Done, c.ID)
	}
	return out, nil
}

// UndoRun undoes two pages, of which the first has something to tell.
func (f *fleet) UndoRun(_ context.Context, run store.Run, o undo.Options) (undo.Result, error) {
	r := undo.Result{Run: run.ID, DryRun: o.DryRun, Lines: []store.Change{}, Connectors: []string{}}
	if o.After == "" {
		r.Next, r.Fields, r.Connectors = "lines/5", 2, []string{"contacts"}
	}
	return r, nil
}

// CaptureOf says that triggers are missing.
func (f *fleet) CaptureOf(context.Context, string) (api.CaptureState, error) {
	return api.CaptureState{Mode: "triggers", Problems: []string{"no trigger"}}, nil
}

// RefreshCaptures notes the entities, or refuses.
func (f *fleet) RefreshCaptures(_ context.Context, entities []string) error {
	f.refreshed = append(f.refreshed, entities...)
	return f.refuse
}

// TestEnableSeesToTriggers: a channel that writes to its remote is not switched on
// where nobody would notice what it has to write.
func TestEnableSeesToTriggers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	err := w.db.Write(t.Context(), "test", func(ctx context.Context, tx *store.Tx) error {
		_, err := tx.PutConnectors(ctx, w.crm, []store.Connector{
			{Name: "contacts", Entity: "people", Outward: true}, {Name: "more", Entity: "people", Outward: true}, {Name: "companies", Entity: "firms"},
		})
		if err == nil {
			err = tx.SetChannelEnabled(ctx, w.crm, false)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	w.fleet.refuse = fault.New(fault.Permanent, fault.CodeConfig, "", "the table is not there").WithHint("make it")
	p := w.problem(http.StatusConflict, http.MethodPost, "/api/v1/channels/crm/enable", "")
	if !strings.Contains(p.Detail, "the table is not there") || p.Hint != "make it" {
		t.Errorf("%+v", p)
	}
	var c api.Channel
	w.want(http.StatusOK, http.MethodPost, "/api/v1/channels/crm/disable", "", &c)
	if c.Enabled {
		t.Error("it was switched on all the same")
	}
	w.fleet.refuse = nil
	w.want(http.StatusOK, http.MethodPost, "/api/v1/channels/crm/enable", "", &c)
	if !c.Enabled || !slices.Equal(w.fleet.refreshed, []string{"people", "people"}) {
		t.Errorf("%+v, refreshed %q", c, w.fleet.refreshed)
	}
	w.fleet.refuse = fault.New(fault.Permanent, fault.CodeConfig, "", "no")
	w.want(http.StatusOK, http.MethodDelete, "/api/v1/channels/crm", "", nil)
	if len(w.fleet.refreshed) != 3 {
		t.Errorf("after deleting the channel: refreshed %q", w.fleet.refreshed)
	}
}

// conflict is an open conflict of contacts.
func (w *world) conflict(key, field string) store.Conflict {
	return store.Conflict{
		ChannelID: w.crm, ConnectorID: w.cons[0].ID, Connector: "contacts", LocalKey: key, RemoteID: "r" + key, Field: field,
		Local: json.RawMessage(`"here"`), Remote: json.RawMessage(`"there"`), RunID: 1, Seen: `[{"l":"here","r":"there"}]`,
	}
}

func (w *world) disagree(list ...store.Conflict) {
	w.tb.Helper()
	w.write(func(ctx context.Context, tx *store.Tx) error {
		_, err := tx.AddConflicts(ctx, list)
		return err
	})
}

func TestConflicts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.disagree(w.conflict("1", "email"), w.conflict("1", "name"), w.conflict("2", "email"), w.conflict("13", "email"))
	var page api.ConflictPage
	w.want(http.StatusOK, http.MethodGet, "/api/v1/conflicts?channel=crm&field=email&limit=2", "", &page)
	if len(page.Conflicts) != 2 || page.Next == nil || page.Conflicts[0].Channel != "crm" || string(page.Conflicts[0].Local) != `"here"` {
		t.Errorf("page %+v", page)
	}
	for q, n := range map[string]int{"local_id=1": 2, "connector=nothing": 0, "run=1": 4, "run=2": 0, "resolved=true": 4} {
		w.want(http.StatusOK, http.MethodGet, "/api/v1/conflicts?"+q, "", &page)
		if len(page.Conflicts) != n {
			t.Errorf("%s: %d", q, len(page.Conflicts))
		}
	}
	w.problem(http.StatusNotFound, http.MethodGet, "/api/v1/conflicts?channel=nobody", "")
	if p := w.problem(http.StatusNotFound, http.MethodGet, "/api/v1/conflicts/99", ""); !strings.Contains(p.Detail, "no conflict 99") {
		t.Errorf("%+v", p)
	}
	w.problem(http.StatusUnprocessableEntity, http.MethodPost, "/api/v1/conflicts/1/resolve", `{"winner":"me"}`)
	var one api.Decided
	w.want(http.StatusAccepted, http.MethodPost, "/api/v1/conflicts/1/resolve", `{"winner":"local"}`, &one)
	if one.Count != 1 || !one.Confirmed || one.Refused != 0 || !slices.Equal(one.Notes, []string{"noted"}) || w.fleet.kicks.Load() != 1 {
		t.Errorf("%+v", one)
	}
	w.want(http.StatusOK, http.MethodGet, "/api/v1/conflicts?local_id=13", "", &page)
	p := w.problem(http.StatusConflict, http.MethodPost, fmt.Sprintf("/api/v1/conflicts/%d/resolve", page.Conflicts[0].ID), `{"winner":"remote"}`)
	if !strings.Contains(p.Detail, "not linked") {
		t.Errorf("%+v", p)
	}
}

func TestManyConflictsNeedTheirNumber(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.disagree(w.conflict("1", "email"), w.conflict("2", "email"), w.conflict("13", "email"), w.conflict("1", "name"))
	w.problem(http.StatusUnprocessableEntity, http.MethodPost, "/api/v1/conflicts/resolve", `{"winner":"local"}`)
	var d api.Decided
	w.want(http.StatusOK, http.MethodPost, "/api/v1/conflicts/resolve", `{"winner":"local","field":"email"}`, &d)
	if d.Count != 3 || d.Confirmed {
		t.Errorf("%+v", d)
	}
	w.problem(http.StatusConflict, http.MethodPost, "/api/v1/conflicts/resolve", `{"winner":"local","field":"email","confirm":2}`)
	w.want(http.StatusOK, http.MethodPost, "/api/v1/conflicts/resolve", `{"winner":"local","field":"email","confirm":3}`, &d)
	if d.Count != 3 || !d.Confirmed || d.Refused != 1 || len(d.Reasons) != 1 {
		t.Errorf("%+v", d)
	}
}

func TestReverseSyncRequests(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var r api.Run
	w.want(http.StatusAccepted, http.MethodPost, "/api/v1/channels/crm/reverse-sync",
		`{"v":1,"type":"reverse-sync","channel":"crm","connectors":["contacts"],"local_ids":["42",7],"flags":["dry_run"]}`, &r)
	s := w.spec(r.ID)
	if s.Kind != store.KindReverseSync || !slices.Equal(s.LocalIDs, []string{"42", "7"}) || !s.Flags.DryRun || r.Kind != store.KindReverseSync {
		t.Errorf("%+v", s)
	}
	w.want(http.StatusAccepted, http.MethodPost, "/api/v1/channels/crm/reverse-sync", `{"start":"2h","end":"1h"}`, &r)
	if s := w.spec(r.ID); s.Start == nil || s.End == nil || s.End.Sub(*s.Start) != time.Hour {
		t.Errorf("%+v", s)
	}
	w.want(http.StatusAccepted, http.MethodPost, "/api/v1/channels/crm/reverse-sync", `{"mode":"full"}`, &r)
	if s := w.spec(r.ID); s.Mode != store.ModeFull || s.Kind != store.KindReverseSync {
		t.Errorf("%+v", s)
	}
	for _, bad := range []string{`{"type":"sync"}`, `{"start":"1h","end":"2h"}`, `{"start":"1h","local_ids":["1"]}`, `{"flags":["no_pull"]}`, `{"mode":"full","local_ids":["1"]}`} {
		w.problem(http.StatusUnprocessableEntity, http.MethodPost, "/api/v1/channels/crm/reverse-sync", bad)
	}
}

func TestRunUndone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var r api.Run
	w.want(http.StatusAccepted, http.MethodPost, "/api/v1/channels/crm/sync", "", &r)
	path := fmt.Sprintf("/api/v1/runs/%d/undo", r.ID)
	var u api.RunUndone
	w.want(http.StatusOK, http.MethodGet, path, "", &u)
	if u.State != "no" || u.Run != r.ID || u.StartedAt != nil {
		t.Errorf("%+v", u)
	}
	if err := w.db.Write(t.Context(), "test", func(ctx context.Context, tx *store.Tx) error { return tx.AddUndone(ctx, r.ID, 3, 2, 1) }); err != nil {
		t.Fatal(err)
	}
	w.want(http.StatusOK, http.MethodGet, path, "", &u)
	if u.State != store.UndonePartly || u.Fields != 3 || u.Rows != 2 || u.Deleted != 1 || u.StartedAt == nil || u.EndedAt != nil {
		t.Errorf("%+v", u)
	}
	w.problem(http.StatusNotFound, http.MethodGet, "/api/v1/runs/99/undo", "")
}

func TestExplainedRecord(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var r explain.Record
	w.want(http.StatusOK, http.MethodGet, "/api/v1/channels/crm/connectors/contacts/records?local_id=42", "", &r)
	if r.LocalID != "42" || r.RemoteID != "r42" || r.Connector != "contacts" || len(r.Fields) != 1 {
		t.Errorf("%+v", r)
	}
	w.problem(http.StatusNotFound, http.MethodGet, "/api/v1/channels/crm/connectors/nothing/records?local_id=42", "")
	w.problem(http.StatusNotFound, http.MethodGet, "/api/v1/channels/nobody/connectors/contacts/records?local_id=42", "")
}

// TestRetryParkedOutward: what is parked on its way out is exported again by its
// local row, and a wave of deletions there is approved as an export.
func TestRetryParkedOutward(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, kind := range []store.ParkedKind{store.ParkedRefused, store.ParkedUnknown} {
		id := w.parkAt(1, store.Parked{Kind: kind, LocalID: "42", RemoteID: "7", Reason: "write_refused", Outward: true, Print: "l1"})
		var r api.Retried
		w.want(http.StatusAccepted, http.MethodPost, parkedPath(id, "/retry"), "", &r)
		if s := w.spec(r.ID); s.Kind != store.KindReverseSync || !slices.Equal(s.LocalIDs, []string{"42"}) || !slices.Equal(s.Connectors, []string{"companies"}) {
			t.Errorf("%s: %+v", kind, s)
		}
		w.want(http.StatusOK, http.MethodPost, parkedPath(id, "/skip"), "", nil)
		w.want(http.StatusAccepted, http.MethodPost, parkedPath(id, "/retry"), "", &r) // a skip is taken back
		if got := w.item(id); got.Resolved != store.ResolvedRetried || !got.Outward {
			t.Errorf("%+v", got)
		}
	}
	w.write(func(ctx context.Context, tx *store.Tx) error {
		list, err := tx.DirtyOf(ctx, w.cons[1].ID, []string{"42"})
		if err == nil && (len(list) != 1 || list[0].Reason != "retried") {
			t.Errorf("%+v", list)
		}
		return err
	})
	id := w.parkAt(0, store.Parked{Kind: store.ParkedMassDelete, Reason: "mass_delete", Outward: true})
	var r api.Retried
	w.want(http.StatusAccepted, http.MethodPost, parkedPath(id, "/retry"), "", &r)
	if s := w.spec(r.ID); s.Kind != store.KindReverseSync || s.ApproveParked != id {
		t.Errorf("%+v", s)
	}
}

func TestRetryAndUndoRun(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var first api.Run
	w.want(http.StatusAccepted, http.MethodPost, "/api/v1/channels/crm/sync", `{"mode":"full","connectors":["contacts"]}`, &first)
	path := fmt.Sprintf("/api/v1/runs/%d", first.ID)
	w.problem(http.StatusConflict, http.MethodPost, path+"/retry", "")
	w.problem(http.StatusConflict, http.MethodPost, path+"/undo", "")
	w.parkAt(0, store.Parked{Kind: store.ParkedRecord, RemoteID: "9", Reason: "bad_value", RunID: first.ID})
	w.write(func(ctx context.Context, tx *store.Tx) error {
		_, err := tx.FinishRun(ctx, first.ID, store.StatusFailed, &store.RunError{Code: "failed"})
		return err
	})
	var got api.RunRetried
	w.want(http.StatusAccepted, http.MethodPost, path+"/retry", "", &got)
	if got.Run == nil || got.Parked.Count != 1 || len(got.Parked.Runs) != 1 {
		t.Fatalf("%+v", got)
	}
	if s := w.spec(got.Run.ID); s.Mode != store.ModeFull || !slices.Equal(s.Connectors, []string{"contacts"}) {
		t.Errorf("%+v", s)
	}
	var u api.Undone
	w.want(http.StatusOK, http.MethodPost, path+"/undo", `{"dry_run":true}`, &u)
	if len(u.Runs) != 0 || !u.DryRun || u.Next == "" {
		t.Errorf("%+v", u)
	}
	w.want(http.StatusOK, http.MethodPost, path+"/undo", "", &u)
	if len(u.Runs) != 1 || w.spec(u.Runs[0].ID).Kind != store.KindReverseSync || u.Fields != 2 {
		t.Errorf("%+v", u)
	}
	w.want(http.StatusOK, http.MethodPost, path+"/undo", `{"after":"lines/5"}`, &u)
	if u.Next != "" || len(u.Runs) != 0 {
		t.Errorf("%+v", u)
	}
	w.problem(http.StatusNotFound, http.MethodPost, "/api/v1/runs/99/undo", "")
}

func TestWhereTheWayOutStands(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.write(func(ctx context.Context, tx *store.Tx) error {
		if _, err := tx.PutConnectors(ctx, w.crm, []store.Connector{{Name: "contacts", Entity: "contacts", Outward: true}, {Name: "companies", Ord: 1}}); err != nil {
			return err
		}
		if _, err := tx.MarkDirty(ctx, w.cons[0].ID, []string{"1", "2"}, "test"); err != nil {
			return err
		}
		if _, err := tx.StartPass(ctx, w.crm, w.cons[0].ID, nil); err != nil {
			return err
		}
		return tx.AddEcho(ctx, w.cons[0].ID, 3, 1)
	})
	w.disagree(w.conflict("1", "email"))
	var c api.ChannelDetail
	w.want(http.StatusOK, http.MethodGet, "/api/v1/channels/crm", "", &c)
	st := c.State[0]
	if st.Conflicts != 1 || st.Outward == nil || c.State[1].Outward != nil || st.Direction == "" {
		t.Fatalf("%+v", c.State)
	}
	if o := st.Outward; o.Waiting != 2 || o.Oldest == nil || o.Round == nil || o.Round.FinishedAt != nil || o.Echoes != 3 || o.NearMiss != 1 || o.Capture == nil || o.Capture.Right {
		t.Errorf("%+v", o)
	}
}
