package pass

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/tandem-sync/tandem/fault"
)

// stage is where a slice stands; a slice only moves forward.
type stage string

const (
	// stageList reads the listing.
	stageList stage = "list"
	// stageSweep asks for every linked record that a complete listing left out.
	stageSweep stage = "sweep"
	// stageGuard weighs the deletions that were found.
	stageGuard stage = "guard"
	// stageRemove carries them out.
	stageRemove stage = "remove"
	// stageIDs reads named records.
	stageIDs stage = "ids"
	// stageMark puts the records that a request names among those to be exported.
	stageMark stage = "mark"
	// stageDrift compares every linked row with its base, for changes that
	// nothing told of.
	stageDrift stage = "drift"
	// stageModified finds the rows whose time of change is new.
	stageModified stage = "modified"
	// stageUnsynced finds the rows that are not linked.
	stageUnsynced stage = "unsynced"
	// stageDue exports what is due.
	stageDue stage = "due"
	// stageEnd is complete.
	stageEnd stage = "end"
)

// position is what a slice stores of itself with every batch: whoever takes it
// over goes on exactly there.
type position struct {
	Stage  stage           `json:"stage"`
	Cursor json.RawMessage `json:"cursor,omitempty"`
	// Since limits the listing; fixed when the slice begins.
	Since *time.Time `json:"since,omitempty"`
	// Full says that the listing is a complete enumeration.
	Full bool `json:"full,omitempty"`
	// Start is the remote's clock when the slice began: the next watermark,
	// less the overlap.
	Start *time.Time `json:"start,omitempty"`
	// Total is what the remote said first; another total means it drifted.
	Total *int64 `json:"total,omitempty"`
	// Drifted says that records moved while the listing ran.
	Drifted bool `json:"drifted,omitempty"`
	// Repeated says that the listing is being read a second time for that.
	Repeated bool `json:"repeated,omitempty"`
	// After is the last id dealt with by stages that walk ids.
	After string `json:"after,omitempty"`
	// Index is how many of the named ids are done.
	Index int `json:"index,omitempty"`
	// ModifiedAt is the time of change up to which rows were found, After the last
	// key at that time.
	ModifiedAt *time.Time `json:"modified_at,omitempty"`
	// Pass is the round over all linked records that the slice is going.
	Pass int64 `json:"pass,omitempty"`
	// Count is how many records were exported, for the connector's limit.
	Count int `json:"count,omitempty"`
	// Changed is how many records were written, for the connector's limit; Limited
	// says that it was reached.
	Changed int  `json:"changed,omitempty"`
	Limited bool `json:"limited,omitempty"`
	// Approved says that a person allowed these deletions.
	Approved bool `json:"approved,omitempty"`
}

func parsePosition(b []byte) (position, error) {
	p := position{}
	if len(b) == 0 {
		return p, nil
	}
	if err := json.Unmarshal(b, &p); err != nil {
		return p, fault.New(fault.Permanent, fault.CodeFailed, "position",
			"the stored position cannot be read: %w", err).
			WithHint("start a new run with --full")
	}
	return p, nil
}

func (p position) encode() (json.RawMessage, error) {
	b, err := json.Marshal(p)
	if err != nil {
		return nil, fmt.Errorf("position: %w", err)
	}
	return b, nil
}
