package hubspot_test

import (
	"errors"
	"fmt"
	"io"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/tandem-sync/tandem/channels"
	emulator "github.com/tandem-sync/tandem/emulate/hubspot"
	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/sync/record"
)

// noSecret fails when an error tells the token.
func noSecret(tb testing.TB, err error) {
	tb.Helper()
	text := fmt.Sprintf("%v %+v %s %s", err, err, fault.HintOf(err), fault.WhereOf(err))
	if strings.Contains(text, token) || strings.Contains(text, token[4:14]) {
		tb.Errorf("the error holds the token: %s", text)
	}
}

// Every way in which a call can fail: its class, and that the listing is whole
// once the cause is gone.
func TestFaults(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		fault emulator.Fault
		class fault.Class
		code  string
		after time.Duration
		calls int    // that reach HubSpot before it is given up
		hint  string // part of it
	}{
		"ten seconds":               {fault: emulator.TooMany(emulator.PolicyBurst, 0), class: fault.RateLimited, code: "rate_limit", after: 10 * time.Second, calls: 1},
		"ten seconds, told 30":      {fault: emulator.TooMany(emulator.PolicyBurst, 30*time.Second), class: fault.RateLimited, code: "rate_limit", after: 30 * time.Second, calls: 1},
		"ten seconds, told 1":       {fault: emulator.TooMany(emulator.PolicyBurst, time.Second), class: fault.RateLimited, code: "rate_limit", after: time.Second, calls: 4},
		"secondly":                  {fault: emulator.TooMany(emulator.PolicySecond, 0), class: fault.RateLimited, code: "rate_limit", after: time.Second, calls: 4},
		"policy of another name":    {fault: emulator.TooMany("HOURLY", 0), class: fault.RateLimited, code: "rate_limit", after: 10 * time.Second, calls: 1},
		"daily, zone not known":     {fault: emulator.TooMany(emulator.PolicyDaily, 0), class: fault.RateLimited, code: "daily_limit", after: time.Hour, calls: 1, hint: "midnight"},
		"daily, told two hours":     {fault: emulator.TooMany(emulator.PolicyDaily, 2*time.Hour), class: fault.RateLimited, code: "daily_limit", after: 2 * time.Hour, calls: 1},
		"locked":                    {fault: emulator.Locked(), class: fault.RateLimited, code: "remote_locked", after: 2 * time.Second, calls: 4},
		"migrating, told six hours": {fault: emulator.Migrating(6 * time.Hour), class: fault.RateLimited, code: "migrating", after: 6 * time.Hour, calls: 1},
		"migrating, told a week":    {fault: emulator.Migrating(168 * time.Hour), class: fault.RateLimited, code: "migrating", after: 24 * time.Hour, calls: 1},
		"migrating":                 {fault: emulator.Migrating(0), class: fault.RateLimited, code: "migrating", after: 5 * time.Minute, calls: 1},
		"401":                       {fault: emulator.Status(401, "EXPIRED_AUTHENTICATION", "token "+token), class: fault.Permanent, code: fault.CodeAuth, calls: 1, hint: "token"},
		"403":                       {fault: emulator.Status(403, "FORBIDDEN", "not for "+token), class: fault.Permanent, code: fault.CodeAuth, calls: 1, hint: "crm.objects.contacts.read"},
		"400":                       {fault: emulator.Status(400, "VALIDATION_ERROR", "Authorization: Bearer "+token), class: fault.Permanent, code: "refused", calls: 1},
		"414":                       {fault: emulator.Status(414, "", ""), class: fault.Permanent, code: "refused", calls: 1},
		"400, token at the cut":     {fault: emulator.Status(400, "VALIDATION_ERROR", strings.Repeat("x", 180)+token), class: fault.Permanent, code: "refused", calls: 1},
		"302":                       {fault: emulator.Status(302, "", ""), class: fault.Permanent, code: "redirect", calls: 1},
		"408":                       {fault: emulator.Status(408, "", ""), class: fault.Retryable, code: fault.CodeUnreachable, calls: 4},
		"500":                       {fault: emulator.Status(500, "INTERNAL_ERROR", token), class: fault.Retryable, code: fault.CodeUnreachable, calls: 4},
		"502":                       {fault: emulator.Status(502, "", ""), class: fault.Retryable, code: fault.CodeUnreachable, calls: 4},
		"503":                       {fault: emulator.Status(503, "", ""), class: fault.Retryable, code: fault.CodeUnreachable, calls: 4},
		"504":                       {fault: emulator.Status(504, "", ""), class: fault.Retryable, code: fault.CodeUnreachable, calls: 4},
		"521":                       {fault: emulator.Status(521, "", ""), class: fault.Retryable, code: fault.CodeUnreachable, calls: 4},
		"522":                       {fault: emulator.Status(522, "", ""), class: fault.Retryable, code: fault.CodeUnreachable, calls: 4, hint: "support"},
		"524":                       {fault: emulator.Status(524, "", ""), class: fault.Retryable, code: fault.CodeUnreachable, calls: 4},
		"HTML":                      {fault: emulator.HTML(), class: fault.Retryable, code: fault.CodeBadAnswer, calls: 1, hint: "base_url"},
		"truncated":                 {fault: emulator.Truncated(), class: fault.Retryable, code: fault.CodeBadAnswer, calls: 4},
		"half an answer":            {fault: emulator.Half(), class: fault.Retryable, code: fault.CodeBadAnswer, calls: 1},
		"reset":                     {fault: emulator.Reset(), class: fault.Retryable, code: fault.CodeUnreachable, calls: 4},
		"empty":                     {fault: emulator.Body(""), class: fault.Retryable, code: fault.CodeBadAnswer, calls: 1},
		"null":                      {fault: emulator.Body("null"), class: fault.Retryable, code: fault.CodeBadAnswer, calls: 1},
		"an error with 200":         {fault: emulator.Body(`{"status":"error","message":"` + token + `"}`), class: fault.Retryable, code: fault.CodeBadAnswer, calls: 1},
		"results is no list":        {fault: emulator.Body(`{"results":{"id":"1"}}`), class: fault.Retryable, code: fault.CodeBadAnswer, calls: 1},
	}
	for _, on := range []struct {
		op  emulator.Op
		req channels.ReadRequest
	}{{emulator.OpList, channels.ReadRequest{}}, {emulator.OpSearch, channels.ReadRequest{Since: morning}}, {emulator.OpBatchRead, channels.ReadRequest{Since: morning}}, {emulator.OpArchived, channels.ReadRequest{}}} {
		for name, x := range cases {
			t.Run(string(on.op)+" "+name, func(t *testing.T) {
				t.Parallel()
				a := open(t, emulator.Config{}, "")
				a.Archive(a.Seed(40)[5])
				a.Inject(x.fault.On(on.op).For(10))
				r := a.reader(t, on.req)
				var got []record.Record
				err := drain(t, r, &got)
				if err == nil {
					t.Fatal("no error")
				}
				noSecret(t, err)
				if fault.Of(err) != x.class || fault.CodeOf(err) != x.code || x.after > 0 && fault.RetryAfterOf(err) != x.after {
					t.Errorf("%v: %s %q after %s", err, fault.Of(err), fault.CodeOf(err), fault.RetryAfterOf(err))
				}
				if !strings.Contains(fault.HintOf(err), x.hint) {
					t.Errorf("hint %q", fault.HintOf(err))
				}
				n := a.Calls(on.op)
				if name == "reset" && n == x.calls+1 {
					n-- // net/http itself repeats a GET whose kept connection was cut
				}
				if n != x.calls {
					t.Errorf("%d calls, want %d", n, x.calls)
				}
				a.Heal()
				_ = a.clock.Sleep(t.Context(), fault.RetryAfterOf(err))
				if err := drain(t, r, &got); err != nil {
					t.Fatalf("afterwards: %v", err)
				}
				if len(byID(t, got)) != 40 {
					t.Errorf("%d records afterwards", len(got))
				}
			})
		}
	}
}

// drain reads on until an error or the end.
func drain(tb testing.TB, r channels.Reader, into *[]record.Record) error {
	tb.Helper()
	for {
		page, err := r.ReadPage(tb.Context())
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		*into = append(*into, page.Records...)
	}
}

// What passes within two seconds costs no more than the wait.
func TestShortTroubleIsWaitedFor(t *testing.T) {
	t.Parallel()
	for name, x := range map[string]struct {
		fault emulator.Fault
		least time.Duration
	}{
		"locked":    {emulator.Locked(), 2 * time.Second},
		"secondly":  {emulator.TooMany(emulator.PolicySecond, 0), time.Second},
		"503":       {emulator.Status(503, "", ""), 0},
		"truncated": {emulator.Truncated(), 0},
	} {
		a := open(t, emulator.Config{}, "")
		a.Seed(3)
		a.Inject(x.fault.On(emulator.OpList))
		if got := a.all(t, channels.ReadRequest{}); len(got) != 3 {
			t.Errorf("%s: %d records", name, len(got))
		}
		if a.clock.slept < x.least || a.clock.slept > 3*time.Second {
			t.Errorf("%s: waited %s", name, a.clock.slept)
		}
	}
}

// A call that would only be refused is not made: it would count as well.
func TestNoCallsWhileALimitLasts(t *testing.T) {
	t.Parallel()
	a := open(t, emulator.Config{}, "")
	a.Seed(3)
	a.Inject(emulator.TooMany(emulator.PolicyBurst, 0))
	r := a.reader(t, channels.ReadRequest{})
	for range 5 {
		_, err := r.ReadPage(t.Context())
		if fault.Of(err) != fault.RateLimited || fault.RetryAfterOf(err) != 10*time.Second {
			t.Fatal(err)
		}
	}
	if err := a.ch.Ping(t.Context()); fault.Of(err) != fault.RateLimited {
		t.Fatal(err)
	}
	if n := a.Calls(emulator.OpAny); n != 1 {
		t.Errorf("%d calls", n)
	}
	_ = a.clock.Sleep(t.Context(), 9*time.Second) // one second is left: it is waited for
	if _, err := r.ReadPage(t.Context()); err != nil {
		t.Error(err)
	}
}

// The daily limit pauses the listing with its position until the account's
// midnight, which is asked of HubSpot while it still answers.
func TestDailyLimitLastsToTheAccountsMidnight(t *testing.T) {
	t.Parallel()
	clock := &waiting{}
	p := emulator.New(emulator.Config{
		Token: token, Now: clock.Now, TimeZone: "America/New_York", Limits: emulator.Limits{Burst: -1, Search: -1, Daily: 25},
	})
	srv := httptest.NewServer(p)
	t.Cleanup(srv.Close)
	a := connect(t, p, srv.URL, "", "")
	p.Seed(3000)
	r := a.reader(t, channels.ReadRequest{})
	var got []record.Record
	err := drain(t, r, &got)
	// 9:00 UTC is 4:00 in New York: 20 hours to midnight, and a minute for clocks that differ.
	if fault.Of(err) != fault.RateLimited || fault.CodeOf(err) != "daily_limit" || fault.RetryAfterOf(err) != 20*time.Hour+time.Minute {
		t.Fatalf("%v: %s after %s", err, fault.CodeOf(err), fault.RetryAfterOf(err))
	}
	if n := a.Calls(emulator.OpAccount); n != 1 || len(got) != 2400 {
		t.Fatalf("asked %d times for the zone, read %d", n, len(got))
	}
	if q, ok := a.ch.Limits(); !ok || q.Daily != 25 || q.DailyLeft != 0 {
		t.Errorf("quota %+v", q)
	}
	_ = clock.Sleep(t.Context(), 20*time.Hour+time.Minute)
	_ = a.clock.Sleep(t.Context(), 20*time.Hour+time.Minute)
	if err := drain(t, r, &got); err != nil {
		t.Fatal(err)
	}
	if len(byID(t, got)) != 3000 {
		t.Errorf("read %d in all", len(got))
	}
}

func TestTimeZoneOfTheSettings(t *testing.T) {
	t.Parallel()
	a := open(t, emulator.Config{}, "")
	b := connect(t, a.Portal, a.url, `,"time_zone":"Europe/Berlin"`, "")
	a.Inject(emulator.TooMany(emulator.PolicyDaily, 0))
	err := b.ch.Ping(t.Context())
	if got := fault.RetryAfterOf(err); got != 14*time.Hour+time.Minute { // 10:00 in Berlin
		t.Errorf("%v after %s", err, got)
	}
}

func TestKeepsTheRateOfTheSettings(t *testing.T) {
	t.Parallel()
	a := open(t, emulator.Config{}, "")
	a.Seed(1000)
	b := connect(t, a.Portal, a.url, "", "")
	s := settings(a.url, "", "")
	s.Transport = []byte(strings.Replace(string(s.Transport), "10000/s", "5/10s", 1))
	typ := typeWith(b.clock)
	ch, err := typ.Open(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ch.Close() })
	for i := range 6 {
		err := ch.Ping(t.Context())
		if want := i == 5; (err != nil) != want {
			t.Fatalf("call %d: %v", i+1, err)
		}
		if err != nil && (fault.CodeOf(err) != "rate_limit" || fault.RetryAfterOf(err) < 10*time.Second) {
			t.Error(err)
		}
	}
	if n := a.Calls(emulator.OpAny); n != 5 {
		t.Errorf("%d calls reached HubSpot", n)
	}
}

// The real limits, by the portal's own count: nothing is refused.
func TestStaysBelowHubSpotsLimits(t *testing.T) {
	t.Parallel()
	clock := &waiting{}
	p := emulator.New(emulator.Config{Token: token, Now: clock.Now})
	srv := httptest.NewServer(p)
	t.Cleanup(srv.Close)
	p.Seed(2000)
	typ := typeWith(clock)
	typ.SearchRate.N = 0
	s := settings(srv.URL, "", `{"history":"never"}`)
	s.Transport = []byte(strings.Replace(string(s.Transport), `"rate_limit":"10000/s"`, `"concurrency":2`, 1))
	ch, err := typ.Open(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ch.Close() })
	c, err := ch.Connector("contacts")
	if err != nil {
		t.Fatal(err)
	}
	for _, since := range []time.Time{{}, morning} {
		for range 6 {
			r, err := c.Reader(t.Context(), channels.ReadRequest{Fields: fields, Since: since})
			if err != nil {
				t.Fatal(err)
			}
			var got []record.Record
			for {
				err := drain(t, r, &got)
				if err == nil {
					break
				}
				if fault.Of(err) != fault.RateLimited {
					t.Fatal(err)
				}
				_ = clock.Sleep(t.Context(), fault.RetryAfterOf(err))
			}
			if len(got) != 2000 {
				t.Errorf("%d records", len(got))
			}
		}
	}
	if n := p.Answered(429); n != 0 {
		t.Errorf("HubSpot refused %d of %d calls", n, p.Calls(emulator.OpAny))
	}
}
