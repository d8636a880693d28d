package main

import (
	"context"

	"github.com/tandem-sync/tandem/api"
	"github.com/tandem-sync/tandem/channels"
	"github.com/tandem-sync/tandem/store"
	"github.com/tandem-sync/tandem/sync/explain"
	"github.com/tandem-sync/tandem/sync/resolve"
	"github.com/tandem-sync/tandem/sync/undo"
	"github.com/tandem-sync/tandem/workers"
)

// registry holds the channel types of this binary.
func registry() *channels.Registry { return channels.Default }

// members is the fleet with its answers in the API's types.
type members struct {
	*workers.Fleet
	desk
}

// desk does for people what needs an opened connector. open gives one to be
// closed after use.
type desk struct{ open func() *workers.Desk }

var _ api.Desk = desk{}

// ExplainRecord tells everything that is known about a record.
func (d desk) ExplainRecord(ctx context.Context, channel, connector string, q explain.Query) (explain.Record, error) {
	k := d.open()
	defer k.Close()
	return k.ExplainRecord(ctx, channel, connector, q)
}

// SettleConflicts decides conflicts in favour of a side.
func (d desk) SettleConflicts(ctx context.Context, list []store.Conflict, winner string) (resolve.Settled, error) {
	k := d.open()
	defer k.Close()
	return k.SettleConflicts(ctx, list, winner)
}

// UndoRun takes a page of what a run did back.
func (d desk) UndoRun(ctx context.Context, run store.Run, o undo.Options) (undo.Result, error) {
	k := d.open()
	defer k.Close()
	return k.UndoRun(ctx, run, o)
}

// CaptureOf tells how local changes of an entity are noticed.
func (d desk) CaptureOf(ctx context.Context, entity string) (api.CaptureState, error) {
	k := d.open()
	defer k.Close()
	c, err := k.CaptureOf(ctx, entity)
	if err != nil {
		return api.CaptureState{}, err
	}
	return api.CaptureState{Mode: c.Mode, Right: c.Right(), Problems: append(append([]string{}, c.Problems...), c.Drift...)}, nil
}

// RefreshCaptures brings the change triggers of entities in line.
func (d desk) RefreshCaptures(ctx context.Context, entities []string) error {
	k := d.open()
	defer k.Close()
	return k.RefreshCaptures(ctx, entities)
}

// TestChannel tries a channel's remote step by step.
func (m members) TestChannel(ctx context.Context, name string) ([]api.TestStage, error) {
	return stages(m.Fleet.TestChannel(ctx, name))
}

// tester tests channels without any workers of its own.
type tester struct {
	cfg workers.Config
	desk
}

func newTester(cfg workers.Config) tester {
	return tester{cfg, desk{func() *workers.Desk { return workers.NewDesk(cfg) }}}
}

// Kick does nothing: nobody is here to be woken.
func (tester) Kick() {}

// TestChannel tries a channel's remote step by step.
func (t tester) TestChannel(ctx context.Context, name string) ([]api.TestStage, error) {
	return stages(workers.TestChannel(ctx, t.cfg, name))
}

// ReadsByID reports whether a connector can read records by their ids.
func (t tester) ReadsByID(ctx context.Context, channel, connector string) (bool, error) {
	return workers.ReadsByID(ctx, t.cfg, channel, connector)
}

func stages(list []workers.TestStage, err error) ([]api.TestStage, error) {
	out := make([]api.TestStage, 0, len(list))
	for _, s := range list {
		out = append(out, api.TestStage{Stage: s.Stage, OK: s.OK, Warn: s.Warn, Message: s.Message, Hint: s.Hint})
	}
	return out, err
}

// workersConfig is what the workers of this process need.
func workersConfig(e *engine) workers.Config {
	return e.observed(workers.Config{
		DB: e.db, Broker: e.broker, Registry: registry(), Keys: e.keys, Guard: guardOf(e.file), Logger: e.log,
		Owner: ownerName(), Notify: e.file.Notify,
		Roles:     workers.Roles{Worker: e.roles.worker, Scheduler: e.roles.scheduler && !e.foreground, Sweeper: e.foreground, Relay: e.roles.relay},
		SyncSlots: e.file.Workers.Sync, ReverseSlots: e.file.Workers.ReverseSync, Lease: e.file.Workers.Lease,
		// Only the lock makes sure that nobody else is at work.
		Embedded: e.lock != nil,
		Waited:   e.foreground,
	})
}

// newFleet wires the workers of this process.
func newFleet(e *engine) (fleet, error) {
	f, err := workers.NewFleet(workersConfig(e))
	if err != nil {
		return nil, err
	}
	return members{f, desk{f.Desk}}, nil
}

// applyFile stores the file's entities and channels and creates the tables it
// declares.
func applyFile(ctx context.Context, e *engine) ([]workers.Applied, error) {
	return workers.Apply(ctx, e.db, e.keys, registry(), e.file)
}
