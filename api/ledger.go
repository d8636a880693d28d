package api

import (
	"context"
	"encoding/json"
	"time"

	"github.com/tandem-sync/tandem/store"
)

// Parked is something kept for a person.
type Parked struct {
	ID         int64            `json:"id"`
	Kind       store.ParkedKind `json:"kind" enum:"record,message,mass_delete,duplicate_identity,create_unknown,write_refused"`
	Channel    string           `json:"channel"`
	Connector  string           `json:"connector"`
	Run        *int64           `json:"run" doc:"The run that parked it last; null none"`
	LocalID    string           `json:"local_id"`
	RemoteID   string           `json:"remote_id"`
	Outward    bool             `json:"outward" doc:"It is about a local row on its way to the remote"`
	Reason     string           `json:"reason" doc:"A stable word"`
	Message    string           `json:"message" doc:"For a person"`
	Answer     string           `json:"answer" doc:"What the remote said about it; empty where it said nothing"`
	Attempts   int              `json:"attempts"`
	CreatedAt  time.Time        `json:"created_at"`
	NextAt     *time.Time       `json:"next_at" doc:"When it is tried again by itself; null: as soon as the record or the mapping changes"`
	Payload    json.RawMessage  `json:"payload" doc:"What was received, redacted; null none"`
	Resolved   string           `json:"resolved" doc:"Empty while open, else approved, retried, skipped or gone"`
	ResolvedAt *time.Time       `json:"resolved_at" doc:"null while open"`
	// History is filled where one item is asked for.
	History []store.ParkedAttempt `json:"history,omitempty" doc:"The latest tries, the first one first; in the answer about one item"`
}

// ParkedQuery chooses parked items. The zero value gives the latest open ones.
type ParkedQuery struct {
	Channel, Connector string
	Kind               store.ParkedKind
	Reason             string
	Run                int64
	Since              string // parked first at or after: RFC 3339, 2006-01-02 15:04:05 in UTC, or a duration ago
	Resolved           bool   // those that are done with, too
	Before             int64
	Limit              int // 0 means 50; at most 500
}

// ParkedPage is a page of parked items, the latest first.
type ParkedPage struct {
	Parked []Parked `json:"parked"`
	Next   *int64   `json:"next"`
}

// ParkedChoice names open parked items that are to be dealt with together. One
// that names nothing in particular needs All.
type ParkedChoice struct {
	Channel   string           `json:"channel,omitempty" doc:"Only items of this channel"`
	Connector string           `json:"connector,omitempty" doc:"Only items of connectors of this name"`
	Kind      store.ParkedKind `json:"kind,omitempty" enum:"record,message,mass_delete,duplicate_identity,create_unknown,write_refused" doc:"Only items of this kind; without it mass_delete is left out"`
	Reason    string           `json:"reason,omitempty" doc:"Only items with this reason"`
	Run       int64            `json:"run,omitempty" doc:"Only what this run parked last"`
	Since     string           `json:"since,omitempty" doc:"Only what was parked at or after"`
	All       bool             `json:"all,omitempty" doc:"Needed when nothing else is said"`
	Confirm   *int64           `json:"confirm,omitempty" doc:"How many they are. Left out: they are counted and nothing happens. Another number than it is now: nothing happens either"`
}

// Retried is what trying one item again led to: a run, which for a message that
// goes on with a run is that one.
type Retried struct {
	*Run
	Published bool   `json:"published,omitempty" doc:"The message that goes on with the run is on its way again"`
	Note      string `json:"note,omitempty" doc:"What a person should know about it"`
}

// ParkedDone is what became of a choice.
type ParkedDone struct {
	Count     int64           `json:"count" doc:"How many items the choice names"`
	Confirmed bool            `json:"confirmed" doc:"Whether anything was done"`
	Runs      []Run           `json:"runs" doc:"The runs that try them again"`
	Published int64           `json:"published" doc:"Messages on their way again that go on with a run"`
	Refused   int64           `json:"refused" doc:"Items that could not be dealt with"`
	Reasons   []ParkedRefusal `json:"reasons" doc:"Why, for the first hundred"`
	Notes     []string        `json:"notes" doc:"What a person should know"`
}

// ParkedRefusal says why an item could not be dealt with.
type ParkedRefusal struct {
	ID      int64  `json:"id"`
	Message string `json:"message"`
	Hint    string `json:"hint"`
}

// Ledger is what waits for a person.
type Ledger interface {
	Parked(ctx context.Context, q ParkedQuery) (ParkedPage, error)
	// ParkedItem gives one item with its history.
	ParkedItem(ctx context.Context, id int64) (Parked, error)
	// RetryParked tries the item again. A record is read by its id, or, where the
	// connector cannot, by a full run; what a message asks for is done if it is
	// valid now; a mass_delete is approved.
	RetryParked(ctx context.Context, id int64) (Retried, error)
	// SkipParked closes the item. A record stays out as long as its data and its
	// mapping are what they are now.
	SkipParked(ctx context.Context, id int64) (Parked, error)
	// RetryChosen and SkipChosen do so with many, once their number is confirmed.
	RetryChosen(ctx context.Context, c ParkedChoice) (ParkedDone, error)
	SkipChosen(ctx context.Context, c ParkedChoice) (ParkedDone, error)
}

// ByID is a Fleet that can tell whether a connector reads records by their ids.
// Without it, every connector is taken to.
type ByID interface {
	ReadsByID(ctx context.Context, channel, connector string) (bool, error)
}
