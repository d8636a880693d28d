package entities

import (
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/tandem-sync/tandem/fault"
)

// EncodeKey makes the text that stands for a row's key: the column's text, or,
// for a key of several columns, a JSON array of their texts without spaces.
func EncodeKey(parts []string) string {
	if len(parts) == 1 {
		return parts[0]
	}
	b := make([]byte, 1, 64)
	b[0] = '['
	for i, p := range parts {
		if i > 0 {
			b = append(b, ',')
		}
		// A text that is not valid UTF-8 is kept with replacement characters:
		// such a key finds nothing and the row counts as missing.
		b, _ = jsontext.AppendQuote(b, p)
	}
	return string(append(b, ']'))
}

// DecodeKey takes the text of a key of n columns apart. The error is Permanent
// with code bad_record.
func DecodeKey(key string, n int) ([]string, error) {
	if n == 1 {
		return []string{key}, nil
	}
	parts, err := textArray(key)
	if err != nil || len(parts) != n {
		return nil, fault.New(fault.Permanent, fault.CodeBadRecord, "", "key %q is not a JSON array of %d texts", shorten(key), n)
	}
	return parts, nil
}

// textArray reads a JSON array of strings.
func textArray(s string) ([]string, error) {
	d := jsontext.NewDecoder(strings.NewReader(s))
	t, err := d.ReadToken()
	if err != nil {
		return nil, err
	}
	if t.Kind() != '[' {
		return nil, errNotTexts
	}
	var out []string
	for {
		if t, err = d.ReadToken(); err != nil {
			return nil, err
		}
		switch t.Kind() {
		case ']':
			return out, nil
		case '"':
			out = append(out, t.String())
		default:
			return nil, errNotTexts
		}
	}
}

// shownBytes bounds what an error shows of a text.
const shownBytes = 160

// shorten cuts a text for an error.
func shorten(s string) string {
	if len(s) <= shownBytes {
		return s
	}
	return strings.ToValidUTF8(s[:shownBytes], "") + "…"
}
