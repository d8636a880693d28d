package mapping

import (
	"strings"
	"testing"

	"github.com/tandem-sync/tandem/sync/record"
)

func TestConvert(t *testing.T) {
	t.Parallel()
	text, num, js := record.T, record.N, record.J
	null := record.NullValue
	tests := []struct {
		name string
		typ  Type
		in   record.Value
		want record.Value
		bad  bool
	}{
		{"absent stays", TypeInteger, record.Value{}, record.Value{}, false},
		{"null stays", TypeText, null, null, false},
		{"empty text is text", TypeText, text(""), text(""), false},
		{"empty integer is null", TypeInteger, text(" "), null, false},
		{"empty json is null", TypeJSON, text(""), null, false},
		{"text from number", TypeText, num("9007199254740993"), text("9007199254740993"), false},
		{"text from boolean", TypeText, record.B(true), text("true"), false},
		{"text with NUL", TypeText, text("a\x00b"), text(""), true},
		{"enum", TypeEnum, text("new"), text("new"), false},

		{"integer plus and zeros", TypeInteger, text(" +007 "), num("7"), false},
		{"integer minus zero", TypeInteger, text("-0"), num("0"), false},
		{"integer with fraction of zeros", TypeInteger, num("12.00"), num("12"), false},
		{"integer by exponent", TypeInteger, num("1.5e3"), num("1500"), false},
		{"integer beyond 2^64", TypeInteger, text("123456789012345678901234567890"), num("123456789012345678901234567890"), false},
		{"integer far beyond", TypeInteger, num("5e100"), num("5e100"), false},
		{"integer from true", TypeInteger, record.B(true), num("1"), false},
		{"integer with fraction", TypeInteger, num("1.5"), num(""), true},
		{"integer tiny", TypeInteger, num("1e-50"), num(""), true},
		{"integer by word", TypeInteger, text("seven"), num(""), true},
		{"integer by grouping", TypeInteger, text("1,000"), num(""), true},
		{"integer from list", TypeInteger, js("[1]"), num(""), true},

		{"decimal trailing zeros", TypeDecimal, text("1.500"), num("1.5"), false},
		{"decimal without whole", TypeDecimal, text(".5"), num("0.5"), false},
		{"decimal without fraction", TypeDecimal, text("5."), num("5"), false},
		{"decimal exponent", TypeDecimal, num("1E-3"), num("0.001"), false},
		{"decimal exact", TypeDecimal, num("0.1000000000000000055511151231257827"), num("0.1000000000000000055511151231257827"), false},
		{"decimal long", TypeDecimal, num("1e-60"), num("1e-60"), false},
		{"decimal huge", TypeDecimal, num("1e99999"), num(""), true},
		{"decimal NaN", TypeDecimal, text("NaN"), num(""), true},
		{"decimal dot", TypeDecimal, text("."), num(""), true},
		{"decimal two signs", TypeDecimal, text("--1"), num(""), true},

		{"boolean yes", TypeBoolean, text(" Yes "), record.B(true), false},
		{"boolean off", TypeBoolean, text("off"), record.B(false), false},
		{"boolean t of PostgreSQL", TypeBoolean, text("t"), record.B(true), false},
		{"boolean 1.0", TypeBoolean, num("1.0"), record.B(true), false},
		{"boolean 2", TypeBoolean, num("2"), record.Value{}, true},
		{"boolean word", TypeBoolean, text("maybe"), record.Value{}, true},
		{"bit true", typeBit, record.B(true), num("1"), false},
		{"bit no", typeBit, text("no"), num("0"), false},
		{"bit 3", typeBit, num("3"), record.Value{}, true},

		{"date", TypeDate, text("2024-02-29"), text("2024-02-29"), false},
		{"date no leap year", TypeDate, text("2023-02-29"), text(""), true},
		{"date of a datetime in another zone", TypeDate, text("2024-03-01T00:30:00+01:00"), text("2024-02-29"), false},
		{"date by number", TypeDate, num("1700000000"), text(""), true},
		{"date by digits", TypeDate, text("20240229"), text(""), true},
		{"date from boolean", TypeDate, record.B(true), text(""), true},

		{"time", TypeTime, text("07:05:00"), text("07:05:00"), false},
		{"time short", TypeTime, text("07:05"), text("07:05:00"), false},
		{"time fraction", TypeTime, text("07:05:09.1234567"), text("07:05:09.123456"), false},
		{"time zero fraction", TypeTime, text("07:05:09.000"), text("07:05:09"), false},
		{"time in UTC", TypeTime, text("07:05:09+00"), text("07:05:09"), false},
		{"time in a zone", TypeTime, text("07:05:09+02"), text(""), true},
		{"time 24", TypeTime, text("24:00:00"), text(""), true},

		{"datetime canonical", TypeDatetime, text("2026-11-24T10:00:00Z"), text("2026-11-24T10:00:00Z"), false},
		{"datetime of PostgreSQL", TypeDatetime, text("2026-11-24 10:00:00.120+00"), text("2026-11-24T10:00:00.12Z"), false},
		{"datetime without zone", TypeDatetime, text("2026-11-24 10:00:00"), text("2026-11-24T10:00:00Z"), false},
		{"datetime of PocketBase", TypeDatetime, text("2026-11-24 10:00:00.123Z"), text("2026-11-24T10:00:00.123Z"), false},
		{"datetime shifted", TypeDatetime, text("2026-01-01T01:00:00.5+02:00"), text("2025-12-31T23:00:00.5Z"), false},
		{"datetime nanoseconds", TypeDatetime, text("2026-11-24T10:00:00.123456789Z"), text("2026-11-24T10:00:00.123456Z"), false},
		{"datetime of a date", TypeDatetime, text("2026-11-24"), text("2026-11-24T00:00:00Z"), false},
		{"datetime unix", TypeDatetime, num("1700000000"), text("2023-11-14T22:13:20Z"), false},
		{"datetime unix fraction", TypeDatetime, num("1700000000.25"), text("2023-11-14T22:13:20.25Z"), false},
		{"datetime before 1970", TypeDatetime, num("-1.5"), text("1969-12-31T23:59:58.5Z"), false},
		{"datetime unix text", TypeDatetime, text("1700000000"), text("2023-11-14T22:13:20Z"), false},
		{"datetime milliseconds", TypeDatetime, num("1700000000000"), text(""), true},
		{"datetime month 13", TypeDatetime, text("2026-13-01T00:00:00Z"), text(""), true},
		{"datetime word", TypeDatetime, text("yesterday"), text(""), true},
		{"datetime half", TypeDatetime, text("2026-11-24T10:00"), text(""), true},
		{"datetime year 10000", TypeDatetime, text("9999-12-31T23:59:59-01:00"), text(""), true},

		{"list", TypeList, js(`[1, "a"]`), js(`[1,"a"]`), false},
		{"list as text", TypeList, text(`["a"]`), js(`["a"]`), false},
		{"list of plain text", TypeList, text("a;b"), js(""), true},
		{"list of object", TypeList, js(`{"a":1}`), js(""), true},
		{"json sorted", TypeJSON, js(`{"b": 1.10, "a": [ "\u0041" ]}`), js(`{"a":["A"],"b":1.10}`), false},
		{"json of text", TypeJSON, text(`say "hi"`), js(`"say \"hi\""`), false},
		{"json null", TypeJSON, js("null"), null, false},
		{"json broken", TypeJSON, js("{"), js(""), true},
		{"json doubled member", TypeJSON, js(`{"a":1,"a":2}`), js(""), true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, bad := convert(tt.typ, tt.in)
			if (bad != "") != tt.bad {
				t.Fatalf("convert(%s, %v) = %v, problem %q; want problem: %v", tt.typ, tt.in, got, bad, tt.bad)
			}
			if !tt.bad && got != tt.want {
				t.Fatalf("convert(%s, %v) = %v, want %v", tt.typ, tt.in, got, tt.want)
			}
		})
	}
}

func TestConvertRaw(t *testing.T) {
	t.Parallel()
	tests := []struct {
		typ       Type
		raw, want record.Value
	}{
		{TypeJSON, record.T(`{"b":1, "a":2}`), record.J(`{"a":2,"b":1}`)},
		{TypeJSON, record.T(`"x"`), record.J(`"x"`)},
		{TypeJSON, record.T(`not json`), record.T(`not json`)},
		{TypeInteger, record.T("12"), record.N("12")},
		{TypeInteger, record.T("twelve"), record.T("twelve")},
		{TypeBoolean, record.T("f"), record.B(false)},
		{TypeDatetime, record.T("2026-11-24 10:00:00+00"), record.T("2026-11-24T10:00:00Z")},
		{TypeText, record.NullValue, record.NullValue},
	}
	for _, tt := range tests {
		if got := convertRaw(tt.typ, tt.raw); got != tt.want {
			t.Errorf("convertRaw(%s, %v) = %v, want %v", tt.typ, tt.raw, got, tt.want)
		}
	}
}

func TestCanonicalFormsDoNotAllocate(t *testing.T) {
	inputs := []func() bool{
		func() bool { _, ok := canonDecimal("-1204.5"); return ok },
		func() bool { _, ok := canonInteger("42"); return ok },
		func() bool { _, ok := canonDatetime("2026-11-24T10:00:00Z"); return ok },
		func() bool { _, ok := canonDate("2026-11-24"); return ok },
		func() bool { return foldText("ada@example.org") != "" },
	}
	for i, fn := range inputs {
		if n := testing.AllocsPerRun(100, func() {
			if !fn() {
				t.Fatal("refused")
			}
		}); n != 0 {
			t.Errorf("input %d: %v allocations, want none", i, n)
		}
	}
}

func TestQuoteShortens(t *testing.T) {
	t.Parallel()
	got := quote(record.T(strings.Repeat("ä", 100)))
	if want := `"` + strings.Repeat("ä", shown) + `"…`; got != want {
		t.Errorf("quote = %s, want %s", got, want)
	}
}
