package main

import (
	"context"

	"github.com/tandem-sync/tandem/api"
	"github.com/tandem-sync/tandem/channels"
	"github.com/tandem-sync/tandem/workers"
)

// registry holds the channel types of this binary.
func registry() *channels.Registry { return channels.Default }

// members is the fleet with its answers in the API's types.
type members struct{ *workers.Fleet }

// TestChannel tries a channel's remote step by step.
func (m members) TestChannel(ctx context.Context, name string) ([]api.TestStage, error) {
	return stages(m.Fleet.TestChannel(ctx, name))
}

// tester tests channels without any workers of its own.
type tester struct{ cfg workers.Config }

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
		Owner:     ownerName(),
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
	return members{f}, nil
}

// applyFile stores the file's entities and channels and creates the tables it
// declares.
func applyFile(ctx context.Context, e *engine) ([]workers.Applied, error) {
	return workers.Apply(ctx, e.db, e.keys, registry(), e.file)
}
