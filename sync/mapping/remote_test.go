package mapping

import (
	"slices"
	"strings"
	"testing"

	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/sync/record"
)

func both(local, remote string, change ...func(*Field)) Field {
	f := field(local, remote, change...)
	f.Direction = Both
	return f
}

func toRemote(t *testing.T, m *Manual, vals ...record.Value) ([]record.Value, error) {
	t.Helper()
	dst := make([]record.Value, m.Len())
	err := m.ToRemote(vals, dst)
	return dst, err
}

func TestToRemoteByType(t *testing.T) {
	t.Parallel()
	null, absent := record.NullValue, record.Value{}
	tests := []struct {
		typ      Type
		col      Type // "" is a text column
		in, want record.Value
		err      string
	}{
		{TypeText, "", record.T(" x "), record.T(" x "), ""},
		{TypeText, "", record.T(""), record.T(""), ""},
		{TypeText, "", null, null, ""},
		{TypeText, "", absent, absent, ""},
		{TypeText, "", record.T("12"), record.T("12"), ""},
		{TypeText, "", record.T("\xff"), absent, "not valid UTF-8"},
		{TypeText, "", record.T("a\x00"), absent, "NUL"},
		{TypeEnum, "", record.T("open"), record.T("open"), ""},
		{TypeInteger, TypeInteger, record.N("12"), record.N("12"), ""},
		{TypeInteger, TypeInteger, record.N("123456789012345678901"), record.N("123456789012345678901"), ""},
		{TypeInteger, TypeInteger, record.T("seven"), absent, `field a: value "seven" is no number`},
		{TypeInteger, TypeInteger, null, null, ""},
		{TypeInteger, "", record.N("12"), record.N("12"), ""},
		{TypeDecimal, TypeDecimal, record.N("-0.1000"), record.N("-0.1"), ""},
		{TypeBoolean, TypeBoolean, record.B(false), record.B(false), ""},
		{TypeBoolean, TypeInteger, record.N("1"), record.B(true), ""},
		{TypeBoolean, TypeInteger, record.N("0"), record.B(false), ""},
		{TypeBoolean, TypeInteger, record.N("7"), absent, "is no boolean"},
		{TypeDate, TypeDate, record.T("2026-01-31"), record.T("2026-01-31"), ""},
		{TypeDate, TypeDatetime, record.T("2026-01-31"), record.T("2026-01-31"), ""},
		{TypeDate, TypeDate, null, null, ""},
		{TypeTime, TypeTime, record.T("10:11:12.5"), record.T("10:11:12.5"), ""},
		{TypeDatetime, TypeDatetime, record.T("2026-01-31T10:11:12.5Z"), record.T("2026-01-31T10:11:12.5Z"), ""},
		{TypeDatetime, TypeDatetime, record.T("tomorrow"), absent, "is no datetime"},
		{TypeList, TypeJSON, record.J(`["a",1]`), record.J(`["a",1]`), ""},
		{TypeList, "", record.T("a"), absent, "is no list"},
		{TypeList, TypeJSON, record.J(`[]`), record.J(`[]`), ""},
		{TypeJSON, TypeJSON, record.J(`{"a":[1,null]}`), record.J(`{"a":[1,null]}`), ""},
		{TypeJSON, TypeJSON, record.J(`"x\n"`), record.T("x\n"), ""},
		{TypeJSON, TypeJSON, record.J(`1.50`), record.N("1.5"), ""},
		{TypeJSON, TypeJSON, record.J(`true`), record.B(true), ""},
		{TypeJSON, TypeJSON, record.J(`null`), null, ""},
		{TypeJSON, TypeJSON, record.J(`" "`), null, ""},
		{TypeJSON, "", record.T(""), null, ""},
		{TypeJSON, TypeJSON, record.J(`1e99999`), absent, "kept exactly"},
		{TypeJSON, "", record.T(`{`), absent, "is no valid JSON"},
	}
	for _, tt := range tests {
		t.Run(string(tt.typ)+" "+string(tt.col)+" "+tt.in.Text, func(t *testing.T) {
			t.Parallel()
			m := compile(t, Spec{Fields: []Field{both("a", "r", func(f *Field) { f.Type = tt.typ })}}, Column{Name: "a", Type: tt.col})
			got, err := toRemote(t, m, tt.in)
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) || fault.CodeOf(err) != fault.CodeBadRecord ||
					fault.Of(err) != fault.Permanent || fault.WhereOf(err) != "a" {
					t.Fatalf("error %v, want %q", err, tt.err)
				}
				return
			}
			if err != nil || got[0] != tt.want {
				t.Fatalf("got %v, %v; want %v", got, err, tt.want)
			}
		})
	}
}

func TestToRemoteExpressionsAndDefaults(t *testing.T) {
	t.Parallel()
	expr := func(src string) func(*Field) { return func(f *Field) { f.ToRemoteExpr = src } }
	def := func(v record.Value) func(*Field) { return func(f *Field) { f.Default = v } }
	typ := func(ty Type) func(*Field) { return func(f *Field) { f.Type = ty } }
	one := func(v record.Value) []record.Value { return []record.Value{v} }
	tests := []struct {
		name     string
		fields   []Field
		in, want []record.Value
		err      string
	}{
		{"transform", []Field{out("a", "a", expr("trim(value)"))}, one(record.T(" x ")), one(record.T("x")), ""},
		{"not called on absent", []Field{out("a", "a", expr(`"called"`))}, one(record.Value{}), one(record.Value{}), ""},
		{"called on null", []Field{out("a", "a", expr(`value ?? ""`))}, one(record.NullValue), one(record.T("")), ""},
		{"fails on null", []Field{out("a", "a", expr("trim(value)"))}, one(record.NullValue), one(record.NullValue), ""},
		{"fails on a value", []Field{out("a", "a", expr("trim(value)"), typ(TypeInteger))}, one(record.N("1")), nil, "field a: transform to_remote"},
		{"the result is sent as it is", []Field{out("a", "a", expr(`string(value) + " EUR"`), typ(TypeDecimal))}, one(record.N("12.5")), one(record.T("12.5 EUR")), ""},
		{"a boolean is one", []Field{out("a", "a", expr(`value ? "yes" : "no"`), typ(TypeBoolean))}, one(record.B(true)), one(record.T("yes")), ""},
		{"text from a list", []Field{out("a", "a", expr(`join(value, ";")`), typ(TypeList))}, one(record.J(`["x","y"]`)), one(record.T("x;y")), ""},
		{"milliseconds", []Field{out("a", "a", expr(`int(date(value).Unix()) * 1000`), typ(TypeDatetime))}, one(record.T("2023-11-14T22:13:20Z")), one(record.N("1700000000000")), ""},
		{"a list stays one", []Field{out("a", "a", expr(`split(value, ";")`))}, one(record.T("x;y")), one(record.J(`["x","y"]`)), ""},
		{"an object is sorted", []Field{out("a", "a", expr(`{"b": value, "a": 1}`))}, one(record.T("x")), one(record.J(`{"a":1,"b":"x"}`)), ""},
		{
			"the row by column",
			[]Field{out("first", "name", expr(`record.first + " " + record.last`)), field("last", "l"), out("open", "state", expr(`record.open ? record.n : 0`), typ(TypeBoolean)), out("n", "n", typ(TypeInteger))},
			[]record.Value{record.T("Ada"), record.T("Lovelace"), record.B(true), record.N("3")},
			[]record.Value{record.T("Ada Lovelace"), {}, record.N("3"), record.N("3")},
			"",
		},
		{"absent is not in the row", []Field{out("a", "a", expr(`record.b ?? "none"`)), out("b", "b")}, []record.Value{record.T("x"), {}}, []record.Value{record.T("none"), {}}, ""},
		{"default for null", []Field{out("a", "a", def(record.T("d")))}, one(record.NullValue), one(record.T("d")), ""},
		{"default for empty", []Field{both("a", "a", def(record.T("d")))}, one(record.T("")), one(record.T("d")), ""},
		{"no default for absent", []Field{both("a", "a", def(record.T("d")))}, one(record.Value{}), one(record.Value{}), ""},
		{"default before transform", []Field{out("a", "a", def(record.N("1")), typ(TypeInteger), expr("value + 1"))}, one(record.NullValue), one(record.N("2")), ""},
		{"to_local stays", []Field{field("a", "a"), both("b", "b")}, []record.Value{record.T("x"), record.T("y")}, []record.Value{{}, record.T("y")}, ""},
		{"text too long", []Field{out("a", "a", expr(`reduce(1..60, {#acc + #acc}, value)`))}, one(record.T("xx")), nil, "a text grew too long"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			m := compile(t, Spec{Fields: tt.fields})
			got, err := toRemote(t, m, tt.in...)
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) || fault.CodeOf(err) != fault.CodeBadRecord || fault.WhereOf(err) != "a" {
					t.Fatalf("error %v, want %q", err, tt.err)
				}
				return
			}
			if err != nil || !slices.Equal(got, tt.want) {
				t.Fatalf("got %v, %v; want %v", got, err, tt.want)
			}
			in := slices.Clone(tt.in)
			if err := m.ToRemote(in, in); err != nil || !slices.Equal(in, tt.want) {
				t.Errorf("in place: got %v, %v; want %v", in, err, tt.want)
			}
		})
	}
	m := compile(t, Spec{Fields: []Field{both("a", "a")}})
	if err := m.ToRemote(make([]record.Value, 2), make([]record.Value, 1)); err == nil {
		t.Error("a wrong length passes")
	}
}

func TestDirectionsOfFields(t *testing.T) {
	t.Parallel()
	req := func(f *Field) { f.Required = true }
	m := compile(t, Spec{Fields: []Field{field("in", "in", req), out("out", "out", req), both("both", "both"), {Local: "z", Remote: "z"}}})
	var in, outward []string
	for i := range m.Fields() {
		f := &m.Fields()[i]
		if f.ToLocal() {
			in = append(in, f.Local)
		}
		if f.ToRemote() {
			outward = append(outward, f.Local)
		}
	}
	if strings.Join(in, " ") != "in both z" || strings.Join(outward, " ") != "out both" || !m.Writes() {
		t.Errorf("in %v, out %v", in, outward)
	}
	got, err := toLocal(t, m, record.T("1"), record.T("2"), record.T("3"), record.T("4"))
	if want := []record.Value{record.T("1"), {}, record.T("3"), record.T("4")}; err != nil || !slices.Equal(got, want) {
		t.Errorf("to local: %v, %v", got, err)
	}
	if f, missing := m.RequiredMissing(got); missing {
		t.Errorf("%s is missing, which never comes from the remote", f)
	}
	if f, missing := m.RequiredMissing(make([]record.Value, 4)); !missing || f != "in" {
		t.Errorf("missing here: %q %v", f, missing)
	}
	if f, missing := m.RequiredMissingRemote([]record.Value{{}, record.T(""), {}, {}}); !missing || f != "out" {
		t.Errorf("missing there: %q %v", f, missing)
	}
	if f, missing := m.RequiredMissingRemote([]record.Value{{}, record.T("x"), {}, {}}); missing {
		t.Errorf("missing there: %q", f)
	}
	if compile(t, Spec{Fields: []Field{field("a", "a")}}).Writes() {
		t.Error("a manual that only reads writes")
	}
}

func TestSetRemote(t *testing.T) {
	t.Parallel()
	m := compile(t, Spec{Fields: []Field{both("a", "a")}, SetRemote: map[string]record.Value{
		"z": record.N("1.50"), "b.c": record.J(`{"y":1, "x":2}`), "n": record.NullValue, "t": record.T("1.50"), "s": record.J(`"q"`),
	}})
	paths, vals := m.SetRemote()
	if want := []string{"b.c", "n", "s", "t", "z"}; !slices.Equal(paths, want) {
		t.Errorf("paths %v", paths)
	}
	if want := []record.Value{record.J(`{"x":2,"y":1}`), record.NullValue, record.T("q"), record.T("1.50"), record.N("1.5")}; !slices.Equal(vals, want) {
		t.Errorf("values %v", vals)
	}
}

func TestRefs(t *testing.T) {
	t.Parallel()
	ref := func(ty Type) func(*Field) { return func(f *Field) { f.Ref, f.Type = "companies", ty } }
	m := compile(t, Spec{Fields: []Field{both("name", "name"), both("company", "company", ref("")), both("parent", "parent", ref(TypeInteger))}},
		Column{Name: "name"}, Column{Name: "company"}, Column{Name: "parent", Type: TypeInteger})
	if want := []Ref{{1, "companies"}, {2, "companies"}}; !slices.Equal(m.Refs(), want) || m.Type(1) != TypeText || m.Type(2) != TypeInteger {
		t.Errorf("%v %s %s", m.Refs(), m.Type(1), m.Type(2))
	}
	// The remote's id comes as text, whatever the column takes.
	got, err := toLocal(t, m, record.Value{}, record.N("17"), record.T("k-1"))
	if want := []record.Value{{}, record.T("17"), record.T("k-1")}; err != nil || !slices.Equal(got, want) {
		t.Errorf("got %v, %v", got, err)
	}
	got, err = toLocal(t, m, record.Value{}, record.NullValue, record.T(" "))
	if want := []record.Value{{}, record.NullValue, record.NullValue}; err != nil || !slices.Equal(got, want) {
		t.Errorf("empty: got %v, %v", got, err)
	}
	if _, err = toLocal(t, m, record.Value{}, record.J(`{}`), record.Value{}); fault.CodeOf(err) != fault.CodeBadRecord {
		t.Errorf("an object as an id: %v", err)
	}
	// The local key has the form in which the row is read.
	row := make([]record.Value, 3)
	if err := m.CanonLocal([]record.Value{{}, record.T("42"), record.T("42")}, row); err != nil {
		t.Fatal(err)
	}
	if m.RefLocal(1, "42") != row[1] || m.RefLocal(2, "42") != row[2] || row[2] != record.N("42") {
		t.Errorf("%v %v, row %v", m.RefLocal(1, "42"), m.RefLocal(2, "42"), row)
	}
	got, err = toRemote(t, m, record.Value{}, record.T("17"), record.T("17"))
	if want := []record.Value{{}, record.T("17"), record.N("17")}; err != nil || !slices.Equal(got, want) {
		t.Errorf("to remote: %v, %v", got, err)
	}
	if _, err = toRemote(t, m, record.Value{}, record.Value{}, record.T("k-1")); fault.WhereOf(err) != "parent" {
		t.Errorf("a text id where the remote writes numbers: %v", err)
	}
}

func TestRemoteIdentity(t *testing.T) {
	t.Parallel()
	m := compile(t, Spec{
		Fields: []Field{
			out("email", "e", func(f *Field) { f.ToRemoteExpr = "trim(value)" }), out("born", "b", func(f *Field) { f.Type = TypeDatetime }),
			out("no", "n", func(f *Field) { f.Type, f.ToRemoteExpr = TypeInteger, `"A-" + string(value)` }),
		},
		Match: [][]string{{"email"}, {"born", "no"}},
	})
	sent, err := toRemote(t, m, record.T(" Ada@Example.org"), record.T("2026-01-31T00:00:00Z"), record.N("7"))
	if err != nil {
		t.Fatal(err)
	}
	read := []record.Value{record.T("ada@example.ORG "), record.T("2026-01-31 00:00:00.000+00"), record.T("a-7")}
	for alt := range m.Match() {
		a, ok1 := m.RemoteIdentity(alt, sent)
		b, ok2 := m.RemoteIdentity(alt, read)
		if !ok1 || !ok2 || a != b {
			t.Errorf("alternative %d: %q %q", alt, a, b)
		}
	}
	if s, ok := m.RemoteIdentity(1, []record.Value{{}, record.T("2026-01-31"), record.T(" ")}); ok {
		t.Errorf("an empty part identifies as %q", s)
	}
	other := slices.Clone(read)
	other[2] = record.T("A-8")
	a, _ := m.RemoteIdentity(1, read)
	if b, ok := m.RemoteIdentity(1, other); !ok || a == b {
		t.Errorf("two records identify as %q", b)
	}
}

func TestRoundTripTellsOneWayMappings(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		field Field
		v     record.Value
		want  bool
	}{
		{"as it is", both("a", "a"), record.T("Ada"), true},
		{"lower case here only", both("a", "a", func(f *Field) { f.ToLocalExpr = "lower(value)" }), record.T("Ada"), false},
		{"lower case already", both("a", "a", func(f *Field) { f.ToLocalExpr = "lower(value)" }), record.T("ada"), true},
		{"there and back", both("a", "a", func(f *Field) {
			f.Type, f.ToLocalExpr, f.ToRemoteExpr = TypeList, `split(value, ";")`, `join(value, ";")`
		}), record.J(`["a","b"]`), true},
		{"there only", both("a", "a", func(f *Field) { f.Type, f.ToRemoteExpr = TypeList, `join(value, ";")` }), record.J(`["a","b"]`), false},
		{"one way", out("a", "a", func(f *Field) { f.ToRemoteExpr = `"x"` }), record.T("Ada"), true},
		{"null with a default", both("a", "a", func(f *Field) { f.Default = record.T("d") }), record.NullValue, false},
		{"null", both("a", "a"), record.NullValue, true},
		{"absent", both("a", "a"), record.Value{}, true},
		{"cannot be sent", both("a", "a", func(f *Field) { f.Type = TypeInteger }), record.T("x"), false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			m := compile(t, Spec{Fields: []Field{tt.field, both("b", "b")}})
			if got := m.RoundTrip(0, tt.v); got != tt.want {
				t.Errorf("RoundTrip(%v) = %v", tt.v, got)
			}
		})
	}
}
