package transport_test

import (
	"context"
	"crypto/tls"
	"errors"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/internal/redact"
	"github.com/tandem-sync/tandem/transport"
	tt "github.com/tandem-sync/tandem/transport/transporttest"
)

func get(tb testing.TB, h *transport.HTTP, path string) (*transport.Response, error) {
	tb.Helper()
	resp, err := h.Do(tb.Context(), transport.Request{Op: "list contacts", Path: path, Query: url.Values{"q": {"1"}}})
	if err != nil && strings.Contains(err.Error()+fault.HintOf(err), canary) {
		tb.Errorf("the error holds the secret: %v", err)
	}
	return resp, err
}

func TestAuthentication(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		auth  transport.Auth
		check func(tt.Seen) bool
	}{
		{"none", transport.Auth{Kind: transport.AuthNone}, func(s tt.Seen) bool { return s.Header.Get("Authorization") == "" && s.Query == "q=1" }},
		{"bearer", transport.Auth{Kind: transport.AuthBearer, Token: canary}, func(s tt.Seen) bool { return s.Header.Get("Authorization") == "Bearer "+canary }},
		{"basic", transport.Auth{Kind: transport.AuthBasic, Username: "u", Password: canary}, func(s tt.Seen) bool {
			r := http.Request{Header: s.Header}
			u, p, ok := r.BasicAuth()
			return ok && u == "u" && p == canary
		}},
		{"header", transport.Auth{Kind: transport.AuthHeader, Name: "X-Api-Key", Value: canary}, func(s tt.Seen) bool { return s.Header.Get("X-Api-Key") == canary }},
		{"query", transport.Auth{Kind: transport.AuthQuery, Name: "key", Value: canary}, func(s tt.Seen) bool { return s.Query == "q=1&key="+canary }},
	}
	for _, c := range tests {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			srv := tt.New(t, nil)
			srv.Handle("/base/x", tt.JSON(`{"ok":true}`))
			h := client(t, srv.URL+"/base/", func(cfg *transport.HTTPConfig) {
				cfg.Auth = c.auth
				cfg.Headers = []transport.Header{{Name: "X-Tenant", Value: "seven"}}
			})
			resp, err := get(t, h, "/x")
			if err != nil || string(resp.Body) != `{"ok":true}` {
				t.Fatal(resp, err)
			}
			seen := srv.Seen()[0]
			if !c.check(seen) || seen.Header.Get("X-Tenant") != "seven" {
				t.Errorf("the server saw %+v", seen)
			}
			if resp.RemoteNow.IsZero() || time.Since(resp.Started) > time.Minute {
				t.Errorf("clocks: remote %s, started %s", resp.RemoteNow, resp.Started)
			}
			if strings.Contains(resp.URL.String(), canary) {
				t.Error("the answer's address holds the credential")
			}
		})
	}
}

func TestStatuses(t *testing.T) {
	t.Parallel()
	tests := []struct {
		status int
		class  fault.Class
		code   string
		calls  int
	}{
		{401, fault.Permanent, fault.CodeAuth, 1},
		{403, fault.Permanent, fault.CodeAuth, 1},
		{404, fault.Permanent, fault.CodeNotFound, 1},
		{410, fault.Permanent, fault.CodeNotFound, 1},
		{400, fault.Permanent, "refused", 1},
		{422, fault.Permanent, "refused", 1},
		{408, fault.Retryable, fault.CodeUnreachable, 4},
		{425, fault.Retryable, fault.CodeUnreachable, 4},
		{429, fault.RateLimited, "rate_limit", 4},
		{500, fault.Retryable, fault.CodeUnreachable, 4},
		{502, fault.Retryable, fault.CodeUnreachable, 4},
		{503, fault.Retryable, fault.CodeUnreachable, 4},
		{521, fault.Retryable, fault.CodeUnreachable, 4},
	}
	for _, c := range tests {
		t.Run(http.StatusText(c.status), func(t *testing.T) {
			t.Parallel()
			srv := tt.New(t, nil)
			srv.Handle("/x", tt.Answer(c.status, "token "+canary+" was wrong\r\n\x1b[31m"))
			h := client(t, srv.URL, nil, transport.WithClock(&stepClock{}))
			_, err := get(t, h, "/x")
			wantFault(t, err, c.class, c.code)
			if fault.HintOf(err) == "" {
				t.Errorf("%v tells nobody what to do", err)
			}
			if n := len(srv.Seen()); n != c.calls {
				t.Errorf("%d calls, want %d", n, c.calls)
			}
			if strings.ContainsAny(err.Error(), "\r\n\x1b") || !strings.Contains(err.Error(), "token *** was wrong") {
				t.Errorf("the text is %q", err)
			}
		})
	}
}

func TestStatusCountsWhateverTheBodyDoes(t *testing.T) {
	t.Parallel()
	srv := tt.New(t, nil)
	endless := func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusUnauthorized)
		tt.Endless()(w, r)
	}
	srv.Handle("/endless", endless)
	srv.Handle("/broken", tt.Raw("HTTP/1.1 403 Forbidden\r\nContent-Length: 100\r\n\r\nno"))
	h := client(t, srv.URL, nil)
	for _, path := range []string{"/endless", "/broken"} {
		_, err := get(t, h, path)
		wantFault(t, err, fault.Permanent, fault.CodeAuth)
	}
}

func TestRepeatsWithJitterAndThenSucceeds(t *testing.T) {
	t.Parallel()
	srv := tt.New(t, nil)
	srv.Handle("/x", tt.Reset(), tt.Status(503), tt.Truncated(`{"a":1}`, 3), tt.JSON(`{}`))
	clock := &stepClock{}
	h := client(t, srv.URL, nil, transport.WithClock(clock), transport.WithRand(func() float64 { return 0.5 }))
	if _, err := get(t, h, "/x"); err != nil {
		t.Fatal(err)
	}
	want := []time.Duration{100 * time.Millisecond, 200 * time.Millisecond, 400 * time.Millisecond}
	for i, d := range clock.slept() {
		if i >= len(want) || d != want[i] {
			t.Errorf("slept %v, want %v", clock.slept(), want)
		}
	}
	if len(clock.slept()) != 3 {
		t.Errorf("slept %v", clock.slept())
	}
}

func TestRetryAfter(t *testing.T) {
	t.Parallel()
	// By the server's own clock, which it tells: however long the answer takes.
	begun := time.Now()
	at := func(d time.Duration) string { return begun.Add(d).UTC().Format(http.TimeFormat) }
	tests := []struct {
		name   string
		header []string
		calls  int
		low    time.Duration
		high   time.Duration
	}{
		{"short: waited here", []string{"Retry-After", "1"}, 4, time.Second, time.Second},
		{"long: given back", []string{"Retry-After", "30"}, 1, 30 * time.Second, 30 * time.Second},
		{"date", []string{"Date", at(0), "Retry-After", at(90 * time.Second)}, 1, 89 * time.Second, 91 * time.Second},
		{"date without a clock", []string{"Date", "now", "Retry-After", at(1200 * time.Second)}, 1, 60 * time.Second, 1201 * time.Second},
		{"date by a clock that runs wrong", []string{"Date", at(-10 * time.Hour), "Retry-After", at(-10*time.Hour + 40*time.Second)}, 1, 39 * time.Second, 41 * time.Second},
		{"endless", []string{"Retry-After", "99999999"}, 1, time.Hour, time.Hour},
		{"date of the next century", []string{"Retry-After", "Thu, 01 Jan 2099 00:00:00 GMT"}, 1, time.Hour, time.Hour},
		{"negative", []string{"Retry-After", "-5"}, 4, 0, 0},
		{"garbage", []string{"Retry-After", "soon"}, 4, 0, 0},
		{"not a number", []string{"Retry-After", "NaN"}, 4, 0, 0},
		{"none", nil, 4, 0, 0},
	}
	for _, c := range tests {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			srv := tt.New(t, nil)
			srv.Handle("/x", tt.Status(429, c.header...))
			h := client(t, srv.URL, nil, transport.WithClock(&stepClock{}))
			_, err := get(t, h, "/x")
			wantFault(t, err, fault.RateLimited, "rate_limit")
			if n := len(srv.Seen()); n != c.calls {
				t.Errorf("%d calls, want %d", n, c.calls)
			}
			if d := fault.RetryAfterOf(err); d < c.low || d > c.high {
				t.Errorf("retry after %s, want %s to %s", d, c.low, c.high)
			}
		})
	}
}

func TestOnlySafeCallsAreRepeated(t *testing.T) {
	t.Parallel()
	srv := tt.New(t, nil)
	srv.Handle("/x", tt.Status(503))
	h := client(t, srv.URL, nil, transport.WithClock(&stepClock{}))
	_, err := h.Do(t.Context(), transport.Request{Method: http.MethodPost, Path: "/x", Body: []byte(`{}`)})
	wantFault(t, err, fault.Retryable, fault.CodeUnreachable)
	if n := len(srv.Seen()); n != 1 {
		t.Errorf("a POST was sent %d times", n)
	}
	_, err = h.Do(t.Context(), transport.Request{Method: http.MethodPost, Path: "/x", Body: []byte(`{"a":1}`), Safe: true})
	wantFault(t, err, fault.Retryable, fault.CodeUnreachable)
	if n := len(srv.Seen()); n != 5 {
		t.Errorf("a safe POST was sent %d times, want 4", n-1)
	}
	if s := srv.Seen()[4]; s.Body != `{"a":1}` || s.Header.Get("Content-Type") != "application/json" {
		t.Errorf("the repeat was sent without its body: %+v", s)
	}
}

func TestRepeatsHaveABudget(t *testing.T) {
	t.Parallel()
	srv := tt.New(t, nil)
	srv.Handle("/x", tt.Status(503))
	h := client(t, srv.URL, nil, transport.WithClock(&stepClock{}), transport.WithBreaker(transport.BreakerConfig{Failures: 1000}))
	const calls = 50
	for range calls {
		_, err := get(t, h, "/x")
		wantFault(t, err, fault.Retryable, fault.CodeUnreachable)
	}
	// Ten at the start, and one more for every ten calls.
	if n := len(srv.Seen()) - calls; n < 10 || n > 10+calls/10 {
		t.Errorf("%d repeats for %d calls", n, calls)
	}
}

func TestNoAnswer(t *testing.T) {
	t.Parallel()
	srv := tt.New(t, nil)
	srv.Handle("/stall", tt.Stall())
	srv.Handle("/slow", tt.Slow(strings.Repeat("x", 1000), 20*time.Millisecond))
	srv.Handle("/reset", tt.Reset())
	srv.Handle("/truncated", tt.Truncated(`{"a":1}`, 4))
	srv.Handle("/garbage", tt.Raw("this is not HTTP\r\n\r\n"))
	gone := tt.New(t, nil)
	gone.Close()
	quick := func(c *transport.HTTPConfig) { c.Timeout = time.Second }
	tests := []struct {
		name, base, path, code, text string
	}{
		{"stalled", srv.URL, "/stall", fault.CodeUnreachable, "no answer within"},
		{"slow body", srv.URL, "/slow", fault.CodeUnreachable, "did not end within"},
		{"reset", srv.URL, "/reset", fault.CodeUnreachable, ""},
		{"truncated", srv.URL, "/truncated", fault.CodeBadAnswer, "broke off after 4 bytes"},
		{"not HTTP", srv.URL, "/garbage", fault.CodeUnreachable, "malformed"},
		{"refused", gone.URL, "/x", fault.CodeUnreachable, "refused"},
	}
	for _, c := range tests {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			h := client(t, c.base, quick, transport.WithRand(func() float64 { return 0 }))
			_, err := get(t, h, c.path)
			wantFault(t, err, fault.Retryable, c.code)
			if !strings.Contains(err.Error(), c.text) {
				t.Errorf("text %q, want %q", err, c.text)
			}
		})
	}
}

func TestNameThatDoesNotResolve(t *testing.T) {
	t.Parallel()
	u := mustURL(t, "https://no-such-host.invalid")
	h, err := transport.NewHTTP(transport.HTTPConfig{BaseURL: u, Auth: transport.Auth{Kind: transport.AuthQuery, Name: "key", Value: canary}},
		transport.Guard{}, transport.WithRand(func() float64 { return 0 }), transport.WithResolver(nowhere{}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.Close() })
	_, err = get(t, h, "/x")
	wantFault(t, err, fault.Retryable, fault.CodeUnreachable)
	if !strings.Contains(err.Error(), "no-such-host.invalid cannot be resolved") {
		t.Errorf("text %q", err)
	}
}

func TestTLS(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		cert   tt.Certificate
		trust  bool
		reason string // "" succeeds
	}{
		{"good", tt.Certificate{}, true, ""},
		{"unknown authority", tt.Certificate{}, false, "unknown authority"},
		{"expired", tt.Certificate{Expired: true}, true, "expired"},
		{"wrong host", tt.Certificate{WrongHost: true}, true, "127.0.0.1"},
		{"TLS 1.1", tt.Certificate{MaxVersion: tls.VersionTLS11}, true, "protocol version"},
	}
	for _, c := range tests {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			srv, pool := tt.NewTLS(t, c.cert, nil)
			srv.Handle("/x", tt.JSON(`{}`))
			var opts []transport.Option
			if c.trust {
				opts = append(opts, transport.WithRoots(pool))
			}
			h := client(t, srv.URL, nil, opts...)
			_, err := get(t, h, "/x")
			if c.reason == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			wantFault(t, err, fault.Permanent, "tls")
			if !strings.Contains(err.Error(), c.reason) || fault.HintOf(err) == "" {
				t.Errorf("text %q hint %q, want %q", err, fault.HintOf(err), c.reason)
			}
			if n := len(srv.Seen()); n != 0 {
				t.Errorf("%d requests came through", n)
			}
		})
	}
}

func TestPlainServerBehindHTTPS(t *testing.T) {
	t.Parallel()
	srv := tt.New(t, nil)
	h := client(t, strings.Replace(srv.URL, "http", "https", 1), nil, transport.WithRand(func() float64 { return 0 }))
	_, err := get(t, h, "/x")
	if fault.Of(err) != fault.Permanent || fault.CodeOf(err) != "tls" || !strings.Contains(err.Error(), "plain http") || !strings.Contains(fault.HintOf(err), "http://") {
		t.Errorf("%v, class %v, code %q, hint %q", err, fault.Of(err), fault.CodeOf(err), fault.HintOf(err))
	}
}

func TestProxyOfTheEnvironmentIsIgnored(t *testing.T) {
	proxy := tt.New(t, nil)
	t.Setenv("HTTP_PROXY", proxy.URL)
	t.Setenv("http_proxy", proxy.URL)
	h, err := transport.NewHTTP(transport.HTTPConfig{BaseURL: mustURL(t, "http://api.example")}, transport.Guard{AllowPlaintext: true},
		transport.WithResolver(&answers{[][]netip.Addr{addrs("10.9.8.7")}}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.Close() })
	_, err = h.Do(t.Context(), transport.Request{Path: "/x"})
	wantFault(t, err, fault.Permanent, fault.CodeNetwork)
	if len(proxy.Seen()) > 0 {
		t.Error("the proxy was used")
	}
}

func TestCallerGivesUp(t *testing.T) {
	t.Parallel()
	srv := tt.New(t, nil)
	srv.Handle("/x", tt.Stall())
	h := client(t, srv.URL, nil)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := h.Do(ctx, transport.Request{Op: "list", Path: "/x"})
	if !errors.Is(err, context.DeadlineExceeded) || fault.CodeOf(err) != fault.CodeCancelled {
		t.Errorf("%v (%s)", err, fault.CodeOf(err))
	}
	if len(srv.Seen()) != 1 {
		t.Error("the call was repeated")
	}
}

func TestConfigNeverPrintsItsSecrets(t *testing.T) {
	t.Parallel()
	srv := tt.New(t, nil)
	srv.Handle("/x", tt.Answer(400, `bad header X-Key: `+canary+`, basic `+"dTpzM2NyM3QtY2FuYXJ5LTc="))
	h := client(t, srv.URL, func(c *transport.HTTPConfig) {
		c.Auth = transport.Auth{Kind: transport.AuthQuery, Name: "k", Value: "another+s3cret"}
		c.Headers = []transport.Header{{Name: "X-Key", Value: redact.Secret(canary)}}
	})
	_, err := get(t, h, "/x")
	if err == nil || strings.Contains(err.Error(), "another") || strings.Contains(err.Error(), canary) {
		t.Errorf("%v", err)
	}
	if len(srv.Leaks("another%2Bs3cret")) != 1 {
		t.Errorf("the credential was not sent: %+v", srv.Seen())
	}
}
