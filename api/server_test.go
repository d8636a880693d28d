package api_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/tandem-sync/tandem/api"
	"github.com/tandem-sync/tandem/fault"
)

func set(key, value string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set(key, value) }
}

func host(name string) func(*http.Request) { return func(r *http.Request) { r.Host = name } }

func TestHealthNeedsNothing(t *testing.T) {
	t.Parallel()
	broken := errors.New("the database is gone")
	w := newWorld(t, func(c *api.ServerConfig) { c.Ready = func(context.Context) error { return broken } })
	if code, _, b := w.request(http.MethodGet, "/healthz", "", set("Authorization", "")); code != http.StatusOK {
		t.Errorf("healthz = %d %s although only others are broken", code, b)
	}
	code, _, b := w.request(http.MethodGet, "/readyz", "", set("Authorization", ""))
	if code != http.StatusServiceUnavailable || strings.Contains(string(b), broken.Error()) {
		t.Errorf("readyz = %d %s, want 503 without the reason's text", code, b)
	}
}

func TestReadyUntilDraining(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.want(http.StatusOK, http.MethodGet, "/readyz", "", nil)
	w.server.Drain()
	w.want(http.StatusServiceUnavailable, http.MethodGet, "/readyz", "", nil)
	w.want(http.StatusOK, http.MethodGet, "/healthz", "", nil)
}

func TestGuard(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for name, tc := range map[string]struct {
		status int
		code   string
		path   string
		change func(*http.Request)
	}{
		"no token":           {http.StatusUnauthorized, api.CodeUnauthorized, "/api/v1/channels", set("Authorization", "")},
		"wrong token":        {http.StatusUnauthorized, api.CodeUnauthorized, "/api/v1/channels", set("Authorization", "Bearer x"+token)},
		"basic with token":   {http.StatusUnauthorized, api.CodeUnauthorized, "/api/v1/runs", set("Authorization", "Basic "+token)},
		"rebinding":          {http.StatusForbidden, api.CodeForbidden, "/api/v1/channels", host("evil.example.com")},
		"rebinding, health":  {http.StatusForbidden, api.CodeForbidden, "/healthz", host("localhost.evil.example.com:8080")},
		"foreign origin":     {http.StatusForbidden, api.CodeForbidden, "/api/v1/channels", set("Origin", "https://evil.example.com")},
		"other port's page":  {http.StatusForbidden, api.CodeForbidden, "/api/v1/channels", set("Origin", "http://127.0.0.1:1")},
		"null origin":        {http.StatusForbidden, api.CodeForbidden, "/api/v1/channels", set("Origin", "null")},
		"cross-site fetch":   {http.StatusForbidden, api.CodeForbidden, "/api/v1/channels", set("Sec-Fetch-Site", "cross-site")},
		"unknown address":    {http.StatusNotFound, fault.CodeNotFound, "/api/v2/channels", set("X", "y")},
		"outside of the API": {http.StatusNotFound, fault.CodeNotFound, "/", set("X", "y")},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := &world{tb: t, url: w.url, http: w.http}
			if p := w.problem(tc.status, http.MethodGet, tc.path, "", tc.change); p.Code != tc.code {
				t.Errorf("code %q, want %q", p.Code, tc.code)
			}
		})
	}
	for name, change := range map[string]func(*http.Request){
		"localhost":       host("localhost:8080"),
		"IPv6":            host("[::1]:8080"),
		"127.0.0.2":       host("127.0.0.2"),
		"own origin":      func(r *http.Request) { r.Header.Set("Origin", "http://"+r.URL.Host) },
		"typed by a user": set("Sec-Fetch-Site", "none"),
		"lower case":      set("Authorization", "bearer "+token),
	} {
		if code, _, b := w.request(http.MethodGet, "/api/v1/channels", "", change); code != http.StatusOK {
			t.Errorf("%s: %d %s", name, code, b)
		}
	}
}

func TestHostIsFreeOffLoopback(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *api.ServerConfig) { c.Loopback = false })
	if code, _, b := w.request(http.MethodGet, "/api/v1/channels", "", host("tandem.example.com")); code != http.StatusOK {
		t.Errorf("%d %s", code, b)
	}
	w.problem(http.StatusUnauthorized, http.MethodGet, "/api/v1/channels", "", set("Authorization", ""))
}

func TestOpenAPIDescribesEveryRoute(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	code, _, b := w.request(http.MethodGet, "/api/v1/openapi.json", "", set("Authorization", ""))
	if code != http.StatusOK {
		t.Fatalf("%d %s", code, b)
	}
	var doc struct {
		OpenAPI string
		Paths   map[string]map[string]json.RawMessage
	}
	if err := json.Unmarshal(b, &doc); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(doc.OpenAPI, "3.1") {
		t.Errorf("OpenAPI %q", doc.OpenAPI)
	}
	known := map[string]string{
		"/api/v1/channels": "get", "/api/v1/channels/{name}": "get", "/api/v1/channels/{name}/sync": "post",
		"/api/v1/channels/{name}/test": "post", "/api/v1/channels/{name}/enable": "post", "/api/v1/channels/{name}/disable": "post", "/api/v1/runs": "get", "/api/v1/runs/{id}": "get",
		"/api/v1/runs/{id}/changes": "get", "/api/v1/runs/{id}/cancel": "post", "/api/v1/parked": "get",
		"/api/v1/parked/{id}": "get", "/api/v1/parked/{id}/retry": "post",
		"/api/v1/parked/{id}/skip": "post", "/api/v1/parked/retry": "post", "/api/v1/parked/skip": "post",
		"/api/v1/channels/{name}/operations/{op}": "post", "/api/v1/runs/{id}/revision": "get", "/api/v1/entities/{entity}/changes": "post",
		"/api/v1/channels/{name}/reverse-sync": "post", "/api/v1/channels/{name}/connectors/{connector}/records": "get",
		"/api/v1/conflicts": "get", "/api/v1/conflicts/{id}": "get", "/api/v1/conflicts/{id}/resolve": "post", "/api/v1/conflicts/resolve": "post",
		"/api/v1/runs/{id}/retry": "post", "/api/v1/runs/{id}/undo": "post",
	}
	for path, method := range known {
		if _, ok := doc.Paths[path][method]; !ok {
			t.Errorf("%s %s is not described", method, path)
		}
	}
	if len(doc.Paths) != len(known) {
		t.Errorf("%d paths are described, %d are known here", len(doc.Paths), len(known))
	}
}

func TestWithoutWebOnlyHealth(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *api.ServerConfig) { c.Backend = nil })
	w.want(http.StatusOK, http.MethodGet, "/healthz", "", nil)
	w.problem(http.StatusNotFound, http.MethodGet, "/api/v1/channels", "")
}

func TestBodiesAreBounded(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.problem(http.StatusRequestEntityTooLarge, http.MethodPost, "/api/v1/channels/crm/sync", `{"params":{"x":"`+strings.Repeat("a", 2<<20)+`"}}`)
	if p.Code != api.CodeTooLarge {
		t.Errorf("code %q", p.Code)
	}
}
