package transport

import (
	"context"
	"crypto/tls"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/internal/clock"
	"github.com/tandem-sync/tandem/internal/jitter"
	"github.com/tandem-sync/tandem/internal/redact"
	"github.com/tandem-sync/tandem/internal/yield"
)

// MaxBody is the largest answer in bytes, after decompression.
const MaxBody = 32 << 20

const (
	maxHeaderBytes = 64 << 10
	maxRedirects   = 3
	// Patience is the longest wait inside a call; a longer one is given back
	// to the caller as an error with RetryAfter, so that it can free its slot.
	Patience = 2 * time.Second
	// attempts and retryWindow bound the repeats inside one call.
	attempts    = 4
	retryWindow = 10 * time.Second
	retryBase   = 200 * time.Millisecond
)

// UserAgent is how Tandem names itself.
const UserAgent = "Tandem (+https://github.com/tandem-sync/tandem)"

// HTTP talks to one remote: one origin, one credential. Safe for concurrent
// use. Close it to free its idle connections.
type HTTP struct {
	cfg     HTTPConfig
	client  *http.Client
	tr      *http.Transport
	dialer  Dialer
	tls     *tls.Config
	slots   chan struct{}
	limit   *Limiter // nil none
	hold    *hold    // nil none
	budget  *budget
	mask    *masks
	oauth   *oauth // nil unless auth is oauth2
	breaker *Breaker
	refused refused
	clock   clock.Clock
	rand    func() float64 // nil: of the context
	heard   func(status int, header http.Header)
}

// NewHTTP makes a client for cfg.BaseURL that dials only what g allows. It
// makes no call. cfg must come from ParseHTTP without a problem.
func NewHTTP(cfg HTTPConfig, g Guard, opts ...Option) (*HTTP, error) {
	if cfg.BaseURL == nil {
		return nil, fault.New(fault.Permanent, fault.CodeConfig, "http", "base_url is missing")
	}
	o := options{clock: clock.System{}}
	for _, set := range opts {
		set(&o)
	}
	if cfg.Timeout <= 0 {
		cfg.Timeout = DefaultTimeout
	}
	if cfg.Concurrency <= 0 {
		cfg.Concurrency = DefaultConcurrency
	}
	d := Dialer{Guard: g, Resolver: o.resolver, Target: Target{Port: Port(cfg.BaseURL), Plaintext: cfg.BaseURL.Scheme == "http"}}
	trust := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: o.roots}
	tr := &http.Transport{
		Proxy:                  nil, // a proxy would hide the address from the guard
		DialContext:            d.DialContext,
		TLSClientConfig:        trust.Clone(), // HTTP/2 changes it
		TLSHandshakeTimeout:    10 * time.Second,
		MaxResponseHeaderBytes: maxHeaderBytes,
		MaxIdleConnsPerHost:    cfg.Concurrency,
		IdleConnTimeout:        30 * time.Second,
		ForceAttemptHTTP2:      true,
	}
	h := &HTTP{
		cfg: cfg, tr: tr, dialer: d, tls: trust, slots: make(chan struct{}, cfg.Concurrency), limit: NewLimiter(cfg.Rate, "the channel's own rate_limit"),
		budget: newBudget(), clock: o.clock, rand: o.rand, heard: o.heard, hold: o.hold,
		client: &http.Client{Transport: tr, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
	}
	h.mask = newMasks(secrets(cfg)...)
	h.breaker = NewBreaker(o.breaker, o.told)
	if cfg.Auth.Kind == AuthOAuth2 {
		if cfg.Auth.TokenURL == nil {
			return nil, fault.New(fault.Permanent, fault.CodeConfig, "http", "auth.token_url is missing")
		}
		h.oauth = newOAuth(cfg.Auth, o.tokens, newTokenClient(cfg, g, o, h.mask), o.clock, h.mask)
	}
	return h, nil
}

func secrets(cfg HTTPConfig) []string {
	out := []string{string(cfg.Auth.Token), string(cfg.Auth.Password), string(cfg.Auth.Value), string(cfg.Auth.ClientSecret)}
	for _, h := range cfg.Headers {
		out = append(out, string(h.Value))
	}
	return out
}

// Close frees idle connections. Calls under way end by their own contexts.
func (h *HTTP) Close() error {
	h.tr.CloseIdleConnections()
	return nil
}

// Concurrency is how many calls may be under way at a time.
func (h *HTTP) Concurrency() int { return h.cfg.Concurrency }

// Redact gives s without this client's credentials.
func (h *HTTP) Redact(s string) string { return h.mask.Text(s) }

// Request is one call.
type Request struct {
	// Op names the call in errors: "list contacts".
	Op string
	// Method is GET when empty.
	Method string
	// Path is appended to the base address, already escaped. It may hold a query.
	Path string
	// URL, when set, is used instead of Path: an absolute address the server
	// supplied. Another origin than the base address is refused.
	URL *url.URL
	// Query is added to the address, replacing keys of the same name.
	Query url.Values
	// Body is sent as JSON when it is not nil.
	Body []byte
	// Safe says that repeating the call changes nothing, as for a search by
	// POST. GET and HEAD are always safe.
	Safe bool
	// Sent, when it is set, is told whether the remote may have carried the call
	// out. A call that is not Safe is then repeated, too, where it certainly was
	// not: without a connection, or after a wish to wait.
	Sent *Sent
	// Header is sent beside the client's own headers; credentials win over it.
	Header http.Header
	// Classify says what refusals mean; nil is the transport's own rule.
	Classify Classify
	// Limit is kept by every attempt beside the client's own rate: for calls that
	// the remote limits apart. nil none.
	Limit *Limiter
}

// Response is an answer with status 200 to 299.
type Response struct {
	Status int
	Header http.Header
	Body   []byte // at most MaxBody; belongs to the caller
	// URL is where the answer came from, after redirects, without credentials.
	URL *url.URL
	// Started is our clock just before the attempt that succeeded.
	Started time.Time
	// RemoteNow is the answer's Date header; zero when missing.
	RemoteNow time.Time
}

// Do makes the call. Every error is a *fault.Error: its class says what to do,
// its text holds no credential and no query value. Failures that may pass are
// repeated here, and nowhere else, with full jitter, while the wait is at most
// Patience.
func (h *HTTP) Do(ctx context.Context, r Request) (*Response, error) {
	resp, err := h.repeat(ctx, r)
	return resp, h.refused.heed(ctx, h.clock.Now(), err)
}

func (h *HTTP) repeat(ctx context.Context, r Request) (*Response, error) {
	u, err := h.address(r)
	if err != nil {
		return nil, err
	}
	if r.Method == "" {
		r.Method = http.MethodGet
	}
	safe := r.Safe || r.Method == http.MethodGet || r.Method == http.MethodHead
	h.budget.call()
	begun := h.clock.Now()
	renewed := false
	var last error
	for try := 0; ; try++ {
		resp, err := h.authorised(ctx, r, u, &renewed)
		if err == nil {
			return resp, nil
		}
		unsent := r.Sent.failed(err)
		if last != nil && fault.CodeOf(err) == CodeBreakerOpen {
			// The breaker opened between two attempts of this call: what the
			// remote did to it says more than that nobody asks any longer.
			return nil, last
		}
		last = err
		wait, again := h.again(ctx, err, try)
		if !safe && !unsent || !again || h.clock.Now().Sub(begun)+wait > retryWindow || !h.budget.repeat() {
			return nil, err
		}
		if cerr := h.clock.Sleep(ctx, wait); cerr != nil {
			return nil, cancelled(r.Op, cerr)
		}
	}
}

// authorised makes one attempt with an access token where the remote wants one.
// A token that is not accepted is renewed and the attempt repeated, once per
// call: what was answered 401 was not carried out.
func (h *HTTP) authorised(ctx context.Context, r Request, u *url.URL, renewed *bool) (*Response, error) {
	if h.oauth == nil {
		return h.attempt(ctx, r, u, "")
	}
	t, err := h.oauth.token(ctx, r.Op)
	if err != nil {
		return nil, err
	}
	resp, err := h.attempt(ctx, r, u, t.Access)
	if *renewed || !unauthorized(err) {
		return resp, err
	}
	*renewed = true
	if t, err = h.oauth.renew(ctx, r.Op, t.Version); err != nil {
		return nil, err
	}
	return h.attempt(ctx, r, u, t.Access)
}

// again says whether err is worth a repeat here, and after which wait.
func (h *HTTP) again(ctx context.Context, err error, try int) (time.Duration, bool) {
	class := fault.Of(err)
	if try+1 >= attempts || class != fault.Retryable && class != fault.RateLimited {
		return 0, false
	}
	if after := fault.RetryAfterOf(err); after > 0 {
		return after, after <= Patience
	}
	ceiling := min(retryBase<<try, Patience)
	if h.rand == nil {
		return jitter.Between(ctx, 0, ceiling), true
	}
	return time.Duration(h.rand() * float64(ceiling)), true
}

func (h *HTTP) attempt(ctx context.Context, r Request, u *url.URL, token redact.Secret) (*Response, error) {
	select {
	case h.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, cancelled(r.Op, ctx.Err())
	}
	defer func() { <-h.slots }()
	for hop := 0; ; hop++ {
		if err := h.pace(ctx, r); err != nil {
			return nil, err
		}
		resp, next, err := h.guarded(ctx, r, u, token)
		if err != nil {
			return nil, err
		}
		if next == nil {
			return resp, nil
		}
		if hop == maxRedirects {
			return nil, h.errorf(fault.Permanent, "redirect", r, u, "more than %d redirects", maxRedirects).
				WithHint("check base_url and the path")
		}
		u = next
	}
}

// guarded is once under the circuit breaker.
func (h *HTTP) guarded(ctx context.Context, r Request, u *url.URL, token redact.Secret) (resp *Response, next *url.URL, err error) {
	err = h.breaker.Do(ctx, r.Op, func() error {
		resp, next, err = h.once(ctx, r, u, token)
		return err
	})
	return resp, next, err
}

// errUnauthorized marks a 401, which a new access token may cure.
var errUnauthorized = errors.New("unauthorized")

func unauthorized(err error) bool { return errors.Is(err, errUnauthorized) }

// once sends one request and reads its answer, or gives where a redirect leads.
func (h *HTTP) once(ctx context.Context, r Request, u *url.URL, token redact.Secret) (*Response, *url.URL, error) {
	if err := yield.Point(ctx, "http.before_request"); err != nil {
		return nil, nil, err
	}
	limited, cancel := context.WithTimeout(ctx, h.cfg.Timeout)
	defer cancel()
	req, err := h.request(r.Sent.watch(limited), r, u, token)
	if err != nil {
		return nil, nil, err
	}
	started := h.clock.Now()
	hr, err := h.client.Do(req)
	h.dialer.Guard.answered(hr)
	if err != nil {
		return nil, nil, h.sendError(ctx, limited, r, u, err)
	}
	defer func() { _ = hr.Body.Close() }()
	if h.heard != nil {
		h.heard(hr.StatusCode, hr.Header)
	}
	if hr.StatusCode >= 300 && hr.StatusCode < 400 {
		next, err := h.redirect(r, u, hr)
		return nil, next, err
	}
	if hr.StatusCode < 200 || hr.StatusCode > 299 {
		return nil, nil, h.statusError(r, u, hr)
	}
	body, err := h.readBody(ctx, limited, r, u, hr)
	if err != nil {
		return nil, nil, err
	}
	if err := yield.Point(ctx, "http.after_answer"); err != nil {
		return nil, nil, err
	}
	date, _ := http.ParseTime(hr.Header.Get("Date"))
	return &Response{Status: hr.StatusCode, Header: hr.Header, Body: body, URL: u, Started: started, RemoteNow: date}, nil, nil
}

func (h *HTTP) request(ctx context.Context, r Request, u *url.URL, token redact.Secret) (*http.Request, error) {
	withAuth := *u
	if h.cfg.Auth.Kind == AuthQuery {
		withAuth.RawQuery = setQuery(u.RawQuery, url.Values{h.cfg.Auth.Name: {string(h.cfg.Auth.Value)}})
	}
	var body *strings.Reader
	var req *http.Request
	var err error
	if r.Body != nil {
		body = strings.NewReader(string(r.Body))
		req, err = http.NewRequestWithContext(ctx, r.Method, withAuth.String(), body)
	} else {
		req, err = http.NewRequestWithContext(ctx, r.Method, withAuth.String(), http.NoBody)
	}
	if err != nil {
		return nil, h.errorf(fault.Permanent, fault.CodeConfig, r, u, "the request cannot be made: %s", strip(err))
	}
	req.Header.Set("User-Agent", UserAgent)
	req.Header.Set("Accept", "application/json")
	if r.Body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	for _, x := range h.cfg.Headers {
		req.Header.Set(x.Name, string(x.Value))
	}
	for name, values := range r.Header {
		req.Header[http.CanonicalHeaderKey(name)] = values
	}
	switch a := h.cfg.Auth; a.Kind {
	case AuthBearer:
		req.Header.Set("Authorization", "Bearer "+string(a.Token))
	case AuthBasic:
		req.SetBasicAuth(a.Username, string(a.Password))
	case AuthHeader:
		req.Header.Set(a.Name, string(a.Value))
	case AuthOAuth2:
		req.Header.Set("Authorization", "Bearer "+string(token))
	case AuthNone, AuthQuery:
	}
	return req, nil
}
