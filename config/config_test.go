package config

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tandem-sync/tandem/channels"
	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/sync/mapping"
	"github.com/tandem-sync/tandem/sync/record"
)

func parse(t *testing.T, text string, vars map[string]string) *File {
	t.Helper()
	f, ps := Parse("t.yaml", []byte(text), env(vars))
	if len(ps) > 0 {
		t.Fatalf("problems:\n%s", ps.Error())
	}
	return f
}

func fullFile(t *testing.T) *File {
	t.Helper()
	data, err := os.ReadFile("testdata/full.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return parse(t, string(data), map[string]string{"URL": "https://api.example.com", "TOKEN": "t0ken"})
}

func TestParseFillsEverything(t *testing.T) {
	t.Parallel()
	f := fullFile(t)
	if f.Path != "t.yaml" || f.Database != "postgres://tandem:t0ken@db.example.com/tandem" || f.Listen != "[::1]:8080" ||
		f.Workers != (Workers{8, 2, 3 * time.Second}) || !f.Network.AllowPlaintext ||
		fmt.Sprint(f.Network.Allow) != "[127.0.0.0/8 ::1/128 10.0.0.0/8]" || fmt.Sprint(f.Guard().Allow) != fmt.Sprint(f.Network.Allow) {
		t.Errorf("top: %+v", f)
	}
	lines := f.Entities[1]
	if !slices.Equal(lines.Key, []string{"a", "b"}) || !slices.Equal(lines.Create, []ColumnDecl{{"a", "integer"}, {"b", "text not null"}}) {
		t.Errorf("entity: %+v", lines)
	}
	c := f.Channels[0]
	if c.Schedule != "@every 30s" || c.Conflict != "evidence-best" ||
		string(c.Transport) != `{"base_url":"https://api.example.com","token":"t0ken","headers":{"X-Key":"007"},"rate_limit":"90/10s","concurrency":4}` {
		t.Errorf("channel: %+v\n%s", c, c.Transport)
	}
	k := c.Connectors[0]
	if k.Create != "none" || k.DeleteLocal != "ignore" || k.Overlap != 0 || k.Full != "off" || string(k.Remote) != `{"list":{"path":"/c","query":{"a":1}}}` ||
		fmt.Sprint(k.Match) != "[[email] [last_name birthday]]" {
		t.Errorf("connector: %+v", k)
	}
	wantSet := map[string]record.Value{
		"status": record.T("new"), "level": record.N("3"), "open": record.B(true), "note": record.NullValue, "more": record.J(`{"a":[1]}`),
	}
	if fmt.Sprint(k.SetLocal) != fmt.Sprint(wantSet) {
		t.Errorf("set: %v, want %v", k.SetLocal, wantSet)
	}
	want := []mapping.Field{
		{Local: "email", Remote: "email", Direction: mapping.ToLocal, Type: "text", Required: true},
		{Local: "last_name", Remote: "name.last", Direction: mapping.ToLocal, Default: record.T(""), ToLocalExpr: "trim(value)"},
		{Local: "birthday", Remote: "days[0]", Direction: mapping.ToLocal, Type: "date", On: mapping.OnEmpty, Default: record.NullValue, ToLocalExpr: "record.email == '' ? nil : value"},
	}
	if !slices.Equal(k.Mapping, want) {
		t.Errorf("mapping: %+v\nwant %+v", k.Mapping, want)
	}
	s := c.Settings(f.Guard())
	if s.Channel != "crm" || len(s.Connectors) != 1 || s.Connectors[0].Name != "contacts" || s.Network == nil {
		t.Errorf("settings: %+v", s)
	}
}

func TestDefaults(t *testing.T) {
	t.Parallel()
	f := parse(t, "channels: [{name: a, connectors: [{name: b}]}]", nil)
	k := f.Channels[0].Connectors[0]
	if f.Database != DefaultDatabase || f.Broker != DefaultBroker || f.Listen != DefaultListen || f.Workers != (Workers{4, 4, time.Minute}) ||
		f.Network.Allow != nil || f.Network.AllowPlaintext {
		t.Errorf("top: %+v", f)
	}
	if f.Channels[0].Conflict != "newest" || f.Channels[0].Schedule != "" || k.Direction != "to_local" || k.Create != "to_local" || k.Match != nil ||
		k.DeleteLocal != "unlink" || k.DeleteRemote != "ignore" || k.Overlap != 5*time.Minute || k.Full != "@daily" || k.Limit != 0 {
		t.Errorf("channel: %+v", f.Channels[0])
	}
}

func TestVariablesStandForTopKeys(t *testing.T) {
	t.Parallel()
	vars := map[string]string{
		"TANDEM_DATABASE": "sqlite:env.db", "TANDEM_LISTEN": "127.0.0.1:9", "TANDEM_BROKER": "", "TANDEM_API_TOKEN": "abc",
		"TANDEM_SECRET_KEY": "nonsense-key",
	}
	f := parse(t, "database: sqlite:file.db\nbroker: embedded\n", vars)
	if f.Database != "sqlite:env.db" || f.Listen != "127.0.0.1:9" || f.Broker != "embedded" || f.APIToken != "abc" {
		t.Errorf("%+v", f)
	}
	ps := f.Check(registry(t))
	if want := "environment: TANDEM_SECRET_KEY: must be 32 bytes in base64; make one with: openssl rand -base64 32"; ps.Error() != want {
		t.Errorf("got %q, want %q", ps.Error(), want)
	}
}

func TestListenNeedsATokenBeyondLoopback(t *testing.T) {
	t.Parallel()
	for listen, open := range map[string]bool{
		"127.0.0.1:0": false, "127.9.9.9:1": false, "localhost:1": false, "[::1]:1": false, "[::ffff:127.0.0.1]:1": false,
		":8080": true, "0.0.0.0:1": true, "[::]:1": true, "10.0.0.1:1": true, "example.com:1": true,
	} {
		f := parse(t, fmt.Sprintf("listen: %q", listen), nil)
		if got := len(f.Check(registry(t))) > 0; got != open {
			t.Errorf("%s: problem %v, want %v", listen, got, open)
		}
		f = parse(t, fmt.Sprintf("listen: %q", listen), map[string]string{"TANDEM_API_TOKEN": "x"})
		if ps := f.Check(registry(t)); len(ps) > 0 {
			t.Errorf("%s with a token: %s", listen, ps.Error())
		}
	}
}

func TestEnvironmentInScalars(t *testing.T) {
	t.Parallel()
	vars := map[string]string{"A": "x: {y}", "N": "12", "Q": `"`, "SELF": "${A}"}
	f := parse(t, `
entities: {c: {table: "${N}_${N}", key: ["k${N}"]}}
workers: {sync: ${N}}
channels:
  - transport: {a: ${A}, n: ${N}, q: '${Q}', esc: $${A}, "esc2": "$${A}${N}$$", self: ${SELF}, plain: $A}
`, vars)
	want := `{"a":"x: {y}","n":"12","q":"\"","esc":"${A}","esc2":"${A}12$$","self":"${A}","plain":"$A"}`
	if got := string(f.Channels[0].Transport); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if f.Workers.Sync != 12 || f.Entities[0].Table != "12_12" || f.Entities[0].Key[0] != "k12" {
		t.Errorf("%+v", f)
	}
}

func TestScalarsBecomeJSON(t *testing.T) {
	t.Parallel()
	f := parse(t, `channels: [{transport: {a: 1, b: 1.50, c: 0x1F, d: 1_000, e: True, f: yes, g: ~, h: 2026-01-01, i: "5", j: .inf, k: 007, l: 123456789012345678901234567890, m: !!str 5, n: [1, {a: b}], token: 12345}}]`, nil)
	want := `{"a":1,"b":1.50,"c":"0x1F","d":"1_000","e":true,"f":"yes","g":null,"h":"2026-01-01","i":"5","j":".inf","k":"007","l":123456789012345678901234567890,"m":"5","n":[1,{"a":"b"}],"token":"12345"}`
	if got := string(f.Channels[0].Transport); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestMergesAndAliases(t *testing.T) {
	t.Parallel()
	f := parse(t, `
channels:
  - &a
    name: a
    transport: &t {x: 1, y: 2}
  - <<: *a
    name: b
    transport: {<<: [{y: 3, z: 4}, *t], w: 5}
`, nil)
	b := f.Channels[1]
	if b.Name != "b" || string(b.Transport) != `{"w":5,"y":3,"z":4,"x":1}` {
		t.Errorf("%s %s", b.Name, b.Transport)
	}
}

func TestHostileTextsAreRefused(t *testing.T) {
	t.Parallel()
	var bomb strings.Builder
	bomb.WriteString("channels:\n  - transport:\n      a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n")
	for i := 1; i < 10; i++ {
		ref := fmt.Sprintf("*a%d", i-1)
		fmt.Fprintf(&bomb, "      a%d: &a%d [%s]\n", i, i, strings.Join(slices.Repeat([]string{ref}, 10), ", "))
	}
	var merges strings.Builder
	merges.WriteString("m0: &m0 {k: v}\n")
	for i := 1; i < 30; i++ {
		fmt.Fprintf(&merges, "m%d: &m%d {<<: [*m%d, *m%d]}\n", i, i, i-1, i-1)
	}
	// One long text, repeated by alias until its copies would fill the memory.
	long := "a: &a \"" + strings.Repeat("x", 400_000) + "\"\nchannels: [{transport: {k: [" + strings.Repeat("*a ,", 100_000) + "]}}]"
	key := strings.Repeat("k", 300) + ": [" + strings.Repeat("x,", 100_000) + "]"
	problems := "channels: [{transport: {k: &v [" + strings.Repeat("${GONE},", 50_000) + "]}}]"
	tests := map[string]struct{ text, want string }{
		"texts that multiply":   {long, "nests or repeats more than"},
		"a long key":            {key, "a key is longer than 200 bytes"},
		"endless problems":      {problems, "and more problems than are listed"},
		"aliases that multiply": {bomb.String(), "nests or repeats more than"},
		"merges that multiply":  {merges.String(), "nests or repeats more than"},
		"deep":                  {"channels: " + strings.Repeat("[", 100) + strings.Repeat("]", 100), "nests or repeats more than"},
		"very deep":             {"channels: " + strings.Repeat("[", 60_000), "is no YAML"},
		"large":                 {"# " + strings.Repeat("x", MaxSize), "is larger than 1048576 bytes"},
		"NUL":                   {"listen: a\n  \x00", "t.yaml:2:3: holds the character U+0000"},
		"bytes":                 {"listen: \xff", "t.yaml:1:9: is not valid UTF-8 text"},
		"lone carriage return":  {"a: b\rc: d", "t.yaml:1:5: holds the character U+000D"},
		"line separator":        {"a: b\u2028c: d", "holds the character U+2028"},
		"marks":                 {"listen: \uFDD0", "holds the character U+FDD0"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			start := time.Now()
			f, ps := Parse("t.yaml", []byte(tt.text), env(nil))
			if !strings.Contains(ps.Error(), tt.want) {
				t.Errorf("got %.300q, want %q", ps.Error(), tt.want)
			}
			if f == nil {
				t.Error("no file")
			}
			if took := time.Since(start); took > time.Minute {
				t.Errorf("took %s", took)
			}
		})
	}
}

func TestByteOrderMarkAndCarriageReturns(t *testing.T) {
	t.Parallel()
	f := parse(t, "\uFEFFlisten: 127.0.0.1:1\r\nbroker: embedded\r\n", nil)
	if f.Listen != "127.0.0.1:1" || f.Broker != "embedded" {
		t.Errorf("%+v", f)
	}
}

func TestLoad(t *testing.T) {
	path := write(t, "x.yaml", "listen: 127.0.0.1:1\n")
	if f, ps := Load(path, env(nil)); len(ps) > 0 || f.Listen != "127.0.0.1:1" || f.Path != path {
		t.Errorf("%+v %v", f, ps)
	}
	t.Chdir(t.TempDir())
	f, ps := Load("", env(map[string]string{"TANDEM_LISTEN": "127.0.0.1:2"}))
	if len(ps) > 0 || f.Path != "" || f.Database != DefaultDatabase || f.Listen != "127.0.0.1:2" {
		t.Errorf("no file: %+v %v", f, ps)
	}
	f, ps = Load("tandem.yaml", env(nil))
	if want := "tandem.yaml: cannot be read: no such file or directory; name another file, or write one with: tandem init"; f == nil || ps.Error() != want {
		t.Errorf("named: %v, want %s", ps, want)
	}
	if _, ps = Load(t.TempDir(), env(nil)); len(ps) != 1 || !strings.Contains(ps[0].Message, "is a directory") {
		t.Errorf("a directory: %v", ps)
	}
	if err := os.WriteFile(DefaultPath, []byte("listen: 127.0.0.1:3\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if f, ps = Load("", env(nil)); len(ps) > 0 || f.Listen != "127.0.0.1:3" || f.Path != DefaultPath {
		t.Errorf("default file: %+v %v", f, ps)
	}
}

func TestValidateJoinsBoth(t *testing.T) {
	t.Parallel()
	path := write(t, "x.yaml", "lsten: x\nbroker: kafka\nworkers: {lease: soon}\n")
	_, ps := Validate(path, env(nil), registry(t))
	if len(ps) != 3 || ps[0].Line != 1 || ps[1].Line != 2 || ps[2].Line != 3 {
		t.Errorf("%s", ps.Error())
	}
	if ps.Err() == nil || Problems(nil).Err() != nil {
		t.Error("Err is wrong")
	}
}

func TestCheckWithoutAText(t *testing.T) {
	t.Parallel()
	f := Default()
	f.Broker = "kafka"
	if got := f.Check(registry(t)).Error(); !strings.HasPrefix(got, "tandem.yaml: broker: must be embedded") {
		t.Errorf("%s", got)
	}
}

func TestStarterIsClean(t *testing.T) {
	t.Parallel()
	reg := registry(t)
	for _, name := range []string{"", "rest"} {
		text, err := Starter(name, reg)
		if err != nil {
			t.Fatal(err)
		}
		f, ps := Parse("tandem.yaml", text, env(nil))
		if ps = ps.And(f.Check(reg)); len(ps) > 0 {
			t.Errorf("%s", ps.Error())
		}
		if len(f.Channels) != 1 || bytes.Count(text, []byte("#")) < 15 {
			t.Error("the starter shows no channel or explains nothing")
		}
	}
	if _, err := Starter("nope", reg); fault.CodeOf(err) != fault.CodeNotFound {
		t.Errorf("unknown type: %v", err)
	}
	odd := &channels.Registry{}
	if err := odd.Register(fake{"odd"}); err != nil {
		t.Fatal(err)
	}
	if _, err := Starter("odd", odd); fault.CodeOf(err) != fault.CodeUsage {
		t.Errorf("type without starter: %v", err)
	}
	if _, err := Starter("", &channels.Registry{}); fault.CodeOf(err) != fault.CodeNotFound {
		t.Errorf("empty registry: %v", err)
	}
}

// What HubSpot's own type says of its starter is tested with the commands.
func TestHubSpotStarterParses(t *testing.T) {
	t.Parallel()
	text, err := Starter("hubspot", registry(t))
	if err != nil {
		t.Fatal(err)
	}
	f, ps := Parse("tandem.yaml", text, env(map[string]string{"HUBSPOT_TOKEN": "pat-x"}))
	if len(ps) > 0 || len(f.Channels) != 1 || f.Channels[0].Type != "hubspot" || bytes.Count(text, []byte("#")) < 15 {
		t.Errorf("%v: %+v", ps, f)
	}
	if _, ps = Parse("tandem.yaml", text, env(nil)); len(ps) != 1 || !strings.Contains(ps.Error(), "HUBSPOT_TOKEN is not set") {
		t.Errorf("without the token: %v", ps)
	}
}

func FuzzParse(f *testing.F) {
	for _, name := range []string{"full", "aliases", "environment", "wrong_shapes", "unknown_keys", "alias_cycle", "two_way", "two_way_mistakes"} {
		data, err := os.ReadFile("testdata/" + name + ".yaml")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add(starterREST)
	f.Add([]byte("a: &x {<<: *x}\nb: ${A\n"))
	reg := registry(f)
	const secret = "s3cr3t-value"
	f.Fuzz(func(t *testing.T, data []byte) {
		if bytes.Contains(data, []byte(secret)) || bytes.Contains(data, []byte("3cr")) || len(data) > 20_000 {
			return
		}
		file, ps := Parse("f.yaml", data, func(string) (string, bool) { return secret, true })
		ps = ps.And(file.Check(reg))
		for i, p := range ps {
			if p.Message == "" || p.File == "" || p.Line < 0 || p.Line > bytes.Count(data, []byte("\n"))+2 {
				t.Errorf("problem %+v", p)
			}
			if i > 0 && ps[i-1].Line > p.Line {
				t.Errorf("out of order: %v", ps)
			}
			if strings.Contains(p.String(), secret) {
				t.Errorf("a secret is shown: %s", p)
			}
		}
	})
}
