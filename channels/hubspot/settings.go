package hubspot

import (
	"encoding/json"
	"fmt"
	"time"
	_ "time/tzdata" // time_zone must work in an image without a zone database

	"github.com/tandem-sync/tandem/channels"
	"github.com/tandem-sync/tandem/transport"
	"github.com/tandem-sync/tandem/transport/settings"
)

// DefaultBaseURL is where HubSpot's API is.
const DefaultBaseURL = "https://api.hubapi.com"

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
	}
	return p, problems
}

func (p *parsed) parseTransport(raw json.RawMessage, problems *[]settings.Problem) {
	t := settings.Parse("transport", withBase(raw), problems)
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
	if p.http.Auth.Kind != transport.AuthBearer {
		fix := "token: ${HUBSPOT_TOKEN}, the access token of a private app"
		if t.Has("auth") {
			t.Report("auth", fix, "HubSpot takes a bearer token only")
		} else {
			t.Report("token", fix, "is missing")
		}
	} else if p.http.Auth.Token == "" && t.Has("token") {
		t.Report("token", "set the environment variable it comes from", "is empty")
	}
	t.Done()
}

// withBase adds HubSpot's address where none is given.
func withBase(raw json.RawMessage) json.RawMessage {
	var m map[string]json.RawMessage
	if len(raw) > 0 && json.Unmarshal(raw, &m) != nil {
		return raw // no mapping; the parser says so
	}
	if v, ok := m["base_url"]; ok && string(v) != "null" {
		return raw
	}
	if m == nil {
		m = map[string]json.RawMessage{}
	}
	m["base_url"] = json.RawMessage(`"` + DefaultBaseURL + `"`)
	out, err := json.Marshal(m)
	if err != nil {
		return raw
	}
	return out
}
