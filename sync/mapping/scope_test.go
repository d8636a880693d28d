package mapping

import (
	"slices"
	"strings"
	"testing"

	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/sync/record"
)

func TestScope(t *testing.T) {
	t.Parallel()
	rec := map[string]record.Value{
		"status": record.T("active"), "score": record.N("12"), "vip": record.B(false), "nothing": record.NullValue,
		"tags": record.J(`["a","b"]`), "address": record.J(`{"city":"London"}`), "name.last": record.T("Lovelace"), "value": record.N("3"),
	}
	tests := []struct {
		src   string
		want  bool
		names string
	}{
		{`status == "active"`, true, "status"},
		{`record.status == "active" and score > 20`, false, "score status"},
		{`record?.status == "active"`, true, "status"},
		{`record["name.last"] startsWith "Love"`, true, "name.last"},
		{`address.city == "London"`, true, "address"},
		{`record.address.city == "Paris"`, false, "address"},
		{`any(tags, # == "b")`, true, "tags"},
		{`filter(tags, {# != status}) == tags`, true, "status tags"},
		{`let s = score * 2; s == 24`, true, "score"},
		{`not vip`, true, "vip"},
		{`value == 3`, true, "value"},
		{`nothing`, false, "nothing"},
		{`nothing == nil`, true, "nothing"},
		{`unknown == nil`, true, "unknown"},
		{`unknown > 3`, false, "unknown"},
		{`lower(nothing) == "x"`, false, "nothing"},
		{`true`, true, ""},
		{`status in ["active", "new"] ? score >= 12 : false`, true, "score status"},
	}
	for _, tt := range tests {
		t.Run(tt.src, func(t *testing.T) {
			t.Parallel()
			s, err := CompileScope(tt.src)
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(s.Names(), " "); got != tt.names {
				t.Errorf("names %q, want %q", got, tt.names)
			}
			for range 2 {
				if got, err := s.Holds(rec); err != nil || got != tt.want {
					t.Fatalf("Holds = %v, %v", got, err)
				}
			}
		})
	}
	var all *Scope
	if in, err := all.Holds(nil); !in || err != nil || all.Names() != nil {
		t.Errorf("no scope: %v %v", in, err)
	}
}

// A column that no field maps is asked for in its own type.
func TestScopeOfUnmappedColumns(t *testing.T) {
	t.Parallel()
	s, err := CompileScope(`score > 9 and open and since < "2026" and (note ?? "") == ""`)
	if err != nil {
		t.Fatal(err)
	}
	rec := map[string]record.Value{
		"score": Column{Type: TypeInteger}.Canon(record.T("10")), "open": Column{Type: TypeBoolean}.Canon(record.T("t")),
		"since": Column{Type: TypeDate}.Canon(record.T("2025-01-31")), "note": Column{}.Canon(record.NullValue),
	}
	if in, err := s.Holds(rec); !in || err != nil {
		t.Errorf("%v, %v of %v", in, err, rec)
	}
}

func TestScopeErrors(t *testing.T) {
	t.Parallel()
	for src, want := range map[string]string{
		`status =`:                      "(at 1:8)",
		"status == 1 and\n )":           "(at 2:2)",
		`nofunction(status)`:            "unknown name nofunction (at 1:1)",
		`len(record) > 1`:               "record must be followed by a name",
		`record[status] == 1`:           "record must be followed by a name",
		`$env.record.status`:            "record must be followed by a name",
		`readFile("/etc/x")`:            "unknown name readFile",
		strings.Repeat("a+", 600) + "a": "exceeds maximum allowed nodes",
	} {
		if s, err := CompileScope(src); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%.40s: %v, %v; want %q", src, s, err, want)
		}
	}
	rec := map[string]record.Value{"a": record.N("1"), "s": record.T("x")}
	for src, want := range map[string]string{
		`a`:               "the result is a int; want true or false",
		`lower(a) == "x"`: "scope: ",
		`let l = 1..2000; all(l, {all(l, {# > 0})}) and a > 0`: "too many loop rounds",
		`reduce(1..60, {#acc + #acc}, s) == "x"`:               "a text grew too long",
	} {
		s, err := CompileScope(src)
		if err != nil {
			t.Fatalf("%s: %v", src, err)
		}
		in, err := s.Holds(rec)
		if in || err == nil || !strings.Contains(err.Error(), want) || fault.CodeOf(err) != fault.CodeBadRecord || fault.Of(err) != fault.Permanent {
			t.Errorf("%s: %v, %v", src, in, err)
		}
	}
}

func TestScopeIsSafeForConcurrentUse(t *testing.T) {
	t.Parallel()
	s, err := CompileScope(`any(tags, # == who)`)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	for _, who := range []string{"a", "b", "c", "d"} {
		go func() {
			want := slices.Contains([]string{"a", "b"}, who)
			for range 200 {
				in, err := s.Holds(map[string]record.Value{"tags": record.J(`["a","b"]`), "who": record.T(who)})
				if err == nil && in != want {
					err = fault.New(fault.Permanent, fault.CodeFailed, "", "%s: %v", who, in)
				}
				if err != nil {
					done <- err
					return
				}
			}
			done <- nil
		}()
	}
	for range 4 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}
