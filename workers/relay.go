package workers

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"
	"go.uber.org/zap"

	"github.com/tandem-sync/tandem/internal/yield"
	"github.com/tandem-sync/tandem/messages"
	"github.com/tandem-sync/tandem/store"
)

// How often the relay looks at the outbox: quickly while there is work, and
// seldom enough that an idle fleet costs the database next to nothing.
const (
	relayBusy  = 100 * time.Millisecond
	relayIdle  = 500 * time.Millisecond
	relayBatch = 500
	relayRest  = 2 * time.Second // after trouble
)

// relay brings committed messages to the broker. A message leaves the outbox in
// the transaction that waits for the broker's confirm, so it is published at
// least once; twice is harmless.
func (f *Fleet) relay(ctx context.Context) error {
	wait := relayIdle
	for {
		n, err := f.relayOnce(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			f.cfg.Logger.Warn("the outbox could not be relayed; trying again", zap.Error(err))
			wait = relayRest
		case n == relayBatch:
			continue
		case n > 0:
			wait = relayBusy
		default:
			wait = min(2*wait, relayIdle)
		}
		t := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			t.Stop()
			return nil
		case <-f.kick:
			t.Stop()
		case <-t.C:
		}
	}
}

// relayOnce publishes one batch and says how many messages it had.
func (f *Fleet) relayOnce(ctx context.Context) (int, error) {
	n := 0
	depth := int64(0)
	err := f.cfg.DB.Read(ctx, func(ctx context.Context, tx *store.Tx) (err error) {
		depth, err = tx.OutboxDepth(ctx)
		return err
	})
	if err != nil || depth == 0 {
		return 0, err
	}
	err = f.cfg.DB.Write(ctx, "relay", func(ctx context.Context, tx *store.Tx) error {
		out, err := tx.TakeOutgoing(ctx, relayBatch)
		n = len(out)
		if err != nil || n == 0 {
			return err
		}
		msgs := make([]messages.Message, n)
		for i, o := range out {
			msgs[i] = messages.Message{Key: o.Key, ID: uuid.NewString(), Body: o.Body}
		}
		if err := yield.Point(ctx, "relay.before_publish"); err != nil {
			return err
		}
		if err := f.cfg.Broker.Publish(ctx, msgs...); err != nil {
			return err
		}
		return yield.Point(ctx, "relay.after_publish")
	})
	if errors.Is(err, store.ErrCommitUnknown) {
		err = nil // published; at worst published again
	}
	return n, err
}
