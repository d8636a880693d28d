package workers

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"go.uber.org/zap"

	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/store"
)

// start turns a planned run into slices, if its turn has come. A run that meets
// another one of its channel, kind and lane stays planned: the end of that one
// starts it.
func (p *processor) start(ctx context.Context, runID int64) error {
	err := p.cfg.DB.Write(ctx, "run.start", func(ctx context.Context, tx *store.Tx) error {
		run, err := tx.Run(ctx, runID)
		if fault.CodeOf(err) == fault.CodeNotFound {
			return nil
		}
		if err != nil || run.Status != store.StatusPlanned {
			return err
		}
		ch, err := tx.Channel(ctx, run.ChannelID)
		if err != nil {
			return err
		}
		if !ch.Enabled {
			_, err = tx.FinishRun(ctx, runID, store.StatusCancelled, &store.RunError{
				Code: fault.CodeConflict, Message: "the channel is disabled", Hint: "tandem channels enable " + ch.Name,
			})
			return err
		}
		parts, err := slicesOf(ctx, tx, run)
		if err != nil {
			return err
		}
		started, err := tx.StartRun(ctx, runID, parts)
		if err != nil || !started || len(parts) > 0 {
			return err
		}
		// Nothing to do in this direction: say so by finishing.
		_, err = tx.FinishRun(ctx, runID, store.StatusFinished, nil)
		return err
	})
	if errors.Is(err, store.ErrCommitUnknown) {
		err = nil // the sweeper starts it if it did not happen
	}
	if err == nil {
		p.kick()
	}
	return err
}

// shardPush is the shard of slices that write to the remote.
const shardPush = store.ShardPush

// pushOrd puts the slices that write to the remote after all that read it.
const pushOrd = 1 << 20

// slicesOf gives a run's parts, in the order of phases: first one per connector
// that reads the remote, then one per connector that writes to it. A
// reverse-sync run has the latter only.
func slicesOf(ctx context.Context, tx *store.Tx, run store.Run) ([]store.Slice, error) {
	conns, err := tx.Connectors(ctx, run.ChannelID)
	if err != nil {
		return nil, err
	}
	shard := ""
	if run.Spec.Lane() == store.LaneIDs {
		shard = "ids"
	}
	pull := run.Spec.Kind == store.KindSync && !run.Spec.Flags.NoPull
	push := !run.Spec.Flags.NoPush && (run.Spec.Kind == store.KindReverseSync || run.Spec.ApproveParked == 0)
	var out []store.Slice
	add := func(c store.Connector, shard string, ord int) {
		out = append(out, store.Slice{RunID: run.ID, ChannelID: run.ChannelID, ConnectorID: c.ID, Connector: c.Name, Shard: shard, Ord: ord})
	}
	for _, c := range conns {
		if c.Retired || len(run.Spec.Connectors) > 0 && !slices.Contains(run.Spec.Connectors, c.Name) {
			continue
		}
		if pull {
			add(c, shard, c.Ord)
		}
		if push && c.Outward {
			add(c, shardPush, pushOrd+c.Ord)
		}
	}
	return out, nil
}

// finish ends a run, once; a run that has ended already is left alone.
func (p *processor) finish(ctx context.Context, runID int64, status store.Status, cause error) error {
	return p.finishIn(ctx, runID, status, cause, func(ctx context.Context, tx *store.Tx) error {
		return finishRun(ctx, tx, runID, status, cause)
	})
}

// finishIn is finish with the transaction's work given.
func (p *processor) finishIn(ctx context.Context, runID int64, status store.Status, cause error, work func(context.Context, *store.Tx) error) error {
	err := p.cfg.DB.Write(ctx, "run.finish", work)
	if errors.Is(err, store.ErrCommitUnknown) {
		err = nil // the sweeper comes back to it if it did not happen
	}
	if err == nil {
		p.cfg.Logger.Info("run ended", zap.Int64("run", runID), zap.String("status", string(status)), zap.Error(cause))
		p.kick()
	}
	return err
}

// finishRun ends a run inside the caller's transaction, unless it has ended or
// was deleted with its channel.
func finishRun(ctx context.Context, tx *store.Tx, runID int64, status store.Status, cause error) error {
	run, err := tx.Run(ctx, runID)
	if fault.CodeOf(err) == fault.CodeNotFound {
		return nil
	}
	if err != nil || run.Status.Ended() {
		return err
	}
	if err := tx.DropSeen(ctx, runID); err != nil {
		return err
	}
	_, err = tx.FinishRun(ctx, runID, status, runError(status, cause))
	return err
}

// runError is how a failure is kept and shown.
func runError(status store.Status, err error) *store.RunError {
	if err == nil {
		return nil
	}
	code := fault.CodeOf(err)
	if code == "" {
		code = fault.CodeFailed
		if status == store.StatusCancelled {
			code = fault.CodeCancelled
		}
	}
	return &store.RunError{Code: code, Message: err.Error(), Hint: fault.HintOf(err), Where: fault.WhereOf(err)}
}

// runFailed names the connector a run failed on.
func runFailed(connector string, err error) error {
	if connector == "" {
		return err
	}
	return fmt.Errorf("connector %s: %w", connector, err)
}
