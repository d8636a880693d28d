package mapping

import (
	"strings"
	"testing"

	"github.com/tandem-sync/tandem/sync/record"
)

func out(local, remote string, change ...func(*Field)) Field {
	f := field(local, remote, change...)
	f.Direction = ToRemote
	return f
}

func TestCompileProblems(t *testing.T) {
	t.Parallel()
	cols := []Column{
		{Name: "a"},
		{Name: "n", Type: TypeInteger, Native: "bigint"},
		{Name: "gen", Generated: true},
		{Name: "tags", Native: "text[]"},
		{Name: "short", MaxLen: 2},
		{Name: "at", Type: TypeDate},
	}
	set := func(change func(*Field)) []Field {
		return []Field{field("a", "a", change)}
	}
	tests := []struct {
		name  string
		spec  Spec
		cols  []Column
		field string
		want  string
	}{
		{"no field", Spec{}, nil, "mapping", "maps no field"},
		{"no column", Spec{Fields: []Field{field("", "a")}}, nil, "mapping[0].local", "is missing"},
		{"no path", Spec{Fields: []Field{field("a", "")}}, nil, "mapping[0].remote", "is missing"},
		{"path with an empty part", Spec{Fields: []Field{field("a", "a..b")}}, nil, "mapping[0].remote", "empty part"},
		{"path with a bad index", Spec{Fields: []Field{field("a", "a[x]")}}, nil, "mapping[0].remote", "malformed index"},
		{"path with an open index", Spec{Fields: []Field{field("a", "a[1")}}, nil, "mapping[0].remote", "malformed index"},
		{"path with a stray bracket", Spec{Fields: []Field{field("a", "a]")}}, nil, "mapping[0].remote", "malformed index"},
		{"path with a dot at its end", Spec{Fields: []Field{field("a", "a.")}}, nil, "mapping[0].remote", "ends with a dot"},
		{"path with an open name", Spec{Fields: []Field{field("a", `["a`)}}, nil, "mapping[0].remote", "malformed index"},
		{"column twice", Spec{Fields: []Field{field("a", "a"), field("a", "b")}}, nil, "mapping[1].local", "mapped already by mapping[0]"},
		{"unknown type", Spec{Fields: set(func(f *Field) { f.Type = "money" })}, nil, "mapping[0].type", `"money" is no type`},
		{"to_remote expression one way", Spec{Fields: set(func(f *Field) { f.ToRemoteExpr = "value" })}, nil, "mapping[0].transform.to_remote", "does not travel to the remote"},
		{"to_local expression one way", Spec{Fields: set(func(f *Field) { f.Direction = ToRemote; f.ToLocalExpr = "value" })}, nil, "mapping[0].transform.to_local", "does not travel to local"},
		{"to_remote expression", Spec{Fields: set(func(f *Field) { f.Direction = Both; f.ToRemoteExpr = "trim(valeu)" })}, nil, "mapping[0].transform.to_remote", "unknown name valeu (at 1:6)"},
		{"ref type", Spec{Fields: set(func(f *Field) { f.Ref = "c"; f.Type = TypeDate })}, nil, "mapping[0].type", "no type of an id"},
		{"ref default", Spec{Fields: set(func(f *Field) { f.Ref = "c"; f.Default = record.T("x") })}, nil, "mapping[0].default", "takes no default"},
		{"ref column", Spec{Fields: []Field{field("at", "a", func(f *Field) { f.Ref = "c" })}}, cols, "mapping[0].ref", "of type date cannot hold the key"},
		{"ref in match", Spec{Fields: set(func(f *Field) { f.Ref = "c" }), Match: [][]string{{"a"}}}, nil, "match[0][0]", "translated by ref"},
		{"remote twice", Spec{Fields: []Field{out("a", "x.y"), out("b", `["x"].y`)}}, nil, "mapping[1].remote", "written by mapping[0] already"},
		{"remote within another", Spec{Fields: []Field{out("a", "x.y"), out("b", "x")}}, nil, "mapping[1].remote", "written by mapping[0] already"},
		{"generated column written", Spec{Fields: []Field{field("gen", "a", func(f *Field) { f.Direction = Both })}}, cols, "mapping[0].local", "computed by the database"},
		{"array column to the remote", Spec{Fields: []Field{out("tags", "a")}}, cols, "mapping[0].local", "array type text[]"},
		{"unknown column to the remote", Spec{Fields: []Field{out("x", "a")}}, cols, "mapping[0].local", `no column "x"`},
		{"set remote mapped", Spec{Fields: []Field{out("a", "x")}, SetRemote: map[string]record.Value{"x.y": record.T("v")}}, nil, "set.remote.x.y", "written by mapping[0] already"},
		{"set remote twice", Spec{Fields: []Field{out("a", "a")}, SetRemote: map[string]record.Value{"x": record.T("v"), "x.y": record.T("v")}}, nil, "set.remote.x.y", `set already as "x"`},
		{"set remote path", Spec{Fields: []Field{out("a", "a")}, SetRemote: map[string]record.Value{"x[": record.T("v")}}, nil, "set.remote.x[", "malformed index"},
		{"set remote number", Spec{Fields: []Field{out("a", "a")}, SetRemote: map[string]record.Value{"x": record.N("1e99999")}}, nil, "set.remote.x", "kept exactly"},
		{"scope syntax", Spec{Fields: []Field{out("a", "a")}, ScopeLocal: "a =="}, nil, "scope.local", "(at 1:"},
		{"scope column", Spec{Fields: []Field{out("a", "a")}, ScopeLocal: "b == 1"}, cols, "scope.local", `no column "b"`},
		{"scope remote", Spec{Fields: []Field{out("a", "a")}, ScopeRemote: "len(record) > 1"}, cols, "scope.remote", "followed by a name"},
		{"expression syntax", Spec{Fields: set(func(f *Field) { f.ToLocalExpr = "trim(value" })}, nil, "mapping[0].transform.to_local", "(at 1:"},
		{"expression variable", Spec{Fields: set(func(f *Field) { f.ToLocalExpr = "trim(valeu)" })}, nil, "mapping[0].transform.to_local", "unknown name valeu (at 1:6)"},
		{"default", Spec{Fields: set(func(f *Field) { f.Type = TypeInteger; f.Default = record.T("x") })}, nil, "mapping[0].default", "is no number"},
		{"default too long", Spec{Fields: []Field{field("short", "a", func(f *Field) { f.Default = record.T("abc") })}}, cols, "mapping[0].default", "longer than"},
		{"unknown column", Spec{Fields: []Field{field("x", "a")}}, cols, "mapping[0].local", `no column "x"`},
		{"generated column", Spec{Fields: []Field{field("gen", "a")}}, cols, "mapping[0].local", "computed by the database"},
		{"array column", Spec{Fields: []Field{field("tags", "a")}}, cols, "mapping[0].local", "array type text[]"},
		{"type and column", Spec{Fields: []Field{field("n", "a", func(f *Field) { f.Type = TypeText })}}, cols, "mapping[0].type", "does not fit the column n of type bigint"},
		{"datetime in a date column", Spec{Fields: []Field{field("at", "a", func(f *Field) { f.Type = TypeDatetime })}}, cols, "mapping[0].type", "does not fit"},
		{"match unmapped", Spec{Fields: []Field{field("a", "a")}, Match: [][]string{{"a"}, {"b"}}}, nil, "match[1][0]", `"b" is not mapped`},
		{"match empty", Spec{Fields: []Field{field("a", "a")}, Match: [][]string{{}}}, nil, "match[0]", "names no column"},
		{"match twice", Spec{Fields: []Field{field("a", "a")}, Match: [][]string{{"a", "a"}}}, nil, "match[0][1]", "named twice"},
		{"match json", Spec{Fields: set(func(f *Field) { f.Type = TypeJSON }), Match: [][]string{{"a"}}}, nil, "match[0][0]", "cannot identify"},
		{"set mapped", Spec{Fields: []Field{field("a", "a")}, SetLocal: map[string]record.Value{"a": record.T("x")}}, nil, "set.local.a", "mapped by mapping[0] too"},
		{"set unknown", Spec{Fields: []Field{field("a", "a")}, SetLocal: map[string]record.Value{"z": record.T("x")}}, cols, "set.local.z", "no column"},
		{"set wrong type", Spec{Fields: []Field{field("a", "a")}, SetLocal: map[string]record.Value{"n": record.T("x")}}, cols, "set.local.n", "is no number"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			m, problems := Compile(tt.spec, table(tt.cols))
			if m != nil || len(problems) != 1 {
				t.Fatalf("manual %v, problems %v; want one problem", m != nil, problems)
			}
			p := problems[0]
			if p.Field != tt.field || !strings.Contains(p.Message, tt.want) || p.Fix == "" {
				t.Errorf("got %+v, want field %q, message with %q and a fix", p, tt.field, tt.want)
			}
		})
	}
}

func TestCompileGivesAllProblemsAtOnce(t *testing.T) {
	t.Parallel()
	_, problems := Compile(Spec{
		Fields: []Field{field("", ""), field("b", "b", func(f *Field) { f.Type = "x"; f.ToLocalExpr = "(" })},
		Match:  [][]string{{"q"}},
	}, nil)
	if len(problems) != 5 {
		t.Errorf("got %d problems: %v", len(problems), problems)
	}
}

func TestAccessors(t *testing.T) {
	t.Parallel()
	m := compile(t, Spec{Fields: []Field{field("a", "x.y"), field("b", "tags[0]"), field("c", `a["b.c"][1].d`), field("d", "$key")}})
	if m.Len() != 4 || m.Fields()[1].Local != "b" || strings.Join(m.RemotePaths(), " ") != `x.y tags[0] a["b.c"][1].d $key` || strings.Join(m.LocalColumns(), " ") != "a b c d" {
		t.Errorf("%d %v %v %v", m.Len(), m.Fields(), m.RemotePaths(), m.LocalColumns())
	}
	if m.Type(0) != TypeText {
		t.Errorf("offline type %q", m.Type(0))
	}
}

// What is only read from a row may be computed by the database or be its key, and
// two fields may take one remote value.
func TestColumnsToTheRemote(t *testing.T) {
	t.Parallel()
	m := compile(t, Spec{
		Fields:     []Field{out("gen", "g"), out("id", "ext_id"), field("a", "name"), field("b", "name")},
		ScopeLocal: "unmapped > 1",
	}, Column{Name: "gen", Generated: true}, Column{Name: "id", Key: true, Type: TypeInteger}, Column{Name: "a"}, Column{Name: "b"},
		Column{Name: "unmapped", Type: TypeInteger})
	if !m.Writes() || strings.Join(m.ScopeLocal().Names(), " ") != "unmapped" || m.ScopeRemote() != nil {
		t.Errorf("%v %v %v", m.Writes(), m.ScopeLocal().Names(), m.ScopeRemote())
	}
}
