package workers

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tandem-sync/tandem/channels"
	"github.com/tandem-sync/tandem/config"
	"github.com/tandem-sync/tandem/sync/mapping"
	"github.com/tandem-sync/tandem/sync/record"
)

// comeBack applies f, writes what is stored as a file, and demands that this file
// changes nothing: not by the plan, and not by applying it.
func (w *planWorld) comeBack(f *config.File) {
	w.Helper()
	w.apply(f)
	out := *f
	var err error
	if out.Entities, out.Channels, err = ForExport(w.Context(), w.db, w.keys); err != nil {
		w.Fatal(err)
	}
	text, vars, err := config.Export(&out)
	if err != nil || strings.Contains(string(text), "CANARY") {
		w.Fatalf("%v\n%s", err, text)
	}
	secrets := map[string]string{"database": f.Database, "broker": f.Broker, "secret_key": f.SecretKey}
	for i := range out.Channels {
		if _, err := out.Channels[i].MarshalStored(func(field, plain string) (string, error) {
			secrets["channels."+out.Channels[i].Name+"."+field] = plain
			return plain, nil
		}); err != nil {
			w.Fatal(err)
		}
	}
	env := map[string]string{}
	for _, v := range vars {
		env[v.Name] = secrets[v.For]
	}
	back, ps := config.Parse("out.yaml", text, func(name string) (string, bool) { v, ok := env[name]; return v, ok })
	if ps = ps.And(back.Check(channels.Default)); len(ps) > 0 {
		w.Fatalf("%v\n%s", ps, text)
	}
	if got := withoutWanted(w.plan(back, PlanOptions{Prune: true})); len(got) > 0 {
		w.Fatalf("the plan of the export: %q\n%s", got, text)
	}
	done, err := Apply(w.Context(), w.db, w.keys, channels.Default, back)
	if err != nil {
		w.Fatal(err)
	}
	for _, d := range done {
		if d.Action != "unchanged" {
			w.Fatalf("applying the export: %+v", d)
		}
	}
}

// withTables lets applying make every table of f, with the columns it uses, and
// tells the names of several files apart.
func withTables(f *config.File, n int) {
	for i := range f.Entities {
		e := &f.Entities[i]
		cols := slices.Concat(e.Key, []string{e.Modified, e.Deleted})
		for j := range f.Channels {
			for k := range f.Channels[j].Connectors {
				if c := &f.Channels[j].Connectors[k]; c.Entity == e.Name {
					for _, m := range c.Mapping {
						cols = append(cols, m.Local)
					}
					for name := range c.SetLocal {
						cols = append(cols, name)
					}
				}
			}
		}
		e.Create = nil
		slices.Sort(cols)
		for _, c := range slices.Compact(cols) {
			if c != "" {
				e.Create = append(e.Create, config.ColumnDecl{Name: c, Type: "text"})
			}
		}
		e.Table = fmt.Sprintf("t%d_%d", n, i)
	}
	for i := range f.Entities {
		old := f.Entities[i].Name
		f.Entities[i].Name = fmt.Sprintf("%s%d", old, n)
		for j := range f.Channels {
			for k := range f.Channels[j].Connectors {
				if c := &f.Channels[j].Connectors[k]; c.Entity == old {
					c.Entity = f.Entities[i].Name
				}
			}
		}
	}
	for j := range f.Channels {
		f.Channels[j].Name = fmt.Sprintf("%s-%d", f.Channels[j].Name, n)
	}
}

// TestExamplesComeBack takes every example of the documentation, of the examples
// and the starters.
func TestExamplesComeBack(t *testing.T) {
	onBoth(t, func(w *planWorld) {
		document, err := os.ReadFile("../docs/configuration.md")
		if err != nil {
			w.Fatal(err)
		}
		var texts []string
		for _, block := range strings.Split(string(document), "```yaml\n")[1:] {
			text, _, _ := strings.Cut(block, "\n```")
			texts = append(texts, text+"\n")
		}
		files, err := filepath.Glob("../examples/*/*.yaml")
		if err != nil || len(files) == 0 {
			w.Fatal("no examples", err)
		}
		for _, name := range files {
			b, err := os.ReadFile(name) //nolint:gosec // one of ours
			if err != nil {
				w.Fatal(err)
			}
			texts = append(texts, string(b))
		}
		for _, typ := range channels.Default.All() {
			if b, err := config.Starter(typ.Info().Name, channels.Default); err == nil {
				texts = append(texts, string(b))
			}
		}
		var all config.File
		for i, text := range texts {
			f, ps := config.Parse("example.yaml", []byte(text), func(name string) (string, bool) {
				return "https://canary.example.com", !strings.HasPrefix(name, "TANDEM_")
			})
			if len(ps) > 0 {
				w.Fatalf("%v\n%s", ps, text)
			}
			withTables(f, i)
			if i == 0 {
				all = *f
				continue
			}
			all.Entities = append(all.Entities, f.Entities...)
			all.Channels = append(all.Channels, f.Channels...)
		}
		if len(all.Channels) < 8 {
			w.Fatalf("only %d channels", len(all.Channels))
		}
		w.comeBack(&all)
	})
}

// TestGeneratedComeBack takes configurations made at random, all of them valid.
func TestGeneratedComeBack(t *testing.T) {
	onBoth(t, func(w *planWorld) {
		var all *config.File
		for seed := range 25 {
			f := config.Default()
			r := rand.New(rand.NewPCG(uint64(seed), 7)) //nolint:gosec // a seed is the point
			f.Entities = []config.Entity{{Name: "e", Table: "t", Key: []string{"id"}, Capture: "none"}}
			f.Channels = []config.Channel{validChannel(r)}
			withTables(f, seed)
			if all == nil {
				all = f
				continue
			}
			all.Entities, all.Channels = append(all.Entities, f.Entities...), append(all.Channels, f.Channels...)
		}
		if ps := all.Check(channels.Default); len(ps) > 0 {
			w.Fatal(ps)
		}
		w.comeBack(all)
	})
}

var awkward = []string{"a", "yes", "null", "1", "a: b", "#", "${X}", "$${", "a\nb", "漢 é", `"`, "'", "- x", "{", "<<", " pad ", "\u2028", "0x1F", "~", "\\"}

func validChannel(r *rand.Rand) config.Channel {
	pick := func(list ...string) string { return list[r.IntN(len(list))] }
	odd := func() string { return awkward[r.IntN(len(awkward))] }
	secret := func() string {
		return "CANARY" + strings.Map(func(c rune) rune { return max(c, ' ') }, pick("a", "$x", "${X}", "'\""))
	}
	c := config.Channel{Name: "c", Type: "rest", Schedule: pick("", "off", "@every 30s", "*/5 * * * *"), Conflict: pick("newest", "local", "remote", "manual")}
	transport := map[string]any{"base_url": "https://x.example.com", "concurrency": 1 + r.IntN(9), "timeout": "10s"}
	switch r.IntN(3) {
	case 0:
		transport["token"] = secret()
	case 1:
		transport["auth"] = map[string]any{"type": "basic", "username": pick("yes", "null", "0x1F", "~", "${X}"), "password": secret()}
		transport["headers"] = map[string]any{"X-A": secret(), "x-b.c": secret()}
	}
	c.Transport = mustJSON(transport)
	k := config.Connector{
		Name: "k", Entity: "e", Direction: "to_local", Create: pick("to_local", "none"), DeleteLocal: pick("ignore", "unlink", "delete"), DeleteRemote: "ignore",
		Overlap: time.Duration(r.IntN(100)) * time.Second, Full: pick("@daily", "off", "0 3 * * 1"),
		Remote: mustJSON(map[string]any{"list": map[string]any{"path": "/" + pick("a", "b%20c", "a.b-c"), "query": map[string]any{"q": odd(), "n": r.IntN(5)}, "records": "items"}}),
	}
	if r.IntN(2) == 0 {
		k.SetLocal = map[string]record.Value{"s1": record.T(odd()), "s2": record.N("12345678901234567890"), "s3": record.NullValue, "s4": record.B(true)}
	}
	for i := range 1 + r.IntN(5) {
		f := mapping.Field{Local: fmt.Sprintf("col%d", i), Remote: pick("a", "a.b", "tags[0]") + fmt.Sprint(i), Direction: mapping.ToLocal, Type: mapping.TypeText, On: mapping.On(r.IntN(3))}
		if r.IntN(2) == 0 {
			f.ToLocalExpr = pick(`trim(value)`, `value + " # " + "'"`, `record.a0 == nil ? "x: y" : value`)
		}
		if r.IntN(2) == 0 {
			f.Default = record.T(odd())
		}
		f.Required = r.IntN(3) == 0
		k.Mapping = append(k.Mapping, f)
	}
	k.Match = [][]string{{"col0"}}
	c.Connectors = []config.Connector{k}
	return c
}

func mustJSON(v any) json.RawMessage {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}
