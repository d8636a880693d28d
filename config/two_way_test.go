package config

import (
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/tandem-sync/tandem/channels"
	"github.com/tandem-sync/tandem/sync/mapping"
	"github.com/tandem-sync/tandem/sync/record"
)

func twoWayFile(t *testing.T) *File {
	t.Helper()
	data, err := os.ReadFile("testdata/two_way.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return parse(t, string(data), nil)
}

func TestFieldsTakeTheConnectorsDirection(t *testing.T) {
	t.Parallel()
	f := twoWayFile(t)
	contacts := &f.Channels[0].Connectors[1]
	want := []mapping.Field{
		{Local: "email", Remote: "email", Direction: mapping.Both, Required: true, ToLocalExpr: "lower(value)", ToRemoteExpr: "trim(value)"},
		{Local: "last_name", Remote: "name.last", Direction: mapping.Both},
		{Local: "birthday", Remote: "born", Direction: mapping.Both, Type: "date"},
		{Local: "score", Remote: "score", Direction: mapping.ToLocal, ToLocalExpr: "value * 10"},
		{Local: "status", Remote: "status", Direction: mapping.ToRemote, Default: record.T("new"), ToRemoteExpr: "upper(value)"},
		{Local: "company_id", Remote: "company", Direction: mapping.Both, Ref: "companies"},
	}
	if !slices.Equal(contacts.Mapping, want) {
		t.Errorf("mapping: %+v\nwant %+v", contacts.Mapping, want)
	}
	spec := contacts.Spec()
	if !strings.HasPrefix(spec.ScopeLocal, "status ==") || !strings.HasPrefix(spec.ScopeRemote, "record.type in") || len(spec.SetRemote) != 6 {
		t.Errorf("spec: %+v", spec)
	}
	var got []string
	for i := range f.Channels[0].Connectors {
		k := &f.Channels[0].Connectors[i]
		got = append(got, fmt.Sprintf("%s: writes %t, creates here %t, there %t", k.Name, k.Writes(), k.CreatesLocal(), k.CreatesRemote()))
	}
	if want := []string{
		"companies: writes true, creates here true, there true", "contacts: writes true, creates here false, there true",
		"orders: writes true, creates here false, there true", "notes: writes true, creates here false, there false",
	}; !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}

func TestCaptureFollowsTheConnectors(t *testing.T) {
	t.Parallel()
	f := twoWayFile(t)
	var got []string
	for _, e := range f.Entities {
		got = append(got, e.Name+" "+e.Capture)
	}
	if want := []string{"contacts triggers", "companies triggers", "orders modified", "notes none"}; !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	if got := fullFile(t).Entities[1].Capture; got != CaptureNone {
		t.Errorf("an entity that is only read from the remote: %s", got)
	}
	// An export says only what differs from that.
	text, _ := exported(t, f)
	for _, want := range []string{"contacts: {table: contacts, key: id, modified: updated_at}\n", "capture: modified}\n", "capture: none}\n", `transform: "upper(value)"`} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in\n%s", want, text)
		}
	}
	if n := strings.Count(text, "capture:"); n != 2 {
		t.Errorf("%d captures in\n%s", n, text)
	}
	if strings.Contains(text, "direction: both, ") {
		t.Errorf("a field repeats its connector's direction:\n%s", text)
	}
}

func TestTypesAreToldWhatIsWritten(t *testing.T) {
	t.Parallel()
	f := twoWayFile(t)
	s := f.Channels[0].Settings(f.Guard())
	want := []*channels.ConnectorWrites{
		{Create: true, Update: true, Fields: []string{"name", "parent"}},
		{
			Create: true, Update: true, Delete: true,
			Fields: []string{"email", "name.last", "born", "status", "company", "address.country", "level", "note", "open", "origin", "tags"},
		},
		{Create: true, Update: true, Fields: []string{"number", "shop"}},
		{Update: true, Fields: []string{"text"}},
	}
	for i, w := range want {
		if !reflect.DeepEqual(s.Connectors[i].Writes, w) {
			t.Errorf("%s: %+v, want %+v", s.Connectors[i].Name, s.Connectors[i].Writes, w)
		}
	}
	reads := fullFile(t)
	if w := reads.Channels[0].Settings(reads.Guard()).Connectors[0].Writes; w != nil {
		t.Errorf("a connector that reads writes %+v", w)
	}
	once := Connector{Direction: "to_remote", Create: "none", Mapping: []mapping.Field{{Local: "a", Remote: "a", Direction: mapping.ToRemote, On: mapping.OnCreate}}, SetRemote: map[string]record.Value{"x": record.T("y")}}
	if w := once.writes(); w.Create || w.Update || w.Delete || !slices.Equal(w.Fields, []string{"a"}) {
		t.Errorf("only on create, and no creates: %+v", w)
	}
}

// TestDirectionsAreAMatrix goes through every direction of a connector with every
// direction of a field and every side of creates.
func TestDirectionsAreAMatrix(t *testing.T) {
	t.Parallel()
	covers := func(wide, narrow string) bool { return wide == "both" || wide == narrow }
	for _, connector := range directionWords {
		for _, field := range directionWords {
			for _, create := range append([]string{"none"}, directionWords...) {
				text := fmt.Sprintf(`
entities: {c: {table: c, key: id}}
channels:
  - name: one
    type: rest
    transport: {base_url: https://x}
    connectors:
      - {name: c, entity: c, direction: %s, create: %s, match: [[k]], remote: {}, mapping: [{local: k, remote: k}, {local: a, remote: a, direction: %s}]}
`, connector, create, field)
				f := parse(t, text, nil)
				var want []string
				if create != "none" && !covers(connector, create) {
					want = append(want, "create")
				}
				if !covers(connector, field) {
					want = append(want, "mapping[1].direction")
				}
				var got []string
				for _, p := range f.Check(registry(t)) {
					got = append(got, strings.TrimPrefix(p.Field, "channels[0].connectors[0]."))
				}
				if !slices.Equal(got, want) {
					t.Errorf("connector %s, create %s, field %s: %v, want %v", connector, create, field, got, want)
				}
			}
		}
	}
}

// TestStartersGoBothWays takes the marks off the lines that a starter offers for
// the way to the remote.
func TestStartersGoBothWays(t *testing.T) {
	t.Parallel()
	reg := registry(t)
	marks := strings.NewReplacer("# direction: both", "direction: both", "# create: {", "create: {", "# update: {", "update: {")
	for name, changed := range map[string]int{"rest": 3, "hubspot": 1} {
		text, err := Starter(name, reg)
		if err != nil {
			t.Fatal(err)
		}
		open := marks.Replace(string(text))
		if got := (len(text) - len(open)) / len("# "); got != changed {
			t.Errorf("%s offers %d lines, want %d", name, got, changed)
		}
		f, ps := Parse("tandem.yaml", []byte(open), env(map[string]string{"HUBSPOT_TOKEN": "pat-x"}))
		for _, p := range ps.And(f.Check(reg)) {
			// The fake type wants of HubSpot what the real one knows by itself.
			if name == "rest" || !strings.HasSuffix(p.Field, "base_url") && !strings.HasSuffix(p.Field, "list.path") {
				t.Errorf("%s: %s", name, p)
			}
		}
		if k := &f.Channels[0].Connectors[0]; !k.CreatesRemote() || f.Entities[0].Capture != "triggers" {
			t.Errorf("%s: %+v, capture %s", name, k, f.Entities[0].Capture)
		}
	}
}

// TestManyReferences: what a long file says of its references stays short.
func TestManyReferences(t *testing.T) {
	t.Parallel()
	const n = 3000
	var b strings.Builder
	b.WriteString("entities: {c: {table: c, key: id}}\nchannels:\n  - name: one\n    type: rest\n    transport: {base_url: https://x}\n    connectors:\n")
	for i := range n {
		fmt.Fprintf(&b, "      - {name: k%d, entity: c, remote: {}, mapping: [{local: a, remote: a, ref: k%d}, {local: b, remote: b, ref: zz}]}\n", i, (i+1)%n)
	}
	ps := parse(t, b.String(), nil).Check(registry(t))
	circles := 0
	for _, p := range ps {
		if strings.Contains(p.Message, "circle") {
			circles++
		}
		if len(p.String()) > 1000 {
			t.Fatalf("a problem of %d bytes: %.200s", len(p.String()), p)
		}
	}
	if circles != 1 || len(ps) != n+1 {
		t.Errorf("%d problems, %d circles", len(ps), circles)
	}
}
