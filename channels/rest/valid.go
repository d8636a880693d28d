package rest

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// Remotes are read leniently where leniency loses nothing: a name given twice
// counts as its last value, and bad UTF-8 costs the record that holds it.
var lenient = []jsontext.Options{jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true)}

// mark is a place in a page that was made valid by changing it: the record
// around it is unusable.
type mark struct {
	at   int
	flaw flaw
}

// valid accepts body as JSON, or gives why it is none. What only one record
// suffers from (bottomless nesting, raw control characters inside a text) is
// overwritten in body and marked, so that the rest of the page can be read.
func valid(body []byte) ([]mark, error) {
	if jsontext.Value(body).IsValid(lenient...) {
		return nil, nil
	}
	marks := repair(body)
	if len(marks) > 0 && jsontext.Value(body).IsValid(lenient...) {
		return marks, nil
	}
	dec := jsontext.NewDecoder(bytes.NewReader(body), lenient...)
	err := dec.SkipValue()
	if err == nil {
		err = fmt.Errorf("more text after the value at byte %d", dec.InputOffset())
	}
	return nil, fmt.Errorf("%s", strings.ToValidUTF8(strings.TrimPrefix(err.Error(), "jsontext: "), "?"))
}

// repairDepth lets the answer's own wrapping be on top of a record's depth.
const repairDepth = maxDepth + 2*maxPath

// repair overwrites raw control characters inside texts and everything nested
// deeper than repairDepth.
func repair(body []byte) []mark {
	var marks []mark
	depth, cut := 0, -1 // cut: where the part that is too deep began
	for i := 0; i < len(body); i++ {
		switch body[i] {
		case '"':
			i = repairText(body, i, cut >= 0, &marks)
		case '{', '[':
			if depth++; depth == repairDepth {
				cut = i
			}
		case '}', ']':
			if depth--; depth == repairDepth-1 && cut >= 0 {
				blank(body[cut : i+1])
				marks = append(marks, mark{cut, flawDepth})
				cut = -1
			}
		}
	}
	slices.SortFunc(marks, func(a, b mark) int { return a.at - b.at })
	return marks
}

// blank overwrites b, a value of at least two bytes, with an empty text.
func blank(b []byte) {
	for i := range b {
		b[i] = ' '
	}
	b[0], b[1] = '"', '"'
}

// replaced stands for a raw control character: DEL, which is allowed in a text.
const replaced = 0x7f

// repairText gives the place of the closing quote of the text at i.
func repairText(body []byte, i int, quiet bool, marks *[]mark) int {
	for i++; i < len(body) && body[i] != '"'; i++ {
		switch c := body[i]; {
		case c == '\\':
			i++
		case c < ' ':
			body[i] = replaced
			if f := flawControl; !quiet {
				if c == 0 {
					f = flawNUL
				}
				*marks = append(*marks, mark{i, f})
			}
		}
	}
	return i
}
