package rest_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/tandem-sync/tandem/channels"
	"github.com/tandem-sync/tandem/channels/rest"
	"github.com/tandem-sync/tandem/fault"
	tt "github.com/tandem-sync/tandem/transport/transporttest"
)

const pageList = `"path":"/x","records":"items","page":{"by":"page","param":"page"}`

func simple(list string) string { return `{"list":{` + list + `},"id":"id","modified":"updated"}` }

func TestBadAnswersOfAListing(t *testing.T) {
	t.Parallel()
	page := `{"items":[{"id":"1"}]}`
	tests := []struct {
		name  string
		steps []tt.Step
		class fault.Class
		code  string
		text  string
	}{
		{"401", []tt.Step{tt.Status(401)}, fault.Permanent, fault.CodeAuth, "401"},
		{"403", []tt.Step{tt.Status(403)}, fault.Permanent, fault.CodeAuth, "403"},
		{"404", []tt.Step{tt.Status(404)}, fault.Permanent, fault.CodeNotFound, "404"},
		{"429", []tt.Step{tt.Status(429, "Retry-After", "60")}, fault.RateLimited, "rate_limit", "429"},
		{"429 without Retry-After", []tt.Step{tt.Status(429)}, fault.RateLimited, "rate_limit", "429"},
		{"500", []tt.Step{tt.Status(500)}, fault.Retryable, fault.CodeUnreachable, "500"},
		{"503", []tt.Step{tt.Status(503)}, fault.Retryable, fault.CodeUnreachable, "503"},
		{"HTML", []tt.Step{tt.HTML()}, fault.Retryable, fault.CodeBadAnswer, "HTML"},
		{"empty", []tt.Step{tt.JSON("")}, fault.Retryable, fault.CodeBadAnswer, "empty"},
		{"truncated", []tt.Step{tt.Truncated(page, 10)}, fault.Retryable, fault.CodeBadAnswer, "broke off"},
		{"truncated, and the close looks like the end", []tt.Step{tt.CloseDelimited(page, 10)}, fault.Retryable, fault.CodeBadAnswer, "not valid JSON"},
		{"an error with status 200", []tt.Step{tt.JSON(`{"error":"quota"}`)}, fault.Retryable, fault.CodeBadAnswer, `nothing at "items"`},
		{"no list", []tt.Step{tt.JSON(`{"items":7}`)}, fault.Retryable, fault.CodeBadAnswer, "no list"},
		{"redirect to another host", []tt.Step{tt.Redirect(302, "https://evil.example/x")}, fault.Permanent, "redirect", "another origin"},
		{"reset", []tt.Step{tt.Reset()}, fault.Retryable, fault.CodeUnreachable, ""},
		{"gzip bomb", []tt.Step{tt.GzipBomb(64 << 20)}, fault.Permanent, "page_too_large", "32 MiB"},
		{"slow", []tt.Step{tt.Slow(page, 100*time.Millisecond)}, fault.Retryable, fault.CodeUnreachable, "did not end"},
	}
	for _, c := range tests {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			srv := tt.New(t, nil)
			srv.Handle("/x", c.steps...)
			con := open(t, settingsFor(srv.URL, simple(pageList), `"token":"c4nary-token"`, `"timeout":"`+timeoutFor(c.name)+`"`))
			_, err := readAll(t, con, channels.ReadRequest{})
			wantFault(t, err, c.class, c.code)
			if !strings.Contains(err.Error(), c.text) || strings.Contains(err.Error(), "c4nary") {
				t.Errorf("text %q, want %q", err, c.text)
			}
			if !strings.Contains(err.Error(), "contacts") {
				t.Errorf("the error does not name the connector: %v", err)
			}
		})
	}
}

func TestFailureThatPassesCostsNothing(t *testing.T) {
	t.Parallel()
	data, _ := filled(5)
	srv := tt.New(t, data)
	srv.Inject(tt.Status(503), tt.Reset(), tt.Status(429, "Retry-After", "0"))
	pages, err := readAll(t, open(t, settingsFor(srv.URL, `{"list":`+kinds["page"]+`}`)), channels.ReadRequest{})
	if err != nil || idsOf(pages) != "r000 r001 r002 r003 r004" {
		t.Errorf("%s %v", idsOf(pages), err)
	}
}

func TestListingThatDoesNotMoveOn(t *testing.T) {
	t.Parallel()
	calls := func(f func(n int, q url.Values) string) http.Handler {
		n := 0
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			n++
			_, _ = fmt.Fprint(w, f(n, r.URL.Query()))
		})
	}
	cursorList := `"path":"/x","records":"items","page":{"by":"cursor","token_at":"next","token_param":"c"}`
	tests := []struct {
		name, list string
		answer     func(n int, q url.Values) string
		most       int // calls
	}{
		{"the page parameter is not known", pageList, func(int, url.Values) string { return `{"items":[{"id":1}]}` }, 2},
		{"and the records hold a time", pageList, func(n int, _ url.Values) string {
			return fmt.Sprintf(`{"items":[{"id":1,"now":%d},{"id":2}]}`, n)
		}, 10},
		{"the total would have ended it", `"path":"/x","records":"items","page":{"by":"offset","param":"o","total_at":"total"}`, func(int, url.Values) string {
			return `{"total":2,"items":[{"id":1}]}`
		}, 2},
		{"the same token", cursorList, func(n int, _ url.Values) string {
			return fmt.Sprintf(`{"next":"t","items":[{"id":%d}]}`, n)
		}, 2},
		{"tokens in a circle", cursorList, func(n int, _ url.Values) string {
			return fmt.Sprintf(`{"next":"t%d","items":[{"id":%d}]}`, n%3, n)
		}, 12},
		{"a long way into a circle", cursorList, func(n int, _ url.Values) string {
			token := n
			if n > 20 {
				token = 20 + (n+1)%7
			}
			return fmt.Sprintf(`{"next":"t%d","items":[{"id":%d}]}`, token, n)
		}, 80},
		{"an address that leads to itself", `"path":"/x","records":"items","page":{"by":"next_url","next_at":"next"}`, func(n int, _ url.Values) string {
			return fmt.Sprintf(`{"next":"/x","items":[{"id":%d}]}`, n)
		}, 1},
		{"addresses in a circle", `"path":"/x","records":"items","page":{"by":"next_url","next_at":"next"}`, func(n int, _ url.Values) string {
			return fmt.Sprintf(`{"next":"?p=%d","items":[{"id":%d}]}`, n%2, n)
		}, 8},
	}
	for _, c := range tests {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			srv := tt.New(t, calls(c.answer))
			con := open(t, settingsFor(srv.URL, simple(c.list)))
			_, err := readAll(t, con, channels.ReadRequest{})
			wantFault(t, err, fault.Permanent, "cursor_stalled")
			if n := len(srv.Seen()); n > c.most {
				t.Errorf("found after %d calls, want %d", n, c.most)
			}
		})
	}
}

func TestCircleIsFoundByReadersThatTakeOver(t *testing.T) {
	t.Parallel()
	n := 0
	srv := tt.New(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		n++
		_, _ = fmt.Fprintf(w, `{"next":"t%d","items":[{"id":%d}]}`, n%3, n)
	}))
	con := open(t, settingsFor(srv.URL, simple(`"path":"/x","records":"items","page":{"by":"cursor","token_at":"next","token_param":"c"}`)))
	var from channels.Cursor
	for range 20 {
		r, err := con.Reader(t.Context(), channels.ReadRequest{From: from})
		if err != nil {
			t.Fatal(err)
		}
		p, err := r.ReadPage(t.Context())
		if err != nil {
			wantFault(t, err, fault.Permanent, "cursor_stalled")
			return
		}
		from = p.Next
	}
	t.Error("not found in 20 pages")
}

func TestWhereListingsEnd(t *testing.T) {
	t.Parallel()
	next := `"path":"/x","records":"items","page":{"by":"cursor","token_at":"next","token_param":"c"`
	tests := []struct {
		name, list string
		answers    []string
		ids        string
	}{
		{"empty page", pageList, []string{`{"items":[{"id":1}]}`, `{"items":[]}`}, "1"},
		{"never at a short page", `"path":"/x","records":"items","page":{"by":"page","param":"p","size_param":"s","size":50}`, []string{`{"items":[{"id":1},{"id":2}]}`, `{"items":[{"id":3}]}`, `{"items":[{"id":4}]}`, `{"items":[]}`}, "1 2 3 4"},
		{"total", `"path":"/x","records":"items","page":{"by":"page","param":"p","total_at":"n"}`, []string{`{"n":2,"items":[{"id":1}]}`, `{"n":2,"items":[{"id":2}]}`}, "1 2"},
		{"total as text", `"path":"/x","records":"items","page":{"by":"page","param":"p","total_at":"n"}`, []string{`{"n":"1","items":[{"id":1}]}`}, "1"},
		{"total unknown", `"path":"/x","records":"items","page":{"by":"page","param":"p","total_at":"n"}`, []string{`{"n":-1,"items":[{"id":1}]}`, `{"items":[]}`}, "1"},
		{"token null", next + `}`, []string{`{"next":"a","items":[{"id":1}]}`, `{"next":null,"items":[{"id":2}]}`}, "1 2"},
		{"token missing", next + `}`, []string{`{"next":7,"items":[{"id":1}]}`, `{"items":[{"id":2}]}`}, "1 2"},
		{"token empty", next + `}`, []string{`{"next":"","items":[{"id":1}]}`}, "1"},
		{"token false", next + `}`, []string{`{"next":false,"items":[{"id":1}]}`}, "1"},
		{"empty page with a token", next + `}`, []string{`{"next":"a","items":[{"id":1}]}`, `{"next":"b","items":[]}`}, "1"},
		{"null list", pageList, []string{`{"items":null}`}, ""},
		{"one call", `"path":"/x","records":"items"`, []string{`{"items":[{"id":1},{"id":2}]}`}, "1 2"},
		{"duplicate ids stay in order", `"path":"/x","records":"items"`, []string{`{"items":[{"id":1},{"id":2},{"id":1}]}`}, "1 2 1"},
		{"bad records count for the total", `"path":"/x","records":"items","page":{"by":"page","param":"p","total_at":"n"}`, []string{`{"n":2,"items":[{"id":null},{"id":2}]}`}, "! 2"},
		{"pages of records without ids", pageList, []string{`{"items":[{"a":1},{"a":2}]}`, `{"items":[{"a":3},{"a":4}]}`, `{"items":[]}`}, "! ! ! !"},
	}
	for _, c := range tests {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			srv := tt.New(t, nil)
			var steps []tt.Step
			for _, a := range c.answers {
				steps = append(steps, tt.JSON(a))
			}
			srv.Handle("/x", append(steps, tt.Status(400))...)
			pages, err := readAll(t, open(t, settingsFor(srv.URL, simple(c.list))), channels.ReadRequest{})
			if err != nil || idsOf(pages) != c.ids {
				t.Errorf("ids %q, want %q: %v", idsOf(pages), c.ids, err)
			}
			if n := len(srv.Seen()); n != len(c.answers) {
				t.Errorf("%d calls, want %d", n, len(c.answers))
			}
		})
	}
}

func TestNoContentIsAnEmptyListing(t *testing.T) {
	t.Parallel()
	srv := tt.New(t, nil)
	srv.Handle("/x", tt.Status(204))
	pages, err := readAll(t, open(t, settingsFor(srv.URL, simple(pageList))), channels.ReadRequest{})
	if err != nil || len(pages) != 1 || pages[0].RemoteNow.IsZero() || !pages[0].Listed {
		t.Errorf("%+v %v", pages, err)
	}
}

func TestWrongTokensAreErrors(t *testing.T) {
	t.Parallel()
	for _, token := range []string{`{"x":1}`, `["a"]`, `true`} {
		for _, page := range []string{`{"by":"cursor","token_at":"next","token_param":"c"}`, `{"by":"next_url","next_at":"next"}`} {
			srv := tt.New(t, nil)
			srv.Handle("/x", tt.JSON(`{"next":`+token+`,"items":[{"id":1}]}`))
			_, err := readAll(t, open(t, settingsFor(srv.URL, simple(`"path":"/x","records":"items","page":`+page))), channels.ReadRequest{})
			wantFault(t, err, fault.Permanent, fault.CodeBadAnswer)
		}
	}
}

func TestTokenTooLongForAPosition(t *testing.T) {
	t.Parallel()
	srv := tt.New(t, nil)
	srv.Handle("/x", tt.JSON(`{"next":"`+strings.Repeat("t", 5000)+`","items":[{"id":1}]}`))
	_, err := readAll(t, open(t, settingsFor(srv.URL, simple(`"path":"/x","records":"items","page":{"by":"cursor","token_at":"next","token_param":"c"}`))), channels.ReadRequest{})
	wantFault(t, err, fault.Permanent, fault.CodeBadAnswer)
}

func TestNextAddressOnAnotherOriginIsRefused(t *testing.T) {
	t.Parallel()
	other := tt.New(t, nil)
	for _, target := range []string{other.URL + "/x", "https://evil.example/x", "//evil.example/x", "http://u:p@127.0.0.1/x", "ftp://127.0.0.1/x"} {
		for _, kind := range []string{"next_url", "link"} {
			srv := tt.New(t, nil)
			page := `{"by":"next_url","next_at":"next"}`
			step := tt.JSON(`{"next":"` + target + `","items":[{"id":1}]}`)
			if kind == "link" {
				page = `{"by":"link"}`
				step = tt.Answer(200, `{"items":[{"id":1}]}`, "Link", "<"+target+`>; rel="next"`)
			}
			srv.Handle("/x", step)
			_, err := readAll(t, open(t, settingsFor(srv.URL, simple(`"path":"/x","records":"items","page":`+page), `"token":"s3cret-s3cret"`)), channels.ReadRequest{})
			wantFault(t, err, fault.Permanent, "other_origin")
			if strings.Contains(err.Error(), "u:p") {
				t.Errorf("the error holds a password: %v", err)
			}
		}
	}
	if n := len(other.Seen()); n > 0 {
		t.Errorf("the other server was called %d times", n)
	}
}

func TestCredentialInTheNextAddressIsNotStored(t *testing.T) {
	t.Parallel()
	const secret = "k3y-in-query"
	srv := tt.New(t, nil)
	srv.Handle("/x", tt.JSON(`{"next":"/x?page=2&api_key=`+secret+`","items":[{"id":1}]}`), tt.JSON(`{"items":[{"id":2}]}`))
	con := open(t, settingsFor(srv.URL, simple(`"path":"/x","records":"items","page":{"by":"next_url","next_at":"next"}`),
		`"auth":{"type":"query","name":"api_key","value":"`+secret+`"}`))
	pages, err := readAll(t, con, channels.ReadRequest{})
	if err != nil || idsOf(pages) != "1 2" {
		t.Fatal(idsOf(pages), err)
	}
	if strings.Contains(string(pages[0].Next), secret) {
		t.Errorf("the position holds the credential: %s", pages[0].Next)
	}
	if got := srv.Seen()[1].Query; got != "page=2&api_key="+secret {
		t.Errorf("the second call asked %q", got)
	}
}

func TestObjectsKeyedByID(t *testing.T) {
	t.Parallel()
	data, _ := filled(3)
	srv := tt.New(t, data)
	pages, err := readAll(t, open(t, settingsFor(srv.URL, `{"list":{"path":"/keyed","records":"items"},"id":"$key"}`)), channels.ReadRequest{Fields: []string{"email", "$key"}})
	if err != nil || idsOf(pages) != "r000 r001 r002" || pages[0].Records[1].Values[1].Text != "r001" {
		t.Errorf("%q %v", idsOf(pages), err)
	}
}

func TestListingByPost(t *testing.T) {
	t.Parallel()
	since := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	tests := []struct {
		name, list    string
		first, second string // bodies
		query         string // of the second call
	}{
		{
			"parameters join a mapping",
			`"body":{"sort":["id"]},"page":{"by":"cursor","token_at":"next","token_param":"after","size_param":"limit","size":50}`,
			`{"limit":50,"sort":["id"]}`, `{"after":"t\"1","limit":50,"sort":["id"]}`, "",
		},
		{
			"placeholders",
			`"body":{"page":{"token":"{token}","size":"{size}"},"note":"size {size}, {other}"},"page":{"by":"cursor","token_at":"next","size":50}`,
			`{"note":"size 50, {other}","page":{"size":50}}`, `{"note":"size 50, {other}","page":{"size":50,"token":"t\"1"}}`, "",
		},
		{
			"text",
			`"body":"{\"q\":\"after:{token}\"}","page":{"by":"cursor","token_at":"next","size_param":"limit","size":50}`,
			`{"q":"after:"}`, `{"q":"after:t\"1"}`, "limit=50",
		},
		{
			"since is laid over",
			`"body":{"sort":["id"],"filter":null},"since":{"body":{"filter":{"updated":{"gte":"{time}"}}}},"page":{"by":"page","param":"page"}`,
			`{"filter":{"updated":{"gte":"2026-11-24T12:00:00Z"}},"page":1,"sort":["id"]}`, `{"filter":{"updated":{"gte":"2026-11-24T12:00:00Z"}},"page":2,"sort":["id"]}`, "",
		},
		{
			"since as text replaces text",
			`"body":"{\"all\":true,\"o\":{offset}}","since":{"body":"{\"since\":\"{time}\",\"o\":{offset}}"},"page":{"by":"offset"}`,
			`{"since":"2026-11-24T12:00:00Z","o":0}`, `{"since":"2026-11-24T12:00:00Z","o":1}`, "",
		},
	}
	for _, c := range tests {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			srv := tt.New(t, nil)
			srv.Handle("/x", tt.JSON(`{"items":[{"id":1}],"next":"t\"1"}`), tt.JSON(`{"items":[]}`))
			s := settingsFor(srv.URL, simple(`"path":"/x","method":"POST","records":"items",`+c.list))
			if ps := (rest.Type{}).Check(s); len(ps) > 0 {
				t.Fatalf("%+v", ps)
			}
			if _, err := readAll(t, open(t, s), channels.ReadRequest{Since: since}); err != nil {
				t.Fatal(err)
			}
			seen := srv.Seen()
			if seen[0].Method != http.MethodPost || seen[0].Body != c.first || seen[1].Body != c.second || seen[1].Query != c.query {
				t.Errorf("sent\n %s\n %s ?%s\nwant\n %s\n %s", seen[0].Body, seen[1].Body, seen[1].Query, c.first, c.second)
			}
			if !json.Valid([]byte(seen[1].Body)) {
				t.Error("the body is no JSON")
			}
		})
	}
}

func TestParams(t *testing.T) {
	t.Parallel()
	srv := tt.New(t, nil)
	srv.Handle("/lists/a/b", tt.JSON(`[]`))
	con := open(t, settingsFor(srv.URL, `{"list":{"path":"/lists/{param.list}","query":{"kind":"{param.kind}","page":["1","{size}"]}}}`))
	_, err := readAll(t, con, channels.ReadRequest{Params: map[string]string{"list": "a/b", "kind": "x&y"}})
	if err != nil {
		t.Fatal(err)
	}
	if s := srv.Seen()[0]; s.Query != "kind=x%26y&page=1&page=0" {
		t.Errorf("asked %q", s.Query)
	}
	_, err = readAll(t, con, channels.ReadRequest{Params: map[string]string{"list": "a"}})
	wantFault(t, err, fault.Permanent, fault.CodeUsage)
}

func TestNumbersOfThePage(t *testing.T) {
	t.Parallel()
	srv := tt.New(t, nil)
	srv.Handle("/x", tt.Answer(200, `{"items":[{"id":1}],"total":7}`, "Date", "Tue, 24 Nov 2026 12:00:00 GMT"), tt.JSON(`{"items":[]}`))
	before := time.Now()
	pages, err := readAll(t, open(t, settingsFor(srv.URL, simple(`"path":"/x","records":"items","page":{"by":"offset","param":"o","total_at":"total"}`))), channels.ReadRequest{})
	if err != nil || len(pages) != 2 {
		t.Fatal(pages, err)
	}
	p := pages[0]
	if p.Total != 7 || p.Bytes != len(`{"items":[{"id":1}],"total":7}`) || !p.RemoteNow.Equal(noon) || p.FetchStarted.Before(before) || p.Listed || !pages[1].Listed {
		t.Errorf("%+v", p)
	}
	if q := srv.Seen()[1].Query; q != "o=1" {
		t.Errorf("the second page was asked with %q", q)
	}
}

func TestPositionOfOtherSettings(t *testing.T) {
	t.Parallel()
	srv := tt.New(t, nil)
	srv.Handle("/x", tt.JSON(`{"items":[{"id":1}]}`))
	pages, err := readAll(t, open(t, settingsFor(srv.URL, simple(`"path":"/x","records":"items"`))), channels.ReadRequest{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = open(t, settingsFor(srv.URL, simple(pageList))).Reader(t.Context(), channels.ReadRequest{From: pages[0].Next})
	wantFault(t, err, fault.Permanent, fault.CodeConflict)
}

// timeoutFor is short only where a test waits for it.
func timeoutFor(name string) string {
	if name == "slow" {
		return "1s"
	}
	return "20s"
}
