package api

import (
	"context"
	"encoding/json"
	"time"

	"github.com/tandem-sync/tandem/store"
	"github.com/tandem-sync/tandem/sync/explain"
	"github.com/tandem-sync/tandem/sync/resolve"
	"github.com/tandem-sync/tandem/sync/undo"
)

// Conflict is a field that both sides changed and that a person decides.
type Conflict struct {
	ID        int64  `json:"id"`
	Channel   string `json:"channel"`
	Connector string `json:"connector"`
	LocalID   string `json:"local_id"`
	RemoteID  string `json:"remote_id"`
	Field     string `json:"field" doc:"The local column"`
	// The values in the local form.
	Local      json.RawMessage `json:"local" doc:"What the row holds"`
	Remote     json.RawMessage `json:"remote" doc:"What the row would hold if the remote won"`
	Base       json.RawMessage `json:"base" doc:"What both last agreed on; null none"`
	LocalAt    *time.Time      `json:"local_at" doc:"When the local side changed; null unknown"`
	RemoteAt   *time.Time      `json:"remote_at" doc:"When the remote changed; null unknown"`
	Run        int64           `json:"run" doc:"The run that met it last"`
	CreatedAt  time.Time       `json:"created_at"`
	Resolved   string          `json:"resolved" enum:",local,remote,gone" doc:"Empty while open, else who won; gone: the sides agree by themselves, or the pair is no more"`
	ResolvedAt *time.Time      `json:"resolved_at" doc:"null while open"`
}

// ConflictQuery chooses conflicts. The zero value gives the latest open ones.
type ConflictQuery struct {
	Channel, Connector, Field, LocalID string
	Run                                int64
	Resolved                           bool // those that are decided, too
	Before                             int64
	Limit                              int // 0 means 50; at most 500
}

// ConflictPage is a page of conflicts, the latest first.
type ConflictPage struct {
	Conflicts []Conflict `json:"conflicts"`
	Next      *int64     `json:"next"`
}

// ConflictChoice names open conflicts that are decided together. One that names
// nothing in particular needs All.
type ConflictChoice struct {
	Winner    string `json:"winner" enum:"local,remote" doc:"Whose value stands; it is then told to the other side"`
	Channel   string `json:"channel,omitempty" doc:"Only conflicts of this channel"`
	Connector string `json:"connector,omitempty" doc:"Only conflicts of connectors of this name"`
	Field     string `json:"field,omitempty" doc:"Only conflicts about this local column"`
	LocalID   string `json:"local_id,omitempty" doc:"Only conflicts of this local row"`
	Run       int64  `json:"run,omitempty" doc:"Only what this run met last"`
	All       bool   `json:"all,omitempty" doc:"Needed when nothing else is said"`
	Confirm   *int64 `json:"confirm,omitempty" doc:"How many they are. Left out: they are counted and nothing happens. Another number than it is now: nothing happens either"`
}

// Decided is what became of conflicts that were decided.
type Decided struct {
	Count     int64           `json:"count" doc:"How many conflicts were meant"`
	Confirmed bool            `json:"confirmed" doc:"Whether anything was done"`
	Runs      []Run           `json:"runs" doc:"The runs that tell the other side"`
	Refused   int64           `json:"refused" doc:"Conflicts that could not be decided"`
	Reasons   []ParkedRefusal `json:"reasons" doc:"Why, for the first hundred"`
	Notes     []string        `json:"notes" doc:"What a person should know"`
}

// RunRetried is what trying a run again led to.
type RunRetried struct {
	Run    *Run       `json:"run" doc:"The run that does the work of a run again that did not finish; null where it did"`
	Parked ParkedDone `json:"parked" doc:"What became of the records that it had parked"`
}

// Undone is what was undone of a run by one call, or would be.
type Undone struct {
	undo.Result
	Runs []Run `json:"runs" doc:"The runs that tell the remotes"`
}

// RunUndone is how far a run has been undone.
type RunUndone struct {
	Run       int64      `json:"run"`
	State     string     `json:"state" enum:"no,partly,done" doc:"no: nobody did; partly: it was begun and did not come to its end, ask for it again; done: all of the run was looked at"`
	Fields    int64      `json:"fields" doc:"Values put back"`
	Rows      int64      `json:"rows" doc:"Rows whose values were put back"`
	Deleted   int64      `json:"deleted" doc:"Rows deleted that the run had created"`
	StartedAt *time.Time `json:"started_at"`
	EndedAt   *time.Time `json:"ended_at" doc:"null while it is partly undone"`
}

// People is what people ask for about single records, conflicts and runs.
type People interface {
	// ReverseSync asks for an export and gives the run that will serve the request.
	ReverseSync(ctx context.Context, channel string, req SyncRequest) (Run, error)
	// ExplainRecord tells everything that is known about a record. An unknown one is
	// an error with code not_found; a remote that does not answer is none.
	ExplainRecord(ctx context.Context, channel, connector string, q explain.Query) (explain.Record, error)
	Conflicts(ctx context.Context, q ConflictQuery) (ConflictPage, error)
	Conflict(ctx context.Context, id int64) (Conflict, error)
	// ResolveConflict decides an open conflict; the winner's value is then told to
	// the other side.
	ResolveConflict(ctx context.Context, id int64, winner string) (Decided, error)
	// ResolveChosen does so with many, once their number is confirmed.
	ResolveChosen(ctx context.Context, c ConflictChoice) (Decided, error)
	// RetryRun tries again what a run parked and what it did not finish.
	RetryRun(ctx context.Context, id int64) (RunRetried, error)
	// UndoRun takes a page of what a run did back; see undo.Undoer.
	UndoRun(ctx context.Context, id int64, o undo.Options) (Undone, error)
	// RunUndone tells how far a run has been undone.
	RunUndone(ctx context.Context, id int64) (RunUndone, error)
}

// Desk is a Fleet that can open connectors for people. Without it, what needs one
// is refused.
type Desk interface {
	ExplainRecord(ctx context.Context, channel, connector string, q explain.Query) (explain.Record, error)
	SettleConflicts(ctx context.Context, list []store.Conflict, winner string) (resolve.Settled, error)
	UndoRun(ctx context.Context, run store.Run, o undo.Options) (undo.Result, error)
	// CaptureOf tells how local changes of an entity are noticed.
	CaptureOf(ctx context.Context, entity string) (CaptureState, error)
	// RefreshCaptures brings the change triggers of entities in line with the stored
	// configuration.
	RefreshCaptures(ctx context.Context, entities []string) error
}

// CaptureState is how local changes of a connector's table are noticed.
type CaptureState struct {
	Mode string `json:"mode" enum:"triggers,modified,api,none"`
	// Right says that the table is as the configuration wants it.
	Right    bool     `json:"right" doc:"The table is as the configuration wants it"`
	Problems []string `json:"problems" doc:"What is not, in words"`
}
