package api_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/tandem-sync/tandem/api"
	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/store"
)

// ReadsByID says that only companies cannot be read one by one.
func (f *fleet) ReadsByID(_ context.Context, _, connector string) (bool, error) {
	return connector != "companies", nil
}

// parkAt parks an item of one of the channel's connectors.
func (w *world) parkAt(con int, p store.Parked) int64 {
	w.tb.Helper()
	p.ChannelID, p.ConnectorID = w.crm, w.cons[con].ID
	list := []store.Parked{p}
	w.write(func(ctx context.Context, tx *store.Tx) error {
		_, err := tx.Park(ctx, list)
		return err
	})
	return list[0].ID
}

// parkMessage parks a message as a worker that refused it does.
func (w *world) parkMessage(body string) int64 {
	w.tb.Helper()
	list := []store.Parked{{Kind: store.ParkedMessage, Reason: "unknown_channel", Payload: json.RawMessage(body)}}
	w.write(func(ctx context.Context, tx *store.Tx) error {
		_, err := tx.Park(ctx, list)
		return err
	})
	return list[0].ID
}

func (w *world) spec(run int64) (spec store.Spec) {
	w.tb.Helper()
	if err := w.db.Read(context.Background(), func(ctx context.Context, tx *store.Tx) error {
		r, err := tx.Run(ctx, run)
		spec = r.Spec
		return err
	}); err != nil {
		w.tb.Fatal(err)
	}
	return spec
}

// outbox takes what waits to be published.
func (w *world) outbox() (out []store.Outgoing) {
	w.tb.Helper()
	w.write(func(ctx context.Context, tx *store.Tx) (err error) {
		out, err = tx.TakeOutgoing(ctx, 100)
		return err
	})
	return out
}

func parkedPath(id int64, rest string) string { return fmt.Sprintf("/api/v1/parked/%d%s", id, rest) }

func TestRetryRecord(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.parkAt(0, store.Parked{Kind: store.ParkedRefused, RemoteID: "7", Reason: "not_null", RunID: 1})
	var r api.Retried
	w.want(http.StatusAccepted, http.MethodPost, parkedPath(id, "/retry"), "", &r)
	if s := w.spec(r.ID); !slices.Equal(s.RemoteIDs, []string{"7"}) || !slices.Equal(s.Connectors, []string{"contacts"}) || s.Lane() != store.LaneIDs {
		t.Errorf("spec = %+v", s)
	}
	if r.Note != "" || r.Published || w.fleet.kicks.Load() != 1 {
		t.Errorf("answer = %+v, kicks %d", r, w.fleet.kicks.Load())
	}
	// Where single records cannot be read, all are, and that is said.
	id = w.parkAt(1, store.Parked{Kind: store.ParkedRecord, RemoteID: "7", Reason: "bad_value"})
	var full api.Retried
	w.want(http.StatusAccepted, http.MethodPost, parkedPath(id, "/retry"), "", &full)
	if s := w.spec(full.ID); s.Mode != store.ModeFull || len(s.RemoteIDs) > 0 || !slices.Equal(s.Connectors, []string{"companies"}) || !strings.Contains(full.Note, "full run") {
		t.Errorf("spec = %+v, note %q", s, full.Note)
	}
	w.write(func(ctx context.Context, tx *store.Tx) error { return tx.SetChannelEnabled(ctx, w.crm, false) })
	if p := w.problem(http.StatusConflict, http.MethodPost, parkedPath(id, "/retry"), ""); !strings.Contains(p.Detail, "disabled") {
		t.Errorf("problem = %+v", p)
	}
}

func TestRetryMessage(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for body, want := range map[string]string{
		`{"v":1,"type":"sync","channel":"nobody"}`:                               "no channel",
		`{"v":1,"type":"sync","channel":"crm","connectors":["x"]}`:               "x",
		`{"v":1,"type":"sync","channel":"crm","colour":"red"}`:                   "colour",
		`{"v":7,"type":"sync","channel":"crm"}`:                                  "version",
		`{"v":1,"type":"sync","channel":"crm","params":{"password":"hunter2!"}}`: "password",
		`{"text":"not json","bytes":8}`:                                          "at byte", // as a worker keeps what is no JSON
	} {
		id := w.parkMessage(body)
		p := w.refusal(http.MethodPost, parkedPath(id, "/retry"), "")
		if !strings.Contains(p.Detail, want) {
			t.Errorf("%s: %q, want something about %q", body, p.Detail, want)
		}
		if got := w.item(id); got.Resolved != "" {
			t.Errorf("%s: %+v", body, got)
		}
	}
	w.outbox()
	runs := map[int64]string{}
	for body, key := range map[string]string{
		`{"v":1,"type":"sync","channel":"crm","id":"m-1"}`:                   "sync.now",
		`{"v":1,"type":"reverse-sync","channel":"crm","local_ids":["42",7]}`: "reverse-sync",
	} {
		id := w.parkMessage(body)
		var r api.Retried
		w.want(http.StatusAccepted, http.MethodPost, parkedPath(id, "/retry"), "", &r)
		out := w.outbox()
		if r.Published || r.Run == nil || r.Trigger != store.TriggerMessage || len(out) != 1 || out[0].Key != key ||
			!strings.Contains(string(out[0].Body), fmt.Sprintf(`"run":%d`, r.ID)) {
			t.Errorf("answer %+v, outbox %+v", r, out)
		}
		runs[r.ID] = body
		if got := w.item(id); got.Resolved != store.ResolvedRetried || got.ResolvedAt == nil {
			t.Errorf("item = %+v", got)
		}
		w.problem(http.StatusConflict, http.MethodPost, parkedPath(id, "/retry"), "")
	}
	if len(runs) != 2 {
		t.Errorf("runs of two messages: %v", runs)
	}
}

// TestRetryOfMessagesThatComeTwice: an id counts once, and a message that goes
// on with a run is published again.
func TestRetryOfMessagesThatComeTwice(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var first, second, own api.Retried
	for _, into := range []*api.Retried{&first, &second} {
		w.want(http.StatusAccepted, http.MethodPost, parkedPath(w.parkMessage(`{"v":1,"type":"sync","channel":"crm","id":"m-1"}`), "/retry"), "", into)
	}
	if first.Run == nil || second.Run == nil || first.ID != second.ID || first.Note != "" || !strings.Contains(second.Note, `"m-1" was taken before`) {
		t.Errorf("first %+v, second %+v", first, second)
	}
	w.outbox()
	body := fmt.Sprintf(`{"v":1,"type":"sync","channel":"crm","run":%d}`, first.ID)
	w.want(http.StatusAccepted, http.MethodPost, parkedPath(w.parkMessage(body), "/retry"), "", &own)
	if out := w.outbox(); !own.Published || own.Run == nil || own.ID != first.ID || len(out) != 1 || string(out[0].Body) != body {
		t.Errorf("answer %+v, outbox %+v", own, out)
	}
	p := w.problem(http.StatusNotFound, http.MethodPost, parkedPath(w.parkMessage(`{"v":1,"type":"sync","channel":"crm","run":99}`), "/retry"), "")
	if p.Detail != "no run 99" {
		t.Errorf("%+v", p)
	}
	w.write(func(ctx context.Context, tx *store.Tx) error { return tx.SetChannelEnabled(ctx, w.crm, false) })
	p = w.problem(http.StatusConflict, http.MethodPost, parkedPath(w.parkMessage(`{"v":1,"type":"sync","channel":"crm"}`), "/retry"), "")
	if p.Detail != `channel "crm" is disabled` {
		t.Errorf("%+v", p)
	}
}

func (w *world) item(id int64) (p api.Parked) {
	w.tb.Helper()
	w.want(http.StatusOK, http.MethodGet, parkedPath(id, ""), "", &p)
	return p
}

func TestSkipAndRetrySkipped(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	rec := store.Parked{Kind: store.ParkedRecord, RemoteID: "7", Reason: "bad_value", Message: "m", Answer: "422", Print: "v1", RunID: 3}
	id := w.parkAt(0, rec)
	w.parkAt(0, rec)
	got := w.item(id)
	if got.Attempts != 2 || got.Answer != "422" || len(got.History) != 2 || got.History[1].Run != 3 || got.History[1].N != 2 || got.History[0].At.IsZero() {
		t.Errorf("item = %+v", got)
	}
	var p api.Parked
	w.want(http.StatusOK, http.MethodPost, parkedPath(id, "/skip"), "", &p)
	if p.Resolved != store.ResolvedSkipped || p.ResolvedAt == nil || len(p.History) != 2 {
		t.Errorf("skipped = %+v", p)
	}
	w.problem(http.StatusConflict, http.MethodPost, parkedPath(id, "/skip"), "")
	w.problem(http.StatusNotFound, http.MethodPost, parkedPath(999, "/skip"), "")
	// A person may change their mind.
	var r api.Retried
	w.want(http.StatusAccepted, http.MethodPost, parkedPath(id, "/retry"), "", &r)
	if s := w.spec(r.ID); !slices.Equal(s.RemoteIDs, []string{"7"}) {
		t.Errorf("spec = %+v", s)
	}
	if err := w.db.Read(t.Context(), func(ctx context.Context, tx *store.Tx) error {
		prints, err := tx.SkippedPrints(ctx, w.cons[0].ID, []string{"7"})
		if len(prints) > 0 {
			t.Errorf("the skip still holds: %v", prints)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
}

func TestManyAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for i := range 5 {
		w.parkAt(0, store.Parked{Kind: store.ParkedRecord, RemoteID: fmt.Sprint("r", i), Reason: "bad_value"})
	}
	w.parkAt(1, store.Parked{Kind: store.ParkedRecord, RemoteID: "c1", Reason: "bad_value"})
	w.parkAt(0, store.Parked{Kind: store.ParkedDuplicate, RemoteID: "d1", Reason: "duplicate_identity"})
	mass := w.parkAt(0, store.Parked{Kind: store.ParkedMassDelete, Reason: "mass_delete"})
	w.parkMessage(`{"v":1,"type":"sync","channel":"nobody"}`)
	w.parkMessage(`{"v":1,"type":"sync","channel":"crm"}`)
	post := func(status int, path, body string) (d api.ParkedDone) {
		t.Helper()
		w.want(status, http.MethodPost, "/api/v1/parked/"+path, body, &d)
		return d
	}
	count := func(query string) int {
		t.Helper()
		var page api.ParkedPage
		w.want(http.StatusOK, http.MethodGet, "/api/v1/parked?"+query, "", &page)
		return len(page.Parked)
	}
	for query, want := range map[string]int{
		"": 10, "connector=contacts": 7, "reason=bad_value": 6, "connector=companies&reason=bad_value": 1, "since=1h": 10, "since=2999-01-01T00:00:00Z": 0,
	} {
		if got := count(query); got != want {
			t.Errorf("%q: %d items, want %d", query, got, want)
		}
	}
	w.problem(http.StatusUnprocessableEntity, http.MethodGet, "/api/v1/parked?since=never", "")

	if p := w.problem(http.StatusUnprocessableEntity, http.MethodPost, "/api/v1/parked/retry", `{}`); p.Code != fault.CodeUsage {
		t.Errorf("nothing chosen: %+v", p)
	}
	if d := post(http.StatusOK, "retry", `{"reason":"bad_value"}`); d.Count != 6 || d.Confirmed || len(d.Runs) > 0 {
		t.Errorf("count first: %+v", d)
	}
	if p := w.problem(http.StatusConflict, http.MethodPost, "/api/v1/parked/retry", `{"reason":"bad_value","confirm":5}`); p.Where != "confirm" || p.Hint == "" {
		t.Errorf("a stale number: %+v", p)
	}
	if n := w.fleet.kicks.Load(); n != 0 {
		t.Errorf("%d kicks for nothing", n)
	}
	d := post(http.StatusOK, "retry", `{"reason":"bad_value","confirm":6}`)
	if !d.Confirmed || len(d.Runs) != 2 || len(d.Notes) != 1 || d.Refused != 0 {
		t.Fatalf("retried: %+v", d)
	}
	if s := w.spec(d.Runs[0].ID); !slices.Equal(s.RemoteIDs, []string{"r0", "r1", "r2", "r3", "r4"}) {
		t.Errorf("spec = %+v", s)
	}
	if s := w.spec(d.Runs[1].ID); s.Mode != store.ModeFull {
		t.Errorf("spec = %+v", s)
	}
	// All means all but a wave of deletions, which has to be named.
	d = post(http.StatusOK, "retry", `{"all":true,"confirm":9}`)
	if d.Published != 0 || d.Refused != 1 || len(d.Reasons) != 1 || !strings.Contains(d.Reasons[0].Message, "nobody") {
		t.Errorf("all: %+v", d)
	}
	if d = post(http.StatusOK, "skip", `{"channel":"crm"}`); d.Count != 7 {
		t.Errorf("to skip: %+v", d)
	}
	if d = post(http.StatusOK, "skip", `{"channel":"crm","confirm":7}`); !d.Confirmed || d.Refused != 0 {
		t.Errorf("skipped: %+v", d)
	}
	if count("channel=crm") != 1 || w.item(mass).Resolved != "" {
		t.Error("the wave of deletions is gone")
	}
	d = post(http.StatusOK, "retry", `{"kind":"mass_delete","confirm":1}`)
	if len(d.Runs) != 1 || w.spec(d.Runs[0].ID).ApproveParked != mass {
		t.Errorf("approved: %+v", d)
	}
	if d = post(http.StatusOK, "skip", `{"kind":"mass_delete","confirm":1}`); d.Refused != 1 || w.item(mass).Resolved != "" {
		t.Errorf("skipped while it is carried out: %+v", d)
	}
	w.problem(http.StatusConflict, http.MethodPost, parkedPath(mass, "/skip"), "")
}

// refusal sends a request that must be refused, with whatever status.
func (w *world) refusal(method, path, body string) (p api.Problem) {
	w.tb.Helper()
	status, _, b := w.request(method, path, body)
	if err := json.Unmarshal(b, &p); err != nil || status < 400 || status >= 500 {
		w.tb.Errorf("%s %s: %d %s", method, path, status, b)
	}
	return p
}
