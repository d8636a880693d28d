package workers

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/tandem-sync/tandem/channels"
	"github.com/tandem-sync/tandem/internal/clock"
	"github.com/tandem-sync/tandem/messages"
	"github.com/tandem-sync/tandem/store"
	"github.com/tandem-sync/tandem/store/seal"
	"github.com/tandem-sync/tandem/transport"
)

// Roles says which parts of the service a process runs.
type Roles struct {
	// Worker consumes jobs.
	Worker bool
	// Scheduler starts runs by the clock and sweeps up what got lost.
	Scheduler bool
	// Sweeper sweeps up what got lost without starting anything by the clock; a
	// Scheduler does so anyhow.
	Sweeper bool
	// Relay publishes what was committed to the outbox.
	Relay bool
}

// Config is what a fleet member needs. DB, Broker, Registry and Owner are
// required.
type Config struct {
	DB       *store.DB
	Broker   messages.Broker
	Registry *channels.Registry
	// Keys opens the channels' secrets; nil works while no channel has any.
	Keys  *seal.Keyring
	Guard transport.Guard
	// Logger nil logs nothing.
	Logger *zap.Logger
	// Clock nil is the machine's.
	Clock clock.Clock
	// Owner names this process in leases; unique per process and start.
	Owner string
	Roles Roles
	// SyncSlots and ReverseSlots are how many jobs of each kind run at once; 0
	// means 4.
	SyncSlots, ReverseSlots int
	// Lease is how long a lease lasts without renewal; 0 means 60 s.
	Lease time.Duration
	// BatchRecords is the most records of one transaction; 0 means 2,000.
	BatchRecords int
	// Notify lets PostgreSQL notify of captured changes, which this process listens
	// to where it is a relay, instead of looking for them all the time.
	Notify bool
	// Embedded says that this process is the only one on its database.
	Embedded bool
	// Waited says that a person waits in front of this process for the run they
	// asked for: when its remote is down from the start, it fails in seconds.
	Waited bool
	// Observer hears what the workers do, and of all runs that end through DB;
	// nil nobody does.
	Observer Observer
}

func (c *Config) setDefaults() {
	if c.Logger == nil {
		c.Logger = zap.NewNop()
	}
	if c.Clock == nil {
		c.Clock = clock.System{}
	}
	if c.SyncSlots <= 0 {
		c.SyncSlots = 4
	}
	if c.ReverseSlots <= 0 {
		c.ReverseSlots = 4
	}
	if c.Lease <= 0 {
		c.Lease = 60 * time.Second
	}
}

// Fleet is this process's share of the worker fleet.
type Fleet struct {
	cfg    Config
	opener *Opener
	kick   chan struct{}
	stir   *stir
}

// NewFleet checks the configuration and wires the parts. Nothing runs yet.
func NewFleet(cfg Config) (*Fleet, error) {
	var errs []error
	if cfg.DB == nil {
		errs = append(errs, errors.New("no database"))
	}
	if cfg.Broker == nil {
		errs = append(errs, errors.New("no broker"))
	}
	if cfg.Registry == nil {
		errs = append(errs, errors.New("no channel types"))
	}
	if cfg.Owner == "" {
		errs = append(errs, errors.New("no owner name"))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("fleet: %w", err)
	}
	cfg.setDefaults()
	if cfg.Observer != nil {
		cfg.DB.OnRunEnd(cfg.Observer.RunEnded)
	}
	return &Fleet{cfg: cfg, opener: newOpener(cfg), kick: make(chan struct{}, 1), stir: newStir()}, nil
}

// Kick makes the relay look at the outbox now. It never blocks.
func (f *Fleet) Kick() {
	select {
	case f.kick <- struct{}{}:
	default:
	}
}

// Run works until ctx ends, then drains: intake stops at once, slices end at
// their next batch and hand on, and Run returns nil when all have. A part that
// fails ends the others.
func (f *Fleet) Run(ctx context.Context) error {
	defer f.opener.Close()
	if f.cfg.Embedded {
		err := f.cfg.DB.Write(ctx, "leases.void", func(ctx context.Context, tx *store.Tx) error { return tx.VoidLeases(ctx) })
		if err != nil {
			return fmt.Errorf("void the leases of an earlier process: %w", err)
		}
	}
	// The relay and the sweeper outlive the workers, so that what a drained
	// slice handed on still leaves the outbox.
	late, stopLate := context.WithCancelCause(context.WithoutCancel(ctx))
	defer stopLate(nil)
	inner, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var wg sync.WaitGroup
	part := func(name string, on bool, run func(context.Context) error) {
		if !on {
			return
		}
		wg.Go(func() {
			if err := run(late); err != nil && late.Err() == nil {
				stop(fmt.Errorf("%s: %w", name, err))
			}
		})
	}
	part("relay", f.cfg.Roles.Relay, f.relay)
	part("changes", f.cfg.Roles.Relay, f.changes)
	part("sweeper", f.cfg.Roles.Scheduler || f.cfg.Roles.Sweeper || f.cfg.Embedded, f.sweep)
	ticking, stopTicking := context.WithCancel(inner)
	defer stopTicking()
	if f.cfg.Roles.Scheduler {
		wg.Go(func() { f.schedule(ticking) })
	}
	err := f.consume(inner)
	stopTicking()
	stopLate(nil)
	wg.Wait()
	if c := context.Cause(inner); c != nil && ctx.Err() == nil {
		return c
	}
	return err
}

// consume runs the processors, or only waits where this process has none.
func (f *Fleet) consume(ctx context.Context) error {
	if !f.cfg.Roles.Worker {
		<-ctx.Done()
		return nil
	}
	p := &processor{cfg: f.cfg, opener: f.opener, kick: f.Kick, soft: ctx.Done(), stir: f.stir}
	return f.cfg.Broker.Run(ctx,
		messages.Handler{Queue: messages.QueueSyncNow, Slots: f.cfg.SyncSlots, Handle: p.Handle},
		messages.Handler{Queue: messages.QueueSync, Slots: f.cfg.SyncSlots, Handle: p.Handle},
		messages.Handler{Queue: messages.QueueReverse, Slots: f.cfg.ReverseSlots, Handle: p.Handle},
	)
}
