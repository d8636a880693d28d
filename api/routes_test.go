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
)

func TestChannelsHideSecrets(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var list struct{ Channels []api.Channel }
	w.want(http.StatusOK, http.MethodGet, "/api/v1/channels", "", &list)
	if len(list.Channels) != 1 || list.Channels[0].Name != "crm" || list.Channels[0].ManagedBy != "file" ||
		!slices.Equal(list.Channels[0].Connectors, []string{"contacts", "companies"}) || list.Channels[0].LastRun != nil {
		t.Errorf("channels = %+v", list.Channels)
	}
	code, _, b := w.request(http.MethodGet, "/api/v1/channels/crm", "")
	if code != http.StatusOK || strings.Contains(string(b), "s3cret") || strings.Contains(string(b), "tandem:v1:") {
		t.Errorf("%d %s: a secret shows", code, b)
	}
	if !strings.Contains(string(b), `"token":"(secret)"`) || !strings.Contains(string(b), "12345678901234567890") {
		t.Errorf("%s: want the secret named and numbers exact", b)
	}
	p := w.problem(http.StatusNotFound, http.MethodGet, "/api/v1/channels/crn", "")
	if p.Code != fault.CodeNotFound || !strings.Contains(p.Hint, "crm") {
		t.Errorf("problem = %+v", p)
	}
}

func TestConnectorState(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	at := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	began := at.Add(5 * time.Minute) // the watermark lies an overlap before it
	w.write(func(ctx context.Context, tx *store.Tx) error {
		if err := tx.SetWatermark(ctx, w.cons[0].ID, at, true); err != nil {
			return err
		}
		return tx.NoteFullRead(ctx, w.cons[0].ID, began)
	})
	var c api.ChannelDetail
	w.want(http.StatusOK, http.MethodGet, "/api/v1/channels/crm", "", &c)
	if len(c.State) == 2 && (c.State[0].FullAt == nil || !c.State[0].FullAt.Equal(began) || c.State[1].FullAt != nil) {
		t.Errorf("read completely at %v and %v, want %v and never", c.State[0].FullAt, c.State[1].FullAt, began)
	}
	if len(c.State) != 2 || c.State[0].Watermark == nil || !c.State[0].Watermark.Equal(at) || c.State[1].Watermark != nil {
		t.Errorf("state = %+v", c.State)
	}
}

func TestSyncGivesTheRunAsContracted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	code, _, b := w.request(http.MethodPost, "/api/v1/channels/crm/sync", `{"v":1,"type":"sync","channel":"crm","connectors":["contacts"],"mode":"full"}`)
	if code != http.StatusAccepted {
		t.Fatalf("%d %s", code, b)
	}
	var keys map[string]json.RawMessage
	if err := json.Unmarshal(b, &keys); err != nil {
		t.Fatal(err)
	}
	want := strings.Fields("id channel connectors kind mode trigger dry_run status waiting progress read created updated deleted " +
		"unchanged skipped conflicts parked pushed by_connector started_at finished_at error")
	for _, k := range want {
		if _, ok := keys[k]; !ok {
			t.Errorf("the run has no %q", k)
		}
	}
	if len(keys) != len(want) {
		t.Errorf("the run has %d fields, %d are contracted: %s", len(keys), len(want), b)
	}
	var progress map[string]json.RawMessage
	if err := json.Unmarshal(keys["progress"], &progress); err != nil || len(progress) != 4 ||
		string(progress["total"]) != "null" || string(progress["eta"]) != "null" || string(progress["rate"]) != "0" {
		t.Errorf("progress = %s, %v", keys["progress"], err)
	}
	var r api.Run
	if err := json.Unmarshal(b, &r); err != nil {
		t.Fatal(err)
	}
	if r.ID == 0 || r.Kind != store.KindSync || r.Mode != store.ModeFull || r.Trigger != store.TriggerAPI || r.Status != store.StatusPlanned ||
		!slices.Equal(r.Connectors, []string{"contacts"}) || r.Waiting == nil {
		t.Errorf("run = %+v", r)
	}
	if w.fleet.kicks.Load() != 1 {
		t.Errorf("the workers were woken %d times", w.fleet.kicks.Load())
	}
}

func TestSyncJoinsAndRepeats(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var first, joined, other, repeated api.Run
	w.want(http.StatusAccepted, http.MethodPost, "/api/v1/channels/crm/sync", `{"id":"order-1"}`, &first)
	w.want(http.StatusAccepted, http.MethodPost, "/api/v1/channels/crm/sync", "", &joined)
	w.want(http.StatusAccepted, http.MethodPost, "/api/v1/channels/crm/sync", `{"remote_ids":[12345678901234567890,"x"]}`, &other)
	w.want(http.StatusAccepted, http.MethodPost, "/api/v1/channels/crm/sync", `{"id":"order-1","mode":"full"}`, &repeated)
	if joined.ID != first.ID || repeated.ID != first.ID || other.ID == first.ID {
		t.Errorf("runs %d, joined %d, other %d, repeated %d", first.ID, joined.ID, other.ID, repeated.ID)
	}
	var spec store.Spec
	if err := w.db.Read(t.Context(), func(ctx context.Context, tx *store.Tx) error {
		r, err := tx.Run(ctx, other.ID)
		spec = r.Spec
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(spec.RemoteIDs, []string{"12345678901234567890", "x"}) {
		t.Errorf("ids = %q: integers must stay exact", spec.RemoteIDs)
	}
}

func TestTriggerHeader(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, _, b := w.request(http.MethodPost, "/api/v1/channels/crm/sync", "", set(api.TriggerHeader, "manual"))
	var r api.Run
	if err := json.Unmarshal(b, &r); err != nil || r.Trigger != store.TriggerManual {
		t.Errorf("%s: %v", b, err)
	}
	w.problem(http.StatusUnprocessableEntity, http.MethodPost, "/api/v1/channels/crm/sync", "", set(api.TriggerHeader, "schedule"))
}

func TestBadSyncRequests(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for body, code := range map[string]string{
		`{"v":2}`:                            fault.CodeUsage,
		`{"type":"reverse-sync"}`:            fault.CodeUsage,
		`{"channel":"other"}`:                fault.CodeUsage,
		`{"mode":"half"}`:                    fault.CodeUsage,
		`{"start":"yesterday"}`:              fault.CodeUsage,
		`{"start":"1h","end":"2h"}`:          fault.CodeUsage,
		`{"start":"1h","end":"1h"}`:          fault.CodeUsage,
		`{"flags":["dry-run"]}`:              fault.CodeUsage,
		`{"flags":["no_pull","no_push"]}`:    fault.CodeUsage,
		`{"remote_ids":["1"],"mode":"full"}`: fault.CodeUsage,
		`{"remote_ids":["1"],"start":"1h"}`:  fault.CodeUsage,
		`{"remote_ids":[""]}`:                fault.CodeUsage,
		`{"remote_ids":[1.5]}`:               fault.CodeUsage,
		`{"remote_ids":[true]}`:              fault.CodeUsage,
		`{"unknown":1}`:                      fault.CodeUsage,
		`{"connectors":"contacts"}`:          fault.CodeUsage,
		`[]`:                                 fault.CodeUsage,
		`{`:                                  fault.CodeUsage,
	} {
		got, _, b := w.request(http.MethodPost, "/api/v1/channels/crm/sync", body)
		var p api.Problem
		if err := json.Unmarshal(b, &p); err != nil || p.Code != code || (got != http.StatusUnprocessableEntity && got != http.StatusBadRequest) {
			t.Errorf("%s: %d %s, want 4xx %s", body, got, b, code)
		}
	}
	p := w.problem(http.StatusNotFound, http.MethodPost, "/api/v1/channels/crm/sync", `{"connectors":["contact"]}`)
	if p.Code != fault.CodeNotFound || !strings.Contains(p.Hint, "contacts, companies") {
		t.Errorf("problem = %+v", p)
	}
	if p := w.problem(http.StatusNotFound, http.MethodPost, "/api/v1/channels/nope/sync", ""); p.Detail != `no channel "nope"` {
		t.Errorf("problem = %+v", p)
	}
	var page api.RunPage
	w.want(http.StatusOK, http.MethodGet, "/api/v1/runs", "", &page)
	if len(page.Runs) != 0 || w.fleet.kicks.Load() != 0 {
		t.Errorf("refused requests left %d runs and %d kicks", len(page.Runs), w.fleet.kicks.Load())
	}
}

func TestDisabledChannelDoesNotSync(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.write(func(ctx context.Context, tx *store.Tx) error { return tx.SetChannelEnabled(ctx, w.crm, false) })
	if p := w.problem(http.StatusConflict, http.MethodPost, "/api/v1/channels/crm/sync", ""); p.Code != fault.CodeConflict {
		t.Errorf("code %q", p.Code)
	}
}

func TestRunProgressAndCounters(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var r api.Run
	w.want(http.StatusAccepted, http.MethodPost, "/api/v1/channels/crm/sync", "", &r)
	total := int64(1000)
	w.write(func(ctx context.Context, tx *store.Tx) error {
		started, err := tx.StartRun(ctx, r.ID, []store.Slice{{ConnectorID: w.cons[0].ID, Ord: 0}, {ConnectorID: w.cons[1].ID, Ord: 1}})
		if err != nil || !started {
			return fmt.Errorf("started %v: %w", started, err)
		}
		sl, err := tx.Slices(ctx, r.ID)
		if err != nil {
			return err
		}
		return tx.CommitSlice(ctx, store.SliceStep{
			SliceID: sl[0].ID, Expected: 0, Next: 1, Position: json.RawMessage(`{}`), Total: &total,
			Add: store.Counters{Read: 100, Created: 90, Unchanged: 3, Parked: 7},
		})
	})
	time.Sleep(20 * time.Millisecond) // a rate needs some time to have passed
	w.want(http.StatusOK, http.MethodGet, fmt.Sprintf("/api/v1/runs/%d", r.ID), "", &r)
	if r.Read != 100 || r.Created != 90 || r.Parked != 7 || r.ByConnector["contacts"].Created != 90 || r.Progress.Done != 100 {
		t.Errorf("run = %+v", r)
	}
	if r.Progress.Rate <= 0 || r.StartedAt == nil || r.Status != store.StatusExecution {
		t.Errorf("progress = %+v, status %s", r.Progress, r.Status)
	}
	if !slices.Equal(r.Connectors, []string{"contacts", "companies"}) {
		t.Errorf("connectors = %q: a run without names works on all", r.Connectors)
	}
}

func TestSecondRunSaysWhatItWaitsFor(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var first, second api.Run
	w.want(http.StatusAccepted, http.MethodPost, "/api/v1/channels/crm/sync", "", &first)
	w.want(http.StatusAccepted, http.MethodPost, "/api/v1/channels/crm/sync", `{"mode":"full"}`, &second)
	if second.Waiting == nil || second.Waiting.Reason != fmt.Sprintf("run_ahead: run %d of this channel comes first", first.ID) {
		t.Errorf("waiting = %+v", second.Waiting)
	}
}

func TestRunsPage(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for i := range 5 {
		w.want(http.StatusAccepted, http.MethodPost, "/api/v1/channels/crm/sync", fmt.Sprintf(`{"remote_ids":[%d]}`, i), nil)
	}
	var seen []int64
	for before := int64(0); ; {
		var p api.RunPage
		w.want(http.StatusOK, http.MethodGet, fmt.Sprintf("/api/v1/runs?limit=2&channel=crm&status=planned,execution&before=%d", before), "", &p)
		for _, r := range p.Runs {
			seen = append(seen, r.ID)
		}
		if p.Next == nil {
			break
		}
		before = *p.Next
	}
	if len(seen) != 5 || !slices.IsSortedFunc(seen, func(a, b int64) int { return int(b - a) }) {
		t.Errorf("runs = %v, want five, the latest first", seen)
	}
	w.problem(http.StatusNotFound, http.MethodGet, "/api/v1/runs?channel=nope", "")
	w.problem(http.StatusUnprocessableEntity, http.MethodGet, "/api/v1/runs?status=odd", "")
	w.problem(http.StatusUnprocessableEntity, http.MethodGet, "/api/v1/runs?chanel=crm", "")
	w.problem(http.StatusNotFound, http.MethodGet, "/api/v1/runs/999", "")
	w.problem(http.StatusUnprocessableEntity, http.MethodGet, "/api/v1/runs/abc", "")
}

func TestCancel(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var r api.Run
	w.want(http.StatusAccepted, http.MethodPost, "/api/v1/channels/crm/sync", "", &r)
	w.want(http.StatusAccepted, http.MethodPost, fmt.Sprintf("/api/v1/runs/%d/cancel", r.ID), "", &r)
	if r.Status != store.StatusCancelled || r.Waiting != nil || r.FinishedAt == nil {
		t.Errorf("run = %+v", r)
	}
	if p := w.problem(http.StatusConflict, http.MethodPost, fmt.Sprintf("/api/v1/runs/%d/cancel", r.ID), ""); p.Code != fault.CodeConflict {
		t.Errorf("code %q", p.Code)
	}
	w.problem(http.StatusNotFound, http.MethodPost, "/api/v1/runs/999/cancel", "")
}

func TestChangesAreLinesThenCounts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var r api.Run
	w.want(http.StatusAccepted, http.MethodPost, "/api/v1/channels/crm/sync", `{"flags":["dry_run"]}`, &r)
	const n = 1203 // more than two pages of the store
	w.write(func(ctx context.Context, tx *store.Tx) error {
		list := make([]store.Change, n)
		for i := range list {
			list[i] = store.Change{Connector: "contacts", Side: "local", Op: "create", RemoteID: fmt.Sprint(i)}
		}
		return tx.AddChanges(ctx, r.ID, list)
	})
	code, h, b := w.request(http.MethodGet, fmt.Sprintf("/api/v1/runs/%d/changes", r.ID), "")
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	if code != http.StatusOK || h.Get("Content-Type") != api.NDJSON || len(lines) != n+1 {
		t.Fatalf("%d %s, %d lines", code, h.Get("Content-Type"), len(lines))
	}
	if want := `{"connector":"contacts","side":"local","op":"create","local_id":"","remote_id":"1202","fields":[]}`; lines[n-1] != want {
		t.Errorf("line = %s", lines[n-1])
	}
	if !strings.HasPrefix(lines[n], `{"read":0,"created":0`) {
		t.Errorf("last line = %s, want the counts", lines[n])
	}
	w.problem(http.StatusNotFound, http.MethodGet, "/api/v1/runs/999/changes", "")
}

func TestTestChannel(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.fleet.stages = []api.TestStage{{Stage: "name", OK: true}, {Stage: "auth", Message: "401", Hint: "renew the token"}}
	var res api.TestResult
	w.want(http.StatusOK, http.MethodPost, "/api/v1/channels/crm/test", "", &res)
	if res.OK || len(res.Stages) != 2 || res.Stages[1].Hint != "renew the token" {
		t.Errorf("result = %+v", res)
	}
	w.problem(http.StatusNotFound, http.MethodPost, "/api/v1/channels/nope/test", "")
}
