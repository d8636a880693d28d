package mapping

import (
	"slices"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"

	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/sync/record"
)

// shapes are manuals of one field that travels both ways: every type in its own
// column, in a text column, and where the column's type differs.
func shapes(tb testing.TB) []*Manual {
	tb.Helper()
	var out []*Manual
	add := func(typ, column Type) {
		m, problems := Compile(Spec{Fields: []Field{both("a", "r", func(f *Field) { f.Type = typ })}}, table([]Column{{Name: "a", Type: column}}))
		if len(problems) > 0 {
			tb.Fatal(problems)
		}
		out = append(out, m)
	}
	for _, typ := range Types() {
		add(typ, typ)
		add(typ, TypeText)
	}
	add(TypeBoolean, TypeInteger)
	add(TypeDate, TypeDatetime)
	add(TypeList, TypeJSON)
	add(TypeInteger, TypeDecimal)
	add(TypeDecimal, TypeInteger)
	return out
}

// one converts a single value.
func one(convert func(in, out []record.Value) error, v record.Value) (record.Value, error) {
	out := make([]record.Value, 1)
	err := convert([]record.Value{v}, out)
	return out[0], err
}

func localOf(m *Manual, v record.Value) (record.Value, error) {
	return one(func(in, out []record.Value) error { return m.ToLocal(&record.Record{Values: in}, out) }, v)
}

// drawText draws a column's text: of any kind, often one that the types like.
func drawText(t *rapid.T) string {
	return rapid.OneOf(rapid.String(), rapid.Custom(drawNumber), rapid.Custom(drawJSON),
		rapid.SampledFrom([]string{"", " ", "0", "1", "t", "false", "2026-01-31", "2026-01-31 10:11:12.5+02", "10:11", `"x"`, "1.50", "null", `["a", 1]`}),
	).Draw(t, "text")
}

// TestWhatIsSentStays: a row's value that was sent, read back and sent again is
// told the remote in the same words, so that the two sides come to rest.
func TestWhatIsSentStays(t *testing.T) {
	t.Parallel()
	manuals := shapes(t)
	rapid.Check(t, func(t *rapid.T) {
		m := rapid.SampledFrom(manuals).Draw(t, "manual")
		raw := record.NullValue
		if rapid.Bool().Draw(t, "there") {
			raw = record.T(drawText(t))
		}
		local, err := one(m.CanonLocal, raw)
		if err != nil {
			t.Fatal(err)
		}
		sent, err := one(m.ToRemote, local)
		if err != nil {
			refusedWell(t, err)
			return
		}
		canonical(t, m, sent)
		back, err := localOf(m, sent)
		if err != nil {
			t.Fatalf("%s: %v was sent as %v, which cannot be read: %v", m.Type(0), local, sent, err)
		}
		again, err := one(m.ToRemote, back)
		if err != nil || again != sent {
			t.Fatalf("%s: %v was sent as %v, read as %v and sent as %v (%v)", m.Type(0), local, sent, back, again, err)
		}
		// Empty is null in every type but text, where the three stay three.
		if local.Kind == record.Null && sent.Kind != record.Null || m.Type(0).textual() && local != sent {
			t.Fatalf("%s: %v was sent as %v", m.Type(0), local, sent)
		}
	})
}

// TestWhatIsReadStays: a remote's value that was read, sent and read back gives
// the same row.
func TestWhatIsReadStays(t *testing.T) {
	t.Parallel()
	manuals := shapes(t)
	rapid.Check(t, func(t *rapid.T) {
		m := rapid.SampledFrom(manuals).Draw(t, "manual")
		vals := []record.Value{drawValue(t)}
		if m.CanonRemote(vals) != nil {
			return
		}
		local, err := localOf(m, vals[0])
		if err != nil {
			refusedWell(t, err)
			return
		}
		sent, err := one(m.ToRemote, local)
		if err != nil {
			t.Fatalf("%s: %v was read as %v, which cannot be sent: %v", m.Type(0), vals[0], local, err)
		}
		back, err := localOf(m, sent)
		if err != nil || back != local {
			t.Fatalf("%s: %v was read as %v, sent as %v and read as %v (%v)", m.Type(0), vals[0], local, sent, back, err)
		}
		if !m.RoundTrip(0, local) {
			t.Fatalf("%s: RoundTrip denies %v", m.Type(0), local)
		}
		if sent.Kind == record.Absent != (vals[0].Kind == record.Absent) {
			t.Fatalf("%s: %v came back as %v", m.Type(0), vals[0], sent)
		}
	})
}

// TestDefaultsComeToRest: with a default, too, the second exchange changes
// nothing.
func TestDefaultsComeToRest(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		def := record.T(rapid.StringMatching(`[a-c]{0,2}`).Draw(t, "default"))
		m, problems := Compile(Spec{Fields: []Field{both("a", "r", func(f *Field) { f.Default = def })}}, nil)
		if len(problems) > 0 {
			t.Fatal(problems)
		}
		local := rapid.SampledFrom([]record.Value{record.NullValue, record.T(""), record.T("x")}).Draw(t, "local")
		sent, err := one(m.ToRemote, local)
		if err != nil {
			t.Fatal(err)
		}
		back, err := localOf(m, sent)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := one(m.ToRemote, back); err != nil || again != sent {
			t.Fatalf("%v was sent as %v, then as %v (%v)", local, sent, again, err)
		}
	})
}

func refusedWell(t interface{ Fatalf(string, ...any) }, err error) {
	if fault.Of(err) != fault.Permanent || fault.CodeOf(err) != fault.CodeBadRecord || fault.WhereOf(err) == "" {
		t.Fatalf("class %v, code %q, where %q: %v", fault.Of(err), fault.CodeOf(err), fault.WhereOf(err), err)
	}
}

// canonical fails unless a value has the canonical remote form already.
func canonical(t interface{ Fatalf(string, ...any) }, m *Manual, v record.Value) {
	vals := []record.Value{v}
	if err := m.CanonRemote(vals); err != nil || vals[0] != v {
		t.Fatalf("%v is sent, its canonical form is %v (%v)", v, vals[0], err)
	}
}

func FuzzToRemote(f *testing.F) {
	manuals := shapes(f)
	for i, text := range []string{"", "x", "12", "1.50", "true", "2026-01-31", "10:11:12", "2026-01-31T10:11:12.5Z", "open", `["a",1]`, `{"b":1,"a":"\u0000"}`, `"x"`, "\xff", "1e99999"} {
		for kind := record.Null; kind <= record.JSON; kind++ {
			f.Add(2*i%len(manuals), uint8(kind), text)
		}
	}
	f.Fuzz(func(t *testing.T, shape int, kind uint8, text string) {
		if shape < 0 || shape >= len(manuals) || record.Kind(kind) > record.JSON || len(text) > 10_000 {
			return
		}
		m, v := manuals[shape], record.Value{Kind: record.Kind(kind), Text: text}
		if v.Kind <= record.Null {
			v.Text = ""
		}
		sent, err := one(m.ToRemote, v)
		if err != nil {
			refusedWell(t, err)
			return
		}
		if !utf8.ValidString(sent.Text) {
			t.Fatalf("%q is sent, which is no UTF-8", sent.Text)
		}
		canonical(t, m, sent)
		if back, err := localOf(m, sent); err == nil {
			if again, err := one(m.ToRemote, back); err != nil || again != sent {
				t.Fatalf("%v was sent as %v, then as %v (%v)", v, sent, again, err)
			}
		} else {
			t.Fatalf("%v was sent as %v, which cannot be read: %v", v, sent, err)
		}
	})
}

// FuzzCompileScope: whatever the text, compiling and asking end, without a panic.
func FuzzCompileScope(f *testing.F) {
	for _, s := range []string{`a == 1`, `record.a`, `any(a, # == b)`, `let x = a; x`, `$env`, `a(b)`, `record[a]`, `a?.b ?? c`, `(`} {
		f.Add(s)
	}
	rec := map[string]record.Value{"a": record.N("1"), "b": record.T("x"), "c": record.J(`[1]`)}
	f.Fuzz(func(t *testing.T, src string) {
		if len(src) > 1000 {
			return
		}
		s, err := CompileScope(src)
		if err != nil {
			return
		}
		if !slices.IsSorted(s.Names()) {
			t.Fatalf("names %v", s.Names())
		}
		if in, err := s.Holds(rec); in && err != nil {
			t.Fatalf("holds and fails: %v", err)
		}
	})
}
