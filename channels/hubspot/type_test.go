package hubspot_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tandem-sync/tandem/channels"
	"github.com/tandem-sync/tandem/channels/channelstest"
	"github.com/tandem-sync/tandem/channels/hubspot"
	emulator "github.com/tandem-sync/tandem/emulate/hubspot"
	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/internal/clock"
	"github.com/tandem-sync/tandem/sync/record"
	"github.com/tandem-sync/tandem/transport"
)

func typeWith(c clock.Clock) hubspot.Type {
	return hubspot.Type{Clock: c, SearchRate: transport.Rate{N: 10_000, Per: time.Second}}
}

func TestAcceptance(t *testing.T) {
	for _, remote := range []string{"", `{"history":"always"}`, `{"history":"never"}`} {
		t.Run(remote, func(t *testing.T) {
			portal := func() (*emulator.Portal, string) {
				p := emulator.New(emulator.Config{Token: token, Limits: emulator.Unlimited})
				srv := httptest.NewServer(p)
				t.Cleanup(srv.Close)
				return p, srv.URL
			}
			p, url := portal()
			s := channelstest.Subject{
				Type: hubspot.Type{}, Settings: settings(url, "", remote), Connector: "contacts", Fields: fields,
				Want: map[string][]record.Value{},
			}
			ids := p.Seed(320)
			p.Edit(map[string]string{"phone": "", "lastname": "Łukasiewicz \"☃\""}, ids[:10]...)
			p.Archive(ids[300:]...)
			for i, id := range ids {
				if i >= 300 {
					s.Deleted = append(s.Deleted, id)
					continue
				}
				c, _ := p.Contact(id)
				for _, f := range fields {
					s.Want[id] = append(s.Want[id], record.T(c.Properties[f]))
				}
			}
			_, empty := portal()
			s.Empty = settings(empty, "", remote)
			repeat := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				_, _ = w.Write([]byte(`{"results":[{"id":"1","properties":{"email":"a@example.com"}}],"paging":{"next":{"after":"2"}}}`))
			}))
			t.Cleanup(repeat.Close)
			s.Repeating = settings(repeat.URL, "", remote)
			channelstest.Run(t, s)
		})
	}
}

func TestCheckNamesEveryProblem(t *testing.T) {
	t.Parallel()
	guard := transport.Guard{}
	for name, x := range map[string]struct {
		transport string
		connector string
		remote    string
		want      []string // "field: part of the message"
	}{
		"good":           {transport: `{"token":"pat-x"}`},
		"long form":      {transport: `{"auth":{"type":"bearer","token":"pat-x"},"base_url":null,"time_zone":"Europe/Berlin"}`},
		"no token":       {transport: `{}`, want: []string{"transport.token: is missing"}},
		"nothing":        {transport: ``, want: []string{"transport.token: is missing"}},
		"empty token":    {transport: `{"token":""}`, want: []string{"transport.token: is empty"}},
		"basic":          {transport: `{"auth":{"type":"basic","username":"u","password":"p"}}`, want: []string{"transport.auth: HubSpot takes a bearer"}},
		"oauth2":         {transport: `{"auth":{"type":"oauth2","client_id":"a","client_secret":"b","token":"r","scopes":["oauth"]}}`},
		"oauth2 alone":   {transport: `{"auth":{"type":"oauth2"}}`, want: []string{"transport.auth.client_id: ", "transport.auth.client_secret: "}},
		"token and auth": {transport: `{"token":"pat-x","auth":{"type":"oauth2","client_id":"a","client_secret":"b"}}`, want: []string{"transport.auth: token already"}},
		"own gateway":    {transport: `{"base_url":"https://gateway.example.com/hubspot","auth":{"type":"basic","username":"u","password":"p"}}`},
		"no credential":  {transport: `{"base_url":"https://gateway.example.com"}`, want: []string{"transport.token: is missing"}},
		"token endpoint": {transport: `{"auth":{"type":"oauth2","client_id":"a","client_secret":"b","token_url":"http://x.example.com/t"}}`, want: []string{"transport.auth.token_url: "}},
		"plain http":     {transport: `{"token":"pat-x","base_url":"http://api.example.com"}`, want: []string{"transport.base_url: "}},
		"loopback":       {transport: `{"token":"pat-x","base_url":"https://127.0.0.1"}`, want: []string{"transport.base_url: "}},
		"zone":           {transport: `{"token":"pat-x","time_zone":"Mars/Olympus"}`, want: []string{"transport.time_zone: "}},
		"unknown":        {transport: `{"token":"pat-x","tokn":"x"}`, want: []string{"transport.tokn: "}},
		"no mapping":     {transport: `[1]`, want: []string{"transport: must be a mapping", "transport.token: is missing", "transport.base_url: is missing"}},
		"connector":      {transport: `{"token":"pat-x"}`, connector: "deals", want: []string{`connectors[0].name: hubspot has no connector "deals"`}},
		"remote":         {transport: `{"token":"pat-x"}`, remote: `{"history":"sometimes","list":{}}`, want: []string{"connectors[0].remote.history: ", "connectors[0].remote.list: "}},
		"archived":       {transport: `{"token":"pat-x"}`, remote: `{"archived":"yes"}`, want: []string{"connectors[0].remote.archived: "}},
		"good connector": {transport: `{"token":"pat-x"}`, remote: `{"archived":"full","history":"always"}`},
	} {
		if x.connector == "" {
			x.connector = "contacts"
		}
		s := channels.Settings{
			Channel: "crm", Transport: json.RawMessage(x.transport), Network: &guard,
			Connectors: []channels.ConnectorSettings{{Name: x.connector, Remote: json.RawMessage(x.remote)}},
		}
		var got []string
		for _, p := range (hubspot.Type{}).Check(s) {
			got = append(got, p.Field+": "+p.Message)
			if p.Fix == "" {
				t.Errorf("%s: %s has no fix", name, p.Field)
			}
		}
		for _, w := range x.want {
			if !slices.ContainsFunc(got, func(g string) bool { return strings.HasPrefix(g, w) }) {
				t.Errorf("%s: got %q, want %q", name, got, w)
			}
		}
		if len(got) != len(x.want) {
			t.Errorf("%s: got %q, want %q", name, got, x.want)
		}
		ch, err := (hubspot.Type{}).Open(t.Context(), s)
		if (err == nil) != (len(x.want) == 0) {
			t.Errorf("%s: open: %v", name, err)
		}
		if err == nil {
			_ = ch.Close()
		}
	}
}

func TestSchemaKnowsTheSettings(t *testing.T) {
	t.Parallel()
	var s struct {
		Properties struct {
			Transport struct {
				Properties map[string]json.RawMessage `json:"properties"`
			} `json:"transport"`
		} `json:"properties"`
	}
	if err := json.Unmarshal((hubspot.Type{}).Info().Schema, &s); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"base_url", "token", "auth", "headers", "timeout", "rate_limit", "concurrency", "time_zone"} {
		if s.Properties.Transport.Properties[key] == nil {
			t.Errorf("the schema does not know transport.%s", key)
		}
	}
}

func TestStagesReachHubSpot(t *testing.T) {
	t.Parallel()
	a := open(t, emulator.Config{}, "")
	var names []string
	for _, s := range a.ch.Stages(t.Context()) {
		names = append(names, s.Name)
		if s.Err != nil || s.Message == "" {
			t.Errorf("%+v", s)
		}
	}
	if !slices.Equal(names, []string{"name", "connect"}) { // plain http has no tls
		t.Error(names)
	}
	if n := a.Calls(emulator.OpAny); n != 0 {
		t.Errorf("%d calls", n)
	}
}

func TestRefusesFieldsThatAreNoProperties(t *testing.T) {
	t.Parallel()
	a := open(t, emulator.Config{}, "")
	for _, f := range []string{"", "a,b", "address.city[0]", "näme", "x&limit=1"} {
		_, err := a.c.Reader(t.Context(), channels.ReadRequest{Fields: []string{f}})
		_, err2 := a.c.(channels.Getter).Get(t.Context(), []string{f}, []string{"1"})
		if fault.CodeOf(err) != fault.CodeConfig || fault.CodeOf(err2) != fault.CodeConfig {
			t.Errorf("%q: %v, %v", f, err, err2)
		}
	}
}

func TestMissingScopeNamesIt(t *testing.T) {
	t.Parallel()
	a := open(t, emulator.Config{}, "")
	a.SetScopes(emulator.ScopeWrite)
	err := a.ch.Ping(t.Context())
	if fault.Of(err) != fault.Permanent || fault.CodeOf(err) != fault.CodeAuth || !strings.Contains(fault.HintOf(err), emulator.ScopeRead) {
		t.Errorf("%v (%s)", err, fault.HintOf(err))
	}
	a.SetScopes(emulator.ScopeRead)
	if err := a.ch.Ping(t.Context()); err != nil {
		t.Error(err)
	}
	a.Revoke(true)
	if err := a.ch.Ping(t.Context()); fault.CodeOf(err) != fault.CodeAuth {
		t.Error(err)
	}
}

// The network guard and a time-out hold for this client too.
func TestReachesOnlyWhatIsAllowedAndInTime(t *testing.T) {
	t.Parallel()
	a := open(t, emulator.Config{}, "")
	s := settings(strings.Replace(a.url, "127.0.0.1", "localhost", 1), "", "")
	// A name that leads to a loopback address passes the check of the settings
	// only where some loopback address is allowed.
	s.Network = transport.Guard{Allow: []netipPrefix{prefix("::1/128")}}
	ch, err := typeWith(a.clock).Open(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ch.Close() })
	if err := ch.Ping(t.Context()); fault.CodeOf(err) != fault.CodeNetwork && fault.CodeOf(err) != fault.CodeUnreachable {
		t.Errorf("reached a refused address: %v", err)
	}
	if n := a.Calls(emulator.OpAny); n != 0 {
		t.Errorf("%d calls", n)
	}
	slow := connect(t, a.Portal, a.url, `,"timeout":"100ms"`, "")
	a.Inject(emulator.Slow(5 * time.Second))
	err = slow.ch.Ping(t.Context())
	if fault.Of(err) != fault.Retryable || fault.CodeOf(err) != fault.CodeUnreachable {
		t.Errorf("slow: %v", err)
	}
	noSecret(t, err)
}
