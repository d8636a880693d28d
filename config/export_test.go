package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tandem-sync/tandem/sync/mapping"
	"github.com/tandem-sync/tandem/sync/record"
)

// exported gives f as text, read back with its secrets in place.
func exported(t *testing.T, f *File) (string, *File) {
	t.Helper()
	text, vars, err := Export(f)
	if err != nil {
		t.Fatal(err)
	}
	back, ps := Parse("exported.yaml", text, holding(t, f, vars))
	if len(ps) > 0 {
		t.Fatalf("%v\nin\n%s", ps, text)
	}
	return string(text), back
}

// holding is an environment with every variable that an export asks for.
func holding(t *testing.T, f *File, vars []Variable) func(string) (string, bool) {
	t.Helper()
	all := map[string]string{"database": f.Database, "broker": f.Broker, "secret_key": f.SecretKey}
	for i := range f.Channels {
		if _, err := f.Channels[i].MarshalStored(func(field, plain string) (string, error) {
			all["channels."+f.Channels[i].Name+"."+field] = plain
			return plain, nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	out := map[string]string{}
	for _, v := range vars {
		text, ok := all[v.For]
		if _, twice := out[v.Name]; twice || !ok {
			t.Fatalf("variable %+v is asked for twice or for nothing", v)
		}
		out[v.Name] = text
	}
	return env(out)
}

// same fails when two files store differently or differ by Diff.
func same(t *testing.T, a, b *File) {
	t.Helper()
	if len(a.Entities) != len(b.Entities) || len(a.Channels) != len(b.Channels) {
		t.Fatalf("%d and %d entities, %d and %d channels", len(a.Entities), len(b.Entities), len(a.Channels), len(b.Channels))
	}
	for i := range a.Entities {
		if d, err := DiffEntity(&a.Entities[i], &b.Entities[i]); err != nil || len(d) > 0 || a.Entities[i].Name != b.Entities[i].Name {
			t.Fatalf("entity %s: %v, %v", a.Entities[i].Name, d, err)
		}
	}
	for i := range a.Channels {
		x, xerr := a.Channels[i].MarshalStored(seal)
		y, yerr := b.Channels[i].MarshalStored(seal)
		if xerr != nil || yerr != nil || !bytes.Equal(x, y) {
			t.Fatalf("channel %s:\n%s\n%s\n%v %v", a.Channels[i].Name, x, y, xerr, yerr)
		}
		if d, err := DiffChannel(&a.Channels[i], &b.Channels[i]); err != nil || len(d) > 0 || a.Channels[i].Name != b.Channels[i].Name {
			t.Fatalf("channel %s: %v, %v", a.Channels[i].Name, d, err)
		}
	}
}

// TestExportedExamplesReadBack exports every example of the documentation and of
// the examples folder, and the file that uses every key.
func TestExportedExamplesReadBack(t *testing.T) {
	t.Parallel()
	texts := map[string]string{"starter": starterText(t)}
	for i, block := range strings.Split(document(t), "```yaml\n")[1:] {
		text, _, _ := strings.Cut(block, "\n```")
		texts[fmt.Sprintf("document %d", i)] = text + "\n"
	}
	files, err := filepath.Glob("../examples/*/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatal("no examples", err)
	}
	for _, name := range append(files, "testdata/full.yaml", "testdata/two_way.yaml") {
		b, err := os.ReadFile(name) //nolint:gosec // one of ours
		if err != nil {
			t.Fatal(err)
		}
		texts[name] = string(b)
	}
	for name, text := range texts {
		f, ps := Parse(name, []byte(text), func(v string) (string, bool) {
			if strings.HasPrefix(v, "TANDEM_") {
				return "", false
			}
			return "https://canary-" + v, true
		})
		if len(ps) > 0 {
			t.Fatalf("%s: %v", name, ps)
		}
		out, back := exported(t, f)
		same(t, f, back)
		if again, _ := exported(t, back); again != out {
			t.Errorf("%s: exported twice:\n%s\nand\n%s", name, out, again)
		}
	}
}

func starterText(t *testing.T) string {
	t.Helper()
	b, err := Starter("rest", registry(t))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestExportedGeneratedReadBack exports configurations made at random, with the
// texts that YAML and our variables make most trouble with.
func TestExportedGeneratedReadBack(t *testing.T) {
	t.Parallel()
	for seed := range uint64(400) {
		f := generate(rand.New(rand.NewPCG(seed, 1))) //nolint:gosec // a seed is the point
		out, back := exported(t, f)
		same(t, f, back)
		if strings.Contains(out, "CANARY") {
			t.Fatalf("seed %d: a secret is written:\n%s", seed, out)
		}
	}
}

var hardTexts = []string{
	"", " ", "a", "yes", "No", "null", "~", "true", "1", "-1.5e3", "0x1F", "1_000", "007", ".inf", "2026-11-24", "12:30:45", "- a", "a: b", "a #b", "#",
	"{a}", "[a]", "a,b", "${X}", "$${X}", "$", "${", "$$${A", "a${B}c}", "*a", "&a", "!a", "%a", "@a", "`a", "|", ">", "'", `"`, `\`, "a\nb", "\n", "\ta",
	"<<", "?", ":", "=", "é ü 漢", "😀", "\u00a0", "\u200b", "\x00", "\x7f", "\u2028", "a\rb", " a ", "value + \" \" + (record.last ?? \"\")", "a\\u0041",
	"tandem:v1:aa:bb", "\ufeff", strings.Repeat("long ", 40),
}

type generator struct {
	*rand.Rand
	n int
}

func (g *generator) text() string { return hardTexts[g.IntN(len(hardTexts))] }

func (g *generator) name(prefix string) string { g.n++; return fmt.Sprintf("%s%d", prefix, g.n) }

func (g *generator) json(depth int) any {
	switch k := g.IntN(8); {
	case k == 0 && depth > 0:
		m := map[string]any{}
		for range g.IntN(4) {
			m[g.text()] = g.json(depth - 1)
		}
		return m
	case k == 1 && depth > 0:
		l := []any{}
		for range g.IntN(4) {
			l = append(l, g.json(depth-1))
		}
		return l
	case k == 2:
		return json.Number([]string{"0", "-7", "12345678901234567890", "0.10", "1e3"}[g.IntN(5)])
	case k == 3:
		return g.IntN(2) == 0
	case k == 4:
		return nil
	}
	return g.text()
}

func (g *generator) raw(v any) json.RawMessage {
	b, err := encode(v)
	if err != nil {
		panic(err)
	}
	return b
}

func (g *generator) value() record.Value {
	v, err := loadValue(g.raw(g.json(2)))
	if err != nil {
		panic(err)
	}
	return v
}

func generate(r *rand.Rand) *File {
	g := &generator{Rand: r}
	f := Default()
	if g.IntN(2) == 0 {
		f.Database, f.Broker, f.SecretKey = "postgres://u:CANARY@h/d", "amqps://u:CANARY@h/", "CANARY"
		f.Network.AllowPlaintext = g.IntN(2) == 0
		f.Workers = Workers{Sync: 1 + g.IntN(9), ReverseSync: 1, Lease: 90 * time.Second}
	}
	for range g.IntN(3) {
		e := Entity{Name: g.name("e"), Table: "t" + g.text(), Key: []string{g.text()}, Modified: g.text(), Deleted: g.text(), Capture: captures[g.IntN(len(captures))]}
		for range g.IntN(3) {
			e.Key = append(e.Key, g.text())
			e.Create = append(e.Create, ColumnDecl{g.name("c "), g.text()})
		}
		f.Entities = append(f.Entities, e)
	}
	for range 1 + g.IntN(3) {
		c := g.channel()
		if !slices.ContainsFunc(f.Channels, func(o Channel) bool { return o.Name == c.Name }) {
			f.Channels = append(f.Channels, c)
		}
	}
	return f
}

func (g *generator) channel() Channel {
	transport := map[string]any{"base_url": g.text(), "token": "CANARY" + g.text(), "concurrency": 4, "other": g.json(3)}
	if g.IntN(2) == 0 {
		transport["headers"] = map[string]any{"X-A": "CANARY1", "x_a": "CANARY2", "X.a": "", "é": []any{"CANARY3", "CANARY4"}}
		transport["auth"] = map[string]any{"type": "basic", "username": g.text(), "password": "CANARY", "client_secret": "CANARY" + g.text()}
	}
	c := Channel{
		Name: []string{g.name("crm-"), g.name("Ab_"), "api", "secret"}[g.IntN(4)], Type: "rest", Transport: g.raw(transport),
		Schedule: g.text(), Conflict: conflicts[g.IntN(len(conflicts))],
	}
	if g.IntN(3) == 0 {
		c.Operations = g.raw([]any{map[string]any{"name": g.text(), "op": g.json(2)}, g.json(1)})
	}
	for range g.IntN(3) {
		c.Connectors = append(c.Connectors, g.connector())
	}
	return c
}

func (g *generator) connector() Connector {
	k := defaultConnector()
	k.Name, k.Entity, k.Full, k.Limit = g.name("k"), []string{"e1", "e2", g.text()}[g.IntN(3)], g.text(), g.IntN(3)
	k.Direction = []string{"to_local", "to_remote", "both"}[g.IntN(3)]
	k.Create = []string{"to_local", "to_remote", "both", "none"}[g.IntN(4)]
	k.Overlap = []time.Duration{0, time.Second, DefaultOverlap, 36 * time.Hour, 1500 * time.Millisecond}[g.IntN(5)]
	k.Scope = Scope{g.text(), g.text()}
	k.DeleteLocal = []string{"ignore", "unlink", "delete"}[g.IntN(3)]
	for range g.IntN(3) {
		k.Match = append(k.Match, []string{g.text(), g.text()})
	}
	if g.IntN(2) == 0 {
		k.SetLocal = map[string]record.Value{g.text(): g.value(), "more": g.value()}
		k.SetRemote = map[string]record.Value{g.text(): g.value()}
	}
	for range g.IntN(4) {
		f := mapping.Field{
			Local: g.text(), Remote: g.text(), Direction: mapping.Direction(1 + g.IntN(3)), On: mapping.On(g.IntN(3)),
			Type: mapping.Types()[g.IntN(len(mapping.Types()))], Required: g.IntN(2) == 0, Ref: g.text(), ToLocalExpr: g.text(), ToRemoteExpr: g.text(),
		}
		if g.IntN(2) == 0 {
			f.Default = g.value()
		}
		k.Mapping = append(k.Mapping, f)
	}
	if g.IntN(2) == 0 {
		k.Remote = g.raw(map[string]any{"list": g.json(3)})
	}
	return k
}

func TestExportGolden(t *testing.T) {
	t.Parallel()
	f := fullFile(t)
	c := f.Channels[0]
	c.Name = "api" // whose token must not take the variable of the API's own
	f.Channels = append(f.Channels, c)
	text, vars, err := Export(f)
	if err != nil {
		t.Fatal(err)
	}
	const golden = "testdata/export.golden"
	if *update {
		if err := os.WriteFile(golden, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil || string(want) != string(text) {
		t.Errorf("%s\nwant\n%s\n%v", text, want, err)
	}
	var names []string
	for _, v := range vars {
		names = append(names, v.Name)
	}
	wantNames := []string{
		"TANDEM_DATABASE", "TANDEM_BROKER", "TANDEM_SECRET_KEY", "TANDEM_CRM_HEADERS_X_KEY", "TANDEM_CRM_TOKEN",
		"TANDEM_API_HEADERS_X_KEY", "TANDEM_API_TOKEN_2",
	}
	if !slices.Equal(names, wantNames) {
		t.Errorf("variables %v, want %v", names, wantNames)
	}
}

func TestExportRefusesWhatDoesNotReadBack(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]Channel{
		"a number no reader holds": {Name: "a", Conflict: "newest", Transport: json.RawMessage(`{"n":1e999}`)},
		"no JSON":                  {Name: "a", Conflict: "newest", Transport: json.RawMessage(`{`)},
		"a character for nobody":   {Name: "a", Conflict: "newest", Transport: json.RawMessage(`{"n":"` + string(openMark) + `"}`)},
		"an unknown policy":        {Name: "a", Conflict: "coin"},
	} {
		if text, _, err := Export(&File{Channels: []Channel{c}}); err == nil {
			t.Errorf("%s: written as\n%s", name, text)
		}
	}
}

func TestDiff(t *testing.T) {
	t.Parallel()
	old := fullFile(t).Channels[0]
	now := fullFile(t).Channels[0]
	if d, err := DiffChannel(&old, &now); err != nil || len(d) > 0 {
		t.Fatalf("%v %v", d, err)
	}
	now.Transport = bytes.Replace(now.Transport, []byte(`"token":"`), []byte(`"token":"other `), 1)
	now.Schedule = "off"
	k := &now.Connectors[0]
	k.Mapping = append([]mapping.Field{{Local: "phone", Remote: "phone", Direction: mapping.ToLocal}}, k.Mapping[0], k.Mapping[2])
	k.Match = [][]string{{"email"}}
	k.SetLocal = map[string]record.Value{"status": record.T("old"), "level": record.N("3"), "open": record.B(true), "note": record.NullValue}
	d, err := DiffChannel(&old, &now)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, c := range d {
		got = append(got, fmt.Sprintf("%s: %s => %s %t", c.Field, c.Old, c.New, c.Secret))
	}
	const at = "connectors[contacts]."
	want := []string{
		`transport.token: "(secret)" => "(secret)" true`,
		`schedule: "@every 30s" => "off" false`,
		at + `match: [["email"],["last_name","birthday"]] => [["email"]] false`,
		at + `set.local.status: "new" => "old" false`,
		at + `mapping[phone]:  => {"local":"phone","remote":"phone","direction":"to_local","on":"always"} false`,
		at + `set.local.more: {"a":[1]} =>  false`,
		at + `mapping[last_name]: {"local":"last_name","remote":"name.last","direction":"to_local","on":"always","default":"","transform":{"to_local":"trim(value)"}} =>  false`,
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	// Another order is a change, too: the first of several connectors works first.
	now = fullFile(t).Channels[0]
	slices.Reverse(now.Connectors[0].Mapping)
	d, err = DiffChannel(&old, &now)
	if err != nil || len(d) != 1 || d[0].Field != at+"mapping in order" || string(d[0].New) != `["birthday","last_name","email"]` {
		t.Errorf("%v %v", d, err)
	}
	if d, err = DiffChannel(nil, &old); err != nil || len(d) < 10 || d[0].Old != nil {
		t.Errorf("a new channel: %v %v", d, err)
	}
	e := Entity{Name: "x", Table: "x", Key: []string{"id"}, Capture: "none", Create: []ColumnDecl{{"id", "integer"}}}
	was := e
	was.Key = []string{"a", "b"}
	was.Create = []ColumnDecl{{"id", "text"}}
	if d, err = DiffEntity(&was, &e); err != nil || len(d) != 2 || d[0].Field != "key" || d[1].Field != "create[id].type" {
		t.Errorf("%v %v", d, err)
	}
}
