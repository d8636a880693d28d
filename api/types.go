package api

import (
	"context"
	"encoding/json"
	"time"

	"github.com/tandem-sync/tandem/channels"
	"github.com/tandem-sync/tandem/store"
)

// Channel is a configured channel in a list.
type Channel struct {
	Name       string    `json:"name"`
	Type       string    `json:"type"`
	Enabled    bool      `json:"enabled"`
	ManagedBy  string    `json:"managed_by" doc:"file when a configuration file manages it, else empty"`
	Revision   int64     `json:"revision"`
	Connectors []string  `json:"connectors"`
	UpdatedAt  time.Time `json:"updated_at"`
	LastRun    *Run      `json:"last_run" doc:"The latest run; null before the first"`

	Schedule  string     `json:"schedule" doc:"When a sync starts by itself, in words or as cron; off is never"`
	NextRunAt *time.Time `json:"next_run_at" doc:"When the next one starts by itself; null for never, and while it is worked out"`
	Waiting   *Waiting   `json:"waiting" doc:"Why the schedule is not followed, and until when; null when it is"`
}

// ChannelDetail is one channel with its settings. Secrets in the settings read
// "(secret)".
type ChannelDetail struct {
	Channel
	Settings json.RawMessage   `json:"settings"`
	State    []ConnectorStatus `json:"state" doc:"Per connector, in order of work"`
	// Revisions are the kept ones, the latest first and at most a hundred.
	Revisions []RevisionInfo `json:"revisions" doc:"Kept revisions of the settings, the latest first"`
	// Operations are what CallOperation can call; empty where no process that
	// could call them answers.
	Operations []channels.Operation `json:"operations" doc:"Named calls, in order of name"`
	Breaker    store.Breaker        `json:"breaker" doc:"The circuit breaker before the remote"`
	entities   map[string]string    // by connector
	Problem    string               `json:"problem" doc:"Why no call is made until a person acts (re-authorise); empty none"`
}

// ConnectorStatus is where a connector stands.
type ConnectorStatus struct {
	Connector string     `json:"connector"`
	Direction string     `json:"direction" enum:"to_local,to_remote,both"`
	Links     int64      `json:"links" doc:"Linked pairs"`
	Watermark *time.Time `json:"watermark" doc:"Up to where the remote's changes are known, by its clock; null before the first complete pass"`
	FullAt    *time.Time `json:"full_at" doc:"When the last run began that read everything; null never"`
	Conflicts int64      `json:"conflicts" doc:"Fields that wait for a person to decide"`
	// Outward is nil where no value travels to the remote.
	Outward *OutwardStatus `json:"outward" doc:"The way to the remote; null where no value travels there"`
}

// OutwardStatus is where a connector's way to the remote stands.
type OutwardStatus struct {
	Waiting  int64         `json:"waiting" doc:"Rows that wait to go out"`
	Oldest   *time.Time    `json:"oldest" doc:"Since when the oldest of them waits; null none"`
	Round    *Round        `json:"round" doc:"The latest round over all rows; null before the first"`
	Echoes   int64         `json:"echoes" doc:"Writes of its own that came back and were known as such"`
	NearMiss int64         `json:"near_misses" doc:"Writes of its own that were nearly taken for a change"`
	Capture  *CaptureState `json:"capture" doc:"How local changes are noticed; null where this process cannot tell"`
}

// Round is one look at all rows of a connector.
type Round struct {
	StartedAt  time.Time  `json:"started_at"`
	FinishedAt *time.Time `json:"finished_at" doc:"null while it is under way"`
	Done       int64      `json:"done" doc:"Linked rows looked at"`
	Total      *int64     `json:"total" doc:"Linked rows at its beginning; null unknown"`
}

// TestStage is one step of a channel's test.
type TestStage struct {
	Stage   string `json:"stage"`
	OK      bool   `json:"ok"`
	Warn    bool   `json:"warn" doc:"It passed, and should be looked at"`
	Message string `json:"message"`
	Hint    string `json:"hint"`
}

// TestResult is the outcome of a channel's test. OK says that every stage is.
type TestResult struct {
	Channel string      `json:"channel"`
	OK      bool        `json:"ok"`
	Stages  []TestStage `json:"stages"`
}

// RunQuery chooses runs. The zero value gives the latest ones.
type RunQuery struct {
	Channel string
	Status  []store.Status
	Before  int64 // only runs with a smaller id; 0 no bound
	Limit   int   // 0 means 50; at most 500
}

// RunPage is a page of runs, the latest first. Next is the Before of the page
// that follows; nil at the end.
type RunPage struct {
	Runs []Run  `json:"runs"`
	Next *int64 `json:"next"`
}

// Backend is what the API offers, however it is reached.
type Backend interface {
	// Channels lists the channels by name.
	Channels(ctx context.Context) ([]Channel, error)
	// Channel gives one; an unknown name is an error with code not_found, here
	// and below.
	Channel(ctx context.Context, name string) (ChannelDetail, error)
	// TestChannel tries a channel's remote step by step. A failed step is part
	// of the result, not an error.
	TestChannel(ctx context.Context, name string) (TestResult, error)
	ChannelKeeper
	// CallOperation calls an operation of a channel: no run, nothing is stored.
	CallOperation(ctx context.Context, channel, operation string, params map[string]string) (OperationResult, error)
	// Sync asks for a run and gives the run that will serve the request: a new
	// one, a planned one it joined, or the first run of a repeated id.
	Sync(ctx context.Context, channel string, req SyncRequest) (Run, error)
	Runs(ctx context.Context, q RunQuery) (RunPage, error)
	Run(ctx context.Context, id int64) (Run, error)
	Historian
	// Changes calls fn for every change the run noted, in order, and gives the
	// run's counts.
	Changes(ctx context.Context, id int64, fn func(store.Change) error) (store.Counters, error)
	// CancelRun ends a planned run and asks an executing one to end; a run that
	// has ended is an error with code conflict.
	CancelRun(ctx context.Context, id int64) (Run, error)
	Ledger
	People
	Informed
}

// Fleet is what the API needs of the workers in its process. Kick makes a
// committed request start at once.
type Fleet interface {
	Kick()
	TestChannel(ctx context.Context, name string) ([]TestStage, error)
}
