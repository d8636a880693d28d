package channels

import (
	"context"
	"time"

	"github.com/tandem-sync/tandem/sync/record"
)

// Op is what an order asks for.
type Op uint8

// The operations. Updates and deletes are state transfers: carrying one out
// twice leaves the same state. Creates are not.
const (
	// OrderCreate makes a new record.
	OrderCreate Op = iota + 1
	// OrderUpdate changes fields of the record with Order.ID.
	OrderUpdate
	// OrderDelete removes the record with Order.ID.
	OrderDelete
)

// String gives the operation's name as logs show it.
func (o Op) String() string {
	switch o {
	case OrderCreate:
		return "create"
	case OrderUpdate:
		return "update"
	case OrderDelete:
		return "delete"
	}
	return "none"
}

// Order asks a remote to create, change or delete one record.
type Order struct {
	// N is the caller's number of the order; it comes back in the Result.
	N int
	// Op is what to do.
	Op Op
	// ID is the remote id; empty for a create.
	ID string
	// Values has one value per field of the Write call. Absent is not sent, Null
	// is sent as null. A delete needs none.
	Values []record.Value
	// Set are constants of a create; a value in Values for the same path wins.
	Set []PathValue
	// Key is a create's idempotency key: the same in every repeat of it. Only
	// remotes of safety class A are told.
	Key string
	// Version is what the link says the remote's version of the record was (an
	// ETag, a time of change). It is the precondition of the change where the
	// remote has one; empty is none.
	Version string
	// Customs is the link's customs as JSON; empty is none.
	Customs string
}

// PathValue is a constant at a remote path.
type PathValue struct {
	Path  string
	Value record.Value
}

// Outcome is what became of an order.
type Outcome uint8

// The outcomes. The zero Outcome is none of them.
const (
	// Written: it has been carried out.
	Written Outcome = iota + 1
	// Gone: the record of an update is not there any more (404, 410). A delete
	// of such a record is Written.
	Gone
	// Exists: a create met a record with the same identity. Nothing was written;
	// Result.ID names the record when the remote told which.
	Exists
	// Refused: the remote refuses this record's data or this kind of change.
	// Nothing was written; Err is Permanent and quotes the remote.
	Refused
	// Changed: Order.Version is no longer the remote's. Nothing was written.
	Changed
	// Unknown: it may or may not have been carried out. Err says what is known.
	// After a create the remote must be asked before it is repeated.
	Unknown
	// NotSent: nothing reached the remote, or it turned the order away unread.
	// Try again later; Err says why.
	NotSent
)

// String gives the outcome's name as logs show it.
func (o Outcome) String() string {
	switch o {
	case Written:
		return "written"
	case Gone:
		return "gone"
	case Exists:
		return "exists"
	case Refused:
		return "refused"
	case Changed:
		return "changed"
	case Unknown:
		return "unknown"
	case NotSent:
		return "not_sent"
	}
	return "none"
}

// Result is what became of one order.
type Result struct {
	// N is the order's number.
	N       int
	Outcome Outcome
	// ID is the record's id at the remote: the new one after a create, another
	// one than the order's when the remote says that the record has moved (two
	// were merged). Empty when it is not known.
	ID string
	// Record is the record as the remote answered it, its Values in the order of
	// the call's fields and Absent where the answer did not say. nil when the
	// answer held no record.
	Record *record.Record
	// Version and Customs are to be kept on the link; empty is "none told".
	Version, Customs string
	// RemoteNow is the remote's clock when it answered; zero is not known.
	RemoteNow time.Time
	// Err is set with Refused, Unknown and NotSent. It holds no secret.
	Err error
}

// Writer is implemented by connectors that can change records at the remote.
// Safe for concurrent use.
type Writer interface {
	// Write carries out the orders; fields are the remote paths of Order.Values.
	// It gives one Result per order that was dealt with, in any order; an order
	// without a Result was not sent. Two orders of a call must not be about the
	// same record.
	//
	// The error is about the remote as a whole (credential, rate limit, not
	// reachable, breaker open, ctx); results that are known stand beside it, those
	// of orders that were under way among them. Orders that may be repeated
	// without harm are repeated inside the call; creates only where they carry a
	// key that the remote knows.
	Write(ctx context.Context, fields []string, orders []Order) ([]Result, error)
	// WriteCapabilities says what this connector can write as it is configured.
	WriteCapabilities() WriteCapabilities
}

// The safety classes of creates: what keeps a repeated create from making a
// second record.
const (
	// SafetyKey (A): the remote knows the create again by its idempotency key.
	SafetyKey = "A"
	// SafetyUnique (B): a unique property, or an upsert, refuses a second one.
	SafetyUnique = "B"
	// SafetyLookup (C): the record can be looked for once it must be visible.
	SafetyLookup = "C"
	// SafetyNone (D): nothing does; an unknown outcome waits for a person.
	SafetyNone = "D"
)

// SafetyOf is implemented by Writers whose class of creates is lower for some
// records than WriteCapabilities says, such as those without the unique property.
type SafetyOf interface {
	// SafetyOf gives the class of one create.
	SafetyOf(fields []string, o Order) string
}

// WriteCapabilities is what a configured connector can write. The zero value
// writes nothing.
type WriteCapabilities struct {
	// Create, Update and Delete say which orders are accepted; others are Refused.
	Create bool `json:"create"`
	Update bool `json:"update"`
	Delete bool `json:"delete"`
	// Batch is the most records that one call of the remote takes; 1 where every
	// record is a call.
	Batch int `json:"batch"`
	// Parallel is how many calls may be under way at a time, all Writes together;
	// 0 is not known, and then the connector is given one Write after the other.
	Parallel int `json:"parallel,omitempty"`
	// Safety is the class of creates, SafetyKey to SafetyNone; empty without
	// Create.
	Safety string `json:"safety"`
	// Settle is how long, in nanoseconds, a new record may stay invisible to Find
	// and to listings.
	Settle time.Duration `json:"settle"`
	// Answers promises Result.Record with creates and updates. Without the promise
	// it may still be there.
	Answers bool `json:"answers"`
	// Whole says that an update replaces the record: what is not sent may be
	// cleared, so all mapped values are to be sent and not only the changed ones.
	Whole bool `json:"whole"`
	// Precondition says that the remote carries out an update or a delete only while
	// the record's version is Order.Version, and that Get tells the version: records
	// are read before they are changed.
	Precondition bool `json:"precondition"`
}

// Writes reports whether any order is accepted.
func (c WriteCapabilities) Writes() bool { return c.Create || c.Update || c.Delete }

// Finder is implemented by connectors that can look records up by the values of
// fields. Safe for concurrent use.
type Finder interface {
	// Find looks for records whose fields by (ordinals of fields) have the values
	// of an identity, and gives the matches of each identity, in the order of
	// identities. An identity with an absent, null or empty value matches nothing.
	// The matching is the remote's own; it may be wider than equality, such as
	// without regard to case.
	//
	// by that it cannot look for is an error with code CodeUsage; an error is
	// always about the whole call.
	Find(ctx context.Context, fields []string, by []int, identities [][]record.Value) ([][]record.Record, error)
}

// FindsBy is implemented by Finders that can look for some fields only.
type FindsBy interface {
	// FindsBy reports whether Find can look for the fields together.
	FindsBy(fields []string) bool
}
