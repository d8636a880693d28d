package hubspot

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/internal/clock"
	"github.com/tandem-sync/tandem/internal/jitter"
	"github.com/tandem-sync/tandem/internal/redact"
	"github.com/tandem-sync/tandem/internal/yield"
	"github.com/tandem-sync/tandem/transport"
)

const (
	attempts     = 4
	retryWindow  = 10 * time.Second
	retryBase    = 200 * time.Millisecond
	contactsPath = "/crm/v3/objects/contacts"
)

// client speaks HubSpot's dialect of HTTP: what an error means stands in its
// body and in headers of HubSpot's own, on answers of every status. Safe for
// concurrent use.
type client struct {
	base    *url.URL
	timeout time.Duration
	token   redact.Secret
	headers []transport.Header
	mask    redact.Masker

	tr    *http.Transport
	http  *http.Client
	slots chan struct{}

	clock    clock.Clock
	calls    *pacer
	searches *pacer
	gate     gate
	repeats  repeats
	quota    quotaBox
	zone     zone
}

func newClient(p parsed, t Type) *client {
	cfg := p.http
	d := transport.Dialer{Guard: p.guard, Target: transport.Target{Port: transport.Port(cfg.BaseURL), Plaintext: cfg.BaseURL.Scheme == "http"}}
	tr := &http.Transport{
		Proxy:                  nil, // a proxy would hide the address from the guard
		DialContext:            d.DialContext,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:    10 * time.Second,
		MaxResponseHeaderBytes: 64 << 10,
		MaxIdleConnsPerHost:    cfg.Concurrency,
		IdleConnTimeout:        30 * time.Second,
		ForceAttemptHTTP2:      true,
	}
	secrets := []string{string(cfg.Auth.Token)}
	for _, h := range cfg.Headers {
		secrets = append(secrets, string(h.Value))
	}
	return &client{
		base: cfg.BaseURL, timeout: cfg.Timeout, token: cfg.Auth.Token, headers: cfg.Headers, mask: redact.NewMasker(secrets...),
		tr: tr, slots: make(chan struct{}, cfg.Concurrency),
		// A credential must not follow to wherever an answer points.
		http:  &http.Client{Transport: tr, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
		clock: t.Clock, calls: newPacer(cfg.Rate), searches: newPacer(t.SearchRate), repeats: repeats{tenths: maxRepeats},
		zone: zone{at: p.zone},
	}
}

// call is one request. All of them only read, so all may be repeated.
type call struct {
	op    string // names the call in errors: "hubspot: list contacts"
	path  string // below the base address, escaped
	query url.Values
	body  []byte // sent by POST; nil is a GET
	// search marks the calls that HubSpot limits apart.
	search bool
}

func (k call) method() string {
	if k.body != nil {
		return http.MethodPost
	}
	return http.MethodGet
}

// answer is an answer with status 200 to 299.
type answer struct {
	status    int
	header    http.Header
	body      []byte
	started   time.Time // our clock before the attempt that succeeded
	remoteNow time.Time // the Date header; zero when missing
}

// do makes the call. Every error is a *fault.Error without a credential and
// without a query value in it. What may pass within transport.Patience is
// repeated here and nowhere else, with full jitter.
func (c *client) do(ctx context.Context, k call) (*answer, error) {
	c.repeats.call()
	begun := c.clock.Now()
	for try := 0; ; try++ {
		got, err := c.attempt(ctx, k)
		if err == nil {
			return got, nil
		}
		wait, again := repeatable(ctx, err, try)
		if !again || c.clock.Now().Sub(begun)+wait > retryWindow || !c.repeats.take() {
			return nil, err
		}
		if err := c.clock.Sleep(ctx, wait); err != nil {
			return nil, cancelled(k.op, err)
		}
	}
}

// repeatable says whether err is worth a repeat here, and after which wait.
func repeatable(ctx context.Context, err error, try int) (time.Duration, bool) {
	class := fault.Of(err)
	if try+1 >= attempts || ctx.Err() != nil || class != fault.Retryable && class != fault.RateLimited {
		return 0, false
	}
	if after := fault.RetryAfterOf(err); after > 0 {
		return after, after <= transport.Patience
	}
	return jitter.Between(ctx, 0, min(retryBase<<try, transport.Patience)), true
}

func (c *client) attempt(ctx context.Context, k call) (*answer, error) {
	select {
	case c.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, cancelled(k.op, ctx.Err())
	}
	defer func() { <-c.slots }()
	if err := c.pace(ctx, k); err != nil {
		return nil, err
	}
	if err := yield.Point(ctx, "http.before_request"); err != nil {
		return nil, err
	}
	got, err := c.once(ctx, k)
	if err != nil {
		return nil, err
	}
	if err := yield.Point(ctx, "http.after_answer"); err != nil {
		return nil, err
	}
	return got, nil
}

// pace waits until the gate and the rates let the call through, or gives a wait
// that is too long back.
func (c *client) pace(ctx context.Context, k call) error {
	if wait, why := c.gate.check(c.clock.Now()); wait > transport.Patience {
		e := why.After(wait)
		e.Op, e.Err = k.op, fmt.Errorf("not sent, since HubSpot has refused: %w", why.Err)
		return e
	} else if err := c.clock.Sleep(ctx, wait); err != nil {
		return cancelled(k.op, err)
	}
	for _, limit := range []struct {
		p    *pacer
		what string
		on   bool
	}{{c.searches, "HubSpot's limit on searches", k.search}, {c.calls, "the channel's own rate_limit", true}} {
		if !limit.on {
			continue
		}
		wait, taken := limit.p.reserve(c.clock.Now(), transport.Patience)
		if !taken {
			return fault.New(fault.RateLimited, codeRateLimit, k.op, "%s allows the next call in %s", limit.what, wait.Round(time.Millisecond)).After(wait)
		}
		if err := c.clock.Sleep(ctx, wait); err != nil {
			return cancelled(k.op, err)
		}
	}
	return nil
}

// once sends the request and reads the whole answer.
func (c *client) once(ctx context.Context, k call) (*answer, error) {
	limited, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	req, err := c.request(limited, k)
	if err != nil {
		return nil, err
	}
	started := c.clock.Now()
	hr, err := c.http.Do(req)
	if err != nil {
		return nil, c.sendError(ctx, limited, k, err)
	}
	defer func() { _ = hr.Body.Close() }()
	c.quota.note(hr.Header, c.clock.Now())
	body, err := c.readBody(ctx, limited, k, hr)
	if err != nil {
		return nil, err
	}
	if hr.StatusCode < 200 || hr.StatusCode > 299 {
		return nil, c.refused(k, hr, body)
	}
	date, _ := http.ParseTime(hr.Header.Get("Date"))
	return &answer{status: hr.StatusCode, header: hr.Header, body: body, started: started, remoteNow: date}, nil
}

func (c *client) request(ctx context.Context, k call) (*http.Request, error) {
	u := *c.base
	joined, err := url.Parse(strings.TrimSuffix(u.EscapedPath(), "/") + k.path)
	if err != nil {
		return nil, c.errorf(fault.Permanent, fault.CodeConfig, k, "the path is not valid")
	}
	u.Path, u.RawPath, u.RawQuery = joined.Path, joined.RawPath, k.query.Encode()
	var body io.Reader = http.NoBody
	if k.body != nil {
		body = bytes.NewReader(k.body)
	}
	req, err := http.NewRequestWithContext(ctx, k.method(), u.String(), body)
	if err != nil {
		return nil, c.errorf(fault.Permanent, fault.CodeConfig, k, "the request cannot be made")
	}
	req.Header.Set("User-Agent", transport.UserAgent)
	req.Header.Set("Accept", "application/json")
	if k.body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	for _, h := range c.headers {
		req.Header.Set(h.Name, string(h.Value))
	}
	req.Header.Set("Authorization", "Bearer "+string(c.token))
	return req, nil
}

// sendError classes what happened before an answer's header arrived.
func (c *client) sendError(outer, limited context.Context, k call, err error) error {
	if outer.Err() != nil {
		return cancelled(k.op, outer.Err())
	}
	var guard *fault.Error
	if errors.As(err, &guard) && guard.Code == fault.CodeNetwork {
		return c.errorf(fault.Permanent, fault.CodeNetwork, k, "%s", guard.Error()).WithHint(guard.Hint)
	}
	var ne net.Error
	if limited.Err() != nil || errors.As(err, &ne) && ne.Timeout() {
		return c.errorf(fault.Retryable, fault.CodeUnreachable, k, "no answer within %s", c.timeout).
			WithHint("transport.timeout is the limit of one call").After(transport.Patience + time.Second)
	}
	var verify *tls.CertificateVerificationError
	if errors.As(err, &verify) || strings.Contains(err.Error(), "tls: ") {
		return c.errorf(fault.Permanent, "tls", k, "TLS: %s", strip(err)).
			WithHint("the remote must offer TLS 1.2 or newer with a certificate this machine trusts")
	}
	return c.errorf(fault.Retryable, fault.CodeUnreachable, k, "%s", strip(err)).WithHint("is base_url right, and can this machine reach it?")
}

// readBody reads the whole answer within the cap.
func (c *client) readBody(outer, limited context.Context, k call, hr *http.Response) ([]byte, error) {
	buf := bytes.NewBuffer(make([]byte, 0, min(max(hr.ContentLength, 16<<10), 1<<20)+bytes.MinRead))
	n, err := buf.ReadFrom(io.LimitReader(hr.Body, transport.MaxBody+1))
	switch {
	case n > transport.MaxBody:
		return nil, c.errorf(fault.Permanent, "page_too_large", k, "the answer is larger than %d MiB", transport.MaxBody>>20)
	case err == nil:
		return buf.Bytes(), nil
	case outer.Err() != nil:
		return nil, cancelled(k.op, outer.Err())
	case limited.Err() != nil:
		return nil, c.errorf(fault.Retryable, fault.CodeUnreachable, k, "the answer did not end within %s (%d bytes read)", c.timeout, n).
			After(transport.Patience + time.Second)
	}
	return nil, c.errorf(fault.Retryable, fault.CodeBadAnswer, k, "the answer broke off after %d bytes: %s", n, strip(err))
}
