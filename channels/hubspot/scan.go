package hubspot

import (
	"bytes"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

// lenient accepts what loses nothing: a name given twice counts as its last
// value, and bad UTF-8 costs the record that holds it, not the page.
var lenient = []jsontext.Options{jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true)}

// scanner walks JSON text that is known to be valid; it checks nothing again.
type scanner struct {
	b       []byte
	scratch []byte
}

func (s *scanner) ws(i int) int {
	for i < len(s.b) && (s.b[i] == ' ' || s.b[i] == '\n' || s.b[i] == '\t' || s.b[i] == '\r') {
		i++
	}
	return i
}

// str gives the place after the text that begins at i.
func (s *scanner) str(i int) int {
	for i++; ; i++ {
		switch s.b[i] {
		case '"':
			return i + 1
		case '\\':
			i++
		}
	}
}

// skip gives the place after the value that begins at i.
func (s *scanner) skip(i int) int {
	switch s.b[i] {
	case '"':
		return s.str(i)
	case '{', '[':
		return s.skipNested(i)
	}
	for i < len(s.b) {
		switch s.b[i] {
		case ',', '}', ']', ' ', '\n', '\t', '\r':
			return i
		}
		i++
	}
	return i
}

func (s *scanner) skipNested(i int) int {
	for open := 0; ; i++ {
		switch s.b[i] {
		case '"':
			i = s.str(i) - 1
		case '{', '[':
			open++
		case '}', ']':
			if open--; open == 0 {
				return i + 1
			}
		}
	}
}

// object calls f for each member of the object at i, with its name and the place
// of its value; f gives the place after the value. Another value than an object
// is skipped.
func (s *scanner) object(i int, f func(name []byte, i int) int) int {
	if s.b[i] != '{' {
		return s.skip(i)
	}
	i = s.ws(i + 1)
	for s.b[i] != '}' {
		end := s.str(i)
		name := s.b[i+1 : end-1]
		if bytes.IndexByte(name, '\\') >= 0 {
			name, _ = s.unquote(s.b[i:end])
		}
		i = s.ws(f(name, s.ws(s.ws(end)+1)))
		if s.b[i] == ',' {
			i = s.ws(i + 1)
		}
	}
	return i + 1
}

// array calls f for the place of each item of the array at i; f gives the place
// after it. Another value than an array is skipped.
func (s *scanner) array(i int, f func(i int) int) int {
	if s.b[i] != '[' {
		return s.skip(i)
	}
	i = s.ws(i + 1)
	for s.b[i] != ']' {
		i = s.ws(f(i))
		if s.b[i] == ',' {
			i = s.ws(i + 1)
		}
	}
	return i + 1
}

// unquote gives the content of the quoted text raw, valid until the next call,
// and whether a database can keep it: whole UTF-8 without NUL.
func (s *scanner) unquote(raw []byte) ([]byte, bool) {
	inner := raw[1 : len(raw)-1]
	if bytes.IndexByte(inner, '\\') < 0 {
		return inner, utf8.Valid(inner)
	}
	var err error
	s.scratch, err = jsontext.AppendUnquote(s.scratch[:0], raw)
	return s.scratch, err == nil && bytes.IndexByte(s.scratch, 0) < 0
}
