package store

import (
	"encoding/json"
	"time"
)

// Kind is the direction of a run's work.
type Kind string

// The kinds, as contracts and messages spell them.
const (
	KindSync        Kind = "sync"
	KindReverseSync Kind = "reverse-sync"
)

// Mode says whether a run reads everything or what changed.
type Mode string

// The modes.
const (
	ModeIncremental Mode = "incremental"
	ModeFull        Mode = "full"
)

// Trigger says what asked for a run.
type Trigger string

// The triggers.
const (
	TriggerSchedule Trigger = "schedule"
	TriggerManual   Trigger = "manual"
	TriggerAPI      Trigger = "api"
	TriggerMessage  Trigger = "message"
	TriggerWebhook  Trigger = "webhook"
	TriggerChange   Trigger = "change"
)

// Lane keeps apart the runs that may execute side by side on one channel and
// kind: one executing run per (channel, kind, lane).
type Lane string

// The lanes: whole-connector runs, runs of named ids, dry runs.
const (
	LaneMain Lane = "main"
	LaneIDs  Lane = "ids"
	LaneDry  Lane = "dry"
)

// Status is a run's state.
type Status string

// The states. Planned waits, preparing and execution are under way, the rest
// are ends.
const (
	StatusPlanned   Status = "planned"
	StatusPreparing Status = "preparing"
	StatusExecution Status = "execution"
	StatusFinished  Status = "finished"
	StatusFailed    Status = "failed"
	StatusCancelled Status = "cancelled"
)

// Ended reports whether the run is over.
func (s Status) Ended() bool {
	return s == StatusFinished || s == StatusFailed || s == StatusCancelled
}

// Channel is one configured instance of a channel type. Settings is the
// channel's configuration as JSON with its secrets sealed.
type Channel struct {
	ID        int64           `db:"id"`
	Name      string          `db:"name"`
	Type      string          `db:"type"`
	Enabled   bool            `db:"enabled"`
	Managed   string          `db:"managed"` // "file" when a file manages it, else ""
	Revision  int64           `db:"revision"`
	Settings  json.RawMessage `db:"settings"`
	CreatedAt time.Time       `db:"created_at"`
	UpdatedAt time.Time       `db:"updated_at"`
}

// Connector is a channel's connector; ID keeps links narrow. A connector taken
// out of the configuration keeps its row and links (Retired).
type Connector struct {
	ID        int64  `db:"id"`
	ChannelID int64  `db:"channel_id"`
	Name      string `db:"name"`
	Ord       int    `db:"ord"` // phase: lower first
	Retired   bool   `db:"retired"`
	Entity    string `db:"entity"`
	Outward   bool   `db:"outward"` // values travel to the remote
}

// Entity is a local table's declaration; Spec is its configuration as JSON.
type Entity struct {
	Name string          `db:"name"`
	Spec json.RawMessage `db:"spec"`
}

// Flags are a request's switches.
type Flags struct {
	DryRun bool `json:"dry_run,omitempty"`
	Force  bool `json:"force,omitempty"`
	NoPush bool `json:"no_push,omitempty"`
	NoPull bool `json:"no_pull,omitempty"`
}

// Spec is what a request asks for and what its run does. Its JSON is stored.
type Spec struct {
	Kind       Kind              `json:"kind"`
	Connectors []string          `json:"connectors,omitempty"` // empty: all
	Mode       Mode              `json:"mode"`                 // empty: incremental
	Start      *time.Time        `json:"start,omitempty"`
	End        *time.Time        `json:"end,omitempty"`
	RemoteIDs  []string          `json:"remote_ids,omitempty"`
	LocalIDs   []string          `json:"local_ids,omitempty"`
	Params     map[string]string `json:"params,omitempty"`
	Flags      Flags             `json:"flags"`
	// ApproveParked is the parked mass_delete item whose deletions this run
	// carries out; 0 for every other run.
	ApproveParked int64 `json:"approve_parked,omitempty"`
}

// Lane gives the lane a run of this spec executes in.
func (s Spec) Lane() Lane {
	switch {
	case s.Flags.DryRun:
		return LaneDry
	case len(s.RemoteIDs) > 0 || len(s.LocalIDs) > 0 || s.ApproveParked > 0:
		return LaneIDs
	}
	return LaneMain
}

// Request is one trigger. ExternalID, when set, is unique for 30 days.
type Request struct {
	ID         int64
	ExternalID string
	ChannelID  int64
	Trigger    Trigger
	Spec       Spec
	RunID      int64
	CreatedAt  time.Time
}

// Counters are what a run did. Read = Created + Updated + Unchanged + Skipped +
// Parked; the others count apart.
type Counters struct {
	Read      int64 `json:"read" db:"n_read"`
	Created   int64 `json:"created" db:"n_created"`
	Updated   int64 `json:"updated" db:"n_updated"`
	Deleted   int64 `json:"deleted" db:"n_deleted"`
	Unchanged int64 `json:"unchanged" db:"n_unchanged"`
	Skipped   int64 `json:"skipped" db:"n_skipped"`
	Conflicts int64 `json:"conflicts" db:"n_conflicts"`
	Parked    int64 `json:"parked" db:"n_parked"`
	Pushed    int64 `json:"pushed" db:"n_pushed"`
}

// Add adds o to c.
func (c *Counters) Add(o Counters) {
	c.Read += o.Read
	c.Created += o.Created
	c.Updated += o.Updated
	c.Deleted += o.Deleted
	c.Unchanged += o.Unchanged
	c.Skipped += o.Skipped
	c.Conflicts += o.Conflicts
	c.Parked += o.Parked
	c.Pushed += o.Pushed
}

// RunError is why a run failed, as the API shows it.
type RunError struct {
	Code    string `json:"code"`
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`
	Where   string `json:"where,omitempty"`
}

// Run is one synchronization.
type Run struct {
	ID              int64
	ChannelID       int64
	Channel         string // name, joined
	Spec            Spec
	Lane            Lane
	Trigger         Trigger
	Status          Status
	Revision        int64 // the channel revision it works with
	CancelRequested bool
	WaitReason      string     // "" when not waiting
	WaitUntil       *time.Time // nil unknown
	StartedAt       *time.Time
	FinishedAt      *time.Time
	CreatedAt       time.Time
	Error           *RunError
}

// SliceState is where a run's part for one connector and shard stands.
type SliceState string

// The states of a slice row.
const (
	SlicePending SliceState = "pending" // its turn has not come
	SliceActive  SliceState = "active"  // under way: a message or a lease exists or will
	SliceDone    SliceState = "done"
	SliceFailed  SliceState = "failed"
)

// Slice is the part of a run for one (connector, shard). It is worked on in
// many short deliveries; Position, BatchNo and Counters move with each batch.
type Slice struct {
	ID          int64
	RunID       int64
	ChannelID   int64
	ConnectorID int64
	Connector   string // name, joined
	Shard       string // "" for the whole connector, "ids" for named ids
	Ord         int    // the connector's phase
	State       SliceState
	Position    json.RawMessage // owned by sync/pass; nil at the start
	BatchNo     int64           // how many batches are committed
	Counters    Counters
	Total       *int64 // records expected; nil unknown
	NotBefore   *time.Time
	WaitReason  string
	QueuedAt    *time.Time // when a message for it was last asked for
	Attempts    int        // failed deliveries in a row
	UpdatedAt   time.Time
}

// LeaseKey names what is leased.
type LeaseKey struct {
	ChannelID   int64
	ConnectorID int64
	Direction   Kind
	Shard       string
}

// Lease is the right to write for a LeaseKey until ExpiresAt by the database's
// clock. Epoch is the fencing token.
type Lease struct {
	LeaseKey
	Owner     string
	Epoch     int64
	ExpiresAt time.Time
	// Unclean says that the lease was taken from an owner that let it expire.
	Unclean bool
}

// LinkState says what became of a linked pair.
type LinkState int16

// The link states. Anything but Linked is a tombstone that is kept so that a
// late page cannot bring the record back.
const (
	Linked        LinkState = 0
	RemoteDeleted LinkState = 1 // the remote record is gone
	LocalDeleted  LinkState = 2 // the local row is gone
	Unlinked      LinkState = 3 // taken apart by scope or a person
)

// LinkHead is the narrow part of a link that an unchanged record needs.
type LinkHead struct {
	ID       int64     `db:"id"`
	RemoteID string    `db:"remote_id"`
	LocalKey string    `db:"local_key"`
	Hash     int64     `db:"hash"`
	State    LinkState `db:"state"`
}

// Link is the identity row: one remote record and one local row of a
// connector, with the base both were last known to hold.
type Link struct {
	LinkHead
	ConnectorID int64
	// Base is the base pair in the form of mapping.EncodeBase.
	Base string `db:"base"`
	// Customs is the remote side's own JSON about the link; "" none.
	Customs string `db:"customs"`
	// ReadAt is when the read that wrote this link began (our clock), in Unix
	// milliseconds: a write from an older read does not apply.
	ReadAt int64 `db:"read_at"`
	// Version is the remote's own of the record (ETag, time of change); "" none.
	Version string `db:"version"`
	// Pass is the pass that last saw to the link; 0 none.
	Pass int64 `db:"pass"`
	// WrittenAt is when our last export of it ended (our clock), in Unix
	// milliseconds; 0 never.
	WrittenAt int64 `db:"written_at"`
	// Writes counts writes that take turns between the sides, as the pass's own
	// JSON; "" none.
	Writes string `db:"writes"`
}

// ParkedKind says what kind of thing waits.
type ParkedKind string

// The kinds of parked items.
const (
	ParkedRecord     ParkedKind = "record"
	ParkedMessage    ParkedKind = "message"
	ParkedMassDelete ParkedKind = "mass_delete"
	ParkedDuplicate  ParkedKind = "duplicate_identity"
	ParkedRefused    ParkedKind = "write_refused"
	ParkedUnknown    ParkedKind = "create_unknown" // whether a create was carried out cannot be found out
)

// Parked is something kept for a person: visible with its reason, replayable.
// A record or refused item is unique per (connector, remote id): parking it
// again counts an attempt.
type Parked struct {
	ID          int64
	Kind        ParkedKind
	ChannelID   int64  // 0 for a message of no known channel
	Channel     string // name, joined or as the message gave it
	ConnectorID int64
	Connector   string
	RunID       int64 // 0 none
	LocalID     string
	RemoteID    string
	Reason      string // a stable word: "bad_value", "not_null", "malformed", ...
	Message     string // for a person; no secrets
	Attempts    int
	CreatedAt   time.Time
	NextAt      *time.Time
	Payload     json.RawMessage // nil none; Park redacts it by the names of its keys
	Answer      string          // what the remote said about it, where it said something
	Print       string          // fingerprint of the data and mapping; "" unknown
	Outward     bool            // it is about a local row on its way to the remote
	Resolved    string          // "" open, else one of the Resolved words
	ResolvedAt  *time.Time
}

// How a parked item was closed.
const (
	ResolvedApproved = "approved" // a mass_delete was carried out
	ResolvedRetried  = "retried"  // it was tried again and works now
	ResolvedSkipped  = "skipped"  // a person does not want it, as long as it is as it was
	ResolvedGone     = "gone"     // the record no longer exists
)

// ParkedAttempt is one try of a parked item.
type ParkedAttempt struct {
	N       int       `json:"n"`
	At      time.Time `json:"at"`
	Run     int64     `json:"run"` // 0 none
	Reason  string    `json:"reason"`
	Message string    `json:"message"`
}

// Outgoing is a message that waits in the outbox.
type Outgoing struct {
	ID   int64
	Key  string // routing key
	Body []byte
}

// Change is one line of what a run did or, dry, would do.
type Change struct {
	Connector string        `json:"connector"`
	Side      string        `json:"side"` // "local" or "remote"
	Op        string        `json:"op"`   // "create", "update", "delete", "unlink", "link", "skip", "park"
	LocalID   string        `json:"local_id"`
	RemoteID  string        `json:"remote_id"`
	Fields    []FieldChange `json:"fields"`
}

// FieldChange is one field of a Change; Old and New are JSON values.
type FieldChange struct {
	Field  string          `json:"field"`
	Old    json.RawMessage `json:"old"`
	New    json.RawMessage `json:"new"`
	Winner string          `json:"winner"`
	Reason string          `json:"reason"`
}
