package judge

// Reason says why a verdict is what it is: one word of a closed set, the same in
// change lines, dry runs, `tandem records explain` and `tandem judge`.
type Reason = string

// Nothing is written.
const (
	// ReasonEqual: both sides hold the same value; it becomes the base.
	ReasonEqual Reason = "equal"
	// ReasonUnchanged: neither side differs from its half of the base.
	ReasonUnchanged Reason = "unchanged"
	// ReasonAbsent: a side said nothing, and the other has nothing new to tell it.
	ReasonAbsent Reason = "absent"
	// ReasonBothEmpty: the pair had no base, and each side has its own kind of
	// nothing (null, the empty text); each keeps it.
	ReasonBothEmpty Reason = "both_empty"
	// ReasonLocalEditHeld: a local edit of a field that only travels to the local
	// side stands until the remote's value changes.
	ReasonLocalEditHeld Reason = "local_edit_held"
	// ReasonRemoteEditHeld: the same for a field that only travels to the remote.
	ReasonRemoteEditHeld Reason = "remote_edit_held"
	// ReasonOnCreate: the field is written on create only.
	ReasonOnCreate Reason = "on_create"
	// ReasonNotEmpty: the field is written to an empty target only.
	ReasonNotEmpty Reason = "not_empty"
	// ReasonRequired: the write would clear a required field.
	ReasonRequired Reason = "required"
	// ReasonWaits: the winner's value cannot be told to the other side yet, such
	// as a reference to a record that is not linked.
	ReasonWaits Reason = "waits"
)

// A side wins.
const (
	// ReasonLocalChanged: only the local side has changed.
	ReasonLocalChanged Reason = "local_changed"
	// ReasonRemoteChanged: only the remote side has changed.
	ReasonRemoteChanged Reason = "remote_changed"
	// ReasonOneWay: both have changed, and the field travels one way only.
	ReasonOneWay Reason = "one_way"
	// ReasonFirstLink: the pair had no base for the field; the only side with a
	// value won, or else the policy's choice.
	ReasonFirstLink Reason = "first_link"
	// ReasonNewest: both have changed, and the winner's value is newer.
	ReasonNewest Reason = "newest"
	// ReasonPolicy: both have changed, and the policy names the winner.
	ReasonPolicy Reason = "policy"
	// ReasonTie: both have changed, too close together for the clocks; local wins.
	ReasonTie Reason = "tie"
	// ReasonNoTime: both have changed, and a time is not known; local wins.
	ReasonNoTime Reason = "no_time"
	// ReasonCertainChange: both fields' times are known, and the winner's is later.
	ReasonCertainChange Reason = "certain_change"
	// ReasonPossibleChange: both records' times are known, and the winner's is later.
	ReasonPossibleChange Reason = "possible_change"
	// ReasonCertainOverPossible: the winner's field changed after the other's record.
	ReasonCertainOverPossible Reason = "certain_over_possible"
)

// Nobody wins: a person decides, and neither side is touched until then.
const (
	// ReasonManual: both have changed, and the policy leaves it to a person.
	ReasonManual Reason = "manual"
	// ReasonNoEvidence: the times do not say in this mode who was later.
	ReasonNoEvidence Reason = "no_evidence"
)

// reasons is every reason, in the order above.
var reasons = [...]Reason{
	ReasonEqual, ReasonUnchanged, ReasonAbsent, ReasonBothEmpty, ReasonLocalEditHeld, ReasonRemoteEditHeld,
	ReasonOnCreate, ReasonNotEmpty, ReasonRequired, ReasonWaits,
	ReasonLocalChanged, ReasonRemoteChanged, ReasonOneWay, ReasonFirstLink, ReasonNewest,
	ReasonPolicy, ReasonTie, ReasonNoTime,
	ReasonCertainChange, ReasonPossibleChange, ReasonCertainOverPossible,
	ReasonManual, ReasonNoEvidence,
}

// Reasons gives the closed set of reasons. The result is the caller's.
func Reasons() []Reason { return append([]Reason(nil), reasons[:]...) }
