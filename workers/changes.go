package workers

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/tandem-sync/tandem/internal/yield"
	"github.com/tandem-sync/tandem/store"
)

// How local changes are taken up. The first change of a row goes out at once,
// further ones within two seconds are put together, and none waits longer than
// half a minute for the row to be quiet.
const (
	// changesPoll is how often the log is looked at. NOTIFY tells of a change only
	// where it is wished for: it serialises the commits of the application.
	changesPoll = 50 * time.Millisecond
	// changesRest is how often it is looked at where NOTIFY tells: a notification
	// may get lost with its connection.
	changesRest = time.Second
	// changesOffered is how long changes are left to a slice that may take them up
	// and is busy with others.
	changesOffered = 40 * time.Millisecond
	// changesGrace is how long the changes are left to the run that somebody waits
	// for in front of this process: it takes them up itself.
	changesGrace    = time.Second
	changesBatch    = 2000
	changesDebounce = 2 * time.Second
	changesMost     = 30 * time.Second
)

// changes brings captured local changes to the connectors that have to know of
// them, and asks for the runs that carry them out.
func (f *Fleet) changes(ctx context.Context) error {
	if f.cfg.Waited && f.cfg.Clock.Sleep(ctx, changesGrace) != nil {
		return nil
	}
	heard, stop := f.listen(ctx)
	defer stop()
	how := offerChanges
	for {
		n, left, err := f.changesOnce(ctx, how)
		wait := changesPoll
		if heard != nil && !left {
			wait = changesRest
		}
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			f.cfg.Logger.Warn("local changes could not be taken up; trying again", zap.Error(err))
			wait = relayRest
		case n == changesBatch:
			continue
		}
		how = f.awaitChanges(ctx, heard, wait, left)
	}
}

// taking says which changes the relay takes up itself where slices of this
// process export and may do so, too.
type taking uint8

const (
	// offerChanges: none, they have just been found.
	offerChanges taking = iota
	// takeOld: those that were offered a while ago; the slices are busy.
	takeOld
	// takeAll: they are nothing for the slices.
	takeAll
)

// awaitChanges waits until it is time to look at the log and says how. What it
// hears of meanwhile is offered to the slices that export, which take it up in the
// transaction that claims it anyhow; offered says that something is already.
func (f *Fleet) awaitChanges(ctx context.Context, heard <-chan struct{}, wait time.Duration, offered bool) taking {
	t := time.NewTimer(wait)
	defer t.Stop()
	for {
		select {
		case <-f.stir.again:
			return takeAll
		case <-heard:
			if !f.stir.offer() {
				return takeAll // there is no slice
			}
			if !offered {
				t.Reset(changesPoll)
			}
			offered = true
			continue
		case <-ctx.Done():
		case <-t.C:
		}
		if offered {
			return takeOld
		}
		return offerChanges
	}
}

// listen makes the database tell of changes as the configuration wishes and gives
// the channel on which it does; nil where the log has to be looked at. stop waits
// until nothing listens any more.
func (f *Fleet) listen(ctx context.Context) (heard <-chan struct{}, stop func()) {
	if err := f.cfg.DB.NotifyChanges(ctx, f.cfg.Notify); err != nil {
		if ctx.Err() == nil {
			f.cfg.Logger.Warn("NOTIFY of changes could not be switched; they are looked for as they are",
				zap.Bool("on", f.cfg.Notify), zap.Error(err))
		}
		return nil, func() {}
	}
	if !f.cfg.Notify || f.cfg.DB.Dialect() != store.Postgres {
		return nil, func() {}
	}
	bell := make(chan struct{}, 1)
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() {
		f.cfg.DB.ListenChanges(ctx, func() {
			select {
			case bell <- struct{}{}:
			default: // it rings already
			}
		})
	})
	return bell, func() { cancel(); wg.Wait() }
}

// changesOnce takes up one batch and says how many changes it had; left says that
// it left some to the slices that export.
func (f *Fleet) changesOnce(ctx context.Context, how taking) (n int, left bool, err error) {
	waits, fresh := false, false
	err = f.cfg.DB.Read(ctx, func(ctx context.Context, tx *store.Tx) (err error) {
		waits, fresh, err = tx.ChangesWait(ctx, changesOffered)
		return err
	})
	if err != nil || !waits {
		return 0, false, err
	}
	if (how == offerChanges || how == takeOld && fresh) && f.stir.offer() {
		return 0, true, nil
	}
	n, err = takeWaiting(ctx, &f.cfg, f.stir, f.Kick, 0)
	return n, false, err
}

// takeUp takes up one batch of captured changes and says how many it had. No run
// is asked for the connector own: somebody is about to export what there is of it.
func takeUp(ctx context.Context, cfg *Config, tell *stir, kick func(), own int64) (n int, err error) {
	waits := false
	err = cfg.DB.Read(ctx, func(ctx context.Context, tx *store.Tx) (err error) {
		waits, err = tx.HasChanges(ctx)
		return err
	})
	if err != nil || !waits {
		return 0, err
	}
	return takeWaiting(ctx, cfg, tell, kick, own)
}

// takeWaiting is takeUp where it is known that there are changes.
func takeWaiting(ctx context.Context, cfg *Config, tell *stir, kick func(), own int64) (n int, err error) {
	if err := yield.Point(ctx, "changes.before_relay"); err != nil {
		return 0, err
	}
	asked := false
	var touched []int64
	err = cfg.DB.Write(ctx, "changes", func(ctx context.Context, tx *store.Tx) error {
		asked = false
		out, err := tx.Outward(ctx)
		if err != nil {
			return err
		}
		done, err := tx.RelayChanges(ctx, changesBatch, func(entity string) []int64 {
			ids := make([]int64, 0, len(out[entity]))
			for _, c := range out[entity] {
				ids = append(ids, c.ID)
			}
			return ids
		}, changesDebounce, changesMost)
		if err != nil {
			return err
		}
		n, touched = done.Taken, done.Touched
		for connector, echoes := range done.Suppressed {
			if err := tx.AddEcho(ctx, connector, echoes, 0); err != nil {
				return err
			}
		}
		if cfg.Waited {
			if err := leavePushed(ctx, tx, out); err != nil {
				return err
			}
		}
		asked, err = askFor(ctx, tx, out, done, own)
		return err
	})
	if errors.Is(err, store.ErrCommitUnknown) {
		err = nil // either way nothing is lost: the log or the dirty set has it
	}
	if err == nil && asked {
		tell.tell(touched)
		kick()
	}
	return n, err
}

// leavePushed leaves out connectors whose changes a sync is going to carry anyhow:
// who waits in front of it wants to be told of them as a part of it.
func leavePushed(ctx context.Context, tx *store.Tx, out map[string][]store.OutwardConnector) error {
	for entity := range out {
		for i := range out[entity] {
			c := &out[entity][i]
			pushes, err := tx.WillPush(ctx, c.Connector)
			if err != nil {
				return err
			}
			c.Enabled = c.Enabled && !pushes
		}
	}
	return nil
}

// askFor plans the runs for what was taken up.
func askFor(ctx context.Context, tx *store.Tx, out map[string][]store.OutwardConnector, done store.Relayed, own int64) (asked bool, err error) {
	touched := map[int64]bool{}
	for _, id := range done.Touched {
		touched[id] = true
	}
	for _, list := range out {
		for _, c := range list {
			if touched[c.ID] && c.Enabled && c.ID != own {
				asked = true
				if err := planExport(ctx, tx, c.ChannelID, []string{c.Name}, store.ModeIncremental); err != nil {
					return asked, err
				}
			}
		}
	}
	for _, entity := range done.Reconcile {
		for _, c := range out[entity] {
			if !c.Enabled {
				// Nothing keeps the wish until the channel is enabled but the rounds.
				if err := tx.ForgetRounds(ctx, c.ID); err != nil {
					return asked, err
				}
				continue
			}
			asked = true
			if err := planExport(ctx, tx, c.ChannelID, []string{c.Name}, store.ModeFull); err != nil {
				return asked, err
			}
		}
	}
	return asked, nil
}

// planExport asks for a reverse sync because of local changes.
func planExport(ctx context.Context, tx *store.Tx, channelID int64, connectors []string, mode store.Mode) error {
	_, _, _, err := tx.AddRequest(ctx, store.Request{
		ChannelID: channelID, Trigger: store.TriggerChange,
		Spec: store.Spec{Kind: store.KindReverseSync, Mode: mode, Connectors: connectors},
	}, true)
	if err != nil {
		return fmt.Errorf("plan an export: %w", err)
	}
	return nil
}

// planDue asks for the export of rows that were put off and are due now, where
// no run is there that will see to them.
func planDue(ctx context.Context, tx *store.Tx) (n int, err error) {
	due, err := tx.DueConnectors(ctx)
	if err != nil || len(due) == 0 {
		return 0, err
	}
	out, err := tx.Outward(ctx)
	if err != nil {
		return 0, err
	}
	names := map[int64]string{}
	for _, list := range out {
		for _, c := range list {
			names[c.ID] = c.Name
		}
	}
	for _, d := range due {
		busy, err := tx.HasRun(ctx, d.ChannelID, store.KindReverseSync, true)
		if err != nil {
			return n, err
		}
		if name := names[d.ConnectorID]; name != "" && !busy {
			n++
			if err := planExport(ctx, tx, d.ChannelID, []string{name}, store.ModeIncremental); err != nil {
				return n, err
			}
		}
	}
	return n, nil
}

// takeUpFirst takes up the changes that happened before a slice begins to write to
// the remote, so that it carries them and nobody has to wait for the next run.
// What a person asks for does not wait for a row to be quiet either.
func (p *processor) takeUpFirst(ctx context.Context, sl store.Slice, run store.Run) error {
	if run.Lane != store.LaneMain || run.Trigger == store.TriggerChange || sl.BatchNo > 0 {
		return nil
	}
	for {
		n, err := takeUp(ctx, &p.cfg, p.stir, p.kick, sl.ConnectorID)
		if err != nil {
			return err
		}
		if n < changesBatch {
			break
		}
	}
	return p.cfg.DB.Write(ctx, "changes.hurry", func(ctx context.Context, tx *store.Tx) error {
		return tx.HurryDirty(ctx, sl.ConnectorID)
	})
}
