package api_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"

	"github.com/tandem-sync/tandem/api"
	"github.com/tandem-sync/tandem/store"
	"github.com/tandem-sync/tandem/store/seal"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fleet counts the kicks and answers tests of channels.
type fleet struct {
	kicks  atomic.Int64
	stages []api.TestStage
	err    error
	caller caller
	// refreshed are the entities whose triggers were brought in line; refuse is what
	// that answers.
	refreshed []string
	refuse    error
}

func (f *fleet) Kick() { f.kicks.Add(1) }

func (f *fleet) TestChannel(context.Context, string) ([]api.TestStage, error) {
	return f.stages, f.err
}

// world is a real store on SQLite with one channel, crm, behind the API.
type world struct {
	tb     testing.TB
	db     *store.DB
	fleet  *fleet
	server *api.Server
	url    string
	http   *http.Client
	crm    int64
	cons   []store.Connector
}

const token = "a-token-for-tests"

func newWorld(t *testing.T, change ...func(*api.ServerConfig)) *world {
	t.Helper()
	ctx := t.Context()
	db, err := store.Open(ctx, store.Config{URL: "sqlite:" + filepath.Join(t.TempDir(), "t.db")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := db.Migrate(ctx); err != nil {
		t.Fatal(err)
	}
	w := &world{tb: t, db: db, fleet: &fleet{}}
	keys, err := seal.New(seal.NewKey())
	if err != nil {
		t.Fatal(err)
	}
	settings, err := json.Marshal(map[string]any{
		"transport": map[string]any{"base_url": "https://crm.example.com", "token": keys.Seal("s3cret", "channel/crm/transport.token"), "big": json.Number("12345678901234567890")},
	})
	if err != nil {
		t.Fatal(err)
	}
	w.write(func(ctx context.Context, tx *store.Tx) error {
		var err error
		if w.crm, _, _, err = tx.PutChannel(ctx, store.Channel{Name: "crm", Type: "rest", Enabled: true, Managed: "file", Settings: settings}); err != nil {
			return err
		}
		w.cons, err = tx.PutConnectors(ctx, w.crm, []store.Connector{{Name: "contacts", Ord: 0}, {Name: "companies", Ord: 1}})
		return err
	})
	cfg := api.ServerConfig{
		Backend: api.NewService(db, w.fleet, nil), Ready: db.CheckSchema, Token: token, Loopback: true, Version: "test",
	}
	for _, c := range change {
		c(&cfg)
	}
	w.server = api.NewServer(cfg)
	srv := httptest.NewServer(w.server.Handler())
	t.Cleanup(srv.Close)
	w.url, w.http = srv.URL, srv.Client()
	return w
}

func (w *world) write(fn func(context.Context, *store.Tx) error) {
	w.tb.Helper()
	if err := w.db.Write(context.Background(), "test", fn); err != nil {
		w.tb.Fatal(err)
	}
}

// request sends a request with the token and gives status, headers and body.
func (w *world) request(method, path, body string, change ...func(*http.Request)) (int, http.Header, []byte) {
	w.tb.Helper()
	req, err := http.NewRequestWithContext(context.Background(), method, w.url+path, strings.NewReader(body))
	if err != nil {
		w.tb.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for _, c := range change {
		c(req)
	}
	res, err := w.http.Do(req)
	if err != nil {
		w.tb.Fatal(err)
	}
	b, err := io.ReadAll(res.Body)
	if err = errors.Join(err, res.Body.Close()); err != nil {
		w.tb.Fatal(err)
	}
	return res.StatusCode, res.Header, b
}

// want sends a request and decodes an answer of that status.
func (w *world) want(status int, method, path, body string, into any) {
	w.tb.Helper()
	got, _, b := w.request(method, path, body)
	if got != status {
		w.tb.Fatalf("%s %s: %d %s, want %d", method, path, got, b, status)
	}
	if into == nil {
		return
	}
	dec := json.NewDecoder(bytes.NewReader(b))
	if err := dec.Decode(into); err != nil {
		w.tb.Fatalf("%s %s: %v in %s", method, path, err, b)
	}
}

// problem sends a request and gives the problem it is answered with.
func (w *world) problem(status int, method, path, body string, change ...func(*http.Request)) api.Problem {
	w.tb.Helper()
	got, h, b := w.request(method, path, body, change...)
	var p api.Problem
	if err := json.Unmarshal(b, &p); err != nil {
		w.tb.Fatalf("%s %s: %d %q: %v", method, path, got, b, err)
	}
	if got != status || p.Status != status {
		w.tb.Errorf("%s %s: %d %s, want %d", method, path, got, b, status)
	}
	if ct := h.Get("Content-Type"); ct != "application/problem+json" {
		w.tb.Errorf("%s %s: content type %q", method, path, ct)
	}
	if p.Code == "" || p.Detail == "" || p.Title == "" {
		w.tb.Errorf("%s %s: incomplete problem %+v", method, path, p)
	}
	return p
}
