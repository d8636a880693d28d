package transport

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/internal/clock"
	"github.com/tandem-sync/tandem/internal/redact"
	"github.com/tandem-sync/tandem/internal/yield"
)

// maxTokenBody is the largest answer of a token endpoint in bytes.
const maxTokenBody = 64 << 10

// outcome says what is known about a request for a token that brought none.
type outcome uint8

const (
	outcomeNotSent       outcome = iota // it did not arrive, or was turned away unread
	outcomeUnknown                      // it may have been served: the answer is lost
	outcomeRefused                      // invalid_grant
	outcomeMisconfigured                // everything else that only a person cures
)

// refusal is the error of an exchange with its outcome.
type refusal struct {
	err     *fault.Error
	outcome outcome
	text    string // what the endpoint said, masked
}

// Error is the fault's.
func (r *refusal) Error() string { return r.err.Error() }

// Unwrap gives the fault.
func (r *refusal) Unwrap() error { return r.err }

func (r *refusal) hint(h string) *refusal {
	r.err = r.err.WithHint(h)
	return r
}

func (r *refusal) after(d time.Duration) *refusal {
	r.err = r.err.After(d)
	return r
}

// tokenClient asks a token endpoint (RFC 6749). It dials under the same guard as
// every call, follows no redirect and repeats nothing.
type tokenClient struct {
	auth    Auth
	client  *http.Client
	timeout time.Duration
	clock   clock.Clock
	mask    *masks
	revoked []string // words for invalid_grant
	// inBody remembers that the endpoint wants the client's credential in the
	// body and not as basic authentication.
	inBody atomic.Bool
}

// newTokenClient makes the client of the token endpoint, which has a host, and so
// a target for the guard, of its own.
func newTokenClient(cfg HTTPConfig, g Guard, o options, m *masks) *tokenClient {
	u := cfg.Auth.TokenURL
	d := Dialer{Guard: g, Resolver: o.resolver, Target: Target{Port: Port(u), Plaintext: u.Scheme == "http"}}
	c := &tokenClient{auth: cfg.Auth, timeout: cfg.Timeout, clock: o.clock, mask: m, revoked: o.dialect.Revoked, client: &http.Client{
		Transport: &http.Transport{
			Proxy: nil, DialContext: d.DialContext, TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: o.roots},
			TLSHandshakeTimeout: 10 * time.Second, MaxResponseHeaderBytes: maxHeaderBytes,
			// A request on a connection that had been idle may be lost with it.
			DisableKeepAlives: true,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	c.inBody.Store(o.dialect.InBody)
	return c
}

// exchange gets a token: by refresh, or as the client itself when refresh is "".
// Every error is a *refusal.
func (c *tokenClient) exchange(ctx context.Context, op, refresh string) (Token, error) {
	if err := yield.Point(ctx, "token.before_request"); err != nil {
		return Token{}, c.refuse(outcomeNotSent, fault.Retryable, fault.CodeCancelled, op, err.Error())
	}
	// Which of the two ways a server takes is not told by any of them. What one
	// of them is refused for is not used up, so the other one is tried.
	inBody := c.inBody.Load() || c.auth.ClientSecret == ""
	t, err := c.once(ctx, op, refresh, inBody)
	var r *refusal
	if errors.As(err, &r) && r.outcome == outcomeMisconfigured && !inBody {
		t2, err2 := c.once(ctx, op, refresh, true)
		var r2 *refusal
		if err2 == nil || errors.As(err2, &r2) && r2.outcome != outcomeMisconfigured {
			c.inBody.Store(true)
			return t2, err2
		}
	}
	return t, err
}

func (c *tokenClient) refuse(o outcome, class fault.Class, code, op, text string) *refusal {
	text = short(c.mask.Text(text))
	return &refusal{outcome: o, text: text, err: fault.New(class, code, op, "token_url %s: %s", c.mask.Text(redact.URL(c.auth.TokenURL)), text)}
}

func (c *tokenClient) form(refresh string, inBody bool) url.Values {
	form := url.Values{"grant_type": {"client_credentials"}}
	if refresh != "" {
		form = url.Values{"grant_type": {"refresh_token"}, "refresh_token": {refresh}}
	}
	if len(c.auth.Scopes) > 0 {
		form.Set("scope", strings.Join(c.auth.Scopes, " "))
	}
	if inBody {
		form.Set("client_id", c.auth.ClientID)
		if c.auth.ClientSecret != "" {
			form.Set("client_secret", string(c.auth.ClientSecret))
		}
	}
	return form
}

func (c *tokenClient) once(ctx context.Context, op, refresh string, inBody bool) (Token, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.auth.TokenURL.String(), strings.NewReader(c.form(refresh, inBody).Encode()))
	if err != nil {
		return Token{}, c.refuse(outcomeMisconfigured, fault.Permanent, fault.CodeConfig, op, strip(err))
	}
	req.GetBody = nil // a renewal that was sent once must not be sent again by itself
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", UserAgent)
	if !inBody {
		req.SetBasicAuth(url.QueryEscape(c.auth.ClientID), url.QueryEscape(string(c.auth.ClientSecret)))
	}
	asked := c.clock.Now()
	hr, err := c.client.Do(req)
	if err != nil {
		return Token{}, c.sendFailed(op, err)
	}
	defer func() { _ = hr.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(hr.Body, maxTokenBody))
	if err != nil {
		return Token{}, c.refuse(outcomeUnknown, fault.Retryable, fault.CodeUnreachable, op, "the answer broke off: "+strip(err))
	}
	if err := yield.Point(ctx, "token.after_answer"); err != nil {
		return Token{}, c.refuse(outcomeUnknown, fault.Retryable, fault.CodeCancelled, op, err.Error())
	}
	if hr.StatusCode != http.StatusOK {
		return Token{}, c.answered(op, hr, body)
	}
	return c.read(op, body, asked)
}

// sendFailed classes a request without an answer: only what never reached the
// endpoint is known to be unused.
func (c *tokenClient) sendFailed(op string, err error) error {
	if f, ok := guardRefused(err); ok {
		return c.refuse(outcomeNotSent, fault.Permanent, fault.CodeNetwork, op, f.Error()).hint(f.Hint)
	}
	if isTLS(err) {
		return c.refuse(outcomeNotSent, fault.Permanent, "tls", op, "TLS: "+strip(err)).hint(tlsHint(err))
	}
	o := outcomeUnknown
	var dns *net.DNSError
	var dial *net.OpError
	if errors.As(err, &dns) || errors.As(err, &dial) && dial.Op == "dial" {
		o = outcomeNotSent
	}
	return c.refuse(o, fault.Retryable, fault.CodeUnreachable, op, strip(err)).hint("is the token endpoint reachable, and is auth.token_url right?")
}

// answered classes an answer other than 200.
func (c *tokenClient) answered(op string, hr *http.Response, body []byte) error {
	var said struct {
		Error       string `json:"error"`
		Description string `json:"error_description"`
		Status      string `json:"status"`
	}
	_ = json.Unmarshal(body, &said) // another form is told as it is
	revoked := said.Error == "invalid_grant" || slices.Contains(c.revoked, said.Status)
	text := said.Error
	if said.Description != "" {
		text += ": " + said.Description
	}
	if text == "" {
		text = string(body)
	}
	status := statusText(hr.StatusCode)
	text = strings.TrimSpace(status + " " + text)
	switch {
	case hr.StatusCode == http.StatusTooManyRequests:
		return c.refuse(outcomeNotSent, fault.RateLimited, codeRateLimit, op, text).after(max(RetryAfter(hr.Header, c.clock.Now(), maxRetryAfter), time.Second))
	case hr.StatusCode >= 500 || hr.StatusCode == http.StatusRequestTimeout:
		return c.refuse(outcomeUnknown, fault.Retryable, fault.CodeUnreachable, op, text).after(RetryAfter(hr.Header, c.clock.Now(), maxRetryAfter))
	case revoked:
		return c.refuse(outcomeRefused, fault.Permanent, fault.CodeAuth, op, text).hint("the token endpoint does not accept this credential: check transport.auth")
	}
	hint := "check client_id, client_secret and scopes in transport.auth"
	if hr.StatusCode >= 300 && hr.StatusCode < 400 {
		hint = "use the final address in auth.token_url: credentials do not follow redirects"
	}
	return c.refuse(outcomeMisconfigured, fault.Permanent, fault.CodeAuth, op, text).hint(hint)
}

// read takes the token out of an answer.
func (c *tokenClient) read(op string, body []byte, asked time.Time) (Token, error) {
	var got struct {
		Access  string          `json:"access_token"`
		Refresh string          `json:"refresh_token"`
		Type    string          `json:"token_type"`
		Expires json.RawMessage `json:"expires_in"`
	}
	if err := json.Unmarshal(body, &got); err != nil {
		return Token{}, c.refuse(outcomeUnknown, fault.Retryable, fault.CodeBadAnswer, op, "the answer is not JSON")
	}
	switch {
	case got.Access == "" || strings.ContainsFunc(got.Access, func(r rune) bool { return r <= ' ' || r > '~' }):
		return Token{}, c.refuse(outcomeUnknown, fault.Permanent, fault.CodeBadAnswer, op, "the answer holds no usable access_token")
	case got.Type != "" && !strings.EqualFold(got.Type, "bearer"):
		return Token{}, c.refuse(outcomeUnknown, fault.Permanent, fault.CodeBadAnswer, op, "the token's type is "+got.Type+"; only bearer can be used")
	}
	c.mask.add(got.Access, got.Refresh)
	t := Token{Access: redact.Secret(got.Access), Refresh: redact.Secret(got.Refresh)}
	if life := lifetime(got.Expires); life > 0 {
		t.Expires = asked.Add(life)
		t.RenewAt = t.Expires.Add(-min(renewAhead, life/5))
	}
	return t, nil
}

// lifetime reads expires_in, a number of seconds that some servers write as a
// text; 0 is unknown.
func lifetime(raw json.RawMessage) time.Duration {
	secs, err := strconv.ParseFloat(strings.Trim(string(raw), `"`), 64)
	if err != nil || !(secs > 0) {
		return 0
	}
	const most = 10 * 365 * 24 * 3600
	return time.Duration(min(secs, most) * float64(time.Second))
}
