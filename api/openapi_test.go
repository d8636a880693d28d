package api_test

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/tandem-sync/tandem/api"
	"github.com/tandem-sync/tandem/store"
)

// document is what of the description is looked at.
type document struct {
	raw   []byte
	Paths map[string]map[string]struct {
		OperationID string
		Summary     string
		Parameters  []struct{ Name, In string }
		Responses   map[string]struct {
			Content map[string]struct {
				Schema struct {
					Ref string `json:"$ref"`
				}
			}
		}
	}
	Components struct {
		Schemas         map[string]json.RawMessage
		SecuritySchemes map[string]json.RawMessage
	}
}

func openAPI(t *testing.T, w *world) document {
	t.Helper()
	code, _, b := w.request(http.MethodGet, "/api/v1/openapi.json", "", set("Authorization", ""))
	if code != http.StatusOK {
		t.Fatalf("%d %s", code, b)
	}
	d := document{raw: b}
	if err := json.Unmarshal(b, &d); err != nil {
		t.Fatal(err)
	}
	return d
}

// TestOpenAPIIsSound: every reference leads somewhere, every operation has a
// name of its own, its parameters, a success and the refusal without a token.
func TestOpenAPIIsSound(t *testing.T) {
	t.Parallel()
	d := openAPI(t, newWorld(t))
	for _, m := range regexp.MustCompile(`"\$ref":\s*"([^"]+)"`).FindAllSubmatch(d.raw, -1) {
		name, ok := strings.CutPrefix(string(m[1]), "#/components/schemas/")
		if _, there := d.Components.Schemas[name]; !ok || !there {
			t.Errorf("reference %s leads nowhere", m[1])
		}
	}
	if len(d.Components.SecuritySchemes) == 0 {
		t.Error("it does not say how to authenticate")
	}
	ids, inPath := map[string]string{}, regexp.MustCompile(`\{([a-z]+)\}`)
	for path, methods := range d.Paths {
		for method, op := range methods {
			where := method + " " + path
			if other, twice := ids[op.OperationID]; op.OperationID == "" || twice || op.Summary == "" {
				t.Errorf("%s: id %q (also of %q), summary %q", where, op.OperationID, other, op.Summary)
			}
			ids[op.OperationID] = where
			declared := map[string]bool{}
			for _, p := range op.Parameters {
				declared[p.In+" "+p.Name] = true
			}
			for _, m := range inPath.FindAllStringSubmatch(path, -1) {
				if !declared["path "+m[1]] {
					t.Errorf("%s does not declare %s", where, m[1])
				}
			}
			success := false
			for code := range op.Responses {
				success = success || code[0] == '2'
			}
			if _, refused := op.Responses["401"]; !success || !refused {
				t.Errorf("%s: answers %v", where, op.Responses)
			}
		}
	}
}

// TestAnswersAreAsDescribed holds real answers, problems included, against the
// schemas that describe them.
func TestAnswersAreAsDescribed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := openAPI(t, w)
	parsed, err := jsonschema.UnmarshalJSON(bytes.NewReader(d.raw))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("mem:openapi.json", parsed); err != nil {
		t.Fatal(err)
	}
	w.write(func(ctx context.Context, tx *store.Tx) error {
		_, err := tx.Park(ctx, []store.Parked{{
			Kind: store.ParkedRecord, ChannelID: w.crm, ConnectorID: w.cons[0].ID, RemoteID: "7", Reason: "bad_value", Message: "m", Payload: json.RawMessage(`{"a":1}`),
		}})
		if err == nil {
			_, err = tx.AddConflicts(ctx, []store.Conflict{w.conflict("1", "email")})
		}
		return err
	})
	for _, call := range []struct {
		method, path, route, body string
		status                    string
	}{
		{"POST", "/channels/crm/sync", "/channels/{name}/sync", `{"mode":"full"}`, "202"},
		{"GET", "/channels", "/channels", "", "200"},
		{"GET", "/channels/crm", "/channels/{name}", "", "200"},
		{"POST", "/channels/crm/test", "/channels/{name}/test", "", "200"},
		{"GET", "/runs", "/runs", "", "200"},
		{"GET", "/runs/1", "/runs/{id}", "", "200"},
		{"GET", "/parked", "/parked", "", "200"},
		{"GET", "/parked/1", "/parked/{id}", "", "200"},
		{"POST", "/runs/1/cancel", "/runs/{id}/cancel", "", "202"},
		{"POST", "/channels/crm/reverse-sync", "/channels/{name}/reverse-sync", `{"local_ids":["1"]}`, "202"},
		{"GET", "/channels/crm/connectors/contacts/records?local_id=1", "/channels/{name}/connectors/{connector}/records", "", "200"},
		{"GET", "/conflicts", "/conflicts", "", "200"},
		{"GET", "/conflicts/1", "/conflicts/{id}", "", "200"},
		{"POST", "/conflicts/resolve", "/conflicts/resolve", `{"winner":"local","channel":"crm"}`, "200"},
		{"POST", "/conflicts/1/resolve", "/conflicts/{id}/resolve", `{"winner":"local"}`, "202"},
		{"POST", "/runs/1/retry", "/runs/{id}/retry", "", "202"},
		{"POST", "/runs/1/undo", "/runs/{id}/undo", `{"dry_run":true}`, "200"},
		{"GET", "/runs/99", "/runs/{id}", "", "404"},
		{"POST", "/runs/1/cancel", "/runs/{id}/cancel", "", "409"},
		{"GET", "/runs?limit=501", "/runs", "", "422"},
	} {
		code, h, b := w.request(call.method, "/api/v1"+call.path, call.body)
		if got := http.StatusText(code); itoa(code) != call.status {
			t.Errorf("%s %s: %d %s %s, want %s", call.method, call.path, code, got, b, call.status)
			continue
		}
		media, _, _ := strings.Cut(h.Get("Content-Type"), ";")
		ref := d.Paths["/api/v1"+call.route][strings.ToLower(call.method)].Responses[call.status].Content[media].Schema.Ref
		schema, err := c.Compile("mem:openapi.json" + ref)
		if err != nil || ref == "" {
			t.Errorf("%s %s: no schema for %s as %s (%v)", call.method, call.path, call.status, media, err)
			continue
		}
		v, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		if err := schema.Validate(v); err != nil {
			t.Errorf("%s %s: %v\n%s", call.method, call.path, err, b)
		}
	}
}

func itoa(n int) string {
	return string(rune('0'+n/100)) + string(rune('0'+n/10%10)) + string(rune('0'+n%10))
}

// TestPagesOfListsAreBounded: a page is as long as was asked for, 500 at most,
// and says where the next begins.
func TestPagesOfListsAreBounded(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for range 5 {
		w.want(http.StatusAccepted, http.MethodPost, "/api/v1/channels/crm/sync", `{"remote_ids":["1"],"flags":["dry_run"]}`, nil)
	}
	seen := map[int64]bool{}
	path := "/api/v1/runs?limit=2"
	for pages := 0; ; pages++ {
		var p api.RunPage
		w.want(http.StatusOK, http.MethodGet, path, "", &p)
		if len(p.Runs) > 2 || pages > 5 {
			t.Fatalf("page %d has %d runs", pages, len(p.Runs))
		}
		for _, r := range p.Runs {
			if seen[r.ID] {
				t.Errorf("run %d comes twice", r.ID)
			}
			seen[r.ID] = true
		}
		if p.Next == nil {
			break
		}
		path = "/api/v1/runs?limit=2&before=" + jsonNumber(*p.Next)
	}
	var all api.RunPage
	w.want(http.StatusOK, http.MethodGet, "/api/v1/runs?limit=500", "", &all)
	if len(all.Runs) != len(seen) || len(seen) < 3 {
		t.Errorf("%d runs in pages, %d at once", len(seen), len(all.Runs))
	}
	for _, bad := range []string{"501", "0", "-1", "x"} {
		w.problem(http.StatusUnprocessableEntity, http.MethodGet, "/api/v1/runs?limit="+bad, "")
		w.problem(http.StatusUnprocessableEntity, http.MethodGet, "/api/v1/parked?limit="+bad, "")
	}
}

func jsonNumber(n int64) string {
	b, _ := json.Marshal(n) // a number always can be
	return string(b)
}
