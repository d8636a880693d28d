package hubspot_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/tandem-sync/tandem/emulate/hubspot"
)

// results gives an answer's results by the member that names them.
func (r reply) results(by string) map[string]map[string]any {
	out := map[string]map[string]any{}
	list, _ := r.body["results"].([]any)
	for _, x := range list {
		m, _ := x.(map[string]any)
		out[fmt.Sprint(m[by])] = m
	}
	return out
}

// failures gives an answer's errors by trace id: their categories and messages.
func (r reply) failures() map[string]string {
	out := map[string]string{}
	list, _ := r.body["errors"].([]any)
	for i := range list {
		out[fmt.Sprint(r.at("errors", i, "context", "objectWriteTraceId", 0))] = fmt.Sprint(r.at("errors", i, "category"), ": ", r.at("errors", i, "message"))
	}
	return out
}

func traced(trace, rest string) string { return `{"objectWriteTraceId":"` + trace + `",` + rest + `}` }

func TestTracedBatchesFailRowByRow(t *testing.T) {
	t.Parallel()
	r := serve(t, hubspot.Config{})
	old := r.Create(map[string]string{"email": "taken@example.com"})
	got := r.call("POST", base+"/batch/create", inputs(
		traced("a", `"properties":{"email":"New@Example.com","firstname":"Ada"}`),
		traced("b", `"properties":{"email":"TAKEN@example.com"}`),
		traced("c", `"properties":{"email":"new@example.com"}`),
		traced("d", `"properties":{"nothing":"x"}`),
		traced("e", `"properties":{"firstname":"Eve"}`),
	))
	done := got.results("objectWriteTraceId")
	if got.status != 207 || len(done) != 2 || got.at("numErrors") != float64(3) || got.at("status") != "COMPLETE" {
		t.Fatal(got.status, got.raw)
	}
	first, _ := done["a"]["id"].(string)
	if p := done["a"]["properties"].(map[string]any); p["email"] != "new@example.com" || p["firstname"] != "Ada" || p["hs_object_id"] != first || len(p) != 5 {
		t.Errorf("answers with what it wrote, and e-mail addresses in lower case: %v", p)
	}
	fails := got.failures()
	if fails["b"] != "CONFLICT: Contact already exists. Existing ID: "+old || fails["c"] != "CONFLICT: Contact already exists. Existing ID: "+first || !strings.Contains(fails["d"], "PROPERTY_DOESNT_EXIST") {
		t.Error(fails)
	}
	if len(r.IDs()) != 3 || !slices.Contains(r.IDs(), done["e"]["id"].(string)) {
		t.Error(r.IDs())
	}

	got = r.call("POST", base+"/batch/update", inputs(
		traced("1", `"id":"`+old+`","properties":{"email":"nobody"}`), traced("2", `"id":"4711","properties":{"phone":"1"}`),
		traced("3", `"id":"`+first+`","properties":{"phone":"2","lastname":""}`)))
	done, fails = got.results("objectWriteTraceId"), got.failures()
	if got.status != 207 || len(done) != 1 || done["3"]["properties"].(map[string]any)["phone"] != "2" || got.at("errors", 1, "context", "ids", 0) != "4711" {
		t.Error(got.raw)
	}
	if !strings.HasPrefix(fails["1"], "VALIDATION_ERROR") || !strings.HasPrefix(fails["2"], "OBJECT_NOT_FOUND") || got.at("errors", 0, "errors", 0, "context", "propertyName", 0) != "email" {
		t.Error(got.raw)
	}
	one := r.call("POST", base, `{"properties":{"email":"one@example.com"},"objectWriteTraceId":"x"}`)
	if one.status != 201 || one.at("objectWriteTraceId") != "x" {
		t.Error(one.raw)
	}
}

// Without trace ids one bad value refuses the batch, and nothing of it is done.
func TestUntracedBatchesAreAllOrNothing(t *testing.T) {
	t.Parallel()
	r := serve(t, hubspot.Config{})
	old := r.Create(map[string]string{"email": "taken@example.com"})
	const good = `{"id":"%s","idProperty":"email","properties":{"firstname":"changed"}}`
	for name, x := range map[string]struct {
		op, rows string
		status   int
		message  string
	}{
		"create, taken": {"create", `{"properties":{"email":"a@example.com"}},{"properties":{"email":"taken@example.com"}}`, 409, "Existing ID: " + old},
		"create, twice": {"create", `{"properties":{"email":"a@example.com"}},{"properties":{"email":"A@example.com"}}`, 409, "already exists"},
		"update, bad":   {"update", fmt.Sprintf(good, "taken@example.com") + `,{"id":"` + old + `","properties":{"hs_object_id":"1"}}`, 400, "READ_ONLY_VALUE"},
		"upsert, bad":   {"upsert", fmt.Sprintf(good, "b@example.com") + `,{"id":"nobody","idProperty":"email","properties":{}}`, 400, "INVALID_EMAIL"},
		"not unique":    {"upsert", fmt.Sprintf(good, "b@example.com") + `,{"id":"Ada","idProperty":"firstname","properties":{}}`, 400, "not unique"},
	} {
		got := r.call("POST", base+"/batch/"+x.op, inputs(x.rows))
		if got.status != x.status || !strings.Contains(fmt.Sprint(got.at("message")), x.message) {
			t.Errorf("%s: %d %s", name, got.status, got.raw)
		}
	}
	if c, _ := r.Contact(old); len(r.IDs()) != 1 || c.Properties["firstname"] != "" {
		t.Errorf("something was done: %v %+v", r.IDs(), c)
	}
	// Contacts that are not there do not stop the others.
	got := r.call("POST", base+"/batch/update", inputs(fmt.Sprintf(good, "taken@example.com"), `{"id":"4711","properties":{}}`, `{"id":"4712","properties":{}}`))
	if got.status != 207 || len(got.ids()) != 1 || got.at("numErrors") != float64(1) || got.at("errors", 0, "context", "ids", 1) != "4712" {
		t.Error(got.raw)
	}
}

func TestUpsertByUniqueProperty(t *testing.T) {
	t.Parallel()
	r := serve(t, hubspot.Config{})
	r.AddUniqueProperty("customer_no")
	old := r.Create(map[string]string{"email": "old@example.com", "customer_no": "K-1"})
	got := r.call("POST", base+"/batch/upsert", inputs(
		traced("a", `"id":"K-1","idProperty":"customer_no","properties":{"phone":"1"}`),
		traced("b", `"id":"K-2","idProperty":"customer_no","properties":{"email":"two@example.com"}`),
		traced("c", `"id":"OLD@example.com","idProperty":"email","properties":{"city":"Paris"}`),
		traced("d", `"id":"K-3","idProperty":"customer_no","properties":{"email":"old@example.com"}`),
		traced("e", `"id":"z@example.com","idProperty":"email","properties":{"customer_no":"K-1"}`),
	))
	done, fails := got.results("objectWriteTraceId"), got.failures()
	if got.status != 207 || len(done) != 3 || done["a"]["new"] != false || done["b"]["new"] != true || done["c"]["new"] != false {
		t.Fatal(got.raw)
	}
	if c, _ := r.Contact(old); c.Properties["phone"] != "1" || c.Properties["city"] != "Paris" || c.Properties["email"] != "old@example.com" {
		t.Errorf("%+v", c)
	}
	if !strings.Contains(fails["d"], "Existing ID: "+old) || !strings.Contains(fails["e"], old+" already has that value") {
		t.Error(fails)
	}
	if got := r.call("GET", base+"/K-2?idProperty=customer_no", ""); got.at("id") != done["b"]["id"] {
		t.Error(got.raw)
	}
	// A value that was given up is free.
	r.Edit(map[string]string{"customer_no": ""}, old)
	if got := r.call("POST", base, `{"properties":{"customer_no":"K-1"}}`); got.status != 201 {
		t.Error(got.raw)
	}
	list, _ := r.call("GET", "/crm/v3/properties/contacts", "").body["results"].([]any)
	for _, x := range list {
		m := x.(map[string]any)
		if want := m["name"] == "email" || m["name"] == "customer_no"; m["hasUniqueValue"] != want {
			t.Error(m)
		}
	}
}

func TestRowFaultsOfWrites(t *testing.T) {
	t.Parallel()
	r := serve(t, hubspot.Config{})
	ids := r.Seed(3)
	update := func(rows ...string) reply { return r.call("POST", base+"/batch/update", inputs(rows...)) }
	all := []string{
		traced("1", `"id":"`+ids[0]+`","properties":{"phone":"9"}`), traced("2", `"id":"`+ids[1]+`","properties":{"phone":"9"}`),
		traced("3", `"id":"`+ids[2]+`","properties":{"phone":"9"}`),
	}
	r.Inject(hubspot.Row("2", "INTERNAL_ERROR", "no").On(hubspot.OpBatchUpdate), hubspot.Silence(ids[2]).On(hubspot.OpBatchUpdate))
	got := update(all...)
	if got.status != 207 || !slices.Equal(got.ids(), ids[:1]) || !strings.HasPrefix(got.failures()["2"], "INTERNAL_ERROR") {
		t.Error(got.raw)
	}
	for i, want := range []bool{true, false, true} {
		if c, _ := r.Contact(ids[i]); (c.Properties["phone"] == "9") != want {
			t.Errorf("%d: %+v", i, c)
		}
	}
	r.Inject(hubspot.Row("x@example.com", "VALIDATION_ERROR", "no").On(hubspot.OpBatchCreate))
	if got := r.call("POST", base+"/batch/create", inputs(`{"properties":{"email":"x@example.com"}}`, `{"properties":{"email":"y@example.com"}}`)); got.status != 400 || len(r.IDs()) != 3 {
		t.Error(got.raw)
	}
	// A change whose answer is lost has happened.
	r.Inject(hubspot.Reset().On(hubspot.OpBatchCreate))
	if got := r.call("POST", base+"/batch/create", inputs(`{"properties":{"email":"x@example.com"}}`)); got.status != 0 || len(r.IDs()) != 4 {
		t.Error(got.raw, r.IDs())
	}
}

func TestMerges(t *testing.T) {
	t.Parallel()
	for _, anew := range []bool{false, true} {
		r := serve(t, hubspot.Config{MergeAnew: anew})
		winner := r.Create(map[string]string{"email": "a@example.com", "firstname": "Ada"})
		loser := r.Create(map[string]string{"email": "b@example.com", "firstname": "Bob", "phone": "1"})
		if got := r.call("POST", base+"/merge", `{"primaryObjectId":"`+winner+`","objectIdToMerge":"`+winner+`"}`); got.status != 400 {
			t.Error(got.raw)
		}
		got := r.call("POST", base+"/merge", `{"primaryObjectId":"`+winner+`","objectIdToMerge":"`+loser+`"}`)
		left, _ := got.at("id").(string)
		if got.status != 200 || (left == winner) == anew || got.at("properties", "firstname") != "Ada" || got.at("properties", "phone") != "1" {
			t.Fatalf("anew %t: %s", anew, got.raw)
		}
		for _, path := range []string{winner, loser, "a@example.com?idProperty=email", "B@example.com?idProperty=email"} {
			if got := r.call("GET", base+"/"+path, ""); got.at("id") != left {
				t.Errorf("anew %t: %s leads to %s", anew, path, got.raw)
			}
		}
		for _, email := range []string{"a@example.com", "b@example.com"} {
			if got := r.call("POST", base, `{"properties":{"email":"`+email+`"}}`); got.status != 409 || got.at("message") != "Contact already exists. Existing ID: "+left {
				t.Errorf("anew %t: %s", anew, got.raw)
			}
		}
		if !slices.Equal(r.IDs(), []string{left}) {
			t.Errorf("anew %t: %v", anew, r.IDs())
		}
		third := r.Create(map[string]string{"email": "c@example.com"})
		if last := r.Merge(third, left); r.call("GET", base+"/"+loser, "").at("id") != last {
			t.Errorf("anew %t: the first id does not lead on", anew)
		}
	}
}
