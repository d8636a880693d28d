package store

import (
	"encoding/json"
	"reflect"
	"testing"
)

// TestAppendChange: a line reads back as what it was made of.
func TestAppendChange(t *testing.T) {
	t.Parallel()
	for _, c := range []Change{
		{},
		{Connector: "a\"b", Side: "remote", Op: "update", LocalID: "<1>&", RemoteID: "ü\x00\n", Fields: []FieldChange{}},
		{Fields: []FieldChange{
			{Field: "f", Old: json.RawMessage(`"x"`), New: json.RawMessage(`{"a":[1,null]}`), Winner: "local", Reason: "created"},
			{Field: "g", New: json.RawMessage("12.50"), Old: json.RawMessage("null")},
		}},
	} {
		b, err := appendChange(nil, &c)
		if err != nil {
			t.Fatal(err)
		}
		want, err := json.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		var x, y any
		if json.Unmarshal(b, &x) != nil || json.Unmarshal(want, &y) != nil || !reflect.DeepEqual(x, y) {
			t.Errorf("%s, want %s", b, want)
		}
	}
	if b, err := appendChange(nil, &Change{LocalID: "\xff"}); err != nil || !json.Valid(b) {
		t.Errorf("bad UTF-8: %s, error %v", b, err)
	}
	if _, err := appendChange(nil, &Change{Fields: []FieldChange{{New: json.RawMessage("{")}}}); err == nil {
		t.Error("half a value was taken")
	}
}
