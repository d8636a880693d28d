package hubspot

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/tandem-sync/tandem/channels"
)

// The stages of a listing.
const (
	stageList   = "list"   // every contact, page by page
	stageSearch = "search" // what changed, by time of change
	stageGone   = "gone"   // archived contacts
	stageEnd    = "end"
)

// position is where a listing stands.
type position struct {
	Stage string `json:"s"`
	// After is HubSpot's cursor of the stages list and gone.
	After string `json:"after,omitempty"`
	// At is from which time of change on a search goes on, in unix milliseconds,
	// inclusive.
	At int64 `json:"at,omitempty"`
	// Tie is set while the contacts that changed exactly at At are read by id:
	// those with a larger id come next.
	Tie string `json:"tie,omitempty"`
	// To ends a search, exclusive: without it a listing would chase the changes
	// that are made while it runs. 0 is not known yet.
	To int64 `json:"to,omitempty"`
	// Total is how many contacts the first search counted, plus one.
	Total int64 `json:"n,omitempty"`
}

const maxCursor = 2 << 10

// openPosition reads a cursor; nil is the beginning of req's listing.
func openPosition(req channels.ReadRequest) (position, error) {
	if len(req.From) == 0 {
		if req.Since.IsZero() {
			return position{Stage: stageList}, nil
		}
		return position{Stage: stageSearch, At: req.Since.UnixMilli()}, nil
	}
	var p position
	if err := json.Unmarshal(req.From, &p); err != nil {
		return p, fmt.Errorf("the stored position is not valid: %w", err)
	}
	switch p.Stage {
	case stageList, stageSearch, stageGone, stageEnd:
		return p, nil
	}
	return p, fmt.Errorf("the stored position has an unknown stage %q", p.Stage)
}

func (p position) cursor() (channels.Cursor, error) {
	b, err := json.Marshal(p)
	if err == nil && len(b) > maxCursor {
		err = fmt.Errorf("HubSpot's cursor makes the position %d bytes long", len(b))
	}
	return b, err
}

// bound lays the end of a search down once the remote's clock is known. Its Date
// header has whole seconds.
func (p position) bound(remoteNow time.Time) position {
	if p.To == 0 && !remoteNow.IsZero() {
		p.To = remoteNow.UnixMilli() + 1000
	}
	return p
}
