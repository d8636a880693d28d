package mapping

import (
	"strings"

	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/sync/record"
)

// The base of a link is a JSON array with one element per field, each the pair
// of the last values seen locally and remotely:
//
//	"text"            text              null   null
//	1.5               a number          0      absent
//	["n","0"]         a number that a bare JSON number cannot spell
//	true, false       a boolean
//	["j","{\"a\":1}"] JSON
//	{"l":…,"r":…}     the two halves differ
//
// The encoding is canonical: equal pairs have equal text. Characters are
// escaped only where JSON demands it.

// EncodeBase writes the base pair of a record. Both slices have the manual's
// length.
func EncodeBase(local, remote []record.Value) string {
	var room [512]byte
	return string(AppendBase(room[:0], local, remote))
}

// AppendBase is EncodeBase into b.
func AppendBase(b []byte, local, remote []record.Value) []byte {
	b = append(b, '[')
	for i := range local {
		if i > 0 {
			b = append(b, ',')
		}
		if local[i] == remote[i] {
			b = appendValue(b, local[i])
			continue
		}
		b = appendValue(append(b, `{"l":`...), local[i])
		b = appendValue(append(b, `,"r":`...), remote[i])
		b = append(b, '}')
	}
	return append(b, ']')
}

func appendValue(b []byte, v record.Value) []byte {
	switch v.Kind {
	case record.Text:
		return appendText(b, v.Text)
	case record.Null:
		return append(b, "null"...)
	case record.Number:
		if bareNumber(v.Text) {
			return append(b, v.Text...)
		}
		return appendTagged(b, 'n', v.Text)
	case record.Bool:
		if v.Text == "true" || v.Text == "false" {
			return append(b, v.Text...)
		}
		return appendTagged(b, 'b', v.Text)
	case record.JSON:
		return appendTagged(b, 'j', v.Text)
	case record.Absent:
	}
	return append(b, '0')
}

func appendTagged(b []byte, tag byte, text string) []byte {
	b = appendText(append(b, '[', '"', tag, '"', ','), text)
	return append(b, ']')
}

const hexDigits = "0123456789abcdef"

func appendText(b []byte, s string) []byte {
	b = append(b, '"')
	start := 0
	for i := range len(s) {
		c := s[i]
		if c >= ' ' && c != '"' && c != '\\' {
			continue
		}
		b = append(b, s[start:i]...)
		start = i + 1
		switch c {
		case '"', '\\':
			b = append(b, '\\', c)
		case '\n':
			b = append(b, `\n`...)
		case '\r':
			b = append(b, `\r`...)
		case '\t':
			b = append(b, `\t`...)
		default:
			b = append(append(b, `\u00`...), hexDigits[c>>4], hexDigits[c&15])
		}
	}
	return append(append(b, s[start:]...), '"')
}

// bareNumber reports whether the number s is written as it is: 0 stands for
// absent, and what is not canonical is no sure JSON number.
func bareNumber(s string) bool { return s != "0" && plainDecimal(s) }

// DecodeBase reads what EncodeBase wrote for n fields. Values without escapes
// share s's memory. An error is Permanent: the stored text is damaged or of
// another manual.
func DecodeBase(s string, n int) (local, remote []record.Value, err error) {
	slab := make([]record.Value, 2*n)
	local, remote = slab[:n:n], slab[n:]
	d := baseDecoder{s: s}
	d.expect('[')
	for i := range n {
		if i > 0 {
			d.expect(',')
		}
		if d.peek() != '{' {
			local[i] = d.value()
			remote[i] = local[i]
			continue
		}
		d.word(`{"l":`)
		local[i] = d.value()
		d.word(`,"r":`)
		remote[i] = d.value()
		d.expect('}')
		d.bad = d.bad || local[i] == remote[i]
	}
	d.expect(']')
	if d.bad || d.i != len(s) {
		return nil, nil, fault.New(fault.Permanent, fault.CodeFailed, "mapping: read base",
			"damaged at byte %d of %d for %d fields", d.i, len(s), n)
	}
	return local, remote, nil
}

// baseDecoder reads the canonical encoding; bad is set for good at the first
// byte that does not belong there.
type baseDecoder struct {
	s   string
	i   int
	bad bool
}

func (d *baseDecoder) peek() byte {
	if d.i < len(d.s) {
		return d.s[d.i]
	}
	return 0
}

func (d *baseDecoder) expect(c byte) {
	if d.bad || d.peek() != c || d.i >= len(d.s) {
		d.bad = true
		return
	}
	d.i++
}

func (d *baseDecoder) word(w string) {
	if d.bad || !strings.HasPrefix(d.s[d.i:], w) {
		d.bad = true
		return
	}
	d.i += len(w)
}

func (d *baseDecoder) value() record.Value {
	switch c := d.peek(); c {
	case '"':
		return record.T(d.text())
	case 'n':
		d.word("null")
		return record.NullValue
	case 't':
		d.word("true")
		return record.B(true)
	case 'f':
		d.word("false")
		return record.B(false)
	case '[':
		return d.tagged()
	default:
		return d.number()
	}
}

func (d *baseDecoder) tagged() record.Value {
	d.word(`["`)
	tag := d.peek()
	d.expect(tag)
	d.word(`",`)
	v := record.Value{Text: d.text()}
	d.expect(']')
	switch tag {
	case 'n':
		v.Kind = record.Number
		d.bad = d.bad || bareNumber(v.Text)
	case 'b':
		v.Kind = record.Bool
		d.bad = d.bad || v.Text == "true" || v.Text == "false"
	case 'j':
		v.Kind = record.JSON
	default:
		d.bad = true
	}
	return v
}

func (d *baseDecoder) number() record.Value {
	start := d.i
	for d.i < len(d.s) && (isDigit(d.s[d.i]) || d.s[d.i] == '-' || d.s[d.i] == '.') {
		d.i++
	}
	text := d.s[start:d.i]
	if text == "0" {
		return record.Value{}
	}
	d.bad = d.bad || !bareNumber(text)
	return record.N(text)
}

// text reads a string; without escapes it is a piece of d.s.
func (d *baseDecoder) text() string {
	d.expect('"')
	if d.bad {
		return ""
	}
	start := d.i
	for ; d.i < len(d.s); d.i++ {
		switch c := d.s[d.i]; {
		case c == '"':
			d.i++
			return d.s[start : d.i-1]
		case c == '\\':
			return d.escaped(start)
		case c < ' ':
			d.bad = true
			return ""
		}
	}
	d.bad = true
	return ""
}

func (d *baseDecoder) escaped(start int) string {
	b := append(make([]byte, 0, 2*(d.i-start)+16), d.s[start:d.i]...)
	for d.i < len(d.s) {
		c := d.s[d.i]
		d.i++
		switch {
		case c == '"':
			return string(b)
		case c < ' ':
			d.bad = true
			return ""
		case c != '\\':
			b = append(b, c)
		default:
			b = d.escape(b)
		}
		if d.bad {
			return ""
		}
	}
	d.bad = true
	return ""
}

// escape reads one of the escapes that appendText writes, and no other, so that
// every pair has one spelling only.
func (d *baseDecoder) escape(b []byte) []byte {
	c := d.peek()
	d.expect(c)
	switch c {
	case '"', '\\':
		return append(b, c)
	case 'n':
		return append(b, '\n')
	case 'r':
		return append(b, '\r')
	case 't':
		return append(b, '\t')
	case 'u':
		return append(b, d.control())
	}
	d.bad = true
	return b
}

// control reads the digits of an escaped control character.
func (d *baseDecoder) control() byte {
	d.word("00")
	if d.bad || d.i+2 > len(d.s) {
		d.bad = true
		return 0
	}
	hi, lo := strings.IndexByte(hexDigits, d.s[d.i]), strings.IndexByte(hexDigits, d.s[d.i+1])
	d.i += 2
	c := byte(hi<<4 | lo) //nolint:gosec // both are below 16 where it counts
	d.bad = hi < 0 || hi > 1 || lo < 0 || c == '\n' || c == '\r' || c == '\t'
	return c
}
