package transport_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tandem-sync/tandem/transport"
	"github.com/tandem-sync/tandem/transport/settings"
)

func parseHTTP(raw string) (transport.HTTPConfig, []settings.Problem) {
	var problems []settings.Problem
	o := settings.Parse("transport", json.RawMessage(raw), &problems)
	c := transport.ParseHTTP(o, transport.Guard{})
	o.Done()
	return c, problems
}

func TestParseHTTP(t *testing.T) {
	t.Parallel()
	c, problems := parseHTTP(`{"base_url":"https://api.example.com/v1","token":12345,"headers":{"X-Tenant":7},"timeout":"5s","rate_limit":"90/10s","concurrency":"8"}`)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	if c.Auth.Kind != transport.AuthBearer || c.Auth.Token != "12345" || c.Timeout != 5*time.Second || c.Concurrency != 8 ||
		c.Rate != (transport.Rate{N: 90, Per: 10 * time.Second}) || len(c.Headers) != 1 || c.Headers[0].Value != "7" || c.BaseURL.Host != "api.example.com" {
		t.Errorf("%+v", c)
	}
	if text := fmt.Sprintf("%+v %#v", c, c); strings.Contains(text, "12345") {
		t.Errorf("the configuration prints its token: %s", text)
	}
}

func TestParseHTTPFindsEverything(t *testing.T) {
	t.Parallel()
	tests := []struct {
		raw  string
		want []string // fields with a problem
	}{
		{`{}`, []string{"transport.base_url"}},
		{`null`, []string{"transport.base_url"}},
		{`[]`, []string{"transport", "transport.base_url"}},
		{`{"base_url":"https://a.example","basurl":1}`, []string{"transport.basurl"}},
		{`{"base_url":"https://u:p%zz@a.example"}`, []string{"transport.base_url"}},
		{`{"base_url":"http://127.0.0.1"}`, []string{"transport.base_url"}},
		{`{"base_url":"https://a.example","token":"a","auth":{"type":"none"}}`, []string{"transport.auth"}},
		{`{"base_url":"https://a.example","token":"a\n"}`, []string{"transport.token"}},
		{`{"base_url":"https://a.example","token":" a"}`, []string{"transport.token"}},
		{`{"base_url":"https://a.example","auth":{}}`, []string{"transport.auth.type"}},
		{`{"base_url":"https://a.example","auth":{"type":"baerer"}}`, []string{"transport.auth.type"}},
		{`{"base_url":"https://a.example","auth":{"type":"bearer"}}`, []string{"transport.auth.token"}},
		{`{"base_url":"https://a.example","auth":{"type":"bearer","token":"x","username":"u"}}`, []string{"transport.auth.username"}},
		{`{"base_url":"https://a.example","auth":{"type":"basic","username":"a:b","password":"x"}}`, []string{"transport.auth.username"}},
		{`{"base_url":"https://a.example","auth":{"type":"header","name":"X Key","value":"x"}}`, []string{"transport.auth.name"}},
		{`{"base_url":"https://a.example","auth":{"type":"query"}}`, []string{"transport.auth.name", "transport.auth.value"}},
		{`{"base_url":"https://a.example","auth":{"type":"oauth2","client_id":"x"}}`, []string{"transport.auth.client_secret", "transport.auth.token_url"}},
		{`{"base_url":"https://a.example","auth":{"type":"none","tokn":"x"}}`, []string{"transport.auth.tokn"}},
		{`{"base_url":"https://a.example","headers":{"Host":"x"}}`, []string{"transport.headers.Host"}},
		{`{"base_url":"https://a.example","headers":{"X-A":"x\r\nY: z"}}`, []string{"transport.headers.X-A"}},
		{`{"base_url":"https://a.example","token":"t","headers":{"authorization":"x"}}`, []string{"transport.headers.authorization"}},
		{`{"base_url":"https://a.example","headers":{"X-A":{"b":1}}}`, []string{"transport.headers.X-A"}},
		{`{"base_url":"https://a.example","timeout":"1h","rate_limit":"fast","concurrency":0}`, []string{"transport.concurrency", "transport.rate_limit", "transport.timeout"}},
		{`{"base_url":"https://a.example","timeout":20}`, []string{"transport.timeout"}},
	}
	for _, tt := range tests {
		_, problems := parseHTTP(tt.raw)
		var got []string
		for _, p := range problems {
			got = append(got, p.Field)
			if p.Message == "" || p.Fix == "" || strings.Contains(p.Message+p.Fix, "p%zz") {
				t.Errorf("%s: problem %+v", tt.raw, p)
			}
		}
		slices.Sort(got)
		if !slices.Equal(got, tt.want) {
			t.Errorf("%s: problems at %v, want %v", tt.raw, got, tt.want)
		}
	}
}

func TestUnknownKeyNamesTheNearest(t *testing.T) {
	t.Parallel()
	_, problems := parseHTTP(`{"base_url":"https://a.example","concurency":2}`)
	if len(problems) != 1 || !strings.Contains(problems[0].Fix, "did you mean concurrency?") {
		t.Errorf("%+v", problems)
	}
}
