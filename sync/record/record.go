// Package record is the vocabulary of values and records that travel between
// the two sides. Data only; it imports nothing of Tandem.
package record

import "time"

// Kind says what a Value is. Null, the empty text and Absent are three values.
type Kind uint8

// The kinds.
const (
	// Absent: the side said nothing about the field.
	Absent Kind = iota
	// Null: the side said the field is null.
	Null
	// Text is a string.
	Text
	// Number is a number; Text holds it exactly as it was written, so integers
	// beyond 2^53 and long decimals stay exact.
	Number
	// Bool is "true" or "false".
	Bool
	// JSON is an array or object as compact JSON text.
	JSON
)

// Value is one field's value: its kind and its text. Absent and Null have an
// empty Text. The zero Value is Absent.
type Value struct {
	Kind Kind
	Text string
}

// Has reports whether the value is there at all (Null counts as there).
func (v Value) Has() bool { return v.Kind != Absent }

// Empty reports whether the value is absent, null or the empty text.
func (v Value) Empty() bool { return v.Kind <= Null || v.Text == "" && v.Kind == Text }

// T makes a text value.
func T(s string) Value { return Value{Text, s} }

// N makes a number value from its exact text.
func N(s string) Value { return Value{Number, s} }

// B makes a boolean value.
func B(b bool) Value {
	if b {
		return Value{Bool, "true"}
	}
	return Value{Bool, "false"}
}

// J makes a JSON value from compact JSON text.
func J(s string) Value { return Value{JSON, s} }

// NullValue is the null value.
var NullValue = Value{Kind: Null}

// Record is one object as a remote reader gives it.
type Record struct {
	// ID is the remote id, never empty unless Err is set.
	ID string
	// Modified is when the remote says the record changed last; zero is unknown.
	Modified time.Time
	// Version is what the remote calls this state of the record (an ETag, a
	// revision): the precondition of a change that was decided by it. Empty where
	// the remote has none.
	Version string
	// Deleted marks a tombstone: the remote says the record is gone.
	Deleted bool
	// Values holds one value per requested field, in the order of the request.
	// nil for a tombstone.
	Values []Value
	// ChangedAt says when each of Values got its present value, in the same
	// order and by the remote's clock; a zero time is a field whose time is not
	// known. nil when the remote tells no times of fields: Modified is the best
	// there is then.
	ChangedAt []time.Time
	// Raw is the record as received, for the parked payload. It may share
	// memory with its page and may be nil.
	Raw []byte
	// Renamed says that the record goes, or went, by other ids; nil is the rule.
	Renamed *Renamed
	// OutOfScope says that the connector's scope does not hold for the record.
	OutOfScope bool
	// Err says why this one record cannot be used (no id, too large, bad
	// UTF-8). The rest of the page is good.
	Err error
}

// Renamed tells the other ids of a record: of one that was merged into another, or
// converted, or moved.
type Renamed struct {
	// To is, of a record that is Deleted, the id of the one that it has become or
	// has been merged into. That one exists.
	To string
	// From are, of a record that is there, former ids that lead to it now.
	From []string
}
