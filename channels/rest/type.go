// Package rest is the channel type for any REST API that answers in JSON: what
// is read, how pages follow each other and how changes are found is told by
// the configuration.
package rest

import (
	"context"
	"fmt"
	"strings"

	"github.com/tandem-sync/tandem/channels"
	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/transport"
	"github.com/tandem-sync/tandem/transport/settings"
)

func init() { channels.MustRegister(Type{}) }

// Type is the channel type "rest". Its zero value is ready to use.
type Type struct {
	// Options change seams of the HTTP client; for tests.
	Options []transport.Option
}

// Info describes the type.
func (Type) Info() channels.Info {
	return channels.Info{
		Name: "rest", Label: "Any REST API", Icon: "globe",
		Summary:      "Reads and writes records of any REST API that answers in JSON, and calls its operations, as the settings describe them",
		Schema:       schema,
		Capabilities: []string{"read", "incremental", "get", "tombstones", "create", "update", "delete", "find", channels.CapabilityOperations},
		CreateSafety: "C: looked up before it is repeated; A with create.idempotency",
	}
}

// parsed is a channel's settings as this type understands them.
type parsed struct {
	http       transport.HTTPConfig
	guard      transport.Guard
	connectors []parsedConnector
	operations []operation
}

type parsedConnector struct {
	name string
	remoteSettings
}

func parse(s channels.Settings) (parsed, []settings.Problem) {
	var problems []settings.Problem
	var p parsed
	switch g := s.Network.(type) {
	case nil:
	case transport.Guard:
		p.guard = g
	case *transport.Guard:
		if g != nil {
			p.guard = *g
		}
	default:
		problems = append(problems, settings.Problem{Field: "transport", Message: fmt.Sprintf("the network guard has type %T", g)})
	}
	t := settings.Parse("transport", s.Transport, &problems)
	p.http = transport.ParseHTTP(t, p.guard)
	t.Done()
	for i, c := range s.Connectors {
		path := fmt.Sprintf("connectors[%d]", i)
		remote := parseRemote(settings.Parse(path+".remote", c.Remote, &problems))
		problems = append(problems, remote.write.check(path, c.Writes)...)
		p.connectors = append(p.connectors, parsedConnector{c.Name, remote})
	}
	p.operations = parseOperations(s.Operations, &problems)
	return p, problems
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

// Open makes a channel. Wrong settings are Permanent with code config.
func (t Type) Open(_ context.Context, s channels.Settings) (channels.Channel, error) {
	p, problems := parse(s)
	if len(problems) > 0 {
		first := problems[0]
		return nil, fault.New(fault.Permanent, fault.CodeConfig, "channel "+s.Channel, "%s: %s", first.Field, first.Message).
			WithHint(first.Fix).WithWhere(first.Field)
	}
	opts := append([]transport.Option{transport.WithTokens(s.Tokens), transport.WithBreakerReport(s.Breaker)}, t.Options...)
	h, err := transport.NewHTTP(p.http, p.guard, opts...)
	if err != nil {
		return nil, err
	}
	ch := &channel{name: s.Channel, http: h, operations: p.operations}
	for i := range p.connectors {
		ch.connectors = append(ch.connectors, newConnector(h, &p.connectors[i]))
	}
	return ch, nil
}

// channel is an opened REST API.
type channel struct {
	name       string
	http       *transport.HTTP
	connectors []*connector
	operations []operation // in order of name
}

// Ping reads the first page of the first connector. Where there is none it asks
// for the base address, at which an API need not have anything: what the remote
// does not find there is an answer, too.
func (c *channel) Ping(ctx context.Context) error {
	if len(c.connectors) == 0 {
		_, err := c.http.Do(ctx, transport.Request{Op: "ping"})
		if code := fault.CodeOf(err); code == fault.CodeNotFound || code == "refused" {
			return nil
		}
		return err
	}
	r, err := c.connectors[0].Reader(ctx, channels.ReadRequest{})
	if err != nil {
		return err
	}
	defer func() { _ = r.Close() }()
	_, err = r.ReadPage(ctx)
	return err
}

// Connector gives the named connector.
func (c *channel) Connector(name string) (channels.Connector, error) {
	names := make([]string, len(c.connectors))
	for i, k := range c.connectors {
		if k.name == name {
			return k.offers(), nil
		}
		names[i] = k.name
	}
	return nil, fault.New(fault.Permanent, fault.CodeNotFound, "channel "+c.name, "no connector %q", name).
		WithHint("connectors: " + strings.Join(names, ", "))
}

// Close frees idle connections.
func (c *channel) Close() error { return c.http.Close() }
