package rest

import (
	"strings"

	"github.com/tandem-sync/tandem/sync/record"
)

// arena keeps the texts of a page in a few large pieces instead of one small
// allocation each. Only what a mapping asks for is copied into it, so a kept
// value holds on to one piece and not to the page.
type arena struct {
	piece   strings.Builder
	slab    []record.Value
	records int // how many records the next slab should hold
}

const pieceSize = 32 << 10

// text copies b.
func (a *arena) text(b []byte) string {
	if len(b) == 0 {
		return ""
	}
	if len(b) > pieceSize/4 {
		return string(b)
	}
	if a.piece.Cap()-a.piece.Len() < len(b) {
		// A new Builder: the old piece stays with its texts.
		a.piece = strings.Builder{}
		a.piece.Grow(pieceSize)
	}
	start := a.piece.Len()
	a.piece.Write(b)
	return a.piece.String()[start:]
}

// values gives n empty values.
func (a *arena) values(n int) []record.Value {
	if cap(a.slab)-len(a.slab) < n {
		a.slab = make([]record.Value, 0, n*max(a.records, 32))
		a.records = 64
	}
	start := len(a.slab)
	a.slab = a.slab[:start+n]
	return a.slab[start : start+n : start+n]
}
