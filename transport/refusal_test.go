package transport_test

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/transport"
	tt "github.com/tandem-sync/tandem/transport/transporttest"
)

// says gives a Classify that always answers e.
func says(e *fault.Error) transport.Classify {
	return func(int, http.Header, []byte) *fault.Error { return e }
}

func TestClassifyDecides(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		answer tt.Step
		by     *fault.Error
		class  fault.Class
		code   string
		hint   string // part of it
		text   string // part of the error
		after  time.Duration
		calls  int
	}{
		"nothing to say": {tt.Answer(409, "taken"), nil, fault.Permanent, "refused", "does not accept", "409 Conflict: taken", 0, 1},
		"empty":          {tt.Answer(404, "gone"), &fault.Error{}, fault.Permanent, fault.CodeNotFound, "base_url", "404 Not Found: gone", 0, 1},
		"class alone":    {tt.Status(409), &fault.Error{Class: fault.Skip}, fault.Skip, "refused", "does not accept", "409", 0, 1},
		"everything": {
			tt.Answer(400, `{"why":"x"}`), &fault.Error{Class: fault.Stop, Code: "own", Hint: "do this", Err: errors.New("because")},
			fault.Stop, "own", "do this", "400 Bad Request: because", 0, 1,
		},
		"a refusal that passes":  {tt.Status(423), (&fault.Error{Class: fault.RateLimited, Code: "locked"}).After(2 * time.Second), fault.RateLimited, "locked", "", "423 Locked", 2 * time.Second, 4},
		"a status of its own":    {tt.Status(477), (&fault.Error{Class: fault.RateLimited}).After(20 * time.Hour), fault.RateLimited, "refused", "", "477", 20 * time.Hour, 1},
		"no header, a long wait": {tt.Status(429), (&fault.Error{}).After(10 * time.Second), fault.RateLimited, "rate_limit", "", "429", 10 * time.Second, 1},
		"no header, no wait":     {tt.Status(429), &fault.Error{}, fault.RateLimited, "rate_limit", "", "429", 0, 4},
		"the header's wait":      {tt.Status(429, "Retry-After", "90"), &fault.Error{Code: "x"}, fault.RateLimited, "x", "", "429", 90 * time.Second, 1},
		"wait over the header's": {tt.Status(503, "Retry-After", "90"), (&fault.Error{}).After(3 * time.Hour), fault.Retryable, fault.CodeUnreachable, "", "503", 3 * time.Hour, 1},
		"quotes the credential": {
			tt.Answer(400, canary), &fault.Error{Hint: "not " + canary, Err: errors.New(strings.Repeat("x", 195) + canary)},
			fault.Permanent, "refused", "not ", "xxx", 0, 1,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := tt.New(t, nil)
			srv.Handle("/x", c.answer)
			h := client(t, srv.URL, nil, transport.WithClock(&stepClock{}))
			_, err := h.Do(t.Context(), transport.Request{Op: "op", Path: "/x", Classify: says(c.by)})
			wantFault(t, err, c.class, c.code)
			if got := fault.RetryAfterOf(err); got != c.after {
				t.Errorf("wait %s", got)
			}
			if !strings.Contains(fault.HintOf(err), c.hint) || !strings.Contains(err.Error(), c.text) || len(err.Error()) > 400 {
				t.Errorf("%v (%s)", err, fault.HintOf(err))
			}
			if text := fmt.Sprintf("%v %s %s", err, fault.HintOf(err), fault.AnswerOf(err)); strings.Contains(text, canary[:6]) {
				t.Errorf("a credential is in %s", text)
			}
			if n := len(srv.Seen()); n != c.calls {
				t.Errorf("%d calls", n)
			}
		})
	}
}

func TestClassifySeesTheRefusal(t *testing.T) {
	t.Parallel()
	srv := tt.New(t, nil)
	body := `{"errors":["` + strings.Repeat("x", 100<<10) + `"]}`
	srv.Handle("/x", tt.Answer(409, body, "X-Left", "7"))
	h := client(t, srv.URL, nil)
	_, err := h.Do(t.Context(), transport.Request{Path: "/x", Classify: func(status int, header http.Header, got []byte) *fault.Error {
		if status != 409 || header.Get("X-Left") != "7" || string(got) != body {
			t.Errorf("%d %v %d bytes", status, header, len(got))
		}
		return &fault.Error{Code: "seen"}
	}})
	wantFault(t, err, fault.Permanent, "seen")
}

// A 401 is cured by a new token whatever the channel type calls it.
func TestClassifyLeavesRenewalAlone(t *testing.T) {
	t.Parallel()
	o := tt.NewOAuth(t)
	h := oauthClient(t, o, "")
	request := transport.Request{Path: "/contacts", Classify: says(&fault.Error{Class: fault.Stop, Code: "own"})}
	if _, err := h.Do(t.Context(), request); err != nil {
		t.Fatal(err)
	}
	o.Revoke()
	if _, err := h.Do(t.Context(), request); err != nil {
		t.Fatal(err)
	}
	wantCounts(t, o, 2, 2, 1)
}

func TestAnswerHeadersOfEveryAttempt(t *testing.T) {
	t.Parallel()
	srv := tt.New(t, nil)
	srv.Handle("/x", tt.Status(503, "X-Left", "3"), tt.Redirect(302, "/y"))
	srv.Handle("/y", tt.Status(429, "X-Left", "2", "Retry-After", "60"), tt.Answer(200, "{}", "X-Left", "1"))
	var mu sync.Mutex
	var heard []string
	h := client(t, srv.URL, nil, transport.WithClock(&stepClock{}), transport.WithAnswerHeaders(func(status int, header http.Header) {
		mu.Lock()
		defer mu.Unlock()
		heard = append(heard, fmt.Sprint(status, " ", header.Get("X-Left")))
	}))
	_, err := get(t, h, "/x")
	wantFault(t, err, fault.RateLimited, "rate_limit")
	if _, err := get(t, h, "/y"); err != nil {
		t.Fatal(err)
	}
	if want := []string{"503 3", "302 ", "429 2", "200 1"}; !slices.Equal(heard, want) {
		t.Errorf("heard %q, want %q", heard, want)
	}
}

func TestHoldKeepsAllCallsBack(t *testing.T) {
	t.Parallel()
	srv, clock := tt.New(t, nil), &stepClock{}
	srv.Handle("/x", tt.Status(429, "Retry-After", "60"), tt.JSON("{}"))
	srv.Handle("/y", tt.JSON("{}"))
	srv.Handle("/z", tt.Status(503, "Retry-After", "60"))
	h := client(t, srv.URL, nil, transport.WithClock(clock), transport.WithHold())
	plain := client(t, srv.URL, nil, transport.WithClock(clock))
	_, err := get(t, h, "/x")
	wantFault(t, err, fault.RateLimited, "rate_limit")
	_, err = get(t, h, "/y")
	wantFault(t, err, fault.RateLimited, "rate_limit")
	if d := fault.RetryAfterOf(err); d < 50*time.Second || d > time.Minute || !strings.Contains(err.Error(), "not sent") {
		t.Errorf("%v after %s", err, d)
	}
	if n := len(srv.Seen()); n != 1 {
		t.Fatalf("%d calls while the wait lasted", n)
	}
	if _, err := get(t, plain, "/y"); err != nil {
		t.Errorf("another client was held: %v", err)
	}
	// What is left is short: it is waited for.
	_ = clock.Sleep(t.Context(), 59*time.Second)
	if _, err := get(t, h, "/y"); err != nil {
		t.Error(err)
	}
	if d := clock.slept(); len(d) > 1 && d[1] > time.Second {
		t.Errorf("slept %v", d)
	}
	// Trouble of the remote's own is no limit: it holds nobody.
	_, err = get(t, h, "/z")
	wantFault(t, err, fault.Retryable, fault.CodeUnreachable)
	if _, err := get(t, h, "/y"); err != nil {
		t.Error(err)
	}
}

func TestLimitOfSomeCalls(t *testing.T) {
	t.Parallel()
	srv := tt.New(t, nil)
	srv.Handle("/x", tt.JSON("{}"))
	h := client(t, srv.URL, nil, transport.WithClock(&stepClock{}))
	limit := transport.NewLimiter(transport.Rate{N: 2, Per: time.Minute}, "the limit on searches")
	search := transport.Request{Op: "search", Path: "/x", Method: http.MethodPost, Body: []byte("{}"), Safe: true, Limit: limit}
	for i := range 3 {
		_, err := h.Do(t.Context(), search)
		if i < 2 && err != nil {
			t.Fatal(err)
		}
		if i == 2 {
			wantFault(t, err, fault.RateLimited, "rate_limit")
			if !strings.Contains(err.Error(), "the limit on searches") || fault.RetryAfterOf(err) < 30*time.Second {
				t.Errorf("%v after %s", err, fault.RetryAfterOf(err))
			}
		}
	}
	if _, err := get(t, h, "/x"); err != nil {
		t.Errorf("another call was limited, too: %v", err)
	}
	if none := transport.NewLimiter(transport.Rate{}, ""); none != nil {
		t.Error("the zero rate limits")
	}
}

func TestTokenDialect(t *testing.T) {
	t.Parallel()
	o := tt.NewOAuth(t)
	o.InBody = true
	h := oauthClient(t, o, "", transport.WithTokenDialect(transport.TokenDialect{InBody: true}))
	if err := call(t, h); err != nil {
		t.Fatal(err)
	}
	wantCounts(t, o, 1, 1, 0)

	for name, revoked := range map[string][]string{transport.CodeReauthorise: {"BAD_REFRESH_TOKEN"}, fault.CodeAuth: nil} {
		srv := tt.New(t, nil)
		srv.Handle("/token", tt.Answer(400, `{"status":"BAD_REFRESH_TOKEN","message":"missing or invalid refresh token"}`))
		o := tt.NewOAuth(t)
		o.URL = srv.URL // the token endpoint of another server
		h := oauthClient(t, o, "refresh-token-0", transport.WithTokenDialect(transport.TokenDialect{InBody: true, Revoked: revoked}))
		for range 2 {
			wantFault(t, call(t, h), fault.Permanent, name)
		}
		if n := len(srv.Seen()); revoked != nil && n != 1 || revoked == nil && n != 2 {
			t.Errorf("%s: %d requests", name, n)
		}
	}
}

// TestSilentRefusals: a remote that says 429 and not for how long is asked less
// and less often, and at once again when it has answered.
func TestSilentRefusals(t *testing.T) {
	t.Parallel()
	srv := tt.New(t, nil)
	srv.Handle("/no", tt.Status(429))
	srv.Handle("/yes", tt.JSON("{}"))
	clk := &stepClock{}
	h := client(t, srv.URL, nil, transport.WithClock(clk))
	refused := func() time.Duration {
		t.Helper()
		_, err := get(t, h, "/no")
		wantFault(t, err, fault.RateLimited, "rate_limit")
		wait := fault.RetryAfterOf(err)
		if e := clk.Sleep(t.Context(), wait); e != nil {
			t.Fatal(e)
		}
		return wait
	}
	if first := refused(); first != 0 {
		t.Errorf("the first refusal names a wait of %s", first)
	}
	for i, secs := range []float64{1, 2, 4, 8, 16, 30, 30} {
		if got := refused(); got.Seconds() < secs || got > time.Minute {
			t.Errorf("refusal %d in a row waits %s, want %.0fs or more, up to a minute", i+2, got, secs)
		}
	}
	if _, err := get(t, h, "/yes"); err != nil {
		t.Fatal(err)
	}
	if again := refused(); again != 0 {
		t.Errorf("after an answer the first refusal names a wait of %s", again)
	}
}
