package transport_test

import (
	"context"
	"errors"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/internal/clock"
	"github.com/tandem-sync/tandem/internal/redact"
	"github.com/tandem-sync/tandem/transport"
	tt "github.com/tandem-sync/tandem/transport/transporttest"
)

// oauthClient is a client of o: by refresh token, or as itself when refresh is "".
func oauthClient(tb testing.TB, o *tt.OAuth, refresh string, opts ...transport.Option) *transport.HTTP {
	tb.Helper()
	token, err := url.Parse(o.URL + "/token")
	if err != nil {
		tb.Fatal(err)
	}
	return client(tb, o.URL, func(cfg *transport.HTTPConfig) {
		cfg.Auth = transport.Auth{
			Kind: transport.AuthOAuth2, TokenURL: token, ClientID: o.ClientID, ClientSecret: redact.Secret(o.ClientSecret),
			Token: redact.Secret(refresh), Scopes: []string{"read", "write"},
		}
	}, opts...)
}

func call(tb testing.TB, h *transport.HTTP) error {
	tb.Helper()
	_, err := h.Do(tb.Context(), transport.Request{Op: "list contacts", Path: "/contacts"})
	if err != nil {
		for _, secret := range []string{"access-token", "refresh-token", "s3cret"} {
			if strings.Contains(err.Error()+fault.HintOf(err), secret) {
				tb.Errorf("the error holds a secret: %v", err)
			}
		}
	}
	return err
}

func wantCounts(t *testing.T, o *tt.OAuth, asked, issued, refused int) {
	t.Helper()
	if a, i, r := o.Counts(); a != asked || i != issued || r != refused {
		t.Errorf("asked %d, issued %d, refused %d; want %d, %d, %d", a, i, r, asked, issued, refused)
	}
}

func TestOAuthClientCredentials(t *testing.T) {
	t.Parallel()
	for _, inBody := range []bool{false, true} {
		o := tt.NewOAuth(t)
		o.InBody = inBody
		h := oauthClient(t, o, "")
		for range 3 {
			if err := call(t, h); err != nil {
				t.Fatal(err)
			}
		}
		asked := 1
		if inBody {
			asked = 2 // once by each way
		}
		wantCounts(t, o, asked, 1, 0)
		form := o.Forms()[asked-1]
		if form["grant_type"] != "client_credentials" || form["scope"] != "read write" || (form["client_secret"] != "") != inBody {
			t.Errorf("in body %v: the form was %v", inBody, form)
		}
		// A token that is revoked is renewed once and the call repeated.
		o.Revoke()
		if err := call(t, h); err != nil {
			t.Fatal(err)
		}
		wantCounts(t, o, asked+1, 2, 1)
	}
}

func TestOAuthRefreshRotates(t *testing.T) {
	t.Parallel()
	o := tt.NewOAuth(t)
	store := transport.NewMemoryTokens()
	h := oauthClient(t, o, "refresh-token-0", transport.WithTokens(store))
	for range 3 {
		if err := call(t, h); err != nil {
			t.Fatal(err)
		}
		o.Revoke()
	}
	wantCounts(t, o, 3, 3, 2)
	if got, err := store.Load(t.Context()); err != nil || got.Version != 3 || got.Refresh != "refresh-token-3" || got.Problem != "" || !got.Pending.IsZero() {
		t.Errorf("%+v %v", got, err)
	}
	// Another client of the same store goes on from there: nothing is asked for.
	o.Keep = true
	other := oauthClient(t, o, "refresh-token-0", transport.WithTokens(store))
	if err := call(t, other); err != nil {
		t.Fatal(err)
	}
	wantCounts(t, o, 4, 4, 3)
}

func TestOAuthRenewsAheadOfTime(t *testing.T) {
	t.Parallel()
	o := tt.NewOAuth(t)
	late := &movable{}
	h := oauthClient(t, o, "refresh-token-0", transport.WithClock(late))
	if err := call(t, h); err != nil {
		t.Fatal(err)
	}
	late.move(time.Hour - time.Minute)
	if err := call(t, h); err != nil {
		t.Fatal(err)
	}
	wantCounts(t, o, 1, 1, 0)
	late.move(40 * time.Second)
	o.Fail(503)
	if err := call(t, h); err != nil { // the old one is good for 20 s more
		t.Fatal(err)
	}
	if err := call(t, h); err != nil {
		t.Fatal(err)
	}
	wantCounts(t, o, 3, 2, 0)
	late.move(2 * time.Hour)
	o.Fail(503, 503, 503, 503)
	wantFault(t, call(t, h), fault.Retryable, fault.CodeUnreachable)
}

// movable is the machine's clock, moved ahead by hand.
type movable struct {
	mu sync.Mutex
	by time.Duration
}

func (m *movable) move(d time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.by += d
}

func (m *movable) Now() time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	return time.Now().Add(m.by)
}

func (m *movable) Sleep(ctx context.Context, _ time.Duration) error { return ctx.Err() }

var _ clock.Clock = (*movable)(nil)

func TestOAuthOneRenewalAtATime(t *testing.T) {
	t.Parallel()
	o := tt.NewOAuth(t)
	o.Delay = 50 * time.Millisecond
	store := transport.NewMemoryTokens()
	var wg sync.WaitGroup
	clients := make([]*transport.HTTP, 5)
	for i := range clients {
		clients[i] = oauthClient(t, o, "refresh-token-0", transport.WithTokens(store))
	}
	all := func() {
		for _, h := range clients {
			for range 2 {
				wg.Go(func() {
					if err := call(t, h); err != nil {
						t.Error(err)
					}
				})
			}
		}
		wg.Wait()
	}
	all()
	wantCounts(t, o, 1, 1, 0)
	o.Revoke()
	all()
	if asked, issued, _ := o.Counts(); asked != 2 || issued != 2 {
		t.Errorf("asked %d, issued %d after a revocation that all of them met", asked, issued)
	}
}

func TestOAuthLostAnswer(t *testing.T) {
	t.Parallel()
	o := tt.NewOAuth(t)
	store := transport.NewMemoryTokens()
	h := oauthClient(t, o, "refresh-token-0", transport.WithTokens(store))
	o.Lose(1)
	// Not repeated within the call, to see what is stored between.
	_, err := h.Do(t.Context(), transport.Request{Op: "create", Method: "POST", Path: "/contacts", Body: []byte("{}")})
	wantFault(t, err, fault.Retryable, fault.CodeUnreachable)
	if got, err := store.Load(t.Context()); err != nil || got.Pending.IsZero() || got.Version != 0 {
		t.Fatalf("the lost answer is not noted: %+v %v", got, err)
	}
	err = call(t, h)
	if fault.CodeOf(err) != transport.CodeReauthorise || fault.Of(err) != fault.Permanent || !strings.Contains(err.Error(), "was lost") {
		t.Fatal(err)
	}
	asked, _, _ := o.Counts()
	for range 3 { // parked: the remote is left alone
		if again := call(t, h); fault.CodeOf(again) != transport.CodeReauthorise || !strings.Contains(fault.HintOf(again), "auth.token") {
			t.Fatal(again)
		}
	}
	if now, _, refused := o.Counts(); now != asked || refused != 0 {
		t.Errorf("%d requests for a token and %d calls after it was parked", now-asked, refused)
	}
	// A person authorises anew: another refresh token in the configuration.
	if err := call(t, oauthClient(t, o, o.Refresh, transport.WithTokens(store))); err != nil {
		t.Fatal(err)
	}
}

func TestOAuthLostAnswerOfALenientServer(t *testing.T) {
	t.Parallel()
	o := tt.NewOAuth(t)
	o.Keep = true
	store := transport.NewMemoryTokens()
	h := oauthClient(t, o, "refresh-token-0", transport.WithTokens(store))
	o.Lose(1)
	if err := call(t, h); err != nil { // asked again with the same refresh token
		t.Fatal(err)
	}
	wantCounts(t, o, 2, 2, 0)
	if got, err := store.Load(t.Context()); err != nil || !got.Pending.IsZero() || got.Refresh != "refresh-token-0" {
		t.Fatalf("%+v %v", got, err)
	}
}

// rotated is a store in which somebody else renews the token while we ask.
type rotated struct {
	transport.TokenStore
	once   sync.Once
	theirs transport.Token
}

func (r *rotated) End(ctx context.Context, version int64, end transport.TokenEnd) (bool, error) {
	var err error
	r.once.Do(func() { _, err = r.TokenStore.End(ctx, version, transport.TokenEnd{Token: &r.theirs}) })
	if err != nil {
		return false, err
	}
	return r.TokenStore.End(ctx, version, end)
}

func TestOAuthInvalidGrantAfterAnotherWorkerRotated(t *testing.T) {
	t.Parallel()
	o := tt.NewOAuth(t)
	probe := transport.NewMemoryTokens()
	if err := call(t, oauthClient(t, o, "refresh-token-0", transport.WithTokens(probe))); err != nil {
		t.Fatal(err)
	}
	theirs, err := probe.Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	// Our refresh token is used up, so the server says invalid_grant; the stored
	// one is another by then: theirs is used and nothing is parked.
	h := oauthClient(t, o, "refresh-token-0", transport.WithTokens(&rotated{TokenStore: transport.NewMemoryTokens(), theirs: theirs.Token}))
	if err := call(t, h); err != nil {
		t.Fatal(err)
	}
	wantCounts(t, o, 2, 1, 0)
}

// broken is a store that cannot store tokens for a while.
type broken struct {
	transport.TokenStore
	mu    sync.Mutex
	fails int
}

func (b *broken) End(ctx context.Context, version int64, end transport.TokenEnd) (bool, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.fails > 0 {
		b.fails--
		return false, errors.New("the database is away")
	}
	return b.TokenStore.End(ctx, version, end)
}

func TestOAuthTokenThatCannotBeStored(t *testing.T) {
	t.Parallel()
	o := tt.NewOAuth(t)
	mem := transport.NewMemoryTokens()
	h := oauthClient(t, o, "refresh-token-0", transport.WithTokens(&broken{TokenStore: mem, fails: 5}), transport.WithClock(&movable{}))
	if err := call(t, h); err != nil {
		t.Fatal(err)
	}
	if got, err := mem.Load(t.Context()); err != nil || got.Version != 0 {
		t.Fatalf("%+v %v", got, err)
	}
	o.Revoke()
	// Stored first, then found wanting, then renewed with the newest refresh token.
	_ = call(t, h) //nolint:errcheck // this call may still fail with the token that was just stored
	if err := call(t, h); err != nil {
		t.Fatal(err)
	}
	if got, err := mem.Load(t.Context()); err != nil || got.Refresh != "refresh-token-2" {
		t.Fatalf("%+v %v", got, err)
	}
}
