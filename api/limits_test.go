package api_test

import (
	"io"
	"net/http"
	"strconv"
	"testing"

	"github.com/tandem-sync/tandem/api"
)

func TestRateIsBounded(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *api.ServerConfig) { c.Rate = 0.5 }) // a burst of five
	for i := range 5 {
		if code, _, b := w.request(http.MethodGet, "/api/v1/channels", ""); code != http.StatusOK {
			t.Fatalf("request %d: %d %s", i, code, b)
		}
	}
	p := w.problem(http.StatusTooManyRequests, http.MethodGet, "/api/v1/channels", "")
	if p.Code != api.CodeTooMany {
		t.Errorf("code %q", p.Code)
	}
	_, h, _ := w.request(http.MethodGet, "/api/v1/runs", "")
	if s, err := strconv.Atoi(h.Get("Retry-After")); err != nil || s < 1 || s > 2 {
		t.Errorf("Retry-After %q: want 1 or 2 seconds", h.Get("Retry-After"))
	}
	// Probes are not counted and not refused.
	w.want(http.StatusOK, http.MethodGet, "/healthz", "", nil)
	w.want(http.StatusOK, http.MethodGet, "/readyz", "", nil)
}

func text(s string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, s) })
}

func TestMetricsAreProtected(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		loopback      bool
		token         string
		bare, bearing int
	}{
		"loopback":              {true, token, 200, 200},
		"loopback, open":        {true, "", 200, 200},
		"elsewhere":             {false, token, 401, 200},
		"elsewhere without one": {false, "", 404, 404},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, func(c *api.ServerConfig) {
				c.Metrics, c.Loopback, c.Token, c.Pages = text("tandem_x 1"), tc.loopback, tc.token, text("a page")
			})
			if code, _, b := w.request(http.MethodGet, "/metrics", "", set("Authorization", "")); code != tc.bare {
				t.Errorf("without the token: %d %s, want %d", code, b, tc.bare)
			}
			if code, _, b := w.request(http.MethodGet, "/metrics", ""); code != tc.bearing || code == 200 && string(b) != "tandem_x 1" {
				t.Errorf("with the token: %d %s, want %d", code, b, tc.bearing)
			}
		})
	}
}

// TestPagesAreBesideTheAPI: pages get what nobody else serves, without the
// token, which they ask for themselves; the API's addresses stay its own.
func TestPagesAreBesideTheAPI(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *api.ServerConfig) { c.Pages = text("a page") })
	for path, want := range map[string]int{
		"/": 200, "/runs": 200, "/login": 200, "/api/v1/nothing": 401, "/api/v2": 401, "/metrics": 404, "/hooks/crm": 404, "/api/v1/channels": 401,
	} {
		code, _, b := w.request(http.MethodGet, path, "", set("Authorization", ""))
		if code != want || (want == 200) != (string(b) == "a page") {
			t.Errorf("%s: %d %s, want %d", path, code, b, want)
		}
	}
	visit := func(r *http.Request) {
		r.Header.Set("Sec-Fetch-Site", "cross-site")
		r.Header.Set("Sec-Fetch-Mode", "navigate")
		r.Header.Set("Sec-Fetch-Dest", "document")
	}
	if code, _, b := w.request(http.MethodGet, "/runs", "", visit); code != http.StatusOK {
		t.Errorf("a link from another site: %d %s", code, b)
	}
	for what, path := range map[string]string{"the API": "/api/v1/channels", "metrics": "/metrics"} {
		if code, _, _ := w.request(http.MethodGet, path, "", visit); code != http.StatusForbidden {
			t.Errorf("a link from another site to %s: %d", what, code)
		}
	}
	if code, _, _ := w.request(http.MethodPost, "/runs", "", visit); code != http.StatusForbidden {
		t.Error("a form on another site reaches the pages")
	}
}
