package rest_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/tandem-sync/tandem/channels"
	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/sync/record"
	tt "github.com/tandem-sync/tandem/transport/transporttest"
)

func finderTo(t *testing.T, srv *tt.Server, remote string) channels.Finder {
	t.Helper()
	f, ok := open(t, settingsFor(srv.URL, remote)).(channels.Finder)
	if !ok {
		t.Fatal("no finder")
	}
	return f
}

// TestFindAsks holds the query against what is looked for.
func TestFindAsks(t *testing.T) {
	t.Parallel()
	fields := []string{"name", "email", "address.city"}
	tests := []struct {
		find     string
		by       []int
		identity []record.Value
		want     string // the query, decoded; "" it cannot look for that
	}{
		{`"query":"email={email}"`, []int{1}, []record.Value{record.T("a+b &c@x")}, "email=a+b &c@x"},
		{`"query":"filter=(email='{email}')"`, []int{1}, []record.Value{record.T(`o'b\x") {page}{time}`)}, `filter=(email='o\'b\\x") {page}{time}')`},
		{`"query":"filter=(email='{email}')","escape":"double"`, []int{1}, []record.Value{record.T(`o'b\`)}, `filter=(email='o''b\')`},
		{`"query":"where={\"email\":\"{email}\"}"`, []int{1}, []record.Value{record.T(`a"b'`)}, `where={"email":"a\"b'"}`},
		{`"query":["q=mail:{email}","q=name:{name} AND city:{address.city}"]`, []int{2, 0}, []record.Value{record.T("Rome"), record.T("Ann")}, "q=name:Ann AND city:Rome"},
		{`"query":["q=mail:{email}","q=name:{name} AND city:{address.city}"]`, []int{0}, []record.Value{record.T("Ann")}, ""},
		{`"query":"n={name}"`, []int{0, 1}, []record.Value{record.N("12345678901234567890"), record.T("x")}, "n=12345678901234567890"},
	}
	for _, c := range tests {
		srv := tt.New(t, nil)
		srv.Handle("/search", tt.JSON(`{"hits":[]}`))
		f := finderTo(t, srv, `{"list":{"path":"/c","method":"POST"},"find":{"path":"/search","records":"hits",`+c.find+`}}`)
		got, err := f.Find(t.Context(), fields, c.by, [][]record.Value{c.identity})
		if can, ok := f.(channels.FindsBy); !ok || can.FindsBy(pick(fields, c.by)) != (c.want != "") {
			t.Errorf("%s: FindsBy is not as Find", c.find)
		}
		if c.want == "" {
			if fault.CodeOf(err) != fault.CodeUsage || len(srv.Seen()) > 0 {
				t.Errorf("%s: error %v", c.find, err)
			}
			continue
		}
		if err != nil || len(got) != 1 || len(got[0]) != 0 || len(srv.Seen()) != 1 {
			t.Fatalf("%s: %v, error %v", c.find, got, err)
		}
		if q, err := url.QueryUnescape(srv.Seen()[0].Query); err != nil || q != c.want {
			t.Errorf("%s: asked %s, want %s", c.find, q, c.want)
		}
	}
}

func pick(fields []string, by []int) (out []string) {
	for _, i := range by {
		out = append(out, fields[i])
	}
	return out
}

// TestFindBelievesOnlyEqualRecords: a remote may look wider than it was asked,
// or not know the query at all.
func TestFindBelievesOnlyEqualRecords(t *testing.T) {
	t.Parallel()
	items := []map[string]any{
		{"id": "1", "email": "ann@x.org"},
		{"id": "2", "email": "ANN@X.org "},
		{"id": "3", "email": "joann@x.org"},
		{"id": "4"},
		{"id": "5", "email": nil},
		{"id": "6", "email": 7},
		{"id": "7", "email": "7.0"},
		{"id": "8", "email": "ann@x.org", "gone": true},
	}
	body, err := json.Marshal(map[string]any{"items": items})
	if err != nil {
		t.Fatal(err)
	}
	srv := tt.New(t, nil)
	srv.Handle("/c", tt.JSON(string(body)))
	f := finderTo(t, srv, `{"list":{"path":"/c","records":"items"},"deleted":{"field":"gone"},"find":{"query":"email={email}"}}`)
	got, err := f.Find(t.Context(), []string{"email"}, []int{0}, [][]record.Value{
		{record.T("ann@x.org")}, {record.N("7")}, {record.T("")}, {record.NullValue}, {}, {record.T("nobody")},
	})
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"1 2", "6 7", "", "", "", ""} {
		if ids := idsOf([]channels.Page{{Records: got[i]}}); ids != want {
			t.Errorf("identity %d: %q, want %q", i, ids, want)
		}
	}
}

// TestFindInAListThatDoesNotEnd: what looks like the whole listing is an error,
// never "there is none".
func TestFindInAListThatDoesNotEnd(t *testing.T) {
	t.Parallel()
	data, _ := filled(30)
	list := `"list":{"path":"/page","records":"items","page":{"by":"page","param":"page","size_param":"size","size":4}}`
	f := finderTo(t, tt.New(t, data), `{`+list+`,"find":{"query":"email={email}"}}`)
	_, err := f.Find(t.Context(), []string{"email"}, []int{0}, [][]record.Value{{record.T("nobody")}})
	wantFault(t, err, fault.Permanent, fault.CodeConfig)
	few, _ := filled(9)
	f = finderTo(t, tt.New(t, few), `{`+list+`,"find":{"query":"email={email}"}}`)
	got, err := f.Find(t.Context(), []string{"email"}, []int{0}, [][]record.Value{{record.T("r008@example.com")}})
	if err != nil || len(got[0]) != 1 || got[0][0].ID != "r008" {
		t.Errorf("%+v, error %v", got, err)
	}
}

func TestFindFails(t *testing.T) {
	t.Parallel()
	srv := tt.New(t, nil)
	srv.Handle("/c", tt.Status(http.StatusBadRequest))
	f := finderTo(t, srv, `{"list":{"path":"/c"},"find":{"query":"email={email}"}}`)
	var identities [][]record.Value
	for i := range 50 {
		identities = append(identities, []record.Value{record.T(fmt.Sprintf("%d@x", i))})
	}
	_, err := f.Find(t.Context(), []string{"email"}, []int{0}, identities)
	wantFault(t, err, fault.Permanent, "refused")
	if n := len(srv.Seen()); n > 20 {
		t.Errorf("%d calls after the first failure", n)
	}
}

// TestExisting says which record a refused create has met.
func TestExisting(t *testing.T) {
	t.Parallel()
	const (
		unique = `{"status":400,"message":"Failed.","data":{"email":{"code":"validation_not_unique","message":"Must be unique."}}}`
		get    = `,"get":{"path":"/c/{id}"}`
		find   = `,"find":{"query":"email={email}"}`
	)
	tests := []struct {
		name, more string
		refusal    tt.Step
		found      string // what the look-up gives; "" the look-up fails
		outcome    channels.Outcome
		id         string
	}{
		{"the refusal names it", get, tt.Answer(409, `{"id":"7"}`), `[]`, channels.Exists, "7"},
		{"the id is the error's own", get, tt.Answer(409, `{"id":"err-1"}`), `[]`, channels.Exists, ""},
		{"nobody can confirm it", "", tt.Answer(409, `{"id":"7"}`), `[]`, channels.Exists, ""},
		{"found by its identity", find, tt.Answer(409, `{"id":"7"}`), `[{"id":"9","email":"a@x"}]`, channels.Exists, "9"},
		{"two have it", find, tt.Status(409), `[{"id":"8","email":"a@x"},{"id":"9","email":"a@x"}]`, channels.Exists, ""},
		{"not unique, found", find, tt.Answer(400, unique), `[{"id":"9","email":"A@x"}]`, channels.Exists, "9"},
		{"not unique, not found", find, tt.Answer(400, unique), `[]`, channels.Refused, ""},
		{"not unique, nobody looks", get, tt.Answer(400, unique), `[]`, channels.Refused, ""},
		{"the look-up fails", find, tt.Answer(400, unique), "", channels.NotSent, ""},
	}
	for _, c := range tests {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			srv := tt.New(t, nil)
			srv.Handle("/new", c.refusal)
			srv.Handle("/c/7", tt.JSON(`{"id":"7","email":"a@x"}`))
			srv.Handle("/c", tt.JSON(c.found))
			if c.found == "" {
				srv.Handle("/c", tt.Status(503, "Retry-After", "60"))
			}
			w := writerTo(t, srv, `{"list":{"path":"/c"},"create":{"path":"/new"}`+c.more+`}`)
			got, err := w.Write(t.Context(), []string{"email"}, []channels.Order{createOrder(1, record.T("a@x"))})
			if len(got) != 1 || got[0].Outcome != c.outcome || got[0].ID != c.id || (err != nil) != (c.found == "") {
				t.Fatalf("%+v, error %v; want %s %q", got, err, c.outcome, c.id)
			}
			if c.outcome == channels.Refused && !strings.Contains(got[0].Err.Error(), "Must be unique.") {
				t.Errorf("%v", got[0].Err)
			}
		})
	}
}
