package rest

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"

	"github.com/go-json-experiment/json/jsontext"
	"pgregory.net/rapid"

	"github.com/tandem-sync/tandem/channels"
	"github.com/tandem-sync/tandem/sync/record"
)

// anyValue makes every kind of value there is, in the form a reader gives it.
func anyValue() *rapid.Generator[record.Value] {
	number := rapid.Custom(func(t *rapid.T) record.Value {
		n := rapid.StringMatching(`-?(0|[1-9][0-9]{0,30})(\.[0-9]{1,12})?([eE][+-]?[0-9]{1,2})?`).Draw(t, "number")
		return record.N(n)
	})
	nested := rapid.Custom(func(t *rapid.T) record.Value {
		b, err := json.Marshal(rapid.MapOf(rapid.StringMatching(`[a-z<&"é ]{0,8}`), rapid.SliceOf(rapid.Int())).Draw(t, "json"))
		if err != nil {
			t.Fatal(err)
		}
		return record.J(string(b))
	})
	text := rapid.Custom(func(t *rapid.T) record.Value {
		// Readers refuse NUL, which no database keeps.
		return record.T(string(slices.DeleteFunc([]rune(rapid.String().Draw(t, "text")), func(r rune) bool { return r == 0 })))
	})
	return rapid.OneOf(rapid.Just(record.Value{}), rapid.Just(record.NullValue), rapid.Map(rapid.Bool(), record.B), number, nested, text)
}

// TestWhatIsSentReadsBack: the JSON of a body, read by the reader's own decoder,
// gives the values that were sent, to the last digit.
func TestWhatIsSentReadsBack(t *testing.T) {
	t.Parallel()
	fields := []string{"a", "b.c", "b.d.e", `["f.g"]`, `h["i j"]`, "k"}
	rapid.Check(t, func(t *rapid.T) {
		o := channels.Order{Op: channels.OrderCreate, Set: []channels.PathValue{
			{Path: "id", Value: record.T("7")}, {Path: "a", Value: record.T("constant")},
		}}
		want := make([]record.Value, len(fields))
		for i, f := range fields {
			want[i] = anyValue().Draw(t, f)
		}
		o.Values = slices.Clone(want)
		if !want[0].Has() {
			want[0] = record.T("constant")
		}
		wrap := rapid.SampledFrom([]string{"", "contact"}).Draw(t, "wrap")
		to, err := targets(fields)
		if err != nil {
			t.Fatal(err)
		}
		p := &writePlan{fields: fields, targets: to}
		body, _, err := p.body(wrap, o)
		if err != nil || !jsontext.Value(body).IsValid() {
			t.Fatalf("%s, error %v", body, err)
		}
		back, err := shape{records: wrap, single: true, id: "id"}.compile(fields)
		if err != nil {
			t.Fatal(err)
		}
		got, err := back.decoder().decode(body)
		if err != nil || len(got.records) != 1 || got.records[0].Err != nil {
			t.Fatalf("%s: %+v, error %v", body, got, err)
		}
		if v := got.records[0].Values; fmt.Sprint(v) != fmt.Sprint(want) {
			t.Fatalf("%s\nread %q\nsent %q", body, v, want)
		}
	})
}
