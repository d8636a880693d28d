package mapping

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/sync/record"
)

func compile(t *testing.T, spec Spec, cols ...Column) *Manual {
	t.Helper()
	m, problems := Compile(spec, table(cols))
	if len(problems) > 0 {
		t.Fatalf("problems: %v", problems)
	}
	return m
}

// table looks up columns; none is offline.
func table(cols []Column) func(string) (Column, bool) {
	if cols == nil {
		return nil
	}
	return func(name string) (Column, bool) {
		i := slices.IndexFunc(cols, func(c Column) bool { return c.Name == name })
		if i < 0 {
			return Column{}, false
		}
		return cols[i], true
	}
}

func field(local, remote string, change ...func(*Field)) Field {
	f := Field{Local: local, Remote: remote, Direction: ToLocal}
	for _, c := range change {
		c(&f)
	}
	return f
}

func toLocal(t *testing.T, m *Manual, vals ...record.Value) ([]record.Value, error) {
	t.Helper()
	dst := make([]record.Value, m.Len())
	err := m.ToLocal(&record.Record{ID: "1", Values: vals}, dst)
	return dst, err
}

func TestToLocal(t *testing.T) {
	t.Parallel()
	expr := func(src string) func(*Field) { return func(f *Field) { f.ToLocalExpr = src } }
	def := func(v record.Value) func(*Field) { return func(f *Field) { f.Default = v } }
	typ := func(ty Type) func(*Field) { return func(f *Field) { f.Type = ty } }
	tests := []struct {
		name   string
		fields []Field
		in     []record.Value
		want   []record.Value
		err    string
	}{
		{"plain", []Field{field("a", "a")}, []record.Value{record.T("x")}, []record.Value{record.T("x")}, ""},
		{"transform", []Field{field("a", "a", expr("trim(value)"))}, []record.Value{record.T(" x ")}, []record.Value{record.T("x")}, ""},
		{"not called on absent", []Field{field("a", "a", expr(`"called"`))}, []record.Value{{}}, []record.Value{{}}, ""},
		{"called on null", []Field{field("a", "a", expr(`value ?? "none"`))}, []record.Value{record.NullValue}, []record.Value{record.T("none")}, ""},
		{"fails on null", []Field{field("a", "a", expr("trim(value)"))}, []record.Value{record.NullValue}, []record.Value{record.NullValue}, ""},
		{"fails on a value", []Field{field("a", "a", expr("trim(value)"))}, []record.Value{record.N("1")}, nil, "field a: transform"},
		{
			"whole record",
			[]Field{field("a", "first", expr(`record.first + " " + record["name.last"]`)), field("b", "name.last")},
			[]record.Value{record.T("Ada"), record.T("Lovelace")},
			[]record.Value{record.T("Ada Lovelace"), record.T("Lovelace")},
			"",
		},
		{"default for absent", []Field{field("a", "a", def(record.T("d")))}, []record.Value{{}}, []record.Value{record.T("d")}, ""},
		{"default for null", []Field{field("a", "a", def(record.N("5")), typ(TypeInteger))}, []record.Value{record.NullValue}, []record.Value{record.N("5")}, ""},
		{"default for empty", []Field{field("a", "a", def(record.T("d")))}, []record.Value{record.T("")}, []record.Value{record.T("d")}, ""},
		{"default after transform", []Field{field("a", "a", expr("trim(value)"), def(record.T("d")))}, []record.Value{record.T("  ")}, []record.Value{record.T("d")}, ""},
		{"arithmetic", []Field{field("a", "a", expr("value / 1000"), typ(TypeDatetime))}, []record.Value{record.N("1700000000000")}, []record.Value{record.T("2023-11-14T22:13:20Z")}, ""},
		{"numbers beyond 2^53 as text", []Field{field("a", "a", expr(`value`), typ(TypeInteger))}, []record.Value{record.N("123456789012345678901")}, []record.Value{record.N("123456789012345678901")}, ""},
		{"list from text", []Field{field("a", "a", expr(`split(value, ";")`), typ(TypeList))}, []record.Value{record.T("x;y")}, []record.Value{record.J(`["x","y"]`)}, ""},
		{"into json", []Field{field("a", "a", expr(`value.b[0]`), typ(TypeInteger))}, []record.Value{record.J(`{"b":[9007199254740993]}`)}, []record.Value{record.N("9007199254740993")}, ""},
		{"bad value", []Field{field("a", "r", typ(TypeInteger))}, []record.Value{record.T("seven")}, nil, `field a: value "seven" is no number`},
		{"duration", []Field{field("a", "a", expr(`duration("1h")`))}, []record.Value{record.T("x")}, nil, "the result is a duration"},
		{"too many rounds", []Field{field("a", "a", expr(`let l = 1..2000; sum(l, {sum(l, {#})})`))}, []record.Value{record.T("x")}, nil, "too many loop rounds"},
		{"doubling text", []Field{field("a", "a", expr(`reduce(1..60, {#acc + #acc}, value)`))}, []record.Value{record.T("xx")}, nil, "a text grew too long"},
		{"huge list", []Field{field("a", "a", expr(`len(1..10000000)`))}, []record.Value{record.T("x")}, nil, "memory budget"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := toLocal(t, compile(t, Spec{Fields: tt.fields}), tt.in...)
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Fatalf("error %v, want %q", err, tt.err)
				}
				if fault.Of(err) != fault.Permanent || fault.CodeOf(err) != fault.CodeBadRecord {
					t.Fatalf("class %v code %q", fault.Of(err), fault.CodeOf(err))
				}
				return
			}
			if err != nil || !slices.Equal(got, tt.want) {
				t.Fatalf("got %v, %v; want %v", got, err, tt.want)
			}
		})
	}
}

func TestColumnsShapeValues(t *testing.T) {
	t.Parallel()
	m := compile(t, Spec{
		Fields:   []Field{field("name", "name"), field("flag", "flag", func(f *Field) { f.Type = TypeBoolean }), field("at", "at")},
		SetLocal: map[string]record.Value{"status": record.T("new"), "level": record.T("3")},
	},
		Column{Name: "name", Type: TypeText, MaxLen: 3, NotNull: true}, Column{Name: "flag", Type: TypeInteger},
		Column{Name: "at", Type: TypeDatetime}, Column{Name: "status"}, Column{Name: "level", Type: TypeInteger})
	got, err := toLocal(t, m, record.T("äöü"), record.B(true), record.N("0"))
	want := []record.Value{record.T("äöü"), record.N("1"), record.T("1970-01-01T00:00:00Z")}
	if err != nil || !slices.Equal(got, want) {
		t.Fatalf("got %v, %v; want %v", got, err, want)
	}
	if m.Type(1) != TypeInteger || m.Type(2) != TypeDatetime {
		t.Errorf("types %s %s", m.Type(1), m.Type(2))
	}
	if _, err := toLocal(t, m, record.T("long"), record.Value{}, record.Value{}); err == nil || !strings.Contains(err.Error(), "has 4 characters, the column takes 3") {
		t.Errorf("a long text: %v", err)
	}
	if f, refused := m.NullRefused([]record.Value{record.NullValue, record.NullValue, {}}); !refused || f != "name" {
		t.Errorf("NullRefused = %q, %v", f, refused)
	}
	if f, refused := m.NullRefused([]record.Value{{}, record.NullValue, {}}); refused {
		t.Errorf("NullRefused names %q for an absent value", f)
	}
	cols, vals := m.SetLocal()
	if !slices.Equal(cols, []string{"level", "status"}) || !slices.Equal(vals, []record.Value{record.N("3"), record.T("new")}) {
		t.Errorf("SetLocal = %v %v", cols, vals)
	}
}

func TestCanonRemote(t *testing.T) {
	t.Parallel()
	m := compile(t, Spec{Fields: []Field{field("a", "a"), field("b", "b"), field("c", "c")}})
	vals := []record.Value{record.N("1.50"), record.J(`{"b":1,"a":2}`), record.T(" x ")}
	if err := m.CanonRemote(vals); err != nil {
		t.Fatal(err)
	}
	if want := []record.Value{record.N("1.5"), record.J(`{"a":2,"b":1}`), record.T(" x ")}; !slices.Equal(vals, want) {
		t.Errorf("got %v, want %v", vals, want)
	}
	for _, bad := range []record.Value{record.N("x"), record.J("{"), record.T("\xff")} {
		err := m.CanonRemote([]record.Value{{}, bad, {}})
		if fault.CodeOf(err) != fault.CodeBadRecord || fault.WhereOf(err) != "b" {
			t.Errorf("%v: %v", bad, err)
		}
	}
	var f *fault.Error
	if err := m.CanonRemote(vals[:1]); !errors.As(err, &f) || f.Class != fault.Permanent {
		t.Errorf("wrong length: %v", err)
	}
}

func TestHashTellsValuesApart(t *testing.T) {
	t.Parallel()
	m := compile(t, Spec{Fields: []Field{field("a", "a"), field("b", "b")}})
	other := compile(t, Spec{Fields: []Field{field("a", "a"), field("b", "b", func(f *Field) { f.ToLocalExpr = "value" })}})
	seen := map[int64][]record.Value{}
	for _, vals := range [][]record.Value{
		{{}, {}},
		{record.NullValue, {}},
		{{}, record.NullValue},
		{record.T(""), {}},
		{record.T("ab"), record.T("c")},
		{record.T("a"), record.T("bc")},
		{record.T("1"), {}},
		{record.N("1"), {}},
	} {
		h := m.Hash(vals)
		if before, twice := seen[h]; twice {
			t.Errorf("%v and %v have one hash", before, vals)
		}
		seen[h] = vals
		if h != m.Hash(slices.Clone(vals)) {
			t.Errorf("%v: the hash is not stable", vals)
		}
		if h == other.Hash(vals) {
			t.Errorf("%v: another manual gives the same hash", vals)
		}
	}
}

func TestVersionFollowsTheManual(t *testing.T) {
	t.Parallel()
	base := func() Spec { return Spec{Fields: []Field{field("a", "a"), field("b", "b")}, Match: [][]string{{"a"}}} }
	v := compile(t, base()).Version()
	seen := map[uint64]string{v: "base"}
	if compile(t, base()).Version() != v {
		t.Error("the same manual has two versions")
	}
	for name, change := range map[string]func(*Spec){
		"type":     func(s *Spec) { s.Fields[0].Type = TypeInteger },
		"remote":   func(s *Spec) { s.Fields[0].Remote = "c" },
		"order":    func(s *Spec) { slices.Reverse(s.Fields) },
		"on":       func(s *Spec) { s.Fields[0].On = OnCreate },
		"required": func(s *Spec) { s.Fields[0].Required = true },
		"default":  func(s *Spec) { s.Fields[0].Default = record.T("") },
		"expr":     func(s *Spec) { s.Fields[0].ToLocalExpr = "value" },
		"match":    func(s *Spec) { s.Match = [][]string{{"b"}} },

		"direction":        func(s *Spec) { s.Fields[0].Direction = Both },
		"other direction":  func(s *Spec) { s.Fields[0].Direction = ToRemote },
		"ref":              func(s *Spec) { s.Fields[1].Ref = "c" },
		"other ref":        func(s *Spec) { s.Fields[1].Ref = "d" },
		"ref type":         func(s *Spec) { s.Fields[1].Ref, s.Fields[1].Type = "c", TypeInteger },
		"to_remote":        func(s *Spec) { s.Fields[0].Direction, s.Fields[0].ToRemoteExpr = Both, "value" },
		"set local":        func(s *Spec) { s.SetLocal = map[string]record.Value{"z": record.T("1")} },
		"set local value":  func(s *Spec) { s.SetLocal = map[string]record.Value{"z": record.T("2")} },
		"set remote":       func(s *Spec) { s.SetRemote = map[string]record.Value{"z": record.T("1")} },
		"set remote value": func(s *Spec) { s.SetRemote = map[string]record.Value{"z": record.N("1")} },
		"scope local":      func(s *Spec) { s.ScopeLocal = "a == 1" },
		"scope remote":     func(s *Spec) { s.ScopeRemote = "a == 1" },
	} {
		s := base()
		change(&s)
		now := compile(t, s).Version()
		if other, taken := seen[now]; taken {
			t.Errorf("%s: the version is that of %s", name, other)
		}
		seen[now] = name
	}
	if compile(t, base(), Column{Name: "a", MaxLen: 5}, Column{Name: "b"}).Version() == v {
		t.Error("column length: the version stays")
	}
}

func TestIdentity(t *testing.T) {
	t.Parallel()
	m := compile(t, Spec{
		Fields: []Field{field("email", "e"), field("name", "n"), field("no", "no", func(f *Field) { f.Type = TypeInteger })},
		Match:  [][]string{{"email"}, {"name", "no"}},
	})
	if got := m.Match(); len(got) != 2 || !slices.Equal(got[1], []int{1, 2}) {
		t.Fatalf("Match = %v", got)
	}
	same := [][2]record.Value{
		{record.T(" Ada@Example.ORG"), record.T("ada@example.org ")},
		{record.T("STRASSE"), record.T("straße")},
		{record.T("\u13a0"), record.T("\uab70")},
		{record.T("Zoe\u0308"), record.T("ZO\u00cb")},
	}
	for _, pair := range same {
		a, ok1 := m.Identity(0, []record.Value{pair[0], {}, {}})
		b, ok2 := m.Identity(0, []record.Value{pair[1], {}, {}})
		if !ok1 || !ok2 || a != b {
			t.Errorf("%v: %q %q", pair, a, b)
		}
	}
	for _, empty := range []record.Value{{}, record.NullValue, record.T(""), record.T(" \t")} {
		if s, ok := m.Identity(0, []record.Value{empty, {}, {}}); ok {
			t.Errorf("%v identifies as %q", empty, s)
		}
		if s, ok := m.Identity(1, []record.Value{{}, empty, record.N("1")}); ok {
			t.Errorf("%v and 1 identify as %q", empty, s)
		}
	}
	a, _ := m.Identity(1, []record.Value{{}, record.T("x1"), record.N("1")})
	b, _ := m.Identity(1, []record.Value{{}, record.T("x"), record.N("11")})
	if a == b {
		t.Error("parts run together")
	}
}

func TestRequiredMissing(t *testing.T) {
	t.Parallel()
	m := compile(t, Spec{Fields: []Field{field("a", "a"), field("b", "b", func(f *Field) { f.Required = true })}})
	for _, v := range []record.Value{{}, record.NullValue, record.T("")} {
		if f, missing := m.RequiredMissing([]record.Value{{}, v}); !missing || f != "b" {
			t.Errorf("%v: %q %v", v, f, missing)
		}
	}
	if f, missing := m.RequiredMissing([]record.Value{{}, record.T("x")}); missing {
		t.Errorf("%q missing", f)
	}
}

func TestCanonLocal(t *testing.T) {
	t.Parallel()
	m := compile(t, Spec{Fields: []Field{field("a", "a", func(f *Field) { f.Type = TypeDecimal })}})
	dst := make([]record.Value, 1)
	if err := m.CanonLocal([]record.Value{record.T("1.50")}, dst); err != nil || dst[0] != record.N("1.5") {
		t.Errorf("got %v, %v", dst, err)
	}
	if err := m.CanonLocal(nil, dst); err == nil {
		t.Error("a wrong length passes")
	}
}

func TestManualIsSafeForConcurrentUse(t *testing.T) {
	t.Parallel()
	m := compile(t, Spec{Fields: []Field{field("a", "a", func(f *Field) { f.ToLocalExpr = `record.b + trim(value)` }), field("b", "b")}})
	done := make(chan error)
	for range 4 {
		go func() {
			var err error
			for range 200 {
				dst := make([]record.Value, 2)
				err = errors.Join(err, m.ToLocal(&record.Record{Values: []record.Value{record.T(" x"), record.T("y")}}, dst))
				if dst[0] != record.T("yx") {
					err = errors.Join(err, errors.New("wrong value "+dst[0].Text))
				}
			}
			done <- err
		}()
	}
	for range 4 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}
