package record

import "strings"

// Arena keeps the texts of a page in a few large pieces instead of one small
// allocation each. Only what a mapping asks for is copied into it, so a kept
// value holds on to one piece and not to the page. The zero value is ready; it is
// not safe for concurrent use.
type Arena struct {
	piece   strings.Builder
	slab    []Value
	records int // how many records the next slab should hold
}

// NewArena makes an arena whose first slab has room for so many records.
func NewArena(records int) *Arena { return &Arena{records: records} }

const arenaPiece = 32 << 10

// Text copies b.
func (a *Arena) Text(b []byte) string {
	if len(b) == 0 {
		return ""
	}
	if len(b) > arenaPiece/4 {
		return string(b)
	}
	if a.piece.Cap()-a.piece.Len() < len(b) {
		// A new Builder: the old piece stays with its texts.
		a.piece = strings.Builder{}
		a.piece.Grow(arenaPiece)
	}
	start := a.piece.Len()
	a.piece.Write(b)
	return a.piece.String()[start:]
}

// Values gives n empty values.
func (a *Arena) Values(n int) []Value {
	if cap(a.slab)-len(a.slab) < n {
		a.slab = make([]Value, 0, n*max(a.records, 32))
		a.records = 64
	}
	start := len(a.slab)
	a.slab = a.slab[:start+n]
	return a.slab[start : start+n : start+n]
}
