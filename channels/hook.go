package channels

import (
	"context"

	"github.com/tandem-sync/tandem/sync/record"
)

// Moment says at which point of a record's way a hook is called.
type Moment uint8

// The moments, in the order in which a record meets them.
const (
	// BeforeMapping: the record has been read; Remote (on the way in) or Local (on
	// the way out) may be changed.
	BeforeMapping Moment = iota + 1
	// AfterMapping: the values are in the other side's form: Local on the way in,
	// Remote on the way out. They may be changed.
	AfterMapping
	// BeforeJudging: both sides of a linked pair are known.
	BeforeJudging
	// AfterJudging: Write has what was decided, Absent where nothing is written.
	// Setting a slot to Absent takes the decision back.
	AfterJudging
	// BeforeWriting: Write has what is about to be written; it may be changed.
	BeforeWriting
	// AfterWriting: it has been written. An error no longer changes anything.
	AfterWriting
)

// String is the moment's name in errors and logs.
func (m Moment) String() string {
	switch m {
	case BeforeMapping:
		return "before_mapping"
	case AfterMapping:
		return "after_mapping"
	case BeforeJudging:
		return "before_judging"
	case AfterJudging:
		return "after_judging"
	case BeforeWriting:
		return "before_writing"
	case AfterWriting:
		return "after_writing"
	}
	return "none"
}

// Way says where a record is on its way to.
type Way uint8

// The ways.
const (
	ToLocal Way = iota + 1
	ToRemote
)

// Passing is a record on its way through a connector, as a hook sees it. The
// slots of all values are those of Columns and Paths.
type Passing struct {
	Channel, Connector string
	Way                Way
	LocalKey, RemoteID string // "" not known yet
	Columns, Paths     []string
	// Local and Remote are what the sides hold, nil where that is not known at
	// this moment. Write is what is to be written, from AfterJudging on.
	Local, Remote, Write []record.Value
}

// Hook looks at records on their way, and may change them where Moment says so.
//
// A fault of class Skip leaves the record out of this run: it is looked at again
// when it changes, or when everything is read again. Stop ends the run; what was
// committed stays. Any other error parks the record. A hook is called by several
// goroutines at a time, may be called more than once for one record, because
// what fails for a passing reason is done again, and must not wait for anything
// slow: a transaction may be open.
type Hook interface {
	Passing(ctx context.Context, m Moment, p *Passing) error
}
