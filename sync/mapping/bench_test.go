package mapping

import (
	"testing"

	"github.com/tandem-sync/tandem/sync/record"
)

// contact is a typical record of eight mapped fields.
func contact(tb testing.TB) (*Manual, record.Record) {
	tb.Helper()
	names := []string{"email", "first_name", "last_name", "phone", "city", "score", "active", "updated"}
	types := map[string]Type{"score": TypeDecimal, "active": TypeBoolean, "updated": TypeDatetime}
	spec := Spec{Match: [][]string{{"email"}}}
	for _, n := range names {
		spec.Fields = append(spec.Fields, Field{Local: n, Remote: n, Direction: ToLocal, Type: types[n]})
	}
	m, problems := Compile(spec, nil)
	if len(problems) > 0 {
		tb.Fatal(problems)
	}
	return m, record.Record{ID: "1", Values: []record.Value{
		record.T("ada.lovelace@example.org"), record.T("Ada"), record.T("Lovelace"), record.T("+44 20 7946 0958"),
		record.T("London"), record.N("1204.5"), record.B(true), record.T("2026-11-24T10:00:00Z"),
	}}
}

func BenchmarkRecord(b *testing.B) {
	m, rec := contact(b)
	local := make([]record.Value, m.Len())
	b.ReportAllocs()
	var hash int64
	var base string
	for b.Loop() {
		if err := m.CanonRemote(rec.Values); err != nil {
			b.Fatal(err)
		}
		hash = m.Hash(rec.Values)
		if err := m.ToLocal(&rec, local); err != nil {
			b.Fatal(err)
		}
		base = EncodeBase(local, rec.Values)
	}
	_, _ = hash, base
}

func BenchmarkDecodeBase(b *testing.B) {
	m, rec := contact(b)
	local := make([]record.Value, m.Len())
	if err := m.ToLocal(&rec, local); err != nil {
		b.Fatal(err)
	}
	s := EncodeBase(local, rec.Values)
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := DecodeBase(s, m.Len()); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkToRemote(b *testing.B) {
	for name, expr := range map[string]string{"plain": "", "transform": "trim(value)", "record": `record.first_name + " " + value`} {
		b.Run(name, func(b *testing.B) {
			read, rec := contact(b)
			spec := Spec{Fields: append([]Field(nil), read.Fields()...)}
			for i := range spec.Fields {
				spec.Fields[i].Direction = Both
			}
			spec.Fields[2].ToRemoteExpr = expr
			m, problems := Compile(spec, nil)
			if len(problems) > 0 {
				b.Fatal(problems)
			}
			local, remote := make([]record.Value, m.Len()), make([]record.Value, m.Len())
			if err := m.ToLocal(&rec, local); err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				if err := m.ToRemote(local, remote); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkScope(b *testing.B) {
	s, err := CompileScope(`status == "active" and score > 10`)
	if err != nil {
		b.Fatal(err)
	}
	rec := map[string]record.Value{"status": record.T("active"), "score": record.N("12")}
	b.ReportAllocs()
	for b.Loop() {
		if in, err := s.Holds(rec); !in || err != nil {
			b.Fatal(in, err)
		}
	}
}
