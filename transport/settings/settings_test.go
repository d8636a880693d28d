package settings_test

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"

	"github.com/tandem-sync/tandem/transport/settings"
)

func TestObjectReadsAndReports(t *testing.T) {
	t.Parallel()
	var problems []settings.Problem
	o := settings.Parse("a", json.RawMessage(`{"s":"x","n":7,"d":"3s","q":{"z":1,"b":["x",true],"bad":{}},"list":[1],"odd":1,"nul":null}`), &problems)
	if o.String("s", "") != "x" || o.String("n", "") != "7" || o.Int("n", 0, 1, 9) != 7 || o.Duration("d", 0, 0, time.Minute) != 3*time.Second {
		t.Error("values")
	}
	if o.Has("nul") || o.String("none", "def") != "def" || o.Raw("nul") != nil {
		t.Error("null must count as missing")
	}
	want := []settings.Pair{{Name: "b", Value: "x"}, {Name: "b", Value: "true"}, {Name: "z", Value: "1"}}
	if got := o.Pairs("q"); !reflect.DeepEqual(got, want) {
		t.Errorf("pairs %v", got)
	}
	if o.String("list", "def") != "def" {
		t.Error("a list is no text")
	}
	o.Done()
	fields := map[string]bool{}
	for _, p := range problems {
		fields[p.Field] = true
	}
	if !reflect.DeepEqual(fields, map[string]bool{"a.q.bad": true, "a.list": true, "a.odd": true}) {
		t.Errorf("problems %+v", problems)
	}
}

func TestNearest(t *testing.T) {
	t.Parallel()
	known := []string{"param", "path", "records", "token_at"}
	for word, want := range map[string]string{"record": "records", "tokenat": "token_at", "pth": "path", "xyz": "", "parma": "param", "pa": ""} {
		if got := settings.Nearest(word, known); got != want {
			t.Errorf("%q: %q, want %q", word, got, want)
		}
	}
}
