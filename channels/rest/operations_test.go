package rest_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/tandem-sync/tandem/channels"
	"github.com/tandem-sync/tandem/channels/rest"
	"github.com/tandem-sync/tandem/fault"
	tt "github.com/tandem-sync/tandem/transport/transporttest"
)

const operations = `[
	{"name": "find", "path": "/contacts", "query": {"email": "{email}", "limit": "{limit}", "archived": "{archived}", "fixed": "x{y}"},
		"params": [{"name": "email", "required": true}, {"name": "limit", "type": "number", "default": 10}, {"name": "archived", "type": "boolean"}], "answer": "items[0]"},
	{"name": "get", "path": "/contacts/{id}?v={version}", "params": [{"name": "id", "required": true}, {"name": "version", "default": "a b"}]},
	{"name": "note", "method": "POST", "path": "/notes", "body": {"text": "about {who}: {text}", "who": "{who}", "stars": "{stars}", "extra": "{extra}", "left": ["{who}", "{extra}"]},
		"params": [{"name": "who", "required": true}, {"name": "text", "default": "nothing"}, {"name": "stars", "type": "number"}, {"name": "extra", "type": "json"}], "summary": "Leaves a note"},
	{"name": "put", "method": "PUT", "path": "/flag", "body": "{doc}", "params": [{"name": "doc", "type": "json", "required": true}]},
	{"name": "delete", "method": "DELETE", "path": "/flag"}
]`

func operator(tb testing.TB, address, list string, more ...string) channels.Operator {
	tb.Helper()
	s := settingsFor(address, "", more...)
	s.Connectors, s.Operations = nil, json.RawMessage(list)
	ch, err := rest.Type{}.Open(tb.Context(), s)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = ch.Close() })
	return ch.(channels.Operator)
}

// callOperation does what a caller has to do: find, fill, call.
func callOperation(tb testing.TB, o channels.Operator, name string, params map[string]string) (string, error) {
	tb.Helper()
	op, err := channels.FindOperation(o.Operations(), name)
	if err != nil {
		return "", err
	}
	filled, err := op.Fill(params)
	if err != nil {
		return "", err
	}
	answer, err := o.Call(tb.Context(), name, filled)
	return string(answer), err
}

func TestOperations(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		params map[string]string
		answer tt.Step
		want   string
		method string
		target string
		body   string
	}{
		{"find", map[string]string{"email": "a&b=c@x"}, tt.JSON(`{"items":[{"id":12345678901234567890,"a":1.50}]}`), `{"id":12345678901234567890,"a":1.50}`, "GET", "/contacts?email=a%26b%3Dc%40x&fixed=x%7By%7D&limit=10", ""},
		{"find", map[string]string{"email": "{limit}", "archived": "true", "limit": "5"}, tt.JSON(`{"items":[null]}`), `null`, "GET", "/contacts?archived=true&email=%7Blimit%7D&fixed=x%7By%7D&limit=5", ""},
		{"get", map[string]string{"id": "a/../b?c#d"}, tt.JSON("[1,2]"), "[1,2]", "GET", "/contacts/a%2F..%2Fb%3Fc%23d?v=a+b", ""},
		{"get", map[string]string{"id": "7"}, tt.Answer(200, "plain text", "Content-Type", "text/plain"), `"plain text"`, "GET", "/contacts/7?v=a+b", ""},
		{"note", map[string]string{"who": `"Ann"`}, tt.Status(204), "null", "POST", "/notes", `{"left":["\"Ann\""],"text":"about \"Ann\": nothing","who":"\"Ann\""}`},
		{"note", map[string]string{"who": "Bo", "stars": "9007199254740993", "extra": `{"b": [1]}`}, tt.JSON("true"), "true", "POST", "/notes", `{"extra":{"b":[1]},"left":["Bo",{"b":[1]}],"stars":9007199254740993,"text":"about Bo: nothing","who":"Bo"}`},
		{"put", map[string]string{"doc": "[1]"}, tt.JSON("{}"), "{}", "PUT", "/flag", "[1]"},
		{"delete", nil, tt.Status(204), "null", "DELETE", "/flag", ""},
	}
	for _, c := range tests {
		srv := tt.New(t, nil)
		srv.Inject(c.answer)
		got, err := callOperation(t, operator(t, srv.URL, operations), c.name, c.params)
		if err != nil || got != c.want {
			t.Errorf("%s %v: %s %v, want %s", c.name, c.params, got, err, c.want)
			continue
		}
		seen := srv.Seen()[0]
		path, query, _ := strings.Cut(c.target, "?")
		plain, err := url.PathUnescape(path)
		if err != nil || seen.Method != c.method || seen.Path != plain || seen.Query != query || seen.Body != c.body {
			t.Errorf("%s: the remote saw %s %s?%s %s", c.name, seen.Method, seen.Path, seen.Query, seen.Body)
		}
	}
}

func TestOperationsStayBelowTheirPath(t *testing.T) {
	t.Parallel()
	srv := tt.New(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = fmt.Fprintf(w, "%q", r.URL.EscapedPath()) }))
	o := operator(t, srv.URL, operations)
	if got, err := callOperation(t, o, "get", map[string]string{"id": "../admin"}); err != nil || got != `"/contacts/..%2Fadmin"` {
		t.Errorf("%s %v", got, err)
	}
	for _, id := range []string{"", ".", ".."} {
		_, err := callOperation(t, o, "get", map[string]string{"id": id})
		wantFault(t, err, fault.Permanent, fault.CodeUsage)
	}
}

func TestOperationsRefuseBadInput(t *testing.T) {
	t.Parallel()
	srv := tt.New(t, nil)
	o := operator(t, srv.URL, operations)
	tests := []struct {
		op     string
		params map[string]string
		code   string
		hint   string
	}{
		{"fnd", nil, fault.CodeNotFound, "did you mean find?"},
		{"nothing_like_it", nil, fault.CodeNotFound, "delete, find, get, note, put"},
		{"find", nil, fault.CodeUsage, "--param email=VALUE"},
		{"find", map[string]string{"email": "x", "limt": "1"}, fault.CodeUsage, "did you mean limit?"},
		{"find", map[string]string{"email": "x", "limit": "ten"}, fault.CodeUsage, "42"},
		{"find", map[string]string{"email": "x", "limit": " 1"}, fault.CodeUsage, "42"},
		{"find", map[string]string{"email": "x", "limit": "1,2"}, fault.CodeUsage, "42"},
		{"find", map[string]string{"email": "x", "archived": "yes"}, fault.CodeUsage, "true or false"},
		{"find", map[string]string{"email": "a\x00b"}, fault.CodeUsage, "NUL"},
		{"find", map[string]string{"email": "a\xff"}, fault.CodeUsage, "UTF-8"},
		{"find", map[string]string{"email": strings.Repeat("x", channels.MaxParam+1)}, fault.CodeUsage, "shorten"},
		{"put", map[string]string{"doc": "{"}, fault.CodeUsage, `{"a":1}`},
		{"delete", map[string]string{"id": "1"}, fault.CodeUsage, "no parameters"},
	}
	for _, c := range tests {
		_, err := callOperation(t, o, c.op, c.params)
		if fault.CodeOf(err) != c.code || !strings.Contains(fault.HintOf(err), c.hint) {
			t.Errorf("%s %.60v: %v, hint %q; want %s, hint %q", c.op, c.params, err, fault.HintOf(err), c.code, c.hint)
		}
	}
	if n := len(srv.Seen()); n > 0 {
		t.Errorf("%d requests went out", n)
	}
}

func TestOperationsAreRepeatedOnlyWhereThatIsHarmless(t *testing.T) {
	t.Parallel()
	for name, calls := range map[string]int{"find": 3, "put": 3, "delete": 3, "note": 1} {
		srv := tt.New(t, nil)
		srv.Inject(tt.Status(503), tt.Status(503), tt.JSON(`{"items":[1]}`))
		params := map[string]map[string]string{"find": {"email": "x"}, "put": {"doc": "1"}, "note": {"who": "x"}}[name]
		_, err := callOperation(t, operator(t, srv.URL, operations), name, params)
		if n := len(srv.Seen()); n != calls || (err == nil) != (calls == 3) {
			t.Errorf("%s: %d requests, %v", name, n, err)
		}
		if calls == 1 && !strings.Contains(fault.HintOf(err), "not known") {
			t.Errorf("%s: hint %q", name, fault.HintOf(err))
		}
	}
}

func TestOperationsAnswers(t *testing.T) {
	t.Parallel()
	const secret = "operation-secret-77"
	for _, c := range []struct {
		step tt.Step
		code string
	}{
		{tt.HTML(), fault.CodeBadAnswer},
		{tt.Answer(200, "no json"), fault.CodeBadAnswer},
		{tt.JSON(`{"other":1}`), fault.CodeBadAnswer},
		{tt.JSON(`{"items":[]}`), fault.CodeBadAnswer},
		{tt.Status(404), fault.CodeNotFound},
		{tt.Answer(403, secret), fault.CodeAuth},
	} {
		srv := tt.New(t, nil)
		srv.Handle("/contacts", c.step)
		_, err := callOperation(t, operator(t, srv.URL, operations, `"token":"`+secret+`"`), "find", map[string]string{"email": "x"})
		if fault.CodeOf(err) != c.code || strings.Contains(err.Error(), secret) {
			t.Errorf("%v, want %s", err, c.code)
		}
	}
	srv := tt.New(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = fmt.Fprintf(w, `{"items":[{"you sent":%q}]}`, r.Header.Get("Authorization"))
	}))
	got, err := callOperation(t, operator(t, srv.URL, operations, `"token":"`+secret+`"`), "find", map[string]string{"email": "x"})
	if err != nil || got != `{"you sent":"Bearer ***"}` {
		t.Errorf("%s %v", got, err)
	}
}

func TestOperationsSettings(t *testing.T) {
	t.Parallel()
	schema := compiledSchema(t)
	bySchema := func(list string) error {
		doc, err := jsonschema.UnmarshalJSON(strings.NewReader(list))
		if err != nil {
			t.Fatal(err)
		}
		return schema.Validate(map[string]any{"operations": doc})
	}
	if err := bySchema(operations); err != nil {
		t.Error(err)
	}
	for _, c := range []struct {
		list, field string
		schema      bool // the schema finds it, too
	}{
		{`{"ping":{"path":"/ping"}}`, "operations", true},
		{`[{"path":"/ping"}]`, "operations[0].name", true},
		{`[{"name":"a b","path":"/ping"}]`, "operations[0].name", true},
		{`[{"name":"a"}]`, "operations[0].path", true},
		{`[{"name":"a","path":"https://x/"}]`, "operations[0].path", false},
		{`[{"name":"a","path":"/{id}"}]`, "operations[0].path", false},
		{`[{"name":"a","path":"/{id}","params":[{"name":"id"}]}]`, "operations[0].params[0]", false},
		{`[{"name":"a","path":"/x","params":[{"name":"id"}]}]`, "operations[0].params[0].name", false},
		{`[{"name":"a","path":"/{id}","params":[{"name":"id","required":true},{"name":"id","required":true}]}]`, "operations[0].params[1].name", false},
		{`[{"name":"a","path":"/{id}","params":[{"name":"id","required":true,"default":"1"}]}]`, "operations[0].params[0].default", false},
		{`[{"name":"a","path":"/{id}","params":[{"name":"id","type":"number","default":"x"}]}]`, "operations[0].params[0].default", false},
		{`[{"name":"a","path":"/{id}","params":[{"name":"id","type":"int","required":true}]}]`, "operations[0].params[0].type", true},
		{`[{"name":"a","path":"/x","params":{"id":1}}]`, "operations[0].params", true},
		{`[{"name":"a","path":"/x","method":"get"}]`, "operations[0].method", true},
		{`[{"name":"a","path":"/x","body":{}}]`, "operations[0].body", false},
		{`[{"name":"a","path":"/x","answer":"a..b"}]`, "operations[0].answer", false},
		{`[{"name":"a","path":"/x","answr":"a"}]`, "operations[0].answr", true},
		{`[{"name":"a","path":"/x"},{"name":"a","path":"/y"}]`, "operations[1].name", false},
	} {
		s := settingsFor("https://a.example", "")
		s.Connectors, s.Operations = nil, json.RawMessage(c.list)
		problems := rest.Type{}.Check(s)
		if len(problems) != 1 || problems[0].Field != c.field || problems[0].Message == "" || problems[0].Fix == "" {
			t.Errorf("%s: %+v, want one problem at %s", c.list, problems, c.field)
		}
		if err := bySchema(c.list); (err != nil) != c.schema {
			t.Errorf("%s: the schema says %v", c.list, err)
		}
	}
}

func TestPingWithoutConnectors(t *testing.T) {
	t.Parallel()
	for status, code := range map[int]string{200: "", 404: "", 405: "", 401: fault.CodeAuth, 403: fault.CodeAuth} {
		srv := tt.New(t, nil)
		srv.Handle("/", tt.Status(status))
		ch, ok := operator(t, srv.URL, operations).(channels.Channel)
		if !ok {
			t.Fatal("no channel")
		}
		if err := ch.Ping(t.Context()); fault.CodeOf(err) != code {
			t.Errorf("%d: %v, want %q", status, err, code)
		}
	}
}
