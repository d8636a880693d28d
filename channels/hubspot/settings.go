package hubspot

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
	_ "time/tzdata" // time_zone must work in an image without a zone database

	"github.com/tandem-sync/tandem/channels"
	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/transport"
	"github.com/tandem-sync/tandem/transport/settings"
)

// DefaultBaseURL is where HubSpot's API is.
const DefaultBaseURL = "https://api.hubapi.com"

// tokenPath is where HubSpot gives access tokens to apps, below the base address.
const tokenPath = "/oauth/2026-03/token" //nolint:gosec // an address

// defaultRate stays below the smallest limit HubSpot gives a private app, 100
// calls in ten seconds, so that others have a share of the account.
var defaultRate = transport.Rate{N: 90, Per: 10 * time.Second}

// searchRate is one below HubSpot's limit on searches of all apps together.
var searchRate = transport.Rate{N: 4, Per: time.Second}

// history says when the change times of single properties are read.
type history string

const (
	historyChanges history = "changes" // of records that changed, and of those read by id
	historyAlways  history = "always"  // in full listings too, at twice the calls
	historyNever   history = "never"
)

// archived says when the list of archived contacts is read. HubSpot can neither
// filter nor sort it, so reading it costs a call per hundred of them.
type archived string

const (
	archivedAlways archived = "always"
	archivedFull   archived = "full"
	archivedNever  archived = "never"
)

// parsed is a channel's settings as this type understands them.
type parsed struct {
	http       transport.HTTPConfig
	guard      transport.Guard
	zone       *time.Location // nil: not told
	connectors []connectorSettings
}

type connectorSettings struct {
	name     string
	history  history
	archived archived
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
	p.parseTransport(s.Transport, &problems)
	for i, c := range s.Connectors {
		o := settings.Parse(fmt.Sprintf("connectors[%d].remote", i), c.Remote, &problems)
		if c.Name != contacts {
			problems = append(problems, settings.Problem{
				Field:   fmt.Sprintf("connectors[%d].name", i),
				Message: fmt.Sprintf("hubspot has no connector %q", c.Name), Fix: "the only connector is " + contacts,
			})
		}
		p.connectors = append(p.connectors, connectorSettings{
			name:     c.Name,
			history:  history(o.Choice("history", string(historyChanges), string(historyChanges), string(historyAlways), string(historyNever))),
			archived: archived(o.Choice("archived", string(archivedAlways), string(archivedAlways), string(archivedFull), string(archivedNever))),
		})
		o.Done()
		problems = append(problems, checkWrites(fmt.Sprintf("connectors[%d].mapping", i), c.Writes)...)
	}
	return p, problems
}

// checkWrites refuses what cannot be written.
func checkWrites(field string, w *channels.ConnectorWrites) (out []settings.Problem) {
	if w == nil {
		return nil
	}
	for _, name := range w.Fields {
		if slices.Contains(readOnly, name) {
			out = append(out, settings.Problem{Field: field, Message: name + " is set by HubSpot and cannot be written", Fix: "set direction: to_local for the field"})
		} else if err := checkFields("", []string{name}); err != nil {
			out = append(out, settings.Problem{Field: field, Message: err.Error(), Fix: fault.HintOf(err)})
		}
	}
	return out
}

func (p *parsed) parseTransport(raw json.RawMessage, problems *[]settings.Problem) {
	t := settings.Parse("transport", withDefaults(raw), problems)
	p.http = transport.ParseHTTP(t, p.guard)
	if p.http.Rate.N == 0 {
		p.http.Rate = defaultRate
	}
	if zone := t.String("time_zone", ""); zone != "" {
		loc, err := time.LoadLocation(zone)
		if err != nil || zone == "Local" {
			t.Report("time_zone", "for example Europe/Berlin, as the account's settings name it", "%q is not a time zone", zone)
		} else {
			p.zone = loc
		}
	}
	p.checkAuth(t)
	t.Done()
}

// checkAuth refuses what HubSpot's own API does not take. Whatever stands before
// it at another address may want something else.
func (p *parsed) checkAuth(t settings.Object) {
	const fix = "token: ${HUBSPOT_TOKEN}, the access token of a private app"
	kind := p.http.Auth.Kind
	switch {
	case kind == transport.AuthOAuth2:
	case kind == transport.AuthBearer:
		if p.http.Auth.Token == "" && t.Has("token") {
			t.Report("token", "set the environment variable it comes from", "is empty")
		}
	case !t.Has("auth"):
		t.Report("token", fix, "is missing")
	case p.http.BaseURL == nil || "https://"+p.http.BaseURL.Host == DefaultBaseURL:
		t.Report("auth", fix+"; or auth: {type: oauth2, …}", "HubSpot takes a bearer token or OAuth2 only")
	}
}

// withDefaults adds HubSpot's address, and the one of its token endpoint, where
// none is given.
func withDefaults(raw json.RawMessage) json.RawMessage {
	var m map[string]json.RawMessage
	if len(raw) > 0 && json.Unmarshal(raw, &m) != nil {
		return raw // no mapping; the parser says so
	}
	if m == nil {
		m = map[string]json.RawMessage{}
	}
	if missing(m["base_url"]) {
		m["base_url"] = quoted(DefaultBaseURL)
	}
	var auth map[string]json.RawMessage
	if json.Unmarshal(m["auth"], &auth) == nil && string(auth["type"]) == `"oauth2"` && missing(auth["token_url"]) {
		if base, ok := settings.Scalar(m["base_url"]); ok {
			auth["token_url"] = quoted(strings.TrimSuffix(strings.TrimSpace(base), "/") + tokenPath)
			m["auth"] = encoded(auth, m["auth"])
		}
	}
	return encoded(m, raw)
}

func missing(v json.RawMessage) bool { return v == nil || string(v) == "null" }

func quoted(s string) json.RawMessage { return encoded(s, nil) }

// encoded gives v as JSON; or is what stays when that cannot be.
func encoded(v any, or json.RawMessage) json.RawMessage {
	out, err := json.Marshal(v)
	if err != nil {
		return or
	}
	return out
}
