package hubspot

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/tandem-sync/tandem/transport"
)

// FuzzDecode holds the decoder to encoding/json: it takes any bytes without a
// panic, refuses what is no JSON, and finds as many records with the same ids.
func FuzzDecode(f *testing.F) {
	for _, s := range []string{
		`{"results":[{"id":"1","properties":{"email":"a\nb","phone":null},"propertiesWithHistory":{"email":[{"value":"x","timestamp":"2026-11-24T09:00:00Z"}]},"updatedAt":"2026-11-24T09:00:00Z","archived":false}],"paging":{"next":{"after":"2"}},"total":7}`,
		`{"results":[{"id":"1","properties":[1,{"a":"]}\""}]},{"id":2}],"errors":[{"category":"X","context":{"ids":["1"]}}]}`,
		`{"results":[],"results":[{"id":"\u0031"}]}`, `[]`, `null`, `"x"`, `{"results":{}}`, `{"results":[null,"x",1,[]]}`, "{\"results\":[{\"id\":\"\xff\"}]}", ``, `{`,
	} {
		f.Add([]byte(s))
	}
	p := newPlan([]string{"email", "phone"}, true)
	f.Fuzz(func(t *testing.T, body []byte) {
		kept := bytes.Clone(body)
		got, err := p.decoder().decode("op", &transport.Response{Body: body})
		if !bytes.Equal(kept, body) {
			t.Fatal("the body was changed")
		}
		var want struct {
			Results []struct {
				ID *string `json:"id"`
			} `json:"results"`
		}
		if !json.Valid(bytes.TrimPrefix(body, []byte("\xef\xbb\xbf"))) {
			if err == nil {
				t.Fatal("no JSON was accepted")
			}
			return
		}
		if err != nil {
			return
		}
		// Names are compared exactly here and without case there, and a repeated
		// name counts as a whole here and is merged there.
		if json.Unmarshal(body, &want) != nil || bytes.Count(bytes.ToLower(body), []byte("results")) != 1 || bytes.Contains(body, []byte(`\u`)) {
			return
		}
		if len(got.records) != len(want.Results) {
			t.Fatalf("%d records, want %d", len(got.records), len(want.Results))
		}
		for i, r := range got.records {
			if r.Err == nil && bytes.Count(bytes.ToLower(r.Raw), []byte(`"id"`)) == 1 && want.Results[i].ID != nil && *want.Results[i].ID != r.ID {
				t.Fatalf("id %q, want %q", r.ID, *want.Results[i].ID)
			}
			if r.Err == nil && !r.Deleted && (len(r.Values) != 2 || len(r.ChangedAt) != 2) {
				t.Fatalf("%+v", r)
			}
		}
	})
}
