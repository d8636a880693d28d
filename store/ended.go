package store

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/tandem-sync/tandem/fault"
)

// RunEnd is the end of a run that a transaction of this DB committed.
type RunEnd struct {
	Channel string
	Kind    Kind
	Status  Status
	Took    time.Duration // since it started, by the database's clock; 0 for one that never did
}

// ender tells of ends of runs, each of them once.
type ender struct {
	tell func(RunEnd)

	mu    sync.Mutex
	doubt []runEnd // committed or not: the answer was lost
}

// runEnd is an end within a transaction. When it was written tells it from the
// end that another transaction gave the run.
type runEnd struct {
	RunEnd
	run int64
	at  time.Time
}

// settleFor bounds the question whether a COMMIT without an answer happened.
const settleFor = 5 * time.Second

// OnRunEnd has tell called for every run that a transaction of this DB ends,
// once it is committed: by a worker, by cancelling it, by disabling or deleting
// its channel. A COMMIT whose answer is lost is looked up. tell returns at once
// and is safe for concurrent use. Call it before the DB is used.
func (db *DB) OnRunEnd(tell func(RunEnd)) { db.ends.Store(&ender{tell: tell}) }

// noteEnded remembers for the commit that the transaction ended a run.
func (tx *Tx) noteEnded(run Run, status Status, at time.Time) {
	if tx.db.ends.Load() == nil {
		return
	}
	e := runEnd{RunEnd: RunEnd{Channel: run.Channel, Kind: run.Spec.Kind, Status: status}, run: run.ID, at: at}
	if run.StartedAt != nil {
		e.Took = max(at.Sub(*run.StartedAt), time.Microsecond)
	}
	tx.ended = append(tx.ended, e)
}

// tellEnds tells what a transaction has ended that came to COMMIT, and what was
// in doubt before.
func (db *DB) tellEnds(ctx context.Context, ended []runEnd, err error) {
	if len(ended) == 0 {
		return
	}
	switch {
	case errors.Is(err, ErrCommitUnknown):
		db.settle(ctx, ended)
	case err == nil:
		e := db.ends.Load()
		for _, end := range ended {
			e.tell(end.RunEnd)
		}
		db.settle(ctx, nil)
	}
}

// settle looks up what a transaction without an answer has ended. What cannot
// be found out now is looked up after the next end.
func (db *DB) settle(ctx context.Context, ended []runEnd) {
	e := db.ends.Load()
	e.mu.Lock()
	open := slices.Concat(e.doubt, ended)
	e.doubt = nil
	e.mu.Unlock()
	if len(open) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleFor)
	defer cancel()
	var happened []runEnd
	err := db.Read(ctx, func(ctx context.Context, tx *Tx) error {
		happened = nil
		for _, end := range open {
			ok, err := tx.endedAt(ctx, end)
			if err != nil {
				return err
			}
			if ok {
				happened = append(happened, end)
			}
		}
		return nil
	})
	if err != nil {
		db.log.Info("whether runs have ended is looked up later", zap.Int("runs", len(open)), zap.Error(err))
		e.mu.Lock()
		e.doubt = append(e.doubt, open...)
		e.mu.Unlock()
		return
	}
	for _, end := range happened {
		e.tell(end.RunEnd)
	}
}

// endedAt reports whether a run's end is this one. One that is gone had ended.
func (tx *Tx) endedAt(ctx context.Context, end runEnd) (bool, error) {
	run, err := tx.Run(ctx, end.run)
	if fault.CodeOf(err) == fault.CodeNotFound {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	return run.Status == end.Status && run.FinishedAt != nil && run.FinishedAt.Equal(end.at), nil
}
