package hubspot_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tandem-sync/tandem/emulate/hubspot"
)

func TestWritesOneByOne(t *testing.T) {
	t.Parallel()
	r := serve(t, hubspot.Config{})
	made := r.call("POST", base, `{"properties":{"email":"A@example.com","firstname":"Ada"},"associations":[]}`)
	id, _ := made.at("id").(string)
	if made.status != 201 || made.at("properties", "firstname") != "Ada" || made.at("properties", "hs_object_id") != id {
		t.Fatal(made.raw)
	}
	for name, x := range map[string]struct {
		method, path, body string
		status             int
		category           string
	}{
		"taken e-mail":     {"POST", "", `{"properties":{"email":"a@EXAMPLE.com"}}`, 409, "CONFLICT"},
		"bad e-mail":       {"POST", "", `{"properties":{"email":"no address"}}`, 400, "VALIDATION_ERROR"},
		"unknown property": {"POST", "", `{"properties":{"nothing":"x"}}`, 400, "VALIDATION_ERROR"},
		"read only":        {"PATCH", "/" + id, `{"properties":{"hs_object_id":"1"}}`, 400, "VALIDATION_ERROR"},
		"unknown contact":  {"PATCH", "/4711", `{"properties":{}}`, 404, "OBJECT_NOT_FOUND"},
		"get unknown":      {"GET", "/4711", "", 404, "OBJECT_NOT_FOUND"},
		"merge with none":  {"POST", "/merge", `{"primaryObjectId":"` + id + `","objectIdToMerge":"4711"}`, 404, "OBJECT_NOT_FOUND"},
	} {
		if got := r.call(x.method, base+x.path, x.body); got.status != x.status || got.at("category") != x.category {
			t.Errorf("%s: %d %s", name, got.status, got.raw)
		}
	}
	if got := r.call("PATCH", base+"/a@example.com?idProperty=email", `{"properties":{"email":"b@example.com"}}`); got.status != 200 || got.at("id") != id {
		t.Error(got.raw)
	}
	if got := r.call("GET", base+"/b@example.com?idProperty=email", ""); got.status != 200 || got.at("id") != id {
		t.Error(got.raw)
	}
	other := r.Create(map[string]string{"email": "c@example.com"})
	if got := r.call("POST", base+"/merge", `{"primaryObjectId":"`+id+`","objectIdToMerge":"`+other+`"}`); got.status != 200 {
		t.Error(got.raw)
	}
	if got := r.call("GET", base+"/"+other+"?properties=hs_merged_object_ids", ""); got.at("id") != id || got.at("properties", "hs_merged_object_ids") != other {
		t.Error(got.raw)
	}
	for range 2 {
		if got := r.call("DELETE", base+"/"+id, ""); got.status != 204 || got.raw != "" {
			t.Error(got.status, got.raw)
		}
	}
	if got := r.call("GET", base+"/"+id, ""); got.status != 404 {
		t.Error(got.raw)
	}
	if got := r.call("GET", base+"/"+id+"?archived=true", ""); got.status != 200 || got.at("archived") != true {
		t.Error(got.raw)
	}
	// The e-mail address is free again, until the contact comes back.
	if got := r.call("POST", base, `{"properties":{"email":"b@example.com"}}`); got.status != 201 {
		t.Error(got.raw)
	}
}

func inputs(rows ...string) string { return `{"inputs":[` + strings.Join(rows, ",") + `]}` }

func TestBatchesAnswerRowByRow(t *testing.T) {
	t.Parallel()
	r := serve(t, hubspot.Config{})
	ids := r.Seed(3)
	read := func(more string, ids ...string) reply {
		var rows []string
		for _, id := range ids {
			rows = append(rows, fmt.Sprintf(`{"id":%q}`, id))
		}
		return r.call("POST", base+"/batch/read", `{"properties":["email"],"propertiesWithHistory":[`+more+`],`+inputs(rows...)[1:])
	}
	if got := read("", ids...); got.status != 200 || len(got.ids()) != 3 || got.at("status") != "COMPLETE" {
		t.Error(got.raw)
	}
	got := read(`"email"`, ids[0], "4711", "4712")
	if got.status != 207 || len(got.ids()) != 1 || got.at("errors", 0, "context", "ids", 1) != "4712" || got.at("numErrors") != float64(1) {
		t.Error(got.raw)
	}
	r.Inject(hubspot.Row(ids[1], "VALIDATION_ERROR", "no"), hubspot.Silence(ids[2]))
	got = read("", ids...)
	if got.status != 207 || !slices.Equal(got.ids(), ids[:1]) || got.at("errors", 0, "category") != "VALIDATION_ERROR" {
		t.Error(got.raw)
	}
	var many []string
	for i := range 101 {
		many = append(many, fmt.Sprint(i+1))
	}
	for name, got := range map[string]reply{
		"51 with history": read(`"email"`, many[:51]...), "101": read("", many...), "none": read(""), "twice": read("", "1", "1"), "no number": read("", "x"),
	} {
		if got.status != 400 {
			t.Errorf("%s: %d %s", name, got.status, got.raw)
		}
	}
	if got := read(`"email"`, many[:50]...); got.status != 207 {
		t.Error(got.raw)
	}
}

func TestBatchWrites(t *testing.T) {
	t.Parallel()
	r := serve(t, hubspot.Config{})
	id := r.Seed(1)[0]
	good := `{"properties":{"email":"x@example.com"},"associations":[],"objectWriteTraceId":"1"}`
	bad := `{"properties":{"email":"no address"},"associations":[],"objectWriteTraceId":"2"}`
	untraced := strings.ReplaceAll(good, `,"objectWriteTraceId":"1"`, "")
	if got := r.call("POST", base+"/batch/create", inputs(untraced, bad)); got.status != 400 {
		t.Errorf("without trace ids one bad row fails the batch: %d %s", got.status, got.raw)
	}
	got := r.call("POST", base+"/batch/create", inputs(good, bad))
	if got.status != 207 || len(got.ids()) != 1 || got.at("errors", 0, "context", "objectWriteTraceId", 0) != "2" {
		t.Error(got.raw)
	}
	if got := r.call("POST", base+"/batch/create", inputs(`{"properties":{"email":"y@example.com"},"associations":[]}`)); got.status != 201 {
		t.Error(got.raw)
	}
	got = r.call("POST", base+"/batch/update", inputs(`{"id":"`+id+`","properties":{"phone":"9"}}`, `{"id":"4711","properties":{}}`))
	if got.status != 207 || got.at("results", 0, "properties", "phone") != "9" || got.at("errors", 0, "category") != "OBJECT_NOT_FOUND" {
		t.Error(got.raw)
	}
	got = r.call("POST", base+"/batch/upsert", inputs(
		`{"id":"x@example.com","idProperty":"email","properties":{"phone":"1"}}`, `{"id":"z@example.com","idProperty":"email","properties":{"phone":"2"}}`))
	if got.status != 200 || got.at("results", 0, "new") != false || got.at("results", 1, "new") != true || got.at("results", 1, "properties", "email") != "z@example.com" {
		t.Error(got.raw)
	}
	if got := r.call("POST", base+"/batch/archive", inputs(`{"id":"`+id+`"}`, `{"id":"4711"}`)); got.status != 204 {
		t.Error(got.raw)
	}
	if c, ok := r.Contact(id); !ok || !c.Archived {
		t.Error(c)
	}
}

func TestFaultsHappenInTurn(t *testing.T) {
	t.Parallel()
	r := serve(t, hubspot.Config{})
	r.Seed(20)
	r.Inject(
		hubspot.Status(500, "INTERNAL_ERROR", "no").On(hubspot.OpSearch),
		hubspot.TooMany(hubspot.PolicyDaily, 90*time.Second),
		hubspot.Locked(), hubspot.Migrating(time.Hour), hubspot.HTML(), hubspot.Truncated(), hubspot.Half(), hubspot.Reset(),
		hubspot.Body("{}").After(8).For(2),
	)
	whole := ""
	for i, want := range []struct {
		status int
		part   string
	}{
		{429, `"policyName":"DAILY"`},
		{423, "LOCKED"},
		{477, "MIGRATION"},
		{200, "<html>"},
		{200, "unexpected EOF"},
		{200, `{"results":[{"id"`},
		{0, "reset"},
		{200, `"results"`},
		{200, "{}"},
		{200, "{}"},
		{200, `"results"`},
	} {
		got := r.call("GET", base, "")
		if i == 0 && got.header.Get("Retry-After") != "90" || i == 2 && got.header.Get("Retry-After") != "3600" {
			t.Errorf("%d: Retry-After %q", i, got.header.Get("Retry-After"))
		}
		if got.status != want.status || !strings.Contains(got.raw, want.part) {
			t.Errorf("%d: %d %.80s", i, got.status, got.raw)
		}
		whole = got.raw
	}
	if got := r.Heal(); got != 1 {
		t.Errorf("%d faults are left, want the one for searches", got)
	}
	if r.Calls(hubspot.OpList) != 11 || r.Answered(423) != 1 || len(whole) < 100 {
		t.Error(r.Calls(hubspot.OpList), r.Answered(423))
	}
}

// A restored contact is found again, a purged one is gone for good.
func TestRecycleBin(t *testing.T) {
	t.Parallel()
	r := serve(t, hubspot.Config{})
	ids := r.Seed(2)
	r.Archive(ids...)
	r.Advance(time.Hour)
	r.Restore(ids[0])
	r.Purge(ids[1])
	if !slices.Equal(r.IDs(), ids[:1]) {
		t.Error(r.IDs())
	}
	got := r.call("POST", base+"/search", `{}`)
	if !slices.Equal(got.ids(), ids[:1]) || got.at("results", 0, "updatedAt") != "2026-11-24T10:00:00.000Z" {
		t.Error(got.raw)
	}
	if got := r.call("GET", base+"?archived=true", ""); len(got.ids()) != 0 {
		t.Error(got.raw)
	}
	if got := r.call("GET", "/crm/v3/properties/contacts", ""); got.at("results", 0, "name") == nil {
		t.Error(got.raw)
	}
}
