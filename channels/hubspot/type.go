// Package hubspot is the channel type for HubSpot's CRM: it reads contacts by
// the v3 objects API, all of them by listing, changes by searching, and the
// time of change of each property from its history, and writes them in batches
// that are answered row by row.
package hubspot

import (
	"context"
	_ "embed"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/tandem-sync/tandem/channels"
	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/internal/clock"
	"github.com/tandem-sync/tandem/transport"
)

func init() { channels.MustRegister(Type{}) }

// contacts is the name of the only connector so far.
const contacts = "contacts"

// schema is the JSON Schema (2020-12) of the settings below a channel.
//
//go:embed schema.json
var schema []byte

// Type is the channel type "hubspot". Its zero value is ready to use.
type Type struct {
	// Clock measures waits; nil is the system's. For tests.
	Clock clock.Clock
	// SearchRate replaces HubSpot's own limit on searches, 4 per second and
	// account; the zero Rate keeps it. For tests.
	SearchRate transport.Rate
	// Options change seams of the HTTP client; for tests.
	Options []transport.Option
}

// Info describes the type.
func (Type) Info() channels.Info {
	return channels.Info{
		Name: "hubspot", Label: "HubSpot", Icon: "hubspot",
		Summary:      "Reads and writes contacts of a HubSpot account with a private app's token or by OAuth2",
		Schema:       schema,
		Connectors:   []channels.ConnectorInfo{{Name: contacts, Label: "Contacts", Order: 1}},
		Operations:   operationNames(),
		Capabilities: []string{"read", "incremental", "get", "tombstones", "field_times", "create", "update", "delete", "find"},
		CreateSafety: "B: HubSpot refuses a second contact with the same e-mail address; C for contacts without one",
	}
}

// Check finds what is wrong with the settings, without any network.
func (Type) Check(s channels.Settings) []channels.Problem {
	_, problems := parse(s)
	out := make([]channels.Problem, len(problems))
	for i, p := range problems {
		out[i] = channels.Problem(p)
	}
	return out
}

// Open makes a channel, a *Channel. Wrong settings are Permanent with code
// config.
func (t Type) Open(_ context.Context, s channels.Settings) (channels.Channel, error) {
	p, problems := parse(s)
	if len(problems) > 0 {
		first := problems[0]
		return nil, fault.New(fault.Permanent, fault.CodeConfig, "channel "+s.Channel, "%s: %s", first.Field, first.Message).
			WithHint(first.Fix).WithWhere(first.Field)
	}
	if t.Clock == nil {
		t.Clock = clock.System{}
	}
	if t.SearchRate.N == 0 {
		t.SearchRate = searchRate
	}
	c, err := newClient(p, t, transport.WithTokens(s.Tokens), transport.WithBreakerReport(s.Breaker))
	if err != nil {
		return nil, err
	}
	ch := &Channel{name: s.Channel, client: c}
	for _, k := range p.connectors {
		ch.connectors = append(ch.connectors, &connector{connectorSettings: k, client: c})
	}
	return ch, nil
}

// Channel is an opened HubSpot account. Safe for concurrent use.
type Channel struct {
	name       string
	client     *client
	connectors []*connector
}

// Ping reads one contact: it says whether the token is good and may read.
func (c *Channel) Ping(ctx context.Context) error {
	resp, err := c.client.do(ctx, get("hubspot: ping", contactsPath, url.Values{"limit": {"1"}}))
	if err != nil {
		return err
	}
	_, err = newPlan(nil, false).decoder().decode("hubspot: ping", resp)
	return err
}

// Connector gives the named connector.
func (c *Channel) Connector(name string) (channels.Connector, error) {
	names := make([]string, len(c.connectors))
	for i, k := range c.connectors {
		if k.name == name {
			return k, nil
		}
		names[i] = k.name
	}
	return nil, fault.New(fault.Permanent, fault.CodeNotFound, "channel "+c.name, "no connector %q", name).
		WithHint("connectors: " + strings.Join(names, ", "))
}

// Limits gives what HubSpot's last answer said about the account's limits; false
// before the first answer that said something.
func (c *Channel) Limits() (Limits, bool) { return c.client.quota.get() }

// Quota gives the same as a list: empty before the first answer.
func (c *Channel) Quota() []channels.Quota {
	q, ok := c.Limits()
	if !ok {
		return nil
	}
	var out []channels.Quota
	if q.Burst >= 0 {
		out = append(out, channels.Quota{
			Name: "calls per " + q.Window.String(), Limit: int64(q.Burst), Left: int64(q.BurstLeft), Resets: q.At.Add(q.Window),
		})
	}
	if q.Daily >= 0 {
		day := channels.Quota{Name: "calls per day", Limit: int64(q.Daily), Left: int64(q.DailyLeft)}
		if loc := c.client.zone.get(); loc != nil {
			day.Resets = nextMidnight(q.At, loc)
		}
		out = append(out, day)
	}
	return out
}

// Close frees idle connections.
func (c *Channel) Close() error { return c.client.http.Close() }

// Limits is what is left of the account's limits. A number HubSpot did not tell
// is -1.
type Limits struct {
	// Burst is how many calls Window allows, and how many of them are left.
	Burst, BurstLeft int
	Window           time.Duration
	// Daily is how many calls a day allows, and how many are left of today.
	Daily, DailyLeft int
	// At is when the answer came, by HubSpot's clock.
	At time.Time
}

// String gives it as one line for a person.
func (q Limits) String() string {
	part := func(left, of int, per string) string {
		if of < 0 {
			return "unknown per " + per
		}
		return fmt.Sprintf("%d of %d left per %s", left, of, per)
	}
	return part(q.BurstLeft, q.Burst, q.Window.String()) + ", " + part(q.DailyLeft, q.Daily, "day")
}
