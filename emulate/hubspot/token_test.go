package hubspot_test

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tandem-sync/tandem/emulate/hubspot"
)

// form posts a form without a credential in the header.
func (r *remote) form(path, body string) reply {
	r.tb.Helper()
	req, err := http.NewRequestWithContext(r.tb.Context(), http.MethodPost, r.url+path, strings.NewReader(body))
	if err != nil {
		r.tb.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	if err != nil {
		r.tb.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		r.tb.Fatal(err)
	}
	out := reply{status: resp.StatusCode, header: resp.Header, raw: string(raw)}
	if err := json.Unmarshal(raw, &out.body); err != nil {
		r.tb.Fatal(err)
	}
	return out
}

const client = "client_id=emulated-app&client_secret=emulated-app-secret"

func TestTokens(t *testing.T) {
	t.Parallel()
	r := serve(t, hubspot.Config{})
	got := r.form("/oauth/2026-03/token", client+"&grant_type=refresh_token&refresh_token=emulated-refresh-token")
	access, _ := got.at("access_token").(string)
	if got.status != 200 || got.at("token_type") != "bearer" || got.at("expires_in") != float64(1800) || got.at("refresh_token") != "emulated-refresh-token" || access == "" {
		t.Fatal(got.raw)
	}
	other := r.form("/oauth/v3/token", client+"&grant_type=client_credentials")
	if other.status != 200 || other.at("refresh_token") != nil || other.at("access_token") == access {
		t.Error(other.raw)
	}
	if got := r.form("/oauth/v1/token?"+client, "grant_type=client_credentials"); got.status != 200 {
		t.Error("the first version takes its parameters in the address, too:", got.raw)
	}
	list := r.as("Bearer "+access, "GET", base, "")
	if list.status != 200 || list.header.Get("X-Hubspot-Ratelimit-Daily") != "" || list.header.Get("X-Hubspot-Ratelimit-Max") == "" {
		t.Error(list.status, list.header)
	}
	r.Advance(30 * time.Minute)
	if got := r.as("Bearer "+access, "GET", base, ""); got.status != 401 || got.at("category") != "EXPIRED_AUTHENTICATION" {
		t.Error(got.raw)
	}
	if r.Issued() != 3 || r.Calls(hubspot.OpToken) != 3 {
		t.Error(r.Issued(), r.Calls(hubspot.OpToken))
	}
	r.Uninstall("next")
	if got := r.as("Bearer "+other.at("access_token").(string), "GET", base, ""); got.status != 401 {
		t.Error("a token outlives the app")
	}
	for body, want := range map[string][2]string{
		client + "&grant_type=refresh_token&refresh_token=emulated-refresh-token":     {"BAD_REFRESH_TOKEN", "invalid_grant"},
		client + "&grant_type=refresh_token":                                          {"BAD_REFRESH_TOKEN", "invalid_grant"},
		client + "&grant_type=password":                                               {"BAD_GRANT_TYPE", "unsupported_grant_type"},
		"client_id=x&client_secret=y&grant_type=client_credentials":                   {"BAD_CLIENT_ID", "invalid_client"},
		"client_id=emulated-app&client_secret=emulated&grant_type=client_credentials": {"BAD_CLIENT_SECRET", "invalid_client"},
	} {
		if got := r.form("/oauth/2026-03/token", body); got.status != 400 || got.at("status") != want[0] || got.at("error") != want[1] {
			t.Errorf("%s: %d %s", body, got.status, got.raw)
		}
	}
	if got := r.form("/oauth/2026-03/token?"+client, "grant_type=client_credentials"); got.status != 400 {
		t.Error("parameters in the address were taken")
	}
	if got := r.form("/oauth/2026-03/token", client+"&grant_type=refresh_token&refresh_token=next"); got.status != 200 {
		t.Error(got.raw)
	}
}
