package entities

import (
	"strings"
	"unicode/utf8"

	"github.com/tandem-sync/tandem/store"
	"github.com/tandem-sync/tandem/sync/record"
)

// Op is what a Change does to the local side.
type Op uint8

// The operations. All of them write the link.
const (
	OpLink   Op = iota // the row stays as it is
	OpInsert           // make a row
	OpUpdate           // change a row that is as it was judged
	OpDelete           // remove or mark a row that is as it was judged
)

// Change is one row to write together with its link.
type Change struct {
	// N is the caller's number of the change; it comes back in the Result.
	N  int
	Op Op
	// Key is the row's key; the writer fills it for OpInsert.
	Key string
	// New has one canonical local value per mapped field; Absent leaves an
	// existing column alone and gives a new one its default. Unused for OpLink
	// and OpDelete.
	New []record.Value
	// Set has one value per create-only column; OpInsert only.
	Set []record.Value
	// Old has the row's values as judged, as Load gave them; OpUpdate and
	// OpDelete only.
	Old []record.Value
	// Link is what the link must be afterwards; the writer fills LocalKey.
	Link store.Link
	// NewLink says that the link does not exist yet.
	NewLink bool
}

// Outcome is what became of a Change.
type Outcome uint8

// The outcomes. Only Done left a trace in the database.
const (
	Done     Outcome = iota
	Missed           // the row is not what was judged any more, or is gone
	Collided         // the new row or link met a unique constraint; Err names it
	Refused          // the database or the driver refused the data; Err says why
)

// String names the outcome.
func (o Outcome) String() string {
	return [...]string{"done", "missed", "collided", "refused"}[o]
}

// Result tells what became of the Change with the same N.
type Result struct {
	N       int
	Outcome Outcome
	// Key is the row's key; set when Done.
	Key string
	// Stored are the mapped columns' values as they are stored now, as Load
	// gives them, when they mean something else than what was written (a
	// trigger, a default, a scale that rounds); nil otherwise.
	Stored []record.Value
	// Err says why; Permanent with code bad_record. nil when Done or Missed.
	Err error
}

// The classes put the changes of one kind side by side, so that every statement
// works on one range of row numbers. Deletes come first, for they may free a
// unique value that another change wants.
const (
	classDelete = iota
	classLinkOld
	classUpdateOld
	classUpdateNew
	classLinkNew
	classInsertNew
	classInsertOld
	classes
)

func (c *Change) class() int {
	switch c.Op {
	case OpDelete:
		return classDelete
	case OpUpdate:
		if c.NewLink {
			return classUpdateNew
		}
		return classUpdateOld
	case OpInsert:
		if c.NewLink {
			return classInsertNew
		}
		return classInsertOld
	case OpLink:
	}
	if c.NewLink {
		return classLinkNew
	}
	return classLinkOld
}

// badText says why a text cannot be sent to PostgreSQL; "" when it can.
func badText(s string) string {
	if asciiText(s) == len(s) {
		return ""
	}
	if strings.IndexByte(s, 0) >= 0 {
		return "holds a NUL character"
	}
	if !utf8.ValidString(s) {
		return "is not valid UTF-8"
	}
	return ""
}

// asciiText gives the length of the beginning of s that is ASCII without NUL, in
// steps of eight bytes; nearly all texts are that through and through.
func asciiText(s string) int {
	const ones, highs = 0x0101010101010101, 0x8080808080808080
	i := 0
	for ; i+8 <= len(s); i += 8 {
		w := uint64(s[i]) | uint64(s[i+1])<<8 | uint64(s[i+2])<<16 | uint64(s[i+3])<<24 |
			uint64(s[i+4])<<32 | uint64(s[i+5])<<40 | uint64(s[i+6])<<48 | uint64(s[i+7])<<56
		if (w|(w-ones)&^w)&highs != 0 {
			return i
		}
	}
	for i < len(s) && s[i] != 0 && s[i] < 0x80 {
		i++
	}
	return i
}
