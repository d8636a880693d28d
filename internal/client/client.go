// Package client talks to a running Tandem over its HTTP API. Client is the
// same api.Backend that answers from a database, so that commands need not know
// which of the two they use.
package client

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/tandem-sync/tandem/api"
	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/store"
)

// maxAnswer bounds an answer, in bytes; streams are bounded by the line.
const maxAnswer = 64 << 20

// Client is an api.Backend over HTTP. It is safe for concurrent use.
type Client struct {
	base  *url.URL
	token string
	http  *http.Client
	hint  string
}

var _ api.Backend = (*Client)(nil)

// New makes a client of the server at base ("http://127.0.0.1:8080"). token ""
// sends none. hint is the next step told when the server cannot be reached.
func New(base, token, hint string) (*Client, error) {
	u, err := url.Parse(base)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") || u.User != nil {
		return nil, fault.New(fault.Permanent, fault.CodeUsage, "", "%s is no address of a server", strconv.Quote(redacted(u, base))).
			WithHint("such as --server http://127.0.0.1:8080")
	}
	u.Path = strings.TrimSuffix(u.Path, "/")
	u.RawQuery, u.Fragment = "", ""
	return &Client{base: u, token: token, hint: hint, http: &http.Client{
		Transport: &http.Transport{
			Proxy:               http.ProxyFromEnvironment,
			DialContext:         (&net.Dialer{Timeout: 5 * time.Second}).DialContext,
			TLSHandshakeTimeout: 5 * time.Second,
			IdleConnTimeout:     30 * time.Second,
			ForceAttemptHTTP2:   true,
		},
		// The token must not follow to another place.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

func redacted(u *url.URL, base string) string {
	if u == nil {
		return "the value" // what does not parse may hold a password anywhere
	}
	if u.User != nil {
		return u.Redacted()
	}
	return base
}

// Close frees idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Reachable reports whether the server answers at all.
func (c *Client) Reachable(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	res, err := c.do(ctx, http.MethodGet, "/healthz", nil, nil)
	if err != nil {
		return err
	}
	return res.Body.Close()
}

// do sends a request; the caller closes the answer's body. Any status but 2xx
// is an error.
func (c *Client) do(ctx context.Context, method, path string, q url.Values, body any) (*http.Response, error) {
	u := c.base.JoinPath(path)
	u.RawQuery = q.Encode()
	var r io.Reader = http.NoBody
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return nil, fmt.Errorf("encode request: %w", err)
		}
		r = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, u.String(), r)
	if err != nil {
		return nil, err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set(api.TriggerHeader, string(store.TriggerManual))
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	res, err := c.http.Do(req)
	if err != nil {
		return nil, c.unreachable(ctx, err)
	}
	if res.StatusCode/100 == 2 {
		return res, nil
	}
	defer res.Body.Close() //nolint:errcheck // the answer has been read
	return nil, c.refused(res)
}

func (c *Client) unreachable(ctx context.Context, err error) error {
	if ctx.Err() != nil && errors.Is(ctx.Err(), context.Canceled) {
		return ctx.Err()
	}
	var ue *url.Error
	if errors.As(err, &ue) {
		err = ue.Err
	}
	return fault.New(fault.Retryable, fault.CodeUnreachable, "", "no Tandem answers at %s: %w", c.base.Redacted(), err).WithHint(c.hint)
}

// refused reads the problem out of an error answer.
func (c *Client) refused(res *http.Response) error {
	var p api.Problem
	b, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	if err == nil && strings.HasPrefix(res.Header.Get("Content-Type"), "application/problem+json") {
		err = json.Unmarshal(b, &p)
	}
	if err != nil || p.Code == "" {
		return fault.New(fault.Retryable, fault.CodeUnreachable, "", "%s answers %s, which is not Tandem's way", c.base.Redacted(), res.Status).WithHint(c.hint)
	}
	p.Status = res.StatusCode
	if p.Code == api.CodeUnauthorized {
		p.Hint = "set TANDEM_API_TOKEN to the server's token"
	}
	return p.Fault()
}

// call sends a request and decodes the answer into out.
func (c *Client) call(ctx context.Context, method, path string, q url.Values, body, out any) error {
	res, err := c.do(ctx, method, path, q, body)
	if err != nil {
		return err
	}
	defer res.Body.Close() //nolint:errcheck // the answer has been read
	if err := json.NewDecoder(io.LimitReader(res.Body, maxAnswer)).Decode(out); err != nil {
		return c.unreachable(ctx, fmt.Errorf("unreadable answer: %w", err))
	}
	return nil
}

const prefix = "/api/v1"

// lines calls fn with every line of a stream of JSON lines.
func (c *Client) lines(ctx context.Context, path string, fn func(line []byte) error) error {
	res, err := c.do(ctx, http.MethodGet, path, nil, nil)
	if err != nil {
		return err
	}
	defer res.Body.Close() //nolint:errcheck // the answer has been read
	sc := bufio.NewScanner(res.Body)
	sc.Buffer(make([]byte, 64<<10), maxAnswer)
	for sc.Scan() {
		if err := fn(sc.Bytes()); err != nil {
			return err
		}
	}
	if err := sc.Err(); err != nil {
		return c.unreachable(ctx, err)
	}
	return nil
}
