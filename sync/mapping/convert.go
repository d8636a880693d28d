package mapping

import (
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/tandem-sync/tandem/sync/record"
)

// convert brings v into the canonical local form of type t. Absent and Null
// stay; empty text is Null for every type that is not text. bad says why the
// value cannot be had in the type; it never quotes the value.
func convert(t Type, v record.Value) (out record.Value, bad string) {
	if v.Kind <= record.Null {
		return v, ""
	}
	if t == TypeText || t == TypeEnum {
		return convertText(v)
	}
	if v.Kind == record.Text && strings.TrimSpace(v.Text) == "" {
		return record.NullValue, ""
	}
	switch t {
	case TypeInteger, TypeDecimal:
		return convertNumber(t, v)
	case TypeBoolean:
		b, ok := truth(v)
		if !ok {
			return v, "is no boolean"
		}
		return record.B(b), ""
	case typeBit:
		b, ok := truth(v)
		if !ok {
			return v, "is no boolean"
		}
		if b {
			return record.N("1"), ""
		}
		return record.N("0"), ""
	case TypeDate, TypeTime, TypeDatetime:
		return convertTime(t, v)
	case TypeList:
		return convertList(v)
	case TypeJSON:
		return convertJSON(v)
	case TypeAuto, TypeText, TypeEnum:
	}
	return convertText(v)
}

func convertText(v record.Value) (record.Value, string) {
	if strings.IndexByte(v.Text, 0) >= 0 {
		return v, "holds a NUL character, which a text column cannot keep"
	}
	if v.Kind == record.Text {
		return v, ""
	}
	return record.T(v.Text), ""
}

func convertNumber(t Type, v record.Value) (record.Value, string) {
	if v.Kind == record.JSON {
		return v, "is a JSON array or object, not a number"
	}
	s := v.Text
	if v.Kind == record.Bool {
		s = "0"
		if v.Text == "true" {
			s = "1"
		}
	}
	if c, ok := canonDecimal(s); !ok {
		return v, "is no number"
	} else if t == TypeDecimal {
		return record.N(c), ""
	}
	c, ok := canonInteger(s)
	if !ok {
		return v, "is no whole number"
	}
	return record.N(c), ""
}

// truth reads a boolean in the spellings that remotes and databases use.
func truth(v record.Value) (value, ok bool) {
	switch v.Text {
	case "true", "1", "t":
		return true, v.Kind != record.JSON
	case "false", "0", "f":
		return false, v.Kind != record.JSON
	}
	if v.Kind == record.Number {
		c, _ := canonDecimal(v.Text)
		return c == "1", c == "0" || c == "1"
	}
	if v.Kind != record.Text {
		return false, false
	}
	switch strings.ToLower(strings.TrimSpace(v.Text)) {
	case "true", "1", "t", "yes", "y", "on":
		return true, true
	case "false", "0", "f", "no", "n", "off":
		return false, true
	}
	return false, false
}

func convertTime(t Type, v record.Value) (record.Value, string) {
	if v.Kind == record.Bool || v.Kind == record.JSON {
		return v, "is no " + string(t)
	}
	var c string
	ok := false
	switch {
	case t == TypeDatetime && v.Kind == record.Number:
		c, ok = unixText(v.Text)
		if !ok {
			return v, "is outside the years 1 to 9999 as Unix seconds (milliseconds need transform: value / 1000)"
		}
	case v.Kind == record.Number:
	case t == TypeDatetime:
		c, ok = canonDatetime(v.Text)
	case t == TypeDate:
		c, ok = canonDate(v.Text)
	default:
		c, ok = canonTime(v.Text)
	}
	if !ok {
		return v, "is no " + string(t)
	}
	return record.T(c), ""
}

func convertList(v record.Value) (record.Value, string) {
	if v.Kind == record.Text || v.Kind == record.JSON {
		if c, ok := canonJSON(v.Text); ok && c[0] == '[' {
			return record.J(c), ""
		}
	}
	return v, "is no list (want a JSON array; split text with a transform)"
}

// convertJSON keeps any value as JSON: text becomes a JSON string, for whether
// it was meant as JSON cannot be known. JSON null is Null.
func convertJSON(v record.Value) (record.Value, string) {
	s := v.Text
	if v.Kind == record.Text {
		q, err := jsontext.AppendQuote(make([]byte, 0, len(s)+2), s)
		if err != nil {
			return v, "is not valid UTF-8"
		}
		return record.J(string(q)), ""
	}
	c, ok := canonJSON(s)
	if !ok {
		return v, "is no valid JSON"
	}
	if c == "null" {
		return record.NullValue, ""
	}
	return record.J(c), ""
}

// canonJSON gives compact JSON with sorted object members, minimal escapes and
// numbers exactly as they were written. Doubled member names are refused.
func canonJSON(s string) (string, bool) {
	b, err := jsontext.AppendFormat(make([]byte, 0, len(s)), s, jsontext.ReorderRawObjects(true))
	if err != nil {
		return "", false
	}
	return string(b), true
}

// tooLong reports a text above n characters.
func tooLong(s string, n int) bool {
	return n > 0 && len(s) > n && utf8.RuneCountInString(s) > n
}

// convertRaw is convert for a column's raw text. JSON columns hold JSON text,
// and a value that does not fit the type is kept as text, so that it differs
// from everything and can be written over.
func convertRaw(t Type, v record.Value) record.Value {
	if v.Kind == record.Text && (t == TypeJSON || t == TypeList) {
		v.Kind = record.JSON
	}
	out, bad := convert(t, v)
	if bad != "" {
		return record.T(v.Text)
	}
	return out
}
