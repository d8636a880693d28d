package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/tandem-sync/tandem/sync/record"
)

// seal marks a secret; open checks that it comes back to the same field.
func seal(field, plain string) (string, error) {
	return "sealed(" + field + ")" + strings.ToUpper(plain), nil
}

func open(field, sealed string) (string, error) {
	text, ok := strings.CutPrefix(sealed, "sealed("+field+")")
	if !ok {
		return "", fmt.Errorf("%s is not sealed for %s", sealed, field)
	}
	return strings.ToLower(text), nil
}

func TestStoredChannelRoundTrip(t *testing.T) {
	t.Parallel()
	c := fullFile(t).Channels[0]
	c.Transport = json.RawMessage(`{"token":"a<b","headers":{"X-Key":["k1","k2"],"A.B":"k3"},"base_url":"https://x","auth":{"type":"basic","username":"u","password":"p","value":"v","client_secret":"c"},"concurrency":4}`)
	c.Operations = json.RawMessage(`{"b":1,"a":12345678901234567890}`)
	c.Connectors[0].Scope.Local = "x"
	c.Connectors[0].SetRemote = map[string]record.Value{"q": record.T("w")}
	b, err := c.MarshalStored(seal)
	if err != nil {
		t.Fatal(err)
	}
	for _, plain := range []string{`"a<b"`, `"k1"`, `"k2"`, `"k3"`, `"p"`, `"v"`, `"c"`} {
		if strings.Contains(string(b), plain) {
			t.Errorf("%s is in clear: %s", plain, b)
		}
	}
	if !strings.Contains(string(b), `"username":"u"`) {
		t.Errorf("the user name is sealed: %s", b)
	}
	back, err := UnmarshalStored("crm", b, open)
	if err != nil {
		t.Fatal(err)
	}
	again, err := back.MarshalStored(seal)
	if err != nil || string(again) != string(b) {
		t.Fatalf("stored %s\nagain  %s, %v", b, again, err)
	}
	var got, want any
	if json.Unmarshal(back.Transport, &got) != nil || json.Unmarshal(c.Transport, &want) != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("transport %s, want %s", back.Transport, c.Transport)
	}
	c.Transport, back.Transport = nil, nil
	c.Operations = json.RawMessage(`{"a":12345678901234567890,"b":1}`)
	if !reflect.DeepEqual(*back, c) {
		t.Errorf("got  %+v\nwant %+v", *back, c)
	}
	sealed, err := SealedFields(b)
	if err != nil {
		t.Fatal(err)
	}
	wantFields := []string{
		"transport.auth.client_secret", "transport.auth.password", "transport.auth.value", "transport.headers.A.B",
		"transport.headers.X-Key[0]", "transport.headers.X-Key[1]", "transport.token",
	}
	if got := slices.Sorted(maps.Keys(sealed)); !slices.Equal(got, wantFields) {
		t.Errorf("sealed fields %v, want %v", got, wantFields)
	}
}

func TestStoredErrors(t *testing.T) {
	t.Parallel()
	c := Channel{Name: "crm", Transport: json.RawMessage(`{"token":"t"}`)}
	broken := errors.New("no key")
	if _, err := c.MarshalStored(func(string, string) (string, error) { return "", broken }); !errors.Is(err, broken) ||
		!strings.Contains(err.Error(), "channel crm: transport.token") {
		t.Errorf("seal fails: %v", err)
	}
	for name, text := range map[string]string{
		"no JSON": "{", "unknown member": `{"type":"rest","color":1}`, "overlap": `{"connectors":[{"name":"a","overlap":"x"}]}`,
		"direction": `{"connectors":[{"name":"a","overlap":"1s","mapping":[{"local":"a","direction":"up","on":"always"}]}]}`,
		"sealed":    `{"transport":{"token":"plain"}}`,
	} {
		if _, err := UnmarshalStored("crm", []byte(text), open); err == nil || !strings.Contains(err.Error(), "crm") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := SealedFields([]byte("{")); err == nil {
		t.Error("SealedFields reads nonsense")
	}
}

func TestStoredEntityRoundTrip(t *testing.T) {
	t.Parallel()
	for _, e := range append(fullFile(t).Entities, Entity{Name: "x", Table: "x", Key: []string{"id"}, Capture: "none"}) {
		b, err := e.MarshalStored()
		if err != nil {
			t.Fatal(err)
		}
		back, err := UnmarshalEntity(e.Name, b)
		if err != nil || !reflect.DeepEqual(back, e) {
			t.Errorf("%s: got %+v, %v; want %+v", b, back, err, e)
		}
	}
	if _, err := UnmarshalEntity("x", []byte(`{"tabel":"x"}`)); err == nil {
		t.Error("an unknown member passes")
	}
}
