package api_test

import (
	"net/http"
	"testing"

	"github.com/tandem-sync/tandem/fault"
)

// TestNotFoundIsSaidPlainly asks every address for what is not there: the answer
// is one sentence for a person, without the names of our own parts.
func TestNotFoundIsSaidPlainly(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, c := range []struct{ method, path, body, want string }{
		{http.MethodGet, "/runs/99", "", "no run 99"},
		{http.MethodGet, "/runs/99/changes", "", "no run 99"},
		{http.MethodGet, "/runs/99/revision", "", "no run 99"},
		{http.MethodPost, "/runs/99/cancel", "", "no run 99"},
		{http.MethodGet, "/runs?channel=nope", "", `no channel "nope"`},
		{http.MethodGet, "/channels/nope", "", `no channel "nope"`},
		{http.MethodPost, "/channels/nope/test", "", `no channel "nope"`},
		{http.MethodPost, "/channels/nope/sync", "", `no channel "nope"`},
		{http.MethodPost, "/channels/nope/enable", "", `no channel "nope"`},
		{http.MethodPost, "/channels/nope/disable", "", `no channel "nope"`},
		{http.MethodDelete, "/channels/nope", "", `no channel "nope"`},
		{http.MethodPost, "/channels/nope/operations/ping", "", `no channel "nope"`},
		{http.MethodPost, "/channels/crm/sync", `{"connectors":["nope"]}`, `channel "crm" has no connector "nope"`},
		{http.MethodGet, "/parked?channel=nope", "", `no channel "nope"`},
		{http.MethodGet, "/parked/99", "", "no parked item 99"},
		{http.MethodPost, "/parked/99/retry", "", "no parked item 99"},
		{http.MethodPost, "/parked/99/skip", "", "no parked item 99"},
		{http.MethodPost, "/parked/retry", `{"channel":"nope"}`, `no channel "nope"`},
		{http.MethodPost, "/parked/skip", `{"channel":"nope"}`, `no channel "nope"`},
	} {
		p := w.problem(http.StatusNotFound, c.method, "/api/v1"+c.path, c.body)
		if p.Code != fault.CodeNotFound || p.Detail != c.want {
			t.Errorf("%s %s: %s %q, want %q", c.method, c.path, p.Code, p.Detail, c.want)
		}
	}
}
