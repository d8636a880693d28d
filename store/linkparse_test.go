package store

import (
	"slices"
	"testing"
)

func TestParseHeads(t *testing.T) {
	t.Parallel()
	ids := []string{"a", "b", "c"}
	got, err := parseHeads("1 10 -5 0 3 x y 3 9223372036854775807 -9223372036854775808 2 0  2 7 8 1 7 é 日\n", ids)
	want := []LinkHead{
		{RemoteID: "a", ID: 10, Hash: -5, LocalKey: "x y"},
		{RemoteID: "c", ID: 9223372036854775807, Hash: -9223372036854775808, State: RemoteDeleted + 1},
		{RemoteID: "b", ID: 7, Hash: 8, State: RemoteDeleted, LocalKey: "é 日\n"},
	}
	if err != nil || !slices.Equal(got, want) {
		t.Fatalf("%+v %v", got, err)
	}
	for _, bad := range []string{"1", "1 2 3 0", "1 2 3 0 4 abc", "4 2 3 0 1 a", "0 2 3 0 1 a", "x 2 3 0 1 a", "1 2 3 0 -1 a b"} {
		if got, err := parseHeads(bad, ids); err == nil {
			t.Errorf("%q: %+v", bad, got)
		}
	}
	if got, err := parseHeads("", ids); err != nil || len(got) != 0 {
		t.Errorf("nothing: %+v %v", got, err)
	}
}
