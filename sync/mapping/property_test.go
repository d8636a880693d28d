package mapping

import (
	"encoding/json"
	"math/big"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tandem-sync/tandem/sync/record"
)

func drawNumber(t *rapid.T) string {
	s := rapid.SampledFrom([]string{"", "-"}).Draw(t, "sign")
	s += rapid.StringMatching(`[0-9]{1,45}`).Draw(t, "whole")
	if rapid.Bool().Draw(t, "fraction") {
		s += "." + rapid.StringMatching(`[0-9]{1,45}`).Draw(t, "digits")
	}
	if rapid.Bool().Draw(t, "exponent") {
		s += "e" + strconv.Itoa(rapid.IntRange(-99, 99).Draw(t, "exp"))
	}
	return s
}

func drawJSON(t *rapid.T) string {
	leaf := rapid.OneOf(
		rapid.Custom(func(t *rapid.T) any { return rapid.String().Draw(t, "text") }),
		rapid.Custom(func(t *rapid.T) any { return rapid.Bool().Draw(t, "bool") }),
		rapid.Custom(func(t *rapid.T) any { return rapid.Int64().Draw(t, "int") }),
		rapid.Just[any](nil),
	)
	v := map[string]any{}
	for range rapid.IntRange(0, 4).Draw(t, "members") {
		v[rapid.String().Draw(t, "name")] = rapid.SliceOfN(leaf, 0, 3).Draw(t, "list")
	}
	b, err := json.MarshalIndent(v, " ", "\t")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// drawValue draws a value as a remote could give it.
func drawValue(t *rapid.T) record.Value {
	switch record.Kind(rapid.IntRange(0, 5).Draw(t, "kind")) {
	case record.Null:
		return record.NullValue
	case record.Text:
		return record.T(rapid.OneOf(rapid.String(), rapid.Just("0"), rapid.Just("true"), rapid.Just("null"),
			rapid.Just("2026-01-31 10:11:12.5+02"), rapid.Just(`["a", 1]`),
			rapid.StringMatching(`[\x00-\x1f"\\]{0,6}`)).Draw(t, "text"))
	case record.Number:
		return record.N(drawNumber(t))
	case record.Bool:
		return record.B(rapid.Bool().Draw(t, "bool"))
	case record.JSON:
		return record.J(drawJSON(t))
	case record.Absent:
	}
	return record.Value{}
}

func TestCanonicalFormsAreFixpoints(t *testing.T) {
	t.Parallel()
	types := append(Types(), typeBit)
	rapid.Check(t, func(t *rapid.T) {
		typ := rapid.SampledFrom(types).Draw(t, "type")
		v := drawValue(t)
		once, bad := convert(typ, v)
		if bad != "" {
			return
		}
		if twice, bad := convert(typ, once); bad != "" || twice != once {
			t.Fatalf("convert(%s, %v) = %v, again %v (%s)", typ, v, once, twice, bad)
		}
		// What is written to a column comes back as its text.
		raw := once
		if raw.Kind > record.Null {
			raw.Kind = record.Text
		}
		if back := convertRaw(typ, raw); back != once {
			t.Fatalf("%s: wrote %v, read back %v", typ, once, back)
		}
	})
}

func TestNumbersStayExact(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s := drawNumber(t)
		c, ok := canonDecimal(s)
		if !ok {
			t.Fatalf("%s was refused", s)
		}
		want, _ := new(big.Rat).SetString(s)
		got, ok := new(big.Rat).SetString(c)
		if !ok || got.Cmp(want) != 0 {
			t.Fatalf("canonDecimal(%s) = %s, another quantity", s, c)
		}
		if i, ok := canonInteger(s); ok != want.IsInt() || ok && i != c {
			t.Fatalf("canonInteger(%s) = %s, %v; whole: %v", s, i, ok, want.IsInt())
		}
		if !json.Valid([]byte(c)) {
			t.Fatalf("canonDecimal(%s) = %s is no JSON number", s, c)
		}
	})
}

func TestEqualNumbersHaveOneSpelling(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		digits := rapid.StringMatching(`[1-9][0-9]{0,20}`).Draw(t, "digits")
		exp := rapid.IntRange(-30, 30).Draw(t, "exp")
		pad := rapid.IntRange(0, 5).Draw(t, "pad")
		a, _ := canonDecimal(digits + "e" + strconv.Itoa(exp))
		b, _ := canonDecimal("+00" + digits + strings.Repeat("0", pad) + ".0E" + strconv.Itoa(exp-pad))
		if a != b || a == "" {
			t.Fatalf("%s and %s spell one number", a, b)
		}
	})
}

func TestDatetimeAgreesWithTimePackage(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		at := time.UnixMicro(rapid.Int64Range(-60_000_000_000_000_000, 250_000_000_000_000_000).Draw(t, "at"))
		zone := time.FixedZone("", 60*rapid.IntRange(-15*60, 15*60).Draw(t, "minutes"))
		want := at.UTC().Format("2006-01-02T15:04:05.999999Z07:00")
		for _, layout := range []string{time.RFC3339Nano, "2006-01-02 15:04:05.999999-0700", "2006-01-02 15:04:05.999999 -07:00"} {
			in := at.In(zone).Format(layout)
			if len(in) < 19 || in[0] == '-' || at.In(zone).Year() > 9999 || at.In(zone).Year() < 1 {
				return
			}
			if got, ok := canonDatetime(in); !ok || got != want {
				t.Fatalf("canonDatetime(%s) = %s, %v; want %s", in, got, ok, want)
			}
		}
	})
}

func TestBaseRoundTrip(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(0, 6).Draw(t, "fields")
		local, remote := make([]record.Value, n), make([]record.Value, n)
		for i := range n {
			local[i] = drawValue(t)
			remote[i] = local[i]
			if rapid.Bool().Draw(t, "differs") {
				remote[i] = drawValue(t)
			}
		}
		s := EncodeBase(local, remote)
		if !json.Valid([]byte(s)) {
			t.Fatalf("no JSON: %s", s)
		}
		l, r, err := DecodeBase(s, n)
		if err != nil {
			t.Fatalf("%s: %v", s, err)
		}
		for i := range n {
			if l[i] != local[i] || r[i] != remote[i] {
				t.Fatalf("field %d of %s: got %v %v, want %v %v", i, s, l[i], r[i], local[i], remote[i])
			}
		}
		if _, _, err := DecodeBase(s, n+1); err == nil {
			t.Fatalf("%s was read for %d fields", s, n+1)
		}
	})
}

func TestIdentityIsAFixpoint(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.String().Draw(t, "text")
		once := foldText(s)
		if twice := foldText(once); twice != once {
			t.Fatalf("foldText(%q) = %q, again %q", s, once, twice)
		}
	})
}

func FuzzDecodeBase(f *testing.F) {
	for _, s := range []string{`[]`, `["a",null,0]`, `[{"l":1.5,"r":"1.5"}]`, `[["n","0"],true,["j","[]"]]`, `["\u0001\n\""]`, `["`, `[0,0]`, `[{"l":1,"r":1}]`} {
		f.Add(s, 1)
		f.Add(s, 3)
	}
	f.Fuzz(func(t *testing.T, s string, n int) {
		if n < 0 || n > 50 {
			return
		}
		local, remote, err := DecodeBase(s, n)
		if err != nil {
			return
		}
		if again := EncodeBase(local, remote); again != s {
			t.Fatalf("read %q, wrote %q", s, again)
		}
	})
}
