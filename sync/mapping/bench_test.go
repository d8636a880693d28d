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
