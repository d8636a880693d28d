package rest_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/tandem-sync/tandem/channels"
	"github.com/tandem-sync/tandem/channels/rest"
	"github.com/tandem-sync/tandem/transport"
)

// wholeRemote has every key there is.
const wholeRemote = `{
	"list": {"path": "/api/contacts", "method": "POST", "query": {"sort": "updated,id", "n": 5, "tag": ["a", "b"]}, "body": {"x": 1}, "records": "items",
		"page": {"by": "page", "param": "page", "size_param": "perPage", "size": 200, "total_at": "totalItems"},
		"since": {"query": "filter=(updated>='{time}')", "body": {"since": "{time}"}, "format": "2006-01-02 15:04:05.000Z"}},
	"id": "id", "modified": "updated",
	"deleted": {"path": "/deleted", "records": "ids"},
	"get": {"path": "/api/contacts/{id}", "record": ""},
	"create": {"method": "POST", "path": "/api/contacts", "wrap": "contact", "id": "contact.id"},
	"update": {"method": "PATCH", "path": "/api/contacts/{id}", "if_match": "etag"},
	"remove": {"method": "DELETE", "path": "/api/contacts/{id}", "if_match": "etag"}
}`

func compiledSchema(tb testing.TB) *jsonschema.Schema {
	tb.Helper()
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(string(rest.Type{}.Info().Schema)))
	if err != nil {
		tb.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("rest.json", doc); err != nil {
		tb.Fatal(err)
	}
	s, err := c.Compile("rest.json")
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

// bySchema says whether the schema accepts the settings.
func bySchema(tb testing.TB, schema *jsonschema.Schema, s channels.Settings) error {
	tb.Helper()
	remote := "null"
	if len(s.Connectors) > 0 {
		remote = string(s.Connectors[0].Remote)
	}
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(fmt.Sprintf(`{"transport":%s,"connectors":[{"name":"contacts","remote":%s}]}`, s.Transport, remote)))
	if err != nil {
		tb.Fatal(err)
	}
	return schema.Validate(doc)
}

func TestGoodSettings(t *testing.T) {
	t.Parallel()
	schema := compiledSchema(t)
	remotes := []string{
		wholeRemote, `{"list":{"path":"x"}}`, `{"list":{"path":"/x","since":{"format":"unix"}},"deleted":{"field":"a.b"}}`,
		`{"list":{"path":"/x","records":"v","page":{"by":"cursor","token_at":"p.next","param":"after"}}}`,
		`{"list":{"path":"/x","query":{"p":"{page}"},"page":{"by":"page"}},"id":"$key"}`,
	}
	for _, list := range kinds {
		remotes = append(remotes, `{"list":`+list+`}`)
	}
	for _, r := range remotes {
		s := settingsFor("https://api.example.com/v1", r, `"auth":{"type":"basic","username":"u","password":"p"}`, `"headers":{"X-A":"b"}`, `"timeout":"5s"`, `"rate_limit":"90/10s"`, `"concurrency":2`)
		if ps := (rest.Type{}).Check(s); len(ps) > 0 {
			t.Errorf("%s: %+v", r, ps)
		}
		if err := bySchema(t, schema, s); err != nil {
			t.Errorf("%s: the schema refuses it: %v", r, err)
		}
	}
}

func TestSettingsProblems(t *testing.T) {
	t.Parallel()
	schema := compiledSchema(t)
	list := func(s string) string { return `{"list":{"path":"/x","records":"items",` + s + `}}` }
	tests := []struct {
		remote string
		fields []string // below connectors[0].remote
		schema bool     // the schema finds it too
	}{
		{`{}`, []string{"list"}, true},
		{`null`, []string{"list"}, false},
		{`[]`, []string{"", "list"}, true},
		{`{"list":{}}`, []string{"list.path"}, true},
		{`{"list":{"records":"x"}}`, []string{"list.path"}, true},
		{`{"list":{"path":"https://evil.example/x"}}`, []string{"list.path"}, false},
		{`{"list":{"path":"//evil.example/x"}}`, []string{"list.path"}, false},
		{`{"list":{"path":"/x#y"}}`, []string{"list.path"}, false},
		{`{"list":{"path":"/x/{id}"}}`, []string{"list.path"}, false},
		{list(`"recods":"x"`), []string{"list.recods"}, true},
		{list(`"method":"PUT"`), []string{"list.method"}, true},
		{list(`"body":{}`), []string{"list.body"}, false},
		{list(`"method":"POST","body":"{"`), []string{"list.body"}, false},
		{list(`"method":"POST","body":7`), []string{"list.body"}, true},
		{list(`"query":{"a":{"b":1}}`), []string{"list.query.a"}, true},
		{list(`"query":{"a":"{time}"}`), []string{"list.since"}, false},
		{list(`"page":{}`), []string{"list.page.by"}, true},
		{list(`"page":{"by":"pages","param":"p"}`), []string{"list.page.by", "list.page.param"}, true},
		{list(`"page":{"by":"page"}`), []string{"list.page.param"}, false},
		{list(`"page":{"by":"offset"}`), []string{"list.page.param"}, false},
		{list(`"page":{"by":"cursor"}`), []string{"list.page.token_at", "list.page.token_param"}, false},
		{list(`"page":{"by":"next_url"}`), []string{"list.page.next_at"}, false},
		{list(`"page":{"by":"page","param":"p","token_at":"x"}`), []string{"list.page.token_at"}, false},
		{list(`"page":{"by":"link","next_at":"x"}`), []string{"list.page.next_at"}, false},
		{list(`"page":{"by":"page","param":"p","size_param":"s"}`), []string{"list.page.size"}, false},
		{list(`"page":{"by":"page","param":"p","size":0}`), []string{"list.page.size"}, true},
		{list(`"page":{"by":"page","param":"p","totalat":"x"}`), []string{"list.page.totalat"}, true},
		{`{"list":{"path":"/x","page":{"by":"page","param":"p","total_at":"total"}}}`, []string{"list.records"}, false},
		{list(`"since":{"query":"{time}"}`), []string{"list.since.query"}, true},
		{list(`"since":{"query":"a=b"}`), []string{"list.since.query"}, true},
		{list(`"since":{"query":"a={time}","format":"iso8601"}`), []string{"list.since.format"}, false},
		{list(`"since":{"query":"a={time}","format":"15:04"}`), []string{"list.since.format"}, false},
		{list(`"since":{"body":{"a":"{time}"}}`), []string{"list.since.body"}, false},
		{list(`"method":"POST","since":{"body":{"a":1}}`), []string{"list.since.body"}, false},
		{`{"list":{"path":"/x","records":"a..b"}}`, []string{"list.records"}, false},
		{`{"list":{"path":"/x"},"id":"a["}`, []string{"id"}, false},
		{`{"list":{"path":"/x"},"modified":"a.","idd":1}`, []string{"idd", "modified"}, true},
		{`{"list":{"path":"/x"},"update":{"path":"/x/{id}","if_match":"etag"}}`, []string{"update.if_match"}, false},
		{`{"list":{"path":"/x"},"get":{"path":"/x/{id}"},"update":{"path":"/x/{id}","if_match":"a..b"}}`, []string{"update.if_match"}, false},
		{`{"list":{"path":"/x"},"get":{"path":"/x/{id}"},"update":{"path":"/x/{id}","if_match":"etag"},"remove":{"path":"/x/{id}","if_match":"rev"}}`, []string{"remove.if_match"}, false},
		{`{"list":{"path":"/x"},"deleted":{}}`, []string{"deleted"}, true},
		{`{"list":{"path":"/x"},"deleted":{"path":"/d","field":"f"}}`, []string{"deleted.field"}, true},
		{`{"list":{"path":"/x"},"get":{"path":"/x"}}`, []string{"get.path"}, true},
		{`{"list":{"path":"/x"},"get":{"record":"x"}}`, []string{"get.path"}, true},
		{`{"list":{"path":"/x"},"update":{"path":"/x"}}`, []string{"update.path"}, false},
		{`{"list":{"path":"/x"},"create":{"method":"GET","path":"/x"}}`, []string{"create.method"}, true},
		{`{"list":{"path":"/x"},"create":{"warp":"x"}}`, []string{"create.path", "create.warp"}, true},
		{`{"list":{"path":"/x"},"remove":{"path":"/x/{id}","wrap":"x"}}`, []string{"remove.wrap"}, false},
	}
	for _, tt := range tests {
		s := settingsFor("https://api.example.com", tt.remote)
		var got []string
		for _, p := range (rest.Type{}).Check(s) {
			got = append(got, strings.TrimPrefix(strings.TrimPrefix(p.Field, "connectors[0].remote"), "."))
			if p.Message == "" || p.Fix == "" {
				t.Errorf("%s: %+v", tt.remote, p)
			}
		}
		slices.Sort(got)
		if !slices.Equal(got, tt.fields) {
			t.Errorf("%s: problems at %q, want %q", tt.remote, got, tt.fields)
		}
		if err := bySchema(t, schema, s); tt.schema && err == nil {
			t.Errorf("%s: the schema accepts it", tt.remote)
		}
	}
}

func TestSettingsAreCheckedTogether(t *testing.T) {
	t.Parallel()
	s := settingsFor("http://10.0.0.1", `{"list":{"path":"/x","page":{"by":"cursor"}}}`, `"tokn":"x"`)
	s.Connectors = append(s.Connectors, channels.ConnectorSettings{Name: "second", Remote: json.RawMessage(`{"lst":{}}`)})
	s.Network = transport.Guard{}
	var got []string
	for _, p := range (rest.Type{}).Check(s) {
		got = append(got, p.Field)
	}
	for _, want := range []string{"transport.base_url", "transport.tokn", "connectors[0].remote.list.page.token_at", "connectors[1].remote.list", "connectors[1].remote.lst"} {
		if !slices.Contains(got, want) {
			t.Errorf("no problem at %s: %v", want, got)
		}
	}
}

func TestNetworkMayBeMissingOrAPointer(t *testing.T) {
	t.Parallel()
	s := settingsFor("http://127.0.0.1:1", `{"list":{"path":"/x"}}`)
	g := s.Network.(transport.Guard)
	s.Network = &g
	if ps := (rest.Type{}).Check(s); len(ps) > 0 {
		t.Errorf("%+v", ps)
	}
	for _, network := range []any{nil, (*transport.Guard)(nil), "everything"} {
		s.Network = network
		if ps := (rest.Type{}).Check(s); len(ps) == 0 {
			t.Errorf("network %v opens loopback", network)
		}
	}
}

func TestRegistered(t *testing.T) {
	t.Parallel()
	if _, err := channels.Default.Get("rest"); err != nil {
		t.Error(err)
	}
}

func TestSecretsStayOutOfErrors(t *testing.T) {
	t.Parallel()
	s := settingsFor("https://u:c4nary-secret@api.example.com", `{"list":{"path":"/x"}}`, `"token":"c4nary-secret\n"`, `"headers":{"X-Key":"c4nary-secret\n"}`)
	_, err := rest.Type{}.Open(t.Context(), s)
	text := fmt.Sprintf("%v %+v", err, (rest.Type{}).Check(s))
	if err == nil || strings.Contains(text, "c4nary") {
		t.Errorf("%s", text)
	}
}

func TestWritingSettings(t *testing.T) {
	t.Parallel()
	schema := compiledSchema(t)
	good := []string{
		`"create":{"path":"/x","idempotency":"Idempotency-Key","settle":"0s"},"find":{"query":"filter=(email='{email}')","escape":"double"}`,
		`"create":{"path":"/x"},"find":{"records":"hits","query":["email={email}","q=name:{name} AND city:{address.city}"]}`,
		`"update":{"method":"PUT","path":"/x/{id}","wrap":"contact"},"remove":{"method":"POST","path":"/x/{id}/archive"}`,
	}
	for _, more := range good {
		s := settingsFor("https://api.example.com", `{"list":{"path":"/x","records":"items"},`+more+`}`)
		if ps := (rest.Type{}).Check(s); len(ps) > 0 {
			t.Errorf("%s: %+v", more, ps)
		}
		if err := bySchema(t, schema, s); err != nil {
			t.Errorf("%s: the schema refuses it: %v", more, err)
		}
	}
	bad := []struct {
		more     string
		field    string
		bySchema bool
	}{
		{`"create":{"path":"/x/{id}"}`, "create.path", false},
		{`"create":{"path":"/x","method":"DELETE"}`, "create.method", true},
		{`"create":{"path":"/x","idempotency":"Authorization"}`, "create.idempotency", false},
		{`"create":{"path":"/x","idempotency":"no header"}`, "create.idempotency", true},
		{`"create":{"path":"/x","settle":"2h"}`, "create.settle", false},
		{`"update":{"path":"/x/{id}","settle":"2s"}`, "update.settle", true},
		{`"update":{"path":"/x/{id}"},"id":"$key"`, "id", false},
		{`"find":{}`, "find.query", true},
		{`"find":{"query":"email"}`, "find.query", true},
		{`"find":{"query":"email=x"}`, "find.query", true},
		{`"find":{"query":"=x{email}"}`, "find.query", true},
		{`"find":{"query":"a={b..c}"}`, "find.query", false},
		{`"find":{"query":["email={email}",7]}`, "find.query", true},
		{`"find":{"query":"email={email}","escape":"quote"}`, "find.escape", true},
		{`"find":{"query":"email={email}","records":"a["}`, "find.records", false},
	}
	for _, c := range bad {
		s := settingsFor("https://api.example.com", `{"list":{"path":"/x","records":"items"},`+c.more+`}`)
		ps := (rest.Type{}).Check(s)
		if len(ps) == 0 || ps[0].Field != "connectors[0].remote."+c.field || ps[0].Message == "" || ps[0].Fix == "" {
			t.Errorf("%s: %+v, want one about %s", c.more, ps, c.field)
		}
		if err := bySchema(t, schema, s); (err != nil) != c.bySchema {
			t.Errorf("%s: by the schema: %v, want an error %t", c.more, err, c.bySchema)
		}
	}
	post := settingsFor("https://api.example.com", `{"list":{"path":"/x","method":"POST"},"find":{"query":"email={email}"}}`)
	if ps := (rest.Type{}).Check(post); len(ps) != 1 || ps[0].Field != "connectors[0].remote.find.path" {
		t.Errorf("a look-up beside a listing by POST: %+v", ps)
	}
}

func TestSettingsAgainstWhatIsWritten(t *testing.T) {
	t.Parallel()
	all := `,"create":{"path":"/x"},"update":{"path":"/x/{id}"},"remove":{"path":"/x/{id}"}`
	tests := []struct {
		more   string
		want   channels.ConnectorWrites
		fields []string
	}{
		{all, channels.ConnectorWrites{Create: true, Update: true, Delete: true, Fields: []string{"email", "address.city", `["odd.name"]`}}, nil},
		{"", channels.ConnectorWrites{}, nil},
		{"", channels.ConnectorWrites{Create: true, Update: true, Delete: true}, []string{"remote", "remote", "remote"}},
		{all, channels.ConnectorWrites{Fields: []string{"tags[0]"}}, []string{"mapping"}},
		{all, channels.ConnectorWrites{Fields: []string{"$key"}}, []string{"mapping"}},
		{all, channels.ConnectorWrites{Fields: []string{"address", "address.city"}}, []string{"mapping"}},
		{all, channels.ConnectorWrites{Fields: []string{"status", "status"}}, nil},
	}
	for _, c := range tests {
		s := settingsFor("https://api.example.com", `{"list":{"path":"/x"}`+c.more+`}`)
		s.Connectors[0].Writes = &c.want
		var got []string
		for _, p := range (rest.Type{}).Check(s) {
			got = append(got, strings.TrimPrefix(p.Field, "connectors[0]."))
			if p.Message == "" || p.Fix == "" {
				t.Errorf("%+v", p)
			}
		}
		if !slices.Equal(got, c.fields) {
			t.Errorf("%s %+v: %v, want %v", c.more, c.want, got, c.fields)
		}
	}
}
