// Package fault holds the classes of failure: what a caller should do about an
// error, not which library broke. It imports nothing of Tandem.
package fault

import (
	"errors"
	"fmt"
	"time"
)

// Class says what to do about an error.
type Class uint8

// The classes. Unknown is the class of every error that carries none: it is
// treated as Retryable with the full attempt counting.
const (
	// Unknown: the error was not classified where it arose.
	Unknown Class = iota
	// Retryable: the same call may succeed later.
	Retryable
	// RateLimited: the other side asked us to wait; the attempt does not count.
	RateLimited
	// Permanent: repeating cannot help until a person or the data changes.
	Permanent
	// Skip: leave this one record out and go on.
	Skip
	// Stop: commit what is done and end the run.
	Stop
)

// String gives the class's name as logs and the API show it.
func (c Class) String() string {
	switch c {
	case Retryable:
		return "retryable"
	case RateLimited:
		return "rate_limited"
	case Permanent:
		return "permanent"
	case Skip:
		return "skip"
	case Stop:
		return "stop"
	case Unknown:
	}
	return "unknown"
}

// Codes that several packages share; every code is a stable word of the API.
const (
	CodeNotFound    = "not_found"   // an unknown name or id: exit 2
	CodeUsage       = "usage"       // wrong flags or arguments: exit 2
	CodeConfig      = "config"      // the configuration is wrong: exit 2
	CodeLocked      = "locked"      // another process holds the SQLite file: exit 3
	CodeUnreachable = "unreachable" // a needed service does not answer: exit 3
	CodeSchemaOld   = "schema_old"  // the schema is older than the binary: exit 3
	CodeSchemaNew   = "schema_new"  // the schema is newer than the binary: exit 3
	CodeAuth        = "auth"        // 401 or 403 of a remote
	CodeConflict    = "conflict"    // the state forbids the request
	CodeBadRecord   = "bad_record"  // one record's data cannot be used
	CodeBadAnswer   = "bad_answer"  // the remote answered something unusable
	CodeNetwork     = "network"     // an address outside network.allow
	CodeFailed      = "failed"      // the work failed: exit 1
	CodeCancelled   = "cancelled"   // the work was cancelled: exit 1
)

// Error is an error with a class. The zero value is not useful; use the
// constructors.
type Error struct {
	Class      Class
	Code       string        // stable word for programs, such as CodeNotFound; may be empty
	Op         string        // what was tried: "rest: list contacts"
	RetryAfter time.Duration // RateLimited and Retryable; 0 means the caller's own backoff
	Hint       string        // the next step, for a person; may be empty
	Where      string        // file:line, field or address; may be empty
	Err        error         // the cause; may be nil
	Answer     string        // what the other side answered, shortened and without secrets; may be empty
}

// New makes an Error of the class; format and args follow fmt.Errorf, %w included.
func New(class Class, code, op, format string, args ...any) *Error {
	return &Error{Class: class, Code: code, Op: op, Err: fmt.Errorf(format, args...)}
}

// Wrap classes err; nil stays nil.
func Wrap(class Class, code, op string, err error) error {
	if err == nil {
		return nil
	}
	return &Error{Class: class, Code: code, Op: op, Err: err}
}

// WithHint returns a copy of e with the next step for a person.
func (e *Error) WithHint(hint string) *Error {
	c := *e
	c.Hint = hint
	return &c
}

// WithWhere returns a copy of e that names the place.
func (e *Error) WithWhere(where string) *Error {
	c := *e
	c.Where = where
	return &c
}

// After returns a copy of e that asks to wait d before the next try.
func (e *Error) After(d time.Duration) *Error {
	c := *e
	c.RetryAfter = d
	return &c
}

// Error joins the operation and the cause.
func (e *Error) Error() string {
	switch {
	case e.Err == nil && e.Op == "":
		return e.Class.String()
	case e.Err == nil:
		return e.Op + ": " + e.Class.String()
	case e.Op == "":
		return e.Err.Error()
	}
	return e.Op + ": " + e.Err.Error()
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// Of returns the class of the outermost *Error in err's chain that has one
// other than Unknown; Unknown otherwise, also for nil.
func Of(err error) Class {
	for e := (*Error)(nil); errors.As(err, &e); err = e.Err {
		if e.Class != Unknown {
			return e.Class
		}
	}
	return Unknown
}

// CodeOf returns the outermost code in err's chain, or "".
func CodeOf(err error) string {
	for e := (*Error)(nil); errors.As(err, &e); err = e.Err {
		if e.Code != "" {
			return e.Code
		}
	}
	return ""
}

// HintOf returns the outermost hint in err's chain, or "".
func HintOf(err error) string {
	for e := (*Error)(nil); errors.As(err, &e); err = e.Err {
		if e.Hint != "" {
			return e.Hint
		}
	}
	return ""
}

// AnswerOf returns the outermost answer in err's chain, or "".
func AnswerOf(err error) string {
	for e := (*Error)(nil); errors.As(err, &e); err = e.Err {
		if e.Answer != "" {
			return e.Answer
		}
	}
	return ""
}

// WhereOf returns the outermost place in err's chain, or "".
func WhereOf(err error) string {
	for e := (*Error)(nil); errors.As(err, &e); err = e.Err {
		if e.Where != "" {
			return e.Where
		}
	}
	return ""
}

// RetryAfterOf returns the outermost wait in err's chain, or 0.
func RetryAfterOf(err error) time.Duration {
	for e := (*Error)(nil); errors.As(err, &e); err = e.Err {
		if e.RetryAfter > 0 {
			return e.RetryAfter
		}
	}
	return 0
}
