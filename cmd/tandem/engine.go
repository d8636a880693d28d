package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"

	"go.uber.org/zap"

	"github.com/tandem-sync/tandem/api"
	"github.com/tandem-sync/tandem/config"
	"github.com/tandem-sync/tandem/internal/metrics"
	"github.com/tandem-sync/tandem/messages"
	"github.com/tandem-sync/tandem/messages/embedded"
	"github.com/tandem-sync/tandem/store"
	"github.com/tandem-sync/tandem/store/seal"
	"github.com/tandem-sync/tandem/workers"
)

// fleet is this process's workers.
type fleet interface {
	api.Fleet
	Run(ctx context.Context) error
}

// engine is an open database with what works on it in this process. Close ends
// all of it in order.
type engine struct {
	log    *zap.Logger
	file   *config.File
	lock   *store.Lock // nil on PostgreSQL and while only reading
	db     *store.DB
	keys   *seal.Keyring
	broker messages.Broker
	fleet  fleet
	// metrics counts what happens here; nil where nobody can ask for it.
	metrics *metrics.Metrics

	roles roles
	note  string // what starts by itself, for the start of the service
	// foreground says that this process does a command's work and no other: it
	// starts nothing by the clock.
	foreground bool

	cancel context.CancelFunc
	ended  chan struct{} // closed when the fleet's Run has returned
	once   sync.Once
	err    error // of Run; valid once ended is closed
}

// openEngine opens the database for work. From now on the engine owns the lock,
// which may be nil; on an error it is released.
func openEngine(ctx context.Context, log *zap.Logger, file *config.File, lock *store.Lock) (*engine, error) {
	e := &engine{log: log, file: file, lock: lock, roles: allRoles()}
	var err error
	if e.keys, err = keyring(file); err == nil {
		e.db, err = store.Open(ctx, store.Config{URL: file.Database, AllowPlaintext: file.Network.AllowPlaintext, Logger: log})
	}
	if err != nil {
		return nil, errors.Join(err, e.Close())
	}
	if e.db.Dialect() == store.Postgres { // SQLite's own memory is in this process: there is less room
		paceCollector(os.LookupEnv)
	}
	return e, nil
}

// openReader opens a SQLite database beside the process that works on it.
func openReader(ctx context.Context, log *zap.Logger, file *config.File) (*engine, error) {
	e := &engine{log: log, file: file}
	var err error
	if e.keys, err = keyring(file); err == nil {
		e.db, err = store.Open(ctx, store.Config{URL: file.Database, ReadOnly: true, Logger: log})
	}
	if err == nil {
		err = e.db.CheckSchema(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, e.Close())
	}
	return e, nil
}

// migrate brings the schema up to date and checks the key.
func (e *engine) migrate(ctx context.Context) error {
	if err := e.db.Migrate(ctx); err != nil {
		return err
	}
	return e.fitKey(ctx)
}

// apply checks the file and stores what it says.
func (e *engine) apply(ctx context.Context) ([]workers.Applied, error) {
	if err := e.file.Check(registry()).Err(); err != nil {
		return nil, err
	}
	return applyFile(ctx, e)
}

// build makes the workers without starting them. A broker that is not set is
// the one inside the process.
func (e *engine) build() error {
	if e.broker == nil {
		e.broker = embedded.New(embedded.Config{Logger: e.log})
	}
	var err error
	e.fleet, err = newFleet(e)
	return err
}

// service answers from the database.
func (e *engine) service() *api.Service {
	if e.fleet == nil {
		return api.NewService(e.db, newTester(workersConfig(e)), nil)
	}
	return api.NewService(e.db, e.fleet, nil)
}

// start lets the workers run until ctx ends or the engine is closed.
func (e *engine) start(ctx context.Context) {
	ctx, e.cancel = context.WithCancel(ctx)
	e.ended = make(chan struct{})
	go func() {
		defer close(e.ended)
		e.err = e.fleet.Run(ctx)
	}()
}

// failed gives the error of workers that ended by themselves.
func (e *engine) failed() error {
	if e.ended == nil {
		return nil
	}
	select {
	case <-e.ended:
		return e.err
	default:
		return nil
	}
}

// stop drains the workers and gives their error.
func (e *engine) stop() error {
	if e.ended == nil {
		return nil
	}
	e.cancel()
	<-e.ended
	if errors.Is(e.err, context.Canceled) {
		return nil // that was us, before the workers had quite begun
	}
	return e.err
}

// Close drains the workers, closes the database and releases the lock.
func (e *engine) Close() error {
	var err error
	e.once.Do(func() {
		errs := []error{e.stop()}
		if e.broker != nil {
			errs = append(errs, e.broker.Close())
		}
		if e.db != nil {
			errs = append(errs, e.db.Close())
		}
		if e.lock != nil {
			errs = append(errs, e.lock.Release())
		}
		if err = errors.Join(errs...); err != nil {
			err = fmt.Errorf("close: %w", err)
		}
	})
	return err
}
