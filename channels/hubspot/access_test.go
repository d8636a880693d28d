package hubspot_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tandem-sync/tandem/channels"
	"github.com/tandem-sync/tandem/channels/hubspot"
	emulator "github.com/tandem-sync/tandem/emulate/hubspot"
	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/transport"
)

// app is an installed app; its secrets may not be in any error.
var app = emulator.App{ClientID: "tandem-app", ClientSecret: "s3cret-of-the-app", RefreshToken: "r3fresh-of-the-app"}

// installed gives an account with the app, and a channel of it. secret and
// refresh are what the channel has; grown changes its settings.
func installed(tb testing.TB, refresh string, grow func(*channels.Settings), opts ...transport.Option) *account {
	tb.Helper()
	a := open(tb, emulator.Config{App: app}, "")
	s := settings(a.url, "", "")
	s.Transport = json.RawMessage(fmt.Sprintf(`{"base_url":%q,"rate_limit":"10000/s","auth":{"type":"oauth2","client_id":%q,"client_secret":%q,"token":%q}}`,
		a.url, app.ClientID, app.ClientSecret, refresh))
	if grow != nil {
		grow(&s)
	}
	typ := typeWith(a.clock)
	typ.Options = opts
	ch, err := typ.Open(tb.Context(), s)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = ch.Close() })
	a.ch = ch.(*hubspot.Channel)
	if a.c, err = ch.Connector("contacts"); err != nil {
		tb.Fatal(err)
	}
	return a
}

// secretless fails when an error tells one of the app's secrets.
func secretless(tb testing.TB, err error) {
	tb.Helper()
	text := fmt.Sprintf("%v %s %s", err, fault.HintOf(err), fault.AnswerOf(err))
	for _, s := range []string{app.ClientSecret, app.RefreshToken, "emulated-access"} {
		if strings.Contains(text, s) {
			tb.Errorf("%q is in the error: %s", s, text)
		}
	}
}

func TestOAuth2(t *testing.T) {
	t.Parallel()
	for name, refresh := range map[string]string{"refresh token": app.RefreshToken, "client credentials": ""} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := installed(t, refresh, nil)
			a.Seed(250)
			if got := a.all(t, channels.ReadRequest{}); len(byID(t, got)) != 250 {
				t.Fatalf("%d records", len(got))
			}
			if n := a.Calls(emulator.OpToken); n != 1 || a.Issued() != 1 {
				t.Fatalf("asked %d times for a token, got %d", n, a.Issued())
			}
			// A token that ends before its time is renewed once, and the call made again.
			a.ExpireTokens()
			if got := a.all(t, channels.ReadRequest{Since: morning}); len(byID(t, got)) != 250 {
				t.Fatalf("%d records", len(got))
			}
			if a.Issued() != 2 || a.Answered(401) != 1 {
				t.Errorf("%d tokens, %d times 401", a.Issued(), a.Answered(401))
			}
			// One that comes to its end is renewed ahead of it.
			_ = a.clock.Sleep(t.Context(), 30*time.Minute-5*time.Second)
			if err := a.ch.Ping(t.Context()); err != nil || a.Issued() != 3 || a.Answered(401) != 1 {
				t.Errorf("%v: %d tokens, %d times 401", err, a.Issued(), a.Answered(401))
			}
		})
	}
}

// An app that was taken out of the account is not asked for again and again.
func TestOAuth2AppIsTakenOut(t *testing.T) {
	t.Parallel()
	a := installed(t, app.RefreshToken, nil)
	if err := a.ch.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	a.Uninstall("")
	for range 3 {
		err := a.ch.Ping(t.Context())
		if fault.Of(err) != fault.Permanent || fault.CodeOf(err) != transport.CodeReauthorise || !strings.Contains(err.Error(), "missing or invalid refresh token") {
			t.Fatalf("%v", err)
		}
		secretless(t, err)
	}
	if n := a.Calls(emulator.OpToken); n != 2 {
		t.Errorf("asked %d times for a token, want the first and one refusal", n)
	}
}

// Older answers of the token endpoint lack the member that the standard asks for.
func TestOAuth2RefusalInHubSpotsOwnForm(t *testing.T) {
	t.Parallel()
	asked := make(chan string, 10)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked <- r.URL.Path
		w.WriteHeader(http.StatusBadRequest)
		_, _ = w.Write([]byte(`{"status":"BAD_REFRESH_TOKEN","message":"missing or invalid refresh token"}`))
	}))
	t.Cleanup(srv.Close)
	a := installed(t, app.RefreshToken, func(s *channels.Settings) {
		s.Transport = json.RawMessage(strings.Replace(string(s.Transport), `"type":"oauth2"`, fmt.Sprintf(`"type":"oauth2","token_url":%q`, srv.URL+"/oauth/v1/token"), 1))
	})
	for range 2 {
		err := a.ch.Ping(t.Context())
		if fault.CodeOf(err) != transport.CodeReauthorise {
			t.Errorf("%v", err)
		}
		secretless(t, err)
	}
	if n := len(asked); n != 1 || <-asked != "/oauth/v1/token" {
		t.Errorf("asked %d times", n)
	}
}

func TestOAuth2WrongClient(t *testing.T) {
	t.Parallel()
	a := installed(t, app.RefreshToken, func(s *channels.Settings) {
		s.Transport = json.RawMessage(strings.Replace(string(s.Transport), app.ClientSecret, "an0ther", 1))
	})
	err := a.ch.Ping(t.Context())
	if fault.Of(err) != fault.Permanent || fault.CodeOf(err) != fault.CodeAuth || !strings.Contains(fault.HintOf(err), "client_secret") {
		t.Errorf("%v (%s)", err, fault.HintOf(err))
	}
	secretless(t, err)
	// The access token that an error repeats is masked, too.
	b := installed(t, app.RefreshToken, nil)
	b.Inject(emulator.Status(400, "VALIDATION_ERROR", "Bearer emulated-access-1234567-1").On(emulator.OpList))
	if err = b.ch.Ping(t.Context()); fault.CodeOf(err) != "refused" {
		t.Error(err)
	}
	secretless(t, err)
}

// All processes of a channel share its token by the store they are given.
func TestOAuth2TokenIsShared(t *testing.T) {
	t.Parallel()
	store := transport.NewMemoryTokens()
	share := func(s *channels.Settings) { s.Tokens = store }
	a := installed(t, app.RefreshToken, share)
	if err := a.ch.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got, err := store.Load(t.Context()); err != nil || got.Access == "" || got.Version != 1 {
		t.Errorf("%+v %v", got, err)
	}
}

// told notes what a breaker reports.
type told struct {
	mu   sync.Mutex
	list []transport.BreakerChange
}

func (b *told) add(_ context.Context, c transport.BreakerChange) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.list = append(b.list, c)
}

func (b *told) all() []transport.BreakerChange {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.list
}

func TestBreakerOpensAndReports(t *testing.T) {
	t.Parallel()
	var reports told
	a := installed(t, "", func(s *channels.Settings) { s.Breaker = reports.add }, transport.WithBreaker(transport.BreakerConfig{Failures: 3, Open: time.Hour}))
	// Refusals and wishes to wait show a remote that is alive.
	for _, f := range []emulator.Fault{emulator.Status(400, "VALIDATION_ERROR", "no"), emulator.TooMany(emulator.PolicySecond, 0), emulator.Locked()} {
		a.Inject(f.On(emulator.OpList).For(4))
		if err := a.ch.Ping(t.Context()); err == nil {
			t.Error("no error")
		}
		a.Heal()
		_ = a.clock.Sleep(t.Context(), 2*time.Second)
	}
	if got := reports.all(); len(got) != 0 {
		t.Fatalf("reported %+v", got)
	}
	before := a.Calls(emulator.OpList)
	a.Inject(emulator.Status(503, "", "").On(emulator.OpList).For(100))
	err := a.ch.Ping(t.Context())
	if fault.Of(err) != fault.Retryable || fault.CodeOf(err) != fault.CodeUnreachable {
		t.Fatal(err)
	}
	if n := a.Calls(emulator.OpList) - before; n != 3 {
		t.Errorf("%d calls, want the breaker to stop the fourth", n)
	}
	got := reports.all()
	if len(got) != 1 || got[0].Open != time.Hour || !strings.Contains(got[0].Reason, "503") {
		t.Fatalf("reported %+v", got)
	}
	a.Heal()
	if err := a.ch.Ping(t.Context()); fault.Of(err) != fault.RateLimited || fault.CodeOf(err) != transport.CodeBreakerOpen || a.Calls(emulator.OpList)-before != 3 {
		t.Error(err)
	}
}

// What a refusal says holds for all calls of the account, those of other kinds
// and in other goroutines included.
func TestAccountWideRefusals(t *testing.T) {
	t.Parallel()
	for name, x := range map[string]struct {
		fault emulator.Fault
		code  string
		after time.Duration
	}{
		"ten seconds": {emulator.TooMany(emulator.PolicyBurst, 0), "rate_limit", 10 * time.Second},
		"day":         {emulator.TooMany(emulator.PolicyDaily, 3*time.Hour), "daily_limit", 3 * time.Hour},
		"migration":   {emulator.Migrating(20 * time.Hour), "migrating", 20 * time.Hour},
		"busy":        {emulator.Locked().For(9), "remote_locked", 2 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := open(t, emulator.Config{}, "")
			ids := a.Seed(3)
			a.Inject(x.fault.On(emulator.OpSearch))
			_, err := a.reader(t, channels.ReadRequest{Since: morning}).ReadPage(t.Context())
			if fault.Of(err) != fault.RateLimited || fault.CodeOf(err) != x.code || fault.RetryAfterOf(err) != x.after {
				t.Fatalf("%v: %q after %s", err, fault.CodeOf(err), fault.RetryAfterOf(err))
			}
			if x.after <= transport.Patience {
				return // a call would wait
			}
			before := a.Calls(emulator.OpAny)
			_, err = a.c.(channels.Getter).Get(t.Context(), fields, ids)
			if fault.CodeOf(err) != x.code || fault.RetryAfterOf(err) != x.after {
				t.Errorf("get: %v after %s", err, fault.RetryAfterOf(err))
			}
			if _, err = a.ch.Call(t.Context(), "account", nil); fault.CodeOf(err) != x.code {
				t.Errorf("call: %v", err)
			}
			if n := a.Calls(emulator.OpAny) - before; n != 0 {
				t.Errorf("%d calls went out", n)
			}
			_ = a.clock.Sleep(t.Context(), x.after)
			if got, err := a.c.(channels.Getter).Get(t.Context(), fields, ids); err != nil || len(got) != 3 {
				t.Errorf("afterwards: %v", err)
			}
		})
	}
}

func TestChannelWithoutConnectors(t *testing.T) {
	t.Parallel()
	p := emulator.New(emulator.Config{Token: token})
	srv := httptest.NewServer(p)
	t.Cleanup(srv.Close)
	s := settings(srv.URL, "", "")
	s.Connectors = nil
	if got := (hubspot.Type{}).Check(s); len(got) > 0 {
		t.Fatalf("%+v", got)
	}
	ch, err := (hubspot.Type{}).Open(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ch.Close() })
	if err := ch.Ping(t.Context()); err != nil {
		t.Error(err)
	}
	if got, err := ch.(channels.Operator).Call(t.Context(), "account", nil); err != nil || !strings.Contains(string(got), "portalId") {
		t.Errorf("%s %v", got, err)
	}
	if _, err := ch.Connector("contacts"); fault.CodeOf(err) != fault.CodeNotFound {
		t.Error(err)
	}
}

// Extra headers go with every call, their values are secrets, and the quota is
// known from refusals, too.
func TestHeadersAndQuotaOfRefusals(t *testing.T) {
	t.Parallel()
	a := open(t, emulator.Config{Limits: emulator.Limits{Burst: 190, Daily: 650_000, Search: -1}}, "")
	b := connect(t, a.Portal, a.url, `,"headers":{"X-Trace":"h3ader-secret"}`, "")
	a.Inject(emulator.Status(400, "VALIDATION_ERROR", "h3ader-secret"))
	err := b.ch.Ping(t.Context())
	if fault.CodeOf(err) != "refused" || strings.Contains(fmt.Sprint(err, fault.AnswerOf(err)), "h3ader") {
		t.Error(err)
	}
	if q, ok := b.ch.Limits(); !ok || q.Daily != 650_000 || q.Burst != 190 {
		t.Errorf("%+v", q)
	}
}
