package web_test

import (
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
)

// everyPage are the addresses of all pages of a filled world.
func everyPage(w *world) []string {
	return []string{
		"/", "/channels", "/channels/crm", "/runs", "/runs?status=active&channel=crm", "/runs/1", "/runs/2", "/runs/3",
		"/parked", "/parked?resolved=1&kind=record", fmt.Sprintf("/parked/%d", w.parked),
		"/conflicts", "/conflicts?resolved=1&channel=crm", "/runs/1/undo", "/channels/crm/connectors/contacts/records?local_id=7",
	}
}

func TestPagesShowWhatThereIs(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	contains(t, "overview", w.get("/"), "Overview", "crm", "7,500 of 12,000 (62 %)", "Waits for a person", "Ended lately")
	contains(t, "channels", w.get("/channels"), `href="/channels/shop"`, `action="/channels/crm/sync"`)
	contains(t, "channel", w.get("/channels/crm"), "contacts", "Schedule:", "The circuit breaker is open", "five failures in a row: &lt;script&gt;", "(secret)", "https://crm.example.com", `action="/channels/crm/test"`)
	contains(t, "run under way", w.get("/runs/3"), "<progress", `action="/runs/3/cancel"`, "7,500")
	contains(t, "failed run", w.get("/runs/2"), "renew the token", "Sync again")
	contains(t, "parked", w.get("/parked"), "bad value", "mass delete")
	contains(t, "parked item", w.get(fmt.Sprintf("/parked/%d", w.parked)), "bad value", "What was received", "Try again")
}

func TestRemoteTextsStayText(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	pages := everyPage(w)
	_, tested := w.do(http.MethodPost, "/channels/crm/test", nil)
	bodies := map[string]string{"test": tested}
	for _, p := range pages {
		bodies[p] = w.get(p)
	}
	markup, seen := regexp.MustCompile(`(?i)<(script|img)\b[^>]*>`), 0
	for p, body := range bodies {
		for _, tag := range markup.FindAllString(body, -1) {
			if !strings.Contains(tag, `src="/assets/`) {
				t.Errorf("%s holds the markup of a remote: %s", p, tag)
			}
		}
		if strings.ContainsRune(body, '\u202e') {
			t.Errorf("%s holds a mark that turns the direction of writing", p)
		}
		if strings.Contains(body, "s3cret") {
			t.Errorf("%s shows a secret", p)
		}
		seen += strings.Count(body, "&lt;script&gt;document.title=")
	}
	if seen < 8 {
		t.Errorf("the hostile texts were shown %d times: this test looks at nothing", seen)
	}
}

func TestHeaders(t *testing.T) {
	t.Parallel()
	w := newWorld(t, token)
	w.signIn()
	for _, p := range append(everyPage(w), "/nowhere", "/login?next=x") {
		res, _ := w.do(http.MethodGet, p, nil)
		csp := res.Header.Get("Content-Security-Policy")
		for _, part := range []string{"default-src 'self'", "frame-ancestors 'none'", "base-uri 'none'"} {
			if !strings.Contains(csp, part) {
				t.Errorf("%s: policy %q lacks %q", p, csp, part)
			}
		}
		for name, want := range map[string]string{"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store", "Referrer-Policy": "same-origin"} {
			if got := res.Header.Get(name); got != want {
				t.Errorf("%s: %s is %q, want %q", p, name, got, want)
			}
		}
	}
}

// TestNothingInline: the policy forbids styles and scripts in the page itself,
// so none may be there to be silently without effect.
func TestNothingInline(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	inline := regexp.MustCompile(`(?i)<style|<[a-z][^>]*\s(style|on[a-z]+)\s*=|<script(>|[^>]*[^c]>\s*[^<\s])`)
	for _, p := range everyPage(w) {
		if hit := inline.FindString(w.get(p)); hit != "" {
			t.Errorf("%s: %s", p, hit)
		}
	}
}

func TestAssets(t *testing.T) {
	t.Parallel()
	w := newWorld(t, token) // without signing in
	_, login := w.do(http.MethodGet, "/login", nil)
	names := regexp.MustCompile(`/assets/[a-z]+-[0-9a-f]{12}\.(css|svg)`).FindAllString(login, -1)
	if len(names) < 2 {
		t.Fatalf("assets of the login page: %v", names)
	}
	for _, name := range names {
		res, body := w.do(http.MethodGet, name, nil)
		if res.StatusCode != http.StatusOK || body == "" || !strings.Contains(res.Header.Get("Cache-Control"), "immutable") {
			t.Errorf("%s: %d, %d bytes, %q", name, res.StatusCode, len(body), res.Header.Get("Cache-Control"))
		}
	}
	if res, _ := w.do(http.MethodGet, "/assets/..%2ftemplates%2flogin.html", nil); res.StatusCode != http.StatusNotFound {
		t.Errorf("outside of the assets: %d", res.StatusCode)
	}
}

func TestActions(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	if to := w.goes("/channels/shop/sync", url.Values{"mode": {"full"}, "connector": {"contacts"}, "dry_run": {"1"}}); to != "/runs/7" {
		t.Errorf("sync leads to %q", to)
	}
	contains(t, "the new run", w.get("/runs/7"), "dry run", "full", "a person")
	if to := w.goes("/channels/crm/sync", url.Values{"connector": {""}}); to != "/runs/8" {
		t.Errorf("sync of all connectors leads to %q", to)
	}
	if to := w.goes("/runs/8/cancel", nil); to != "/runs/8" {
		t.Errorf("cancel leads to %q", to)
	}
	contains(t, "the cancelled run", w.get("/runs/8"), "is-cancelled")
	if to := w.goes("/channels/crm/disable", nil); to != "/channels/crm" {
		t.Errorf("disable leads to %q", to)
	}
	contains(t, "the disabled channel", w.get("/channels/crm"), "is-disabled", `action="/channels/crm/enable"`)
	w.goes("/channels/crm/enable", nil)
	if body := w.get("/channels/crm"); strings.Contains(body, "is-disabled") {
		t.Error("the channel is still disabled")
	}
}

func TestApproveDeletions(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	item := regexp.MustCompile(`/parked/\d+`).FindString(w.get("/parked?kind=mass_delete&channel=crm"))
	contains(t, "mass delete", w.get(item), "Approve these deletions")
	if to := w.goes(item+"/retry", nil); !strings.HasPrefix(to, "/runs/") {
		t.Errorf("approval leads to %q", to)
	}
	res, body := w.do(http.MethodPost, item+"/retry", nil)
	if res.StatusCode != http.StatusConflict {
		t.Errorf("a second approval: %d", res.StatusCode)
	}
	contains(t, "a second approval", body, "is carrying it out already", "Go to the overview")
}

func TestSkip(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	item := fmt.Sprintf("/parked/%d", w.parked)
	if to := w.goes(item+"/skip", nil); to != item {
		t.Errorf("skip leads to %q", to)
	}
	if body := w.get(item); !strings.Contains(body, "is-skipped") || strings.Contains(body, item+"/retry") {
		t.Errorf("the skipped item:\n%.2000s", body)
	}
}

// TestManyNeedTheirNumber: nothing happens to many items before a person has
// seen how many they are.
func TestManyNeedTheirNumber(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	form := url.Values{"action": {"skip"}, "kind": {"record"}, "channel": {"crm"}}
	_, body := w.do(http.MethodPost, "/parked", form)
	contains(t, "the question", body, "Skip 1?", `name="confirm" value="1"`, `name="channel" value="crm"`)
	contains(t, "what is open", w.get("/parked?kind=record&channel=crm"), "bad value")
	form.Set("confirm", "2")
	_, body = w.do(http.MethodPost, "/parked", form)
	contains(t, "another number", body, "2 were confirmed, and 1 items are meant now")
	form.Set("confirm", "1")
	_, body = w.do(http.MethodPost, "/parked", form)
	contains(t, "the answer", body, "Skipped: 1")
	contains(t, "what is open", w.get("/parked?kind=record&channel=crm"), "Nothing is parked here")
	if res, _ := w.do(http.MethodPost, "/parked", url.Values{"action": {"odd"}}); res.StatusCode != http.StatusUnprocessableEntity {
		t.Errorf("an odd action: %d", res.StatusCode)
	}
}

func TestErrorsArePages(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	for path, status := range map[string]int{
		"/nowhere": 404, "/channels/none": 404, "/runs/99": 404, "/runs/x": 404, "/runs/0": 404, "/parked/99999": 404,
		"/runs?before=x": 422, "/runs?status=odd": 422, "/parked?run=-1": 422, "/runs?channel=none": 404,
	} {
		res, body := w.do(http.MethodGet, path, nil)
		if res.StatusCode != status || !strings.Contains(body, "Go to the overview") || !strings.HasPrefix(res.Header.Get("Content-Type"), "text/html") {
			t.Errorf("%s: %d %.200s, want a page with %d", path, res.StatusCode, body, status)
		}
	}
	if res, _ := w.do(http.MethodPost, "/channels/crm/sync", url.Values{"mode": {strings.Repeat("x", 100<<10)}}); res.StatusCode != http.StatusRequestEntityTooLarge {
		t.Errorf("a form of 100 KiB: %d", res.StatusCode)
	}
	if res, _ := w.do(http.MethodPost, "/channels/crm/sync", url.Values{"mode": {"odd"}}); res.StatusCode != http.StatusUnprocessableEntity {
		t.Errorf("an odd mode: %d", res.StatusCode)
	}
}

func TestOlderPages(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	for range 60 {
		w.goes("/channels/crm/sync", url.Values{"mode": {"full"}})
		w.goes("/runs/"+lastRun(t, w)+"/cancel", nil)
	}
	body := w.get("/runs")
	next := regexp.MustCompile(`href="(/runs\?before=\d+)" rel="next"`).FindStringSubmatch(body)
	if next == nil {
		t.Fatalf("60 runs and no page that follows:\n%.2000s", body)
	}
	body = w.get(next[1])
	contains(t, "the second page", body, `href="/runs/1"`, "Newest")
	if strings.Contains(body, `rel="next"`) {
		t.Error("there is a third page")
	}
}

func lastRun(t *testing.T, w *world) string {
	t.Helper()
	m := regexp.MustCompile(`href="/runs/(\d+)"`).FindStringSubmatch(w.get("/runs"))
	if m == nil {
		t.Fatal("no run")
	}
	return m[1]
}

func TestLiveWhileSomethingRuns(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	contains(t, "a run under way", w.get("/runs/3"), `<noscript><meta http-equiv="refresh"`, "live-", "data-live=")
	if body := w.get("/runs/1"); strings.Contains(body, "http-equiv") || strings.Contains(body, "data-live") {
		t.Error("the page of a run that is over reloads itself")
	}
}
