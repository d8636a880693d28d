package hubspot_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tandem-sync/tandem/emulate/hubspot"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const base = "/crm/v3/objects/contacts"

var start = time.Date(2026, 11, 24, 9, 0, 0, 0, time.UTC)

// remote is a portal and a plain client of it.
type remote struct {
	*hubspot.Portal
	tb  testing.TB
	url string
}

func serve(tb testing.TB, c hubspot.Config) *remote {
	tb.Helper()
	if c.Now == nil {
		c.Now = func() time.Time { return start }
	}
	p := hubspot.New(c)
	srv := httptest.NewServer(p)
	tb.Cleanup(srv.Close)
	tb.Cleanup(srv.Client().CloseIdleConnections)
	return &remote{p, tb, srv.URL}
}

type reply struct {
	status int
	header http.Header
	body   map[string]any
	raw    string
}

// at walks into the answer: names and positions.
func (r reply) at(path ...any) any {
	var v any = r.body
	for _, step := range path {
		switch s := step.(type) {
		case string:
			m, _ := v.(map[string]any)
			v = m[s]
		case int:
			l, _ := v.([]any)
			if s >= len(l) {
				return nil
			}
			v = l[s]
		}
	}
	return v
}

func (r reply) ids() []string {
	var out []string
	list, _ := r.body["results"].([]any)
	for _, x := range list {
		m, _ := x.(map[string]any)
		out = append(out, fmt.Sprint(m["id"]))
	}
	return out
}

func (r *remote) call(method, path, body string) reply {
	r.tb.Helper()
	return r.as("Bearer "+hubspot.DefaultToken, method, path, body)
}

func (r *remote) as(auth, method, path, body string) reply {
	r.tb.Helper()
	req, err := http.NewRequestWithContext(r.tb.Context(), method, r.url+path, bytes.NewReader([]byte(body)))
	if err != nil {
		r.tb.Fatal(err)
	}
	if auth != "" {
		req.Header.Set("Authorization", auth)
	}
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	if err != nil {
		return reply{raw: err.Error()}
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	out := reply{status: resp.StatusCode, header: resp.Header, raw: string(b)}
	if err != nil {
		out.raw += err.Error()
		return out
	}
	_ = json.Unmarshal(b, &out.body)
	return out
}

func TestListPagesByCursor(t *testing.T) {
	t.Parallel()
	r := serve(t, hubspot.Config{})
	want := r.Seed(25)
	r.Archive(want[4])
	var got []string
	path := base + "?limit=10&properties=email,nothing&properties=city"
	for path != "" {
		page := r.call("GET", path, "")
		if page.status != 200 {
			t.Fatalf("%d %s", page.status, page.raw)
		}
		if page.at("results", 0, "properties", "city") != "London" || strings.Contains(page.raw, "nothing") || strings.Contains(page.raw, "phone") {
			t.Fatalf("properties: %s", page.raw)
		}
		got = append(got, page.ids()...)
		path = ""
		if next, ok := page.at("paging", "next", "after").(string); ok {
			path = base + "?limit=10&properties=email,city&after=" + next
		}
	}
	if !slices.Equal(got, slices.Delete(slices.Clone(want), 4, 5)) {
		t.Errorf("got %v", got)
	}
	gone := r.call("GET", base+"?archived=true", "")
	if !slices.Equal(gone.ids(), want[4:5]) || gone.at("results", 0, "archivedAt") != "2026-11-24T09:00:00.000Z" || gone.at("results", 0, "archived") != true {
		t.Errorf("archived: %s", gone.raw)
	}
	for _, bad := range []string{"?limit=101", "?limit=0", "?limit=x", "?after=x", "?limit=51&propertiesWithHistory=email"} {
		if got := r.call("GET", base+bad, ""); got.status != 400 || got.at("category") != "VALIDATION_ERROR" {
			t.Errorf("%s: %d %s", bad, got.status, got.raw)
		}
	}
	if got := r.call("GET", base+"?properties="+strings.Repeat("x", 17<<10), ""); got.status != 414 {
		t.Errorf("a long address: %d", got.status)
	}
}

func TestHistoryNewestFirst(t *testing.T) {
	t.Parallel()
	r := serve(t, hubspot.Config{})
	id := r.Create(map[string]string{"email": "a@example.com", "phone": "1"})
	r.Advance(time.Minute)
	r.Edit(map[string]string{"phone": "2", "email": "a@example.com"}, id)
	r.Advance(time.Minute)
	if got := r.call("PATCH", base+"/"+id, `{"properties":{"phone":""}}`); got.status != 200 {
		t.Fatal(got.raw)
	}
	got := r.call("GET", base+"/"+id+"?properties=phone,lastname&propertiesWithHistory=phone,email", "")
	type entry struct{ value, at, source any }
	var phone []entry
	for i := range 3 {
		e := func(k string) any { return got.at("propertiesWithHistory", "phone", i, k) }
		phone = append(phone, entry{e("value"), e("timestamp"), e("sourceType")})
	}
	want := []entry{
		{"", "2026-11-24T09:02:00.000Z", "INTEGRATION"}, {"2", "2026-11-24T09:01:00.000Z", "CRM_UI"}, {"1", "2026-11-24T09:00:00.000Z", "CRM_UI"},
	}
	if !slices.Equal(phone, want) {
		t.Errorf("got %v", phone)
	}
	if got.at("propertiesWithHistory", "email", 1) != nil {
		t.Error("a value that stayed has an entry")
	}
	if got.at("properties", "phone") != "" || got.body["properties"].(map[string]any)["lastname"] != nil || got.at("updatedAt") != "2026-11-24T09:02:00.000Z" {
		t.Error(got.raw)
	}
}

func search(filters string, more string) string {
	return `{"filterGroups":[{"filters":[` + filters + `]}],"sorts":["lastmodifieddate"],"properties":["email"],"limit":200,"after":"0"` + more + `}`
}

func TestSearchSeesTheIndex(t *testing.T) {
	t.Parallel()
	r := serve(t, hubspot.Config{IndexLag: time.Minute})
	ids := r.Seed(3)
	all := search(`{"propertyName":"lastmodifieddate","operator":"GTE","value":"0"}`, "")
	if got := r.call("POST", base+"/search", all); got.status != 200 || got.at("total") != float64(0) {
		t.Fatalf("at once: %s", got.raw)
	}
	r.Advance(time.Minute)
	r.Edit(map[string]string{"email": "new@example.com"}, ids[0])
	r.Archive(ids[1])
	if got := r.call("POST", base+"/search", all); got.at("total") != float64(3) || strings.Contains(got.raw, "new@example.com") {
		t.Fatalf("a minute later: %s", got.raw)
	}
	r.Advance(time.Minute)
	got := r.call("POST", base+"/search", all)
	if !slices.Equal(got.ids(), []string{ids[2], ids[0]}) || got.at("results", 1, "properties", "email") != "new@example.com" {
		t.Fatalf("two minutes later: %s", got.raw)
	}
	if got.header.Get("X-Hubspot-Ratelimit-Max") != "" {
		t.Error("a search tells about limits")
	}
}

func TestSearchFiltersSortsAndPages(t *testing.T) {
	t.Parallel()
	r := serve(t, hubspot.Config{Window: 30, Limits: hubspot.Unlimited})
	ids := r.Seed(40)
	r.Advance(time.Second)
	r.Edit(map[string]string{"city": "Rome"}, ids[:5]...)
	f := func(p, op, v string) string {
		return fmt.Sprintf(`{"propertyName":%q,"operator":%q,"value":%q}`, p, op, v)
	}
	stamp := strconv.FormatInt(start.UnixMilli(), 10)
	for name, x := range map[string]struct {
		filters string
		total   int
	}{
		"eq":        {f("lastmodifieddate", "EQ", stamp), 35},
		"gt":        {f("lastmodifieddate", "GT", stamp), 5},
		"lt":        {f("lastmodifieddate", "LT", stamp), 0},
		"and":       {f("lastmodifieddate", "EQ", stamp) + "," + f("hs_object_id", "GT", ids[30]), 9},
		"text":      {f("city", "EQ", "rome"), 5},
		"neq":       {f("city", "NEQ", "Rome"), 35},
		"has":       {f("website", "HAS_PROPERTY", ""), 0},
		"has not":   {f("website", "NOT_HAS_PROPERTY", ""), 40},
		"token":     {f("email", "CONTAINS_TOKEN", "person1*"), 11},
		"not token": {f("email", "NOT_CONTAINS_TOKEN", "person1*"), 29},
		"between":   {`{"propertyName":"hs_object_id","operator":"BETWEEN","value":"` + ids[0] + `","highValue":"` + ids[3] + `"}`, 4},
		"in":        {`{"propertyName":"hs_object_id","operator":"IN","values":["` + ids[0] + `","1"]}`, 1},
		"not in":    {`{"propertyName":"hs_object_id","operator":"NOT_IN","values":["` + ids[0] + `","1"]}`, 39},
	} {
		body := strings.Replace(search(x.filters, ""), `"limit":200`, `"limit":20`, 1)
		if got := r.call("POST", base+"/search", body); got.at("total") != float64(x.total) {
			t.Errorf("%s: total %v, want %d (%s)", name, got.at("total"), x.total, got.raw)
		}
	}
	sorted := func(sorts string, after string) reply {
		return r.call("POST", base+"/search", `{"filterGroups":[],"sorts":`+sorts+`,"properties":[],"limit":20,"after":"`+after+`"}`)
	}
	if got := sorted(`["-hs_object_id"]`, "0").ids(); got[0] != ids[39] || len(got) != 20 {
		t.Errorf("descending: %v", got)
	}
	if got := sorted(`[{"propertyName":"hs_object_id","direction":"ASCENDING"}]`, "10").ids(); got[0] != ids[10] {
		t.Errorf("by an object: %v", got)
	}
	if slices.IsSorted(sorted(`["lastmodifieddate"]`, "0").ids()) {
		t.Error("contacts of one time come in the order of their ids: nobody promises that")
	}
	if got := r.call("POST", base+"/search", `{"query":"PERSON39@"}`); got.at("total") != float64(1) {
		t.Errorf("query: %s", got.raw)
	}
	for name, body := range map[string]string{
		"past the window": `{"filterGroups":[],"limit":20,"after":"20"}`,
		"two sorts":       `{"sorts":["email","city"]}`,
		"unknown sort":    `{"sorts":["nothing"]}`,
		"limit":           `{"limit":201}`,
		"after":           `{"after":"x"}`,
		"operator":        search(f("city", "LIKE", "x"), ""),
		"property":        search(f("nothing", "EQ", "x"), ""),
		"no JSON":         `{`,
		"filters":         search(strings.Repeat(f("city", "EQ", "x")+",", 6)+f("city", "EQ", "x"), ""),
	} {
		if got := r.call("POST", base+"/search", body); got.status != 400 {
			t.Errorf("%s: %d %s", name, got.status, got.raw)
		}
	}
}

func TestLimitsRefuseAndRecover(t *testing.T) {
	t.Parallel()
	r := serve(t, hubspot.Config{TimeZone: "Europe/Berlin", Limits: hubspot.Limits{Burst: 3, Daily: 6, Search: 1}})
	one := func(want int, policy string) reply {
		t.Helper()
		got := r.call("GET", base, "")
		if got.status != want || policy != "" && got.at("policyName") != policy {
			t.Fatalf("%d %s, want %d %s", got.status, got.raw, want, policy)
		}
		return got
	}
	h := one(200, "").header
	for name, want := range map[string]string{"Max": "3", "Remaining": "2", "Interval-Milliseconds": "10000", "Daily": "6", "Daily-Remaining": "5"} {
		if got := h.Get("X-HubSpot-RateLimit-" + name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if got := h.Get("Date"); got != "Tue, 24 Nov 2026 09:00:00 GMT" {
		t.Errorf("Date is %q", got)
	}
	one(200, "")
	one(200, "")
	if got := one(429, "TEN_SECONDLY_ROLLING"); got.at("errorType") != "RATE_LIMIT" || got.header.Get("Retry-After") != "" {
		t.Error(got.raw)
	}
	// Searches are counted apart.
	if got := r.call("POST", base+"/search", "{}"); got.status != 200 {
		t.Error(got.raw)
	}
	if got := r.call("POST", base+"/search", "{}"); got.status != 429 || got.at("policyName") != "SECONDLY" {
		t.Error(got.raw)
	}
	r.Advance(10 * time.Second)
	one(200, "")
	one(200, "")
	one(429, "DAILY")
	r.Advance(13*time.Hour + 59*time.Minute) // 23:59 in Berlin
	one(429, "DAILY")
	r.Advance(time.Minute)
	one(200, "")
	got := r.call("GET", "/account-info/v3/api-usage/daily/private-apps", "")
	if got.at("results", 0, "currentUsage") != float64(2) || got.at("results", 0, "resetsAt") != "2026-11-25T23:00:00.000Z" {
		t.Error(got.raw)
	}
	if got := r.call("GET", "/account-info/v3/details", ""); got.at("timeZone") != "Europe/Berlin" || got.at("utcOffset") != "+01:00" {
		t.Error(got.raw)
	}
}

func TestTokensAndScopes(t *testing.T) {
	t.Parallel()
	r := serve(t, hubspot.Config{})
	for _, auth := range []string{"", "Bearer", "Bearer wrong", "Basic " + hubspot.DefaultToken} {
		if got := r.as(auth, "GET", base, ""); got.status != 401 || got.at("category") != "INVALID_AUTHENTICATION" {
			t.Errorf("%q: %d %s", auth, got.status, got.raw)
		}
	}
	r.SetScopes(hubspot.ScopeRead)
	if got := r.call("POST", base, `{"properties":{}}`); got.status != 403 || got.at("errors", 0, "context", "requiredGranularScopes", 0) != hubspot.ScopeWrite {
		t.Errorf("%d %s", got.status, got.raw)
	}
	r.Revoke(true)
	if got := r.call("GET", base, ""); got.status != 401 {
		t.Errorf("%d", got.status)
	}
	r.Revoke(false)
	if got := r.call("GET", base, ""); got.status != 200 {
		t.Errorf("%d", got.status)
	}
	if got := r.call("GET", "/nowhere", ""); got.status != 404 {
		t.Errorf("%d", got.status)
	}
}
