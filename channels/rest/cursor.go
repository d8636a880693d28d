package rest

import (
	"encoding/json"
	"fmt"

	"github.com/tandem-sync/tandem/channels"
)

// stage is which list a position is in.
type stage string

const (
	stageList stage = "list"
	stageGone stage = "deleted" // the list of tombstones
	stageEnd  stage = "end"
)

// position is where a listing goes on: what a Cursor holds.
type position struct {
	By     paging `json:"by"`
	Stage  stage  `json:"stage"`
	Page   int64  `json:"page,omitempty"`
	Token  string `json:"token,omitempty"` // the token, or path and query of the next address
	Read   int64  `json:"read,omitempty"`  // records of this stage so far
	Last   uint64 `json:"last,omitempty"`  // hash of the last page's content
	Anchor uint64 `json:"anchor,omitempty"`
	Steps  uint32 `json:"steps,omitempty"`
	Power  uint32 `json:"power,omitempty"`
}

// maxCursor is the contract's limit for a Cursor in bytes.
const maxCursor = 2 << 10

func start(by paging, s stage) position {
	p := position{By: by, Stage: s}
	if by == byPage {
		p.Page = 1
	}
	return p
}

// openPosition reads a cursor that this package has written for the same kind
// of paging.
func openPosition(from channels.Cursor, by paging) (position, error) {
	if len(from) == 0 || string(from) == "null" {
		return start(by, stageList), nil
	}
	var p position
	if err := json.Unmarshal(from, &p); err != nil {
		return p, fmt.Errorf("the stored position cannot be read: %w", err)
	}
	if p.By != by {
		return p, fmt.Errorf("the stored position is for paging by %q, the settings say %q now: start the run again", p.By, by)
	}
	if p.Stage != stageList && p.Stage != stageGone && p.Stage != stageEnd {
		return p, fmt.Errorf("the stored position has the unknown stage %q", p.Stage)
	}
	return p, nil
}

func (p position) cursor() (channels.Cursor, error) {
	b, err := json.Marshal(p)
	if err == nil && len(b) > maxCursor {
		err = fmt.Errorf("the remote's next token or address is too long: the position would have %d bytes, %d are possible", len(b), maxCursor)
	}
	return b, err
}

// cycles notes key, what the next page will be asked with or what this one
// held, and reports whether the listing goes in circles. It is Brent's
// algorithm: the anchor moves to every place whose number is a power of two,
// so any circle is met after at most three rounds, with constant memory that
// survives in the cursor.
func (p *position) cycles(key uint64) bool {
	if p.Power == 0 {
		p.Power, p.Steps, p.Anchor = 1, 0, key
		return false
	}
	if key == p.Anchor {
		return true
	}
	if p.Steps++; p.Steps == p.Power {
		p.Power, p.Steps, p.Anchor = p.Power*2, 0, key
	}
	return false
}
