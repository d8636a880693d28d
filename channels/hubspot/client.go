package hubspot

import (
	"context"
	"net/http"
	"net/url"

	"github.com/tandem-sync/tandem/internal/clock"
	"github.com/tandem-sync/tandem/transport"
)

const contactsPath = "/crm/v3/objects/contacts"

// tokens is how HubSpot's token endpoint differs from the standard.
var tokens = transport.TokenDialect{InBody: true, Revoked: []string{"BAD_REFRESH_TOKEN"}}

// client makes the calls of one account: by transport, with what HubSpot's
// refusals mean and with what it tells of its limits. Safe for concurrent use.
type client struct {
	http     *transport.HTTP
	clock    clock.Clock
	app      bool // the credential is an app's (OAuth2), not a private app's token
	searches *transport.Limiter
	quota    quotaBox
	zone     zone
}

func newClient(p parsed, t Type, more ...transport.Option) (*client, error) {
	c := &client{
		clock: t.Clock, app: p.http.Auth.Kind == transport.AuthOAuth2,
		searches: transport.NewLimiter(t.SearchRate, "HubSpot's limit on searches"), zone: zone{at: p.zone},
	}
	opts := append([]transport.Option{
		transport.WithClock(t.Clock), transport.WithTokenDialect(tokens),
		// A limit of HubSpot's holds for all calls, and refused ones count as well.
		transport.WithHold(),
		transport.WithAnswerHeaders(func(_ int, h http.Header) { c.quota.note(h, c.clock.Now()) }),
	}, more...)
	var err error
	c.http, err = transport.NewHTTP(p.http, p.guard, append(opts, t.Options...)...)
	return c, err
}

// get is a request for what is at path, which is escaped.
func get(op, path string, query url.Values) transport.Request {
	return transport.Request{Op: op, Path: path, Query: query}
}

// ask is a request that reads although it is a POST.
func ask(op, path string, query url.Values, body []byte) transport.Request {
	return transport.Request{Op: op, Path: path, Query: query, Method: http.MethodPost, Body: body, Safe: true}
}

// do makes the call. Every error is a *fault.Error without a credential and
// without a query value in it.
func (c *client) do(ctx context.Context, r transport.Request) (*transport.Response, error) {
	r.Classify = c.classify
	return c.http.Do(ctx, r)
}

// short masks a text of HubSpot's, which may repeat what it was sent, and cuts it.
func (c *client) short(text string) string { return short(c.http.Redact(text)) }
