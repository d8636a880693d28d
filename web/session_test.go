package web_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

func TestEveryPageNeedsSigningIn(t *testing.T) {
	t.Parallel()
	w := newWorld(t, token)
	for _, p := range append(everyPage(w), "/nowhere") {
		res, body := w.do(http.MethodGet, p, nil)
		if to := res.Header.Get("Location"); res.StatusCode != http.StatusSeeOther || !strings.HasPrefix(to, "/login") || strings.Contains(body, "crm.example") {
			t.Errorf("%s without signing in: %d to %q", p, res.StatusCode, to)
		}
	}
	for _, p := range []string{"/channels/crm/sync", "/runs/3/cancel", "/parked/1/retry", "/channels/crm/test"} {
		if to := w.goes(p, nil); to != "/login" {
			t.Errorf("POST %s leads to %q", p, to)
		}
	}
	if body := func() string { w.signIn(); return w.get("/runs/3") }(); !strings.Contains(body, "/runs/3/cancel") {
		t.Error("a form without a session has changed something")
	}
}

func TestSignIn(t *testing.T) {
	t.Parallel()
	w := newWorld(t, token)
	res, body := w.do(http.MethodPost, "/login", url.Values{"token": {"wrong"}})
	if res.StatusCode != http.StatusForbidden || len(res.Cookies) > 0 {
		t.Errorf("a wrong token: %d, cookies %v", res.StatusCode, res.Cookies)
	}
	contains(t, "a wrong token", body, "This is not the API token")
	res, _ = w.do(http.MethodPost, "/login", url.Values{"token": {" " + token + "\n"}, "next": {"/runs?status=failed"}})
	if to := res.Header.Get("Location"); to != "/runs?status=failed" {
		t.Errorf("signed in, sent to %q", to)
	}
	c := res.Cookies[0]
	if !c.HttpOnly || c.SameSite != http.SameSiteLaxMode || c.Path != "/" || c.Secure || strings.Contains(c.Value, token) {
		t.Errorf("cookie %+v", c)
	}
	if to := w.goes("/logout", nil); to != "/login" {
		t.Errorf("signing out leads to %q", to)
	}
	if res, _ := w.do(http.MethodGet, "/runs", nil); res.StatusCode != http.StatusSeeOther {
		t.Errorf("after signing out: %d", res.StatusCode)
	}
	res, _ = w.do(http.MethodPost, "/login", url.Values{"token": {token}}, func(r *http.Request) { r.Header.Set("X-Forwarded-Proto", "https") })
	if !res.Cookies[0].Secure {
		t.Error("behind TLS the cookie may travel in the clear")
	}
}

func TestSessionsEnd(t *testing.T) {
	t.Parallel()
	w := newWorld(t, token)
	w.signIn()
	w.clock.By = 11 * time.Hour
	w.get("/runs")
	w.clock.By = 13 * time.Hour
	if res, _ := w.do(http.MethodGet, "/runs", nil); res.StatusCode != http.StatusSeeOther {
		t.Errorf("13 hours later: %d", res.StatusCode)
	}
}

func TestForgedSessions(t *testing.T) {
	t.Parallel()
	w := newWorld(t, token)
	res, _ := w.do(http.MethodPost, "/login", url.Values{"token": {token}})
	good := res.Cookies[0]
	end, mac, _ := strings.Cut(good.Value, ".")
	other := newWorld(t, "another-token")
	theirs, _ := other.do(http.MethodPost, "/login", url.Values{"token": {"another-token"}})
	w.http.Jar = nil
	for what, value := range map[string]string{
		"empty": "", "no mac": end, "longer life": "9" + end + "." + mac, "another mac": end + "." + strings.Repeat("0", len(mac)),
		"the token": token, "of another token": theirs.Cookies[0].Value,
	} {
		res, _ := w.do(http.MethodGet, "/runs", nil, func(r *http.Request) { r.AddCookie(&http.Cookie{Name: good.Name, Value: value}) })
		if res.StatusCode != http.StatusSeeOther {
			t.Errorf("%s: %d", what, res.StatusCode)
		}
	}
	res, _ = w.do(http.MethodGet, "/runs", nil, func(r *http.Request) { r.AddCookie(good) })
	if res.StatusCode != http.StatusOK {
		t.Errorf("the real one: %d", res.StatusCode)
	}
}

func TestOnceLink(t *testing.T) {
	t.Parallel()
	w := newWorld(t, token)
	link := w.pages.OnceLink()
	if res, _ := w.do(http.MethodGet, link, nil); res.StatusCode != http.StatusSeeOther || res.Header.Get("Location") != "/" {
		t.Errorf("the link: %d to %q", res.StatusCode, res.Header.Get("Location"))
	}
	w.get("/runs")
	w.goes("/logout", nil)
	if res, body := w.do(http.MethodGet, link, nil); res.StatusCode != http.StatusForbidden || len(res.Cookies) > 0 {
		t.Errorf("the link a second time: %d %s", res.StatusCode, body)
	}
	late := w.pages.OnceLink()
	w.clock.By = 16 * minute
	if res, _ := w.do(http.MethodGet, late, nil); res.StatusCode != http.StatusForbidden {
		t.Errorf("the link 16 minutes later: %d", res.StatusCode)
	}
	if open := newWorld(t, "").pages.OnceLink(); open != "/" {
		t.Errorf("where nobody signs in, the link is %q", open)
	}
}

func TestAttemptsAreBounded(t *testing.T) {
	t.Parallel()
	w := newWorld(t, token)
	for i := range 12 {
		res, _ := w.do(http.MethodPost, "/login", url.Values{"token": {"guess"}})
		want := http.StatusForbidden
		if i >= 10 {
			want = http.StatusTooManyRequests
		}
		if res.StatusCode != want {
			t.Errorf("attempt %d: %d, want %d", i, res.StatusCode, want)
		}
	}
	w.clock.By = minute
	w.signIn()
}

func TestNextStaysHere(t *testing.T) {
	t.Parallel()
	w := newWorld(t, token)
	for _, next := range []string{
		"https://evil.example", "//evil.example", `/\evil.example`, "javascript:alert(1)", "evil", "/\t/evil.example", "/login?next=/login", "http:/x",
	} {
		if to := w.goes("/login", url.Values{"token": {token}, "next": {next}}); to != "/" {
			t.Errorf("next=%q leads to %q", next, to)
		}
		w.clock.By += minute
	}
}

func TestOtherSitesCannotPost(t *testing.T) {
	t.Parallel()
	w := newWorld(t, token)
	w.signIn()
	for what, change := range map[string]func(*http.Request){
		"cross-site":   func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "cross-site") },
		"same site":    func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "same-site") },
		"old browser":  func(r *http.Request) { r.Header.Del("Sec-Fetch-Site"); r.Header.Set("Origin", "https://evil.example") },
		"null origin":  func(r *http.Request) { r.Header.Del("Sec-Fetch-Site"); r.Header.Set("Origin", "null") },
		"rebound name": func(r *http.Request) { r.Host = "evil.example" },
	} {
		for _, path := range []string{"/channels/crm/sync", "/runs/3/cancel", "/parked/1/retry", "/channels/crm/disable", "/logout", "/login"} {
			res, _ := w.do(http.MethodPost, path, url.Values{"token": {token}}, change)
			if res.StatusCode != http.StatusForbidden {
				t.Errorf("%s %s: %d", what, path, res.StatusCode)
			}
		}
	}
	contains(t, "the run", w.get("/runs/3"), "/runs/3/cancel")
	// A link on another site may lead here: it changes nothing.
	res, _ := w.do(http.MethodGet, "/runs", nil, func(r *http.Request) {
		r.Header.Set("Sec-Fetch-Site", "cross-site")
		r.Header.Set("Sec-Fetch-Mode", "navigate")
		r.Header.Set("Sec-Fetch-Dest", "document")
	})
	if res.StatusCode != http.StatusOK {
		t.Errorf("a link from elsewhere: %d", res.StatusCode)
	}
	res, _ = w.do(http.MethodGet, "/runs", nil, func(r *http.Request) {
		r.Header.Set("Sec-Fetch-Site", "cross-site")
		r.Header.Set("Sec-Fetch-Dest", "iframe")
	})
	if res.StatusCode != http.StatusForbidden {
		t.Errorf("a frame elsewhere: %d", res.StatusCode)
	}
}
