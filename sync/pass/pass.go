// Package pass is one synchronization of one connector: it reads the remote
// side, judges every field against the agreed base, and writes rows, links and
// its own progress in one transaction per batch. It knows no queue and speaks
// to the local tables through entities and to Tandem's own through store.
package pass

import (
	"context"
	"errors"
	"time"

	"go.uber.org/zap"

	"github.com/tandem-sync/tandem/channels"
	"github.com/tandem-sync/tandem/entities"
	"github.com/tandem-sync/tandem/internal/clock"
	"github.com/tandem-sync/tandem/store"
	"github.com/tandem-sync/tandem/sync/judge"
	"github.com/tandem-sync/tandem/sync/mapping"
)

// ErrCancelled ends a slice whose run a person cancelled or whose channel was
// disabled; what was committed stays.
var ErrCancelled = errors.New("the run was cancelled")

// Deletion says what happens to the local row when its remote record is gone.
type Deletion string

// The deletions, as the configuration spells them.
const (
	DeleteIgnore Deletion = "ignore"
	DeleteUnlink Deletion = "unlink"
	DeleteRow    Deletion = "delete"
)

// Connector is an opened connector with everything a pass needs to know of it.
type Connector struct {
	ID        int64
	Name      string
	ChannelID int64
	Channel   string
	Remote    channels.Connector
	Manual    *mapping.Manual
	Local     *entities.Binding
	Conflict  judge.Policy
	// Create allows new local rows.
	Create bool
	// OnRemoteDelete is what a remote deletion does here.
	OnRemoteDelete Deletion
	// TwoWay says that a field travels both ways. Rules has the judge's rules, one
	// per field; nil where every field travels to the local side only.
	TwoWay bool
	Rules  judge.Rules
	// CreateRemote allows new remote records.
	CreateRemote bool
	// OnLocalDelete is what a local deletion does at the remote.
	OnLocalDelete Deletion
	// Entity is the name of the local entity.
	Entity string
	// Captured says that local changes are told; without it, they are looked for.
	Captured bool
	// ByModified has local changes looked for by the entity's modified column.
	ByModified bool
	// Limit is the most records of a step and run; 0 is all.
	Limit int
	// Hooks are called for every record.
	Hooks []channels.Hook
	// RefConnectors are the connectors behind Manual.Refs, in that order.
	RefConnectors []int64
	// Redact takes the channel's credentials out of a text that is kept for
	// people; nil leaves it.
	Redact func(string) string
	// Overlap is how far the watermark stays behind the run's start.
	Overlap time.Duration
	// FullDue says that it is time to read everything again, when the last run
	// that did began at last. It counts in runs that start by themselves; nil
	// is never.
	FullDue func(last, now time.Time) bool
}

// Direct runs the direct sync of one connector: remote to local.
type Direct struct {
	DB    *store.DB
	C     Connector
	Clock clock.Clock
	Log   *zap.Logger
	// BatchRecords is the most records of one transaction; 0 means 2,000.
	BatchRecords int
}

// Input is one delivery of a slice.
type Input struct {
	Run   store.Run
	Slice store.Slice
	// Lease is the right to write; its zero value belongs to a dry run.
	Lease store.Lease
	// TTL is how long a renewal of the lease lasts.
	TTL time.Duration
	// Soft asks the slice to end at the next batch: drain or cancel.
	Soft <-chan struct{}
	// Budget is how long the slice may read; 0 means 45 s, below the minute for
	// which a delivery may be held.
	Budget time.Duration
	// More, where it is set, is asked when nothing is left to export: it waits a
	// moment for changes that are on their way and reports whether there are any.
	More func(ctx context.Context) (bool, error)
	// Heard, where it is set, gets a value when rows have become due or Fetch has
	// something to do. More looks at it, too.
	Heard <-chan struct{}
	// Fetch, where it is set, is called in every transaction that claims what is
	// due, before it does: it may make more due. taken, where it is not nil, is
	// called when the transaction has been committed.
	Fetch func(ctx context.Context, tx *store.Tx) (taken func(), err error)
}

// Outcome says how a slice ended without an error.
type Outcome struct {
	// Done: the connector's part of the run is complete.
	Done bool
	// Progress: at least one batch was committed.
	Progress bool
}

// Limits of a batch and of reading ahead. A batch of 1,000 to 2,000 rows costs
// PostgreSQL half of what batches of 100 do and larger ones gain nothing; 200 ms
// keeps a slow remote's rows from waiting for company.
const (
	batchRecords  = 2000
	batchBytes    = 4 << 20
	batchWait     = 200 * time.Millisecond
	aheadPages    = 4
	aheadBytes    = 8 << 20
	defaultBudget = 45 * time.Second
	maxRejudge    = 3
	getChunk      = 100
)

// Run works on the slice until its part is complete, its time is up or
// something stops it. All that was read is committed in every case that
// returns a nil error; with an error, up to the last committed batch.
func (d *Direct) Run(ctx context.Context, in Input) (Outcome, error) {
	s, err := d.open(ctx, in)
	if err != nil {
		return Outcome{}, err
	}
	return s.run(ctx)
}

func (d *Direct) maxRecords() int {
	if d.BatchRecords > 0 {
		return d.BatchRecords
	}
	return batchRecords
}
