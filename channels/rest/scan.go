package rest

import (
	"bytes"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/tandem-sync/tandem/sync/record"
)

// maxDepth is how deep the objects and arrays of one record may be nested.
const maxDepth = 64

// flaw is why one record cannot be used.
type flaw uint8

const (
	fine flaw = iota
	flawUTF8
	flawSurrogate
	flawNUL
	flawDepth
	flawControl
)

func (f flaw) String() string {
	switch f {
	case flawUTF8:
		return "is not valid UTF-8"
	case flawSurrogate:
		return "holds half of a surrogate pair"
	case flawNUL:
		return "holds a NUL character"
	case flawDepth:
		return "is nested deeper than 64 levels"
	case flawControl:
		return "holds a raw control character"
	case fine:
	}
	return "is fine"
}

// scanner walks JSON text that is known to be valid and takes out what a trie
// asks for. It never walks text that valid has not accepted.
type scanner struct {
	b   []byte
	mem *record.Arena
	out []record.Value // by slot

	visit []uint32 // per node: the last round in which it was met
	round uint32

	flaw    flaw
	flawAt  int // slot, -1 none in particular
	idSlot  int
	idBad   bool // the id itself has a flaw
	scratch []byte
	records func(i int) int
}

func space(c byte) bool { return c == ' ' || c == '\n' || c == '\t' || c == '\r' }

func (s *scanner) ws(i int) int {
	for i < len(s.b) && space(s.b[i]) {
		i++
	}
	return i
}

// str gives the place after the string that begins at i, and whether it holds
// an escape.
func (s *scanner) str(i int) (end int, escaped bool) {
	b := s.b
	for i++; ; i++ {
		switch b[i] {
		case '"':
			return i + 1, escaped
		case '\\':
			escaped = true
			i++
		}
	}
}

// skip gives the place after the value that begins at i; depth is how many
// objects and arrays are open around it.
func (s *scanner) skip(i, depth int) int {
	switch s.b[i] {
	case '"':
		end, _ := s.str(i)
		return end
	case '{', '[':
		return s.skipNested(i, depth)
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

func (s *scanner) skipNested(i, depth int) int {
	open, deepest := 0, 0
	for {
		switch s.b[i] {
		case '"':
			i, _ = s.str(i)
			continue
		case '{', '[':
			open++
			deepest = max(deepest, open)
		case '}', ']':
			open--
			if open == 0 {
				if depth+deepest > maxDepth {
					s.fail(flawDepth, -1)
				}
				return i + 1
			}
		}
		i++
	}
}

func (s *scanner) fail(f flaw, slot int) {
	if slot == s.idSlot {
		s.idBad = true
	}
	if s.flaw == fine {
		s.flaw, s.flawAt = f, slot
	}
}

// value reads the value at i for n and gives the place after it.
func (s *scanner) value(i int, n *node, depth int) int {
	if n.records {
		return s.records(i)
	}
	var end int
	switch c := s.b[i]; {
	case !n.inner():
		end = s.skip(i, depth)
	case c == '{':
		s.again(n)
		end = s.object(i, n, depth+1)
	case c == '[':
		s.again(n)
		end = s.array(i, n, depth+1)
	default:
		end = s.skip(i, depth)
		s.below(n, c)
	}
	if len(n.slots) > 0 {
		v := s.take(s.b[i:end], n.slots[0])
		for _, slot := range n.slots {
			s.out[slot] = v
		}
	}
	return end
}

// again forgets what an earlier member of the same name said: the last one
// counts as a whole.
func (s *scanner) again(n *node) {
	if s.visit[n.id] == s.round {
		s.set(n.below, record.Value{})
	}
	s.visit[n.id] = s.round
}

// below says what a scalar means for the paths under it: null there too, and
// nothing otherwise.
func (s *scanner) below(n *node, c byte) {
	if c == 'n' {
		s.set(n.below, record.NullValue)
	} else {
		s.set(n.below, record.Value{})
	}
	s.visit[n.id] = s.round
}

func (s *scanner) set(slots []int, v record.Value) {
	for _, slot := range slots {
		s.out[slot] = v
	}
}

func (s *scanner) object(i int, n *node, depth int) int {
	i = s.ws(i + 1)
	for s.b[i] != '}' {
		keyAt := i
		var escaped bool
		i, escaped = s.str(i)
		key := s.b[keyAt+1 : i-1]
		if escaped {
			key = s.unescape(s.b[keyAt:i])
		}
		child := n.find(key)
		i = s.ws(s.ws(i) + 1)
		if child == nil {
			i = s.skip(i, depth)
		} else {
			i = s.value(i, child, depth)
		}
		i = s.ws(i)
		if s.b[i] == ',' {
			i = s.ws(i + 1)
		}
	}
	return i + 1
}

// find gives the child for key. A plan has few children per node, and most
// names differ in length, so a walk beats a map.
func (n *node) find(key []byte) *node {
	for k := range n.kids {
		if len(n.kids[k].key) == len(key) && n.kids[k].key == string(key) {
			return n.kids[k].node
		}
	}
	return nil
}

func (s *scanner) array(i int, n *node, depth int) int {
	// A list says everything about its places: those past its end are null.
	for _, e := range n.elems {
		s.set(e.slots, record.NullValue)
		s.set(e.below, record.NullValue)
	}
	i = s.ws(i + 1)
	for at := 0; s.b[i] != ']'; at++ {
		var child *node
		for _, e := range n.elems {
			if e.index == at {
				child = e.node
			}
		}
		if child == nil {
			i = s.skip(i, depth)
		} else {
			s.set(child.below, record.Value{})
			i = s.value(i, child, depth)
		}
		i = s.ws(i)
		if s.b[i] == ',' {
			i = s.ws(i + 1)
		}
	}
	return i + 1
}

// take makes a value of raw, one complete JSON value.
func (s *scanner) take(raw []byte, slot int) record.Value {
	switch raw[0] {
	case '"':
		return record.Value{Kind: record.Text, Text: s.text(raw, slot)}
	case '{', '[':
		return record.Value{Kind: record.JSON, Text: s.compact(raw, slot)}
	case 't', 'f':
		return record.B(raw[0] == 't')
	case 'n':
		return record.NullValue
	}
	return record.Value{Kind: record.Number, Text: s.mem.Text(raw)}
}

// text gives the content of the quoted string raw.
func (s *scanner) text(raw []byte, slot int) string {
	inner := raw[1 : len(raw)-1]
	if bytes.IndexByte(inner, '\\') < 0 {
		if !utf8.Valid(inner) {
			s.fail(flawUTF8, slot)
		}
		return s.mem.Text(inner)
	}
	return s.mem.Text(s.checked(raw, slot))
}

// checked gives the content of the quoted string raw, which holds escapes, and
// notes what a database cannot keep. The result is valid until the next call.
func (s *scanner) checked(raw []byte, slot int) []byte {
	plain, err := jsontext.AppendUnquote(s.scratch[:0], raw)
	s.scratch = plain
	switch {
	case err != nil && !utf8.Valid(raw):
		s.fail(flawUTF8, slot)
	case err != nil:
		s.fail(flawSurrogate, slot)
	case bytes.IndexByte(plain, 0) >= 0:
		s.fail(flawNUL, slot)
	}
	return plain
}

func (s *scanner) unescape(raw []byte) []byte {
	plain, _ := jsontext.AppendUnquote(s.scratch[:0], raw)
	s.scratch = plain
	return plain
}

// compact gives the array or object raw without white space between its parts.
func (s *scanner) compact(raw []byte, slot int) string {
	if !utf8.Valid(raw) {
		s.fail(flawUTF8, slot)
	}
	sub := scanner{b: raw, scratch: s.scratch, idSlot: -1}
	dst := make([]byte, 0, len(raw))
	for i := 0; i < len(raw); {
		if c := raw[i]; c != '"' {
			if !space(c) {
				dst = append(dst, c)
			}
			i++
			continue
		}
		end, escaped := sub.str(i)
		if escaped {
			sub.checked(raw[i:end], slot)
		}
		dst = append(dst, raw[i:end]...)
		i = end
	}
	if sub.flaw != fine {
		s.fail(sub.flaw, slot)
	}
	s.scratch = sub.scratch
	return s.mem.Text(dst)
}
