package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"

	"github.com/tandem-sync/tandem/api"
	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/internal/client"
	"github.com/tandem-sync/tandem/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// backend notes what it is asked and answers with what it was given.
type backend struct {
	api.Backend // what a test does not expect panics
	channel     string
	sync        api.SyncRequest
	runs        api.RunQuery
	parked      api.ParkedQuery
	changes     int
	fail        error
}

func (b *backend) Sync(_ context.Context, channel string, req api.SyncRequest) (api.Run, error) {
	b.channel, b.sync = channel, req
	return api.Run{ID: 3, Channel: channel, Status: store.StatusPlanned}, b.fail
}

func (b *backend) Channel(_ context.Context, name string) (api.ChannelDetail, error) {
	b.channel = name
	return api.ChannelDetail{Channel: api.Channel{Name: name}, Settings: json.RawMessage(`{"a":1}`)}, b.fail
}

func (b *backend) Runs(_ context.Context, q api.RunQuery) (api.RunPage, error) {
	b.runs = q
	next := int64(5)
	return api.RunPage{Runs: []api.Run{{ID: 6}, {ID: 5}}, Next: &next}, b.fail
}

func (b *backend) Run(_ context.Context, id int64) (api.Run, error) { return api.Run{ID: id}, b.fail }

func (b *backend) Parked(_ context.Context, q api.ParkedQuery) (api.ParkedPage, error) {
	b.parked = q
	return api.ParkedPage{Parked: []api.Parked{{ID: 9}}}, b.fail
}

func (b *backend) Changes(_ context.Context, _ int64, fn func(store.Change) error) (store.Counters, error) {
	for i := range b.changes {
		if err := fn(store.Change{Connector: "contacts", Op: "create", RemoteID: fmt.Sprint(i), Fields: []store.FieldChange{}}); err != nil {
			return store.Counters{}, err
		}
	}
	return store.Counters{Read: int64(b.changes), Created: int64(b.changes)}, b.fail
}

const token = "secret-of-the-test"

func serve(t *testing.T, b *backend) *client.Client {
	t.Helper()
	srv := httptest.NewServer(api.NewServer(api.ServerConfig{Backend: b, Token: token, Loopback: true}).Handler())
	t.Cleanup(srv.Close)
	return newClient(t, srv.URL, token)
}

func newClient(t *testing.T, url, token string) *client.Client {
	t.Helper()
	c, err := client.New(url, token, "start it")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func TestRequestsArriveAsTheyWereMade(t *testing.T) {
	t.Parallel()
	b := &backend{}
	c := serve(t, b)
	ctx := t.Context()
	req := api.SyncRequest{Connectors: []string{"contacts"}, Mode: store.ModeFull, RemoteIDs: []api.RecordID{"12345678901234567890", "x y"}, Params: map[string]string{"k": "v"}, Flags: []string{"force"}}
	r, err := c.Sync(ctx, "crm", req)
	if err != nil || r.ID != 3 || r.Status != store.StatusPlanned {
		t.Fatalf("%+v, %v", r, err)
	}
	if b.channel != "crm" || b.sync.Trigger != store.TriggerManual || !slices.Equal(b.sync.RemoteIDs, req.RemoteIDs) || b.sync.Params["k"] != "v" || b.sync.Mode != store.ModeFull {
		t.Errorf("arrived: %q %+v", b.channel, b.sync)
	}
	page, err := c.Runs(ctx, api.RunQuery{Channel: "crm", Status: []store.Status{"failed", "finished"}, Before: 9, Limit: 2})
	if err != nil || len(page.Runs) != 2 || page.Next == nil || *page.Next != 5 {
		t.Errorf("%+v, %v", page, err)
	}
	if b.runs.Channel != "crm" || len(b.runs.Status) != 2 || b.runs.Before != 9 || b.runs.Limit != 2 {
		t.Errorf("arrived: %+v", b.runs)
	}
	if _, err := c.Parked(ctx, api.ParkedQuery{Channel: "crm", Kind: store.ParkedMassDelete, Run: 4, Resolved: true}); err != nil {
		t.Error(err)
	}
	if b.parked != (api.ParkedQuery{Channel: "crm", Kind: store.ParkedMassDelete, Run: 4, Resolved: true, Limit: 50}) {
		t.Errorf("arrived: %+v", b.parked)
	}
	for _, name := range []string{"a b", "a/b", "ü%2F", "x?y#z", "a+b"} {
		if d, err := c.Channel(ctx, name); err != nil || b.channel != name || d.Name != name {
			t.Errorf("%q arrived as %q, %v", name, b.channel, err)
		}
	}
	for _, name := range []string{"", ".", ".."} {
		if _, err := c.Channel(ctx, name); fault.CodeOf(err) != fault.CodeNotFound {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestErrorsKeepCodeAndHint(t *testing.T) {
	t.Parallel()
	b := &backend{fail: fault.New(fault.Permanent, fault.CodeConflict, "", "not now").WithHint("later").WithWhere("there")}
	c := serve(t, b)
	_, err := c.Run(t.Context(), 1)
	if fault.CodeOf(err) != fault.CodeConflict || err.Error() != "not now" || fault.HintOf(err) != "later" || fault.WhereOf(err) != "there" {
		t.Errorf("%v, code %s, hint %s, where %s", err, fault.CodeOf(err), fault.HintOf(err), fault.WhereOf(err))
	}
	b.fail = errors.New("password=hunter2")
	if _, err := c.Run(t.Context(), 1); err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("%v: an internal error must not tell its text", err)
	}
}

func TestChanges(t *testing.T) {
	t.Parallel()
	for _, n := range []int{0, 1, 700} {
		b := &backend{changes: n}
		c := serve(t, b)
		var got int
		counts, err := c.Changes(t.Context(), 1, func(ch store.Change) error {
			if ch.RemoteID != fmt.Sprint(got) {
				t.Errorf("line %d is of %s", got, ch.RemoteID)
			}
			got++
			return nil
		})
		if err != nil || got != n || counts.Created != int64(n) {
			t.Errorf("%d changes: %d, %+v, %v", n, got, counts, err)
		}
	}
}

func TestChangesThatEndEarlyAreAnError(t *testing.T) {
	t.Parallel()
	c := serve(t, &backend{changes: 3, fail: errors.New("the database went away")})
	if _, err := c.Changes(t.Context(), 1, func(store.Change) error { return nil }); err != nil {
		if fault.CodeOf(err) == "" {
			t.Errorf("%v has no code", err)
		}
		return
	}
	t.Error("a list without its counts passed as complete")
}

func TestTheTokenStaysWithTheServer(t *testing.T) {
	t.Parallel()
	var leaked atomic.Bool
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { leaked.Store(true) }))
	t.Cleanup(other.Close)
	redirect := httptest.NewServer(http.RedirectHandler(other.URL, http.StatusTemporaryRedirect))
	t.Cleanup(redirect.Close)
	_, err := newClient(t, redirect.URL, token).Channels(t.Context())
	if fault.CodeOf(err) != fault.CodeUnreachable || leaked.Load() {
		t.Errorf("%v, followed: %v", err, leaked.Load())
	}
	if _, err := newClient(t, serverOf(t), "wrong").Channels(t.Context()); fault.CodeOf(err) != api.CodeUnauthorized || !strings.Contains(fault.HintOf(err), "TANDEM_API_TOKEN") {
		t.Errorf("wrong token: %v", err)
	}
}

func serverOf(t *testing.T) string {
	t.Helper()
	srv := httptest.NewServer(api.NewServer(api.ServerConfig{Backend: &backend{}, Token: token}).Handler())
	t.Cleanup(srv.Close)
	return srv.URL
}

func TestStrangersAndSilence(t *testing.T) {
	t.Parallel()
	page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>")) }))
	t.Cleanup(page.Close)
	for name, url := range map[string]string{"nobody": "http://127.0.0.1:1", "a web page": page.URL} {
		_, err := newClient(t, url, "").Runs(t.Context(), api.RunQuery{})
		if fault.CodeOf(err) != fault.CodeUnreachable || fault.HintOf(err) != "start it" {
			t.Errorf("%s: %v, hint %q", name, err, fault.HintOf(err))
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := newClient(t, page.URL, "").Run(ctx, 1); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestBadAddresses(t *testing.T) {
	t.Parallel()
	for _, base := range []string{"", "127.0.0.1:8080", "ftp://x", "http://", "http://user:hunter2@x", "http://x:y:z"} {
		_, err := client.New(base, "", "")
		if fault.CodeOf(err) != fault.CodeUsage || strings.Contains(fmt.Sprint(err), "hunter2") {
			t.Errorf("%q: %v", base, err)
		}
	}
}
