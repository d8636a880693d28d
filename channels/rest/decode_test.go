package rest

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/sync/record"
)

var absent = record.Value{}

// decodeOne decodes `{"items": [rec]}` and gives its only record.
func decodeOne(tb testing.TB, rec string, fields ...string) record.Record {
	tb.Helper()
	got := decodePage(tb, shape{records: "items", id: "id"}, `{"items":[`+rec+`]}`, fields...)
	if len(got.records) != 1 {
		tb.Fatalf("%d records of %s", len(got.records), rec)
	}
	return got.records[0]
}

func decodePage(tb testing.TB, sh shape, body string, fields ...string) *answer {
	tb.Helper()
	p, err := sh.compile(fields)
	if err != nil {
		tb.Fatal(err)
	}
	got, err := p.decoder().decode([]byte(body))
	if err != nil {
		tb.Fatal(err)
	}
	return got
}

func TestValues(t *testing.T) {
	t.Parallel()
	tests := []struct {
		rec, field string
		want       record.Value
	}{
		{`{"a":"x"}`, "a", record.T("x")},
		{`{"a":""}`, "a", record.T("")},
		{`{"a":null}`, "a", record.NullValue},
		{`{}`, "a", absent},
		{`{"a":9007199254740993}`, "a", record.N("9007199254740993")},
		{`{"a":123456789012345678901234567890.10}`, "a", record.N("123456789012345678901234567890.10")},
		{`{"a":-1.50e+400}`, "a", record.N("-1.50e+400")},
		{`{"a":true}`, "a", record.B(true)},
		{`{"a" : false }`, "a", record.B(false)},
		{`{"a":{"x": [1, "b c" ] }}`, "a", record.J(`{"x":[1,"b c"]}`)},
		{`{"a":[]}`, "a", record.J(`[]`)},
		{`{"a":"tab\tquote\"slash\/é😀"}`, "a", record.T("tab\tquote\"slash/é😀")},
		{`{"a\u0062c":"escaped name"}`, "abc", record.T("escaped name")},
		{`{"A":"other case"}`, "a", absent},
		{`{"a":"1","A":"2"}`, "a", record.T("1")},
		{`{"a":"first","a":"last"}`, "a", record.T("last")},
		{`{"a":"first","a":null}`, "a", record.NullValue},
		{`{"a":{"b":{"c":7}}}`, "a.b.c", record.N("7")},
		{`{"a":{"b":1},"a":{"c":2}}`, "a.b", absent},
		{`{"a":{"b":1},"a":5}`, "a.b", absent},
		{`{"a":null}`, "a.b", record.NullValue},
		{`{"a":{}}`, "a.b", absent},
		{`{"a":"text"}`, "a.b", absent},
		{`{"a":[{"b":1}]}`, "a.b", absent},
		{`{"a.b":"flat"}`, "a.b", record.T("flat")},
		{`{"x":{"a.b":"flat below"}}`, "x.a.b", record.T("flat below")},
		{`{"@odata.etag":"w"}`, "@odata.etag", record.T("w")},
		{`{"a.b":"quoted","a":{"b":1}}`, `["a.b"]`, record.T("quoted")},
		{`{"tags":["x","y"]}`, "tags[0]", record.T("x")},
		{`{"tags":["x","y"]}`, "tags[1]", record.T("y")},
		{`{"tags":["x"]}`, "tags[1]", record.NullValue},
		{`{"tags":[]}`, "tags[0]", record.NullValue},
		{`{"tags":null}`, "tags[0]", record.NullValue},
		{`{}`, "tags[0]", absent},
		{`{"m":[[1,2],[3,{"x":4}]]}`, "m[1][1].x", record.N("4")},
		{`{"m":[{"x":1},{"y":2}]}`, "m[1].x", absent},
		{`{"m":[{"x":1}]}`, "m[1].x", record.NullValue},
	}
	for _, tt := range tests {
		rec := `{"id":"1",` + strings.TrimPrefix(tt.rec, "{")
		rec = strings.Replace(rec, ",}", "}", 1)
		got := decodeOne(t, rec, tt.field)
		if got.Err != nil || got.ID != "1" || got.Values[0] != tt.want {
			t.Errorf("%s at %s: %+v %v, want %+v", rec, tt.field, got.Values, got.Err, tt.want)
		}
	}
}

func TestPathAndItsParentTogether(t *testing.T) {
	t.Parallel()
	got := decodeOne(t, `{"id":1,"a":{ "b":[10,20] }}`, "a", "a.b", "a.b[1]", "id", "a")
	want := []record.Value{record.J(`{"b":[10,20]}`), record.J(`[10,20]`), record.N("20"), record.N("1"), record.J(`{"b":[10,20]}`)}
	if got.Err != nil || !reflect.DeepEqual(got.Values, want) {
		t.Errorf("%+v %v", got.Values, got.Err)
	}
}

func TestRecordsThatCannotBeUsed(t *testing.T) {
	t.Parallel()
	deep := func(n int) string { return strings.Repeat(`[`, n) + strings.Repeat(`]`, n) }
	tests := []struct {
		name, rec string
		id, code  string
	}{
		{"no id", `{"a":"x"}`, "", codeMissingID},
		{"null id", `{"id":null}`, "", codeMissingID},
		{"empty id", `{"id":""}`, "", codeMissingID},
		{"boolean id", `{"id":true}`, "", codeMissingID},
		{"object as id", `{"id":{"x":1}}`, "", codeMissingID},
		{"long id", `{"id":"` + strings.Repeat("x", 600) + `"}`, strings.Repeat("x", 600), fault.CodeBadRecord},
		{"NUL", `{"id":"7","a":"x\u0000y"}`, "7", fault.CodeBadRecord},
		{"raw NUL", "{\"id\":\"7\",\"a\":\"x\x00y\"}", "7", fault.CodeBadRecord},
		{"raw line break", "{\"id\":\"7\",\"a\":\"x\ny\"}", "7", fault.CodeBadRecord},
		{"NUL in JSON", `{"id":"7","a":{"b":["\u0000"]}}`, "7", fault.CodeBadRecord},
		{"NUL in the id", `{"id":"7\u0000","a":"x"}`, "", fault.CodeBadRecord},
		{"raw NUL in the id", "{\"id\":\"7\x008\"}", "", fault.CodeBadRecord},
		{"deep id", `{"id":` + deep(20000) + `}`, "", codeTooDeep},
		{"high surrogate alone", `{"id":"7","a":"\ud800"}`, "7", fault.CodeBadRecord},
		{"low surrogate alone", `{"id":"7","a":"\udc00x"}`, "7", fault.CodeBadRecord},
		{"surrogate in JSON", `{"id":"7","a":["\ud800"]}`, "7", fault.CodeBadRecord},
		{"surrogate in the id", `{"id":"\ud800"}`, "", fault.CodeBadRecord},
		{"bad UTF-8", "{\"id\":\"7\",\"a\":\"caf\xe9\"}", "7", fault.CodeBadRecord},
		{"bad UTF-8 in JSON", "{\"id\":\"7\",\"a\":[\"caf\xe9\"]}", "7", fault.CodeBadRecord},
		{"bad UTF-8 beside an escape", "{\"id\":\"7\",\"a\":\"\\n\xe9\"}", "7", fault.CodeBadRecord},
		{"bad UTF-8 in the id", "{\"id\":\"\xe9\",\"a\":\"x\"}", "", fault.CodeBadRecord},
		{"deep", `{"id":"7","a":` + deep(64) + `}`, "7", codeTooDeep},
		{"deep and not mapped", `{"id":"7","z":` + deep(5000) + `}`, "7", codeTooDeep},
		{"very deep", `{"id":"7","a":` + deep(20000) + `}`, "7", codeTooDeep},
		{"large", `{"id":"7","a":"` + strings.Repeat("x", 10<<20) + `"}`, "7", codeTooLarge},
		{"large, the id last", `{"a":"` + strings.Repeat("x", 5<<20) + `","id":7}`, "7", codeTooLarge},
		{"number", `5`, "", fault.CodeBadRecord},
		{"null", `null`, "", fault.CodeBadRecord},
		{"text", `"x"`, "", fault.CodeBadRecord},
		{"list", `[1]`, "", fault.CodeBadRecord},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			body := `{"items":[{"id":"before","a":"1"},` + tt.rec + `,{"id":"after","a":"2"}]}`
			got := decodePage(t, shape{records: "items", id: "id"}, body, "a")
			if len(got.records) != 3 {
				t.Fatalf("%d records", len(got.records))
			}
			for i, id := range map[int]string{0: "before", 2: "after"} {
				if r := got.records[i]; r.Err != nil || r.ID != id || len(r.Values) != 1 {
					t.Errorf("the neighbour %s: %+v", id, r)
				}
			}
			bad := got.records[1]
			if bad.Err == nil || fault.Of(bad.Err) != fault.Permanent || fault.CodeOf(bad.Err) != tt.code || bad.ID != tt.id || bad.Values != nil {
				t.Errorf("id %q values %v err %v (%s), want id %q code %s", bad.ID, bad.Values, bad.Err, fault.CodeOf(bad.Err), tt.id, tt.code)
			}
			if bad.Err != nil && len(bad.Err.Error()) > 300 {
				t.Errorf("the text has %d bytes", len(bad.Err.Error()))
			}
		})
	}
}

func TestWhatIsNotMappedDoesNotMatter(t *testing.T) {
	t.Parallel()
	for _, other := range []string{`"\u0000"`, `"\ud800"`, "\"caf\xe9\"", `1e400000`, `{"x":{"y":[1]}}`, `[` + strings.Repeat(`1,`, 100_000) + `1]`} {
		got := decodeOne(t, `{"id":"7","z":`+other+`,"a":"x"}`, "a")
		if got.Err != nil || got.Values[0] != record.T("x") {
			t.Errorf("%.20s: %+v", other, got)
		}
	}
	many := `{"id":"7","a":"x"` + strings.Repeat(`,"k":1`, 100_000) + `}`
	if got := decodeOne(t, many, "a"); got.Err != nil || got.Values[0] != record.T("x") {
		t.Errorf("100,000 members: %v", got.Err)
	}
}

func TestShapesOfAnswers(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		shape   shape
		body    string
		ids     string
		values  string
		total   int64
		token   string
		missing bool // no place of the records
		wrong   bool
	}{
		{"list at the top", shape{id: "id"}, `[{"id":1,"a":"x"},{"id":2}]`, "1 2", "x,", -1, "", false, false},
		{"deep path", shape{records: "data.list.items", id: "x.id", total: "meta.count", token: "data.next"}, `{"meta":{"count":"12"},"data":{"list":{"items":[{"x":{"id":"u"},"a":1}]},"next":"t"}}`, "u", "1", 12, "t", false, false},
		{"token after the records", shape{records: "items", id: "id", token: "paging.next.after"}, `{"items":[{"id":1}],"paging":{"next":{"after":42}}}`, "1", "", -1, "42", false, false},
		{"next with a dot in its name", shape{records: "value", id: "id", token: "@odata.nextLink"}, `{"@odata.nextLink":"/n","value":[]}`, "", "", -1, "/n", false, false},
		{"members", shape{records: "items", id: keyPath}, `{"items":{"k1":{"a":"x"},"k\u0032":{"a":"y"}}}`, "k1 k2", "x,y", -1, "", false, false},
		{"members at the top", shape{id: keyPath}, `{"k1":{"a":"x"}}`, "k1", "x", -1, "", false, false},
		{"members with their own id", shape{records: "items", id: "id"}, `{"items":{"k1":{"id":5,"a":"x"}}}`, "5", "x", -1, "", false, false},
		{"null list", shape{records: "items", id: "id"}, `{"items":null}`, "", "", -1, "", false, false},
		{"index in the path", shape{records: "pages[1].items", id: "id"}, `{"pages":[{"items":[{"id":1}]},{"items":[{"id":2}]}]}`, "2", "", -1, "", false, false},
		{"byte order mark", shape{records: "items", id: "id"}, "\xef\xbb\xbf" + `{"items":[{"id":1}]}`, "1", "", -1, "", false, false},
		{"given twice", shape{records: "items", id: "id"}, `{"items":[{"id":1},{"id":3}],"items":[{"id":2}]}`, "2", "", -1, "", false, false},
		{"not there", shape{records: "items", id: "id"}, `{"error":"x"}`, "", "", -1, "", true, false},
		{"below null", shape{records: "data.items", id: "id"}, `{"data":null}`, "", "", -1, "", true, false},
		{"a text", shape{records: "items", id: "id"}, `{"items":"none"}`, "", "", -1, "", false, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := decodePage(t, tt.shape, tt.body, "a")
			var ids, values []string
			for _, r := range got.records {
				if r.Err != nil {
					t.Errorf("record %q: %v", r.ID, r.Err)
					continue
				}
				ids, values = append(ids, r.ID), append(values, r.Values[0].Text)
			}
			if strings.Join(ids, " ") != tt.ids || strings.Join(values, ",") != tt.values {
				t.Errorf("ids %v values %v", ids, values)
			}
			if total(got.total) != tt.total || got.token.Text != tt.token || got.found == tt.missing || (got.wrong != "") != tt.wrong {
				t.Errorf("%+v", got)
			}
		})
	}
}

func TestKeyAsField(t *testing.T) {
	t.Parallel()
	got := decodePage(t, shape{records: "items", id: keyPath}, `{"items":{"k1":{"a":"x"}}}`, "$key", "a")
	if r := got.records[0]; r.Values[0] != record.T("k1") || r.Values[1] != record.T("x") {
		t.Errorf("%+v", r)
	}
	got = decodePage(t, shape{records: "items", id: "id"}, `{"items":[{"id":1}]}`, "$key")
	if r := got.records[0]; r.Values[0] != absent {
		t.Errorf("a list has no keys: %+v", r)
	}
	got = decodePage(t, shape{records: "items", id: keyPath}, `{"items":{"bad\u0000":{"a":"x"},"good":{"a":"y"}}}`, "a")
	if got.records[0].Err == nil || got.records[0].ID != "" || got.records[1].Err != nil {
		t.Errorf("%+v", got.records)
	}
}

func TestTombstones(t *testing.T) {
	t.Parallel()
	sh := shape{records: "ids", id: "ref", modified: "at", tombstones: true}
	got := decodePage(t, sh, `{"ids":["a",7,{"id":"b"},{"ref":"c","at":"2026-11-24T10:00:00Z"},null,{},"\ud800"]}`)
	var ids []string
	for _, r := range got.records {
		if r.Err == nil {
			if !r.Deleted || r.Values != nil {
				t.Errorf("%+v", r)
			}
			ids = append(ids, r.ID)
		}
	}
	if strings.Join(ids, " ") != "a 7 b c" || len(got.records) != 7 {
		t.Errorf("ids %v of %d", ids, len(got.records))
	}
	if at := got.records[3].Modified; !at.Equal(time.Date(2026, 11, 24, 10, 0, 0, 0, time.UTC)) {
		t.Errorf("modified %s", at)
	}
}

func TestDeletedField(t *testing.T) {
	t.Parallel()
	for v, want := range map[string]bool{
		`true`: true, `false`: false, `null`: false, `0`: false, `0.0`: false, `1`: true, `""`: false, `"false"`: false, `"No"`: false, `"0"`: false,
		`"2026-11-24"`: true, `"yes"`: true, `{}`: false, `{"by":"x"}`: true, `[]`: false,
	} {
		got := decodePage(t, shape{records: "items", id: "id", deletedField: "gone"}, `{"items":[{"id":"1","gone":`+v+`,"a":"x"}]}`, "a")
		if r := got.records[0]; r.Err != nil || r.Deleted != want || want == (r.Values != nil) {
			t.Errorf("%s: %+v", v, r)
		}
	}
}

func TestWhatIsNotJSON(t *testing.T) {
	t.Parallel()
	p, err := shape{records: "items", id: "id"}.compile([]string{"a"})
	if err != nil {
		t.Fatal(err)
	}
	for _, body := range []string{
		"", " ", "{", `{"items":[`, `{"items":[{"id":1}`, `{"items":[{"id":1}]} x`, `{"items":[{"id":01}]}`, `{"items":[{"id":1,}]}`, `{items:[]}`,
		`{"items":[NaN]}`, "<html>", `{"items":["\x"]}`, `{"items":["`, `{"items":["\`, "\x00", "{\"items\":[\"\x00", strings.Repeat("[", 1_000_000), strings.Repeat(`{"a":`, 100_000),
		strings.Repeat("]", 100), `{"items":[tru]}`, "\xff\xfe{\x00}\x00",
	} {
		if got, err := p.decoder().decode([]byte(body)); err == nil {
			t.Errorf("%.30q was read as %+v", body, got)
		} else if len(err.Error()) > 400 {
			t.Errorf("%.30q: the text has %d bytes", body, len(err.Error()))
		}
	}
}

func TestTooManyRecords(t *testing.T) {
	t.Parallel()
	p, err := shape{id: "id"}.compile(nil)
	if err != nil {
		t.Fatal(err)
	}
	_, err = p.decoder().decode([]byte("[" + strings.Repeat("1,", 2_000_000) + "1]"))
	if fault.CodeOf(err) != "page_too_large" || fault.Of(err) != fault.Permanent {
		t.Errorf("%v", err)
	}
}

func TestDecoderIsReused(t *testing.T) {
	t.Parallel()
	p, err := shape{records: "items", id: "id"}.compile([]string{"a", "b.c"})
	if err != nil {
		t.Fatal(err)
	}
	d := p.decoder()
	first, err := d.decode([]byte(`{"items":[{"id":1,"a":"one","b":{"c":"x"}}]}`))
	if err != nil {
		t.Fatal(err)
	}
	kept := first.records[0]
	second, err := d.decode([]byte(`{"items":[{"id":2,"a":"two"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	if kept.ID != "1" || kept.Values[0].Text != "one" || kept.Values[1].Text != "x" {
		t.Errorf("the first page has changed: %+v", kept)
	}
	if second.records[0].Values[1] != absent {
		t.Errorf("a value of the page before came back: %+v", second.records[0])
	}
}

// FuzzDecode compares the values with those of encoding/json and checks that
// nothing panics.
func FuzzDecode(f *testing.F) {
	for _, s := range []string{
		`{"items":[{"id":1,"a":{"b":"x"}}]}`, `{"items":{"k":{"a":[1,{"b":2}]}}}`, `{"items":[{"id":"é","a":null,"a":{"b":"\n"}}]}`,
		`[]`, `{"items":[{"id":1,"a.b":5}]}`, "{\"items\":[{\"id\":\"\x00\"}]}", `{"items":[` + strings.Repeat("[", 300),
	} {
		f.Add([]byte(s))
	}
	p, err := shape{records: "items", id: "id", total: "n", modified: "m", deletedField: "d"}.compile([]string{"a.b", "a[1]", "a", "$key"})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		want := body
		got, err := p.decoder().decode(bytes.Clone(body))
		var doc struct {
			Items []map[string]any `json:"items"`
		}
		dec := json.NewDecoder(bytes.NewReader(want))
		dec.UseNumber()
		if err != nil {
			if json.Valid(want) && !bytes.Contains(want, []byte("[[[[")) && fault.CodeOf(err) != "page_too_large" {
				t.Fatalf("valid JSON was refused: %v", err)
			}
			return
		}
		if dec.Decode(&doc) != nil || len(doc.Items) != len(got.records) {
			return
		}
		for i, rec := range got.records {
			if rec.Err != nil || rec.Deleted {
				continue
			}
			if s, ok := doc.Items[i]["a"].(string); ok && rec.Values[2].Kind == record.Text && rec.Values[2].Text != s {
				t.Fatalf("a is %q, want %q", rec.Values[2].Text, s)
			}
			if n, ok := doc.Items[i]["a"].(json.Number); ok && rec.Values[2] != record.N(n.String()) {
				t.Fatalf("a is %+v, want %s", rec.Values[2], n)
			}
		}
	})
}
