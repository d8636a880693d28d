package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tandem-sync/tandem/api"
	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/internal/clock"
	"github.com/tandem-sync/tandem/internal/demo"
	"github.com/tandem-sync/tandem/store"
)

// demoResult is what the demo proves.
type demoResult struct {
	Agree bool `json:"agree"`
	demo.Result
	Remotes []demoOutcome `json:"remotes"`
	Killed  demoKill      `json:"killed"`
	Parked  []api.Parked  `json:"parked"`
	Runs    []api.Run     `json:"runs"`
	Calls   int           `json:"calls"`
	Refused int           `json:"refused"`
	Seconds float64       `json:"seconds"`
	URL     string        `json:"url"`
}

// demoOutcome is the comparison of one remote with its table.
type demoOutcome struct {
	Channel string `json:"channel"`
	Type    string `json:"type"`
	demo.Result
	Broken  int `json:"broken"`
	Parked  int `json:"parked"`
	Calls   int `json:"calls"`
	Refused int `json:"refused"`
}

// demoKill says what the crash met.
type demoKill struct {
	PID  int            `json:"pid"`  // of the process that was killed
	Next int            `json:"next"` // of the one that went on
	At   map[string]int `json:"at"`   // by channel: the records done by then
}

// demoCounts are what a run must have counted, to the record.
type demoCounts struct{ read, created, updated, deleted, parked int64 }

// say tells the story: it is the result for a person, and beside the result for
// a program.
func (w *demoWorld) say(format string, args ...any) {
	out := w.app.stdout
	if w.app.json {
		out = w.app.stderr
	}
	fmt.Fprintf(out, format+"\n", args...)
}

// play synchronizes three times, with a crash and with edits between, and
// compares the sides.
func (w *demoWorld) play(ctx context.Context) (demoResult, error) {
	begun := time.Now()
	res := demoResult{URL: w.service.said.URL, Result: demo.Result{Differences: []string{}}}
	w.say("Two applications are up: a REST service with %d contacts and a HubSpot account with %d.", w.remotes[0].size(), w.remotes[1].size())
	w.say("%d of these are broken, and now and then the answer is 429, or cut off. Tandem is process %d.",
		len(w.remotes[0].side.Broken())+len(w.remotes[1].side.Broken()), w.service.child.pid())
	w.say("\n1. First sync: everything, and kill -9 in the middle of it")
	if err := w.firstSync(ctx, &res); err != nil {
		return res, err
	}
	w.say("\n2. Both edit 60 contacts, create 25, delete 15 and repair 2 broken ones. Incremental sync: exactly these")
	w.edit(demo.Edits{Edited: 60, Created: 25, Deleted: 15, Repaired: 2}, false)
	// What HubSpot's index does not show yet, the next run would find.
	if err := (clock.System{}).Sleep(ctx, demoLag+100*time.Millisecond); err != nil {
		return res, err
	}
	if err := w.syncAll(ctx, &res, store.ModeIncremental); err != nil {
		return res, err
	}
	w.say("\n3. They edit 40 more, create 10, and 10 vanish without a word. Full sync: everything again, and what is gone")
	w.edit(demo.Edits{Edited: 40, Created: 10, Purged: 10}, true)
	if err := w.syncAll(ctx, &res, store.ModeFull); err != nil {
		return res, err
	}
	err := w.compare(ctx, &res)
	res.Seconds = time.Since(begun).Round(10 * time.Millisecond).Seconds()
	return res, err
}

// size is how many contacts the remote has.
func (r *demoRemote) size() int { return len(r.side.Good()) + len(r.side.Broken()) }

// edit changes both remotes and notes what the next run has to count.
func (w *demoWorld) edit(e demo.Edits, full bool) {
	for _, r := range w.remotes {
		did := r.side.Edit(e)
		r.want = demoCounts{
			created: int64(did.Created + did.Repaired), updated: int64(did.Edited), deleted: int64(did.Deleted + did.Purged),
		}
		r.want.read = r.want.created + r.want.updated
		if full {
			r.want.read, r.want.parked = int64(r.size()), int64(len(r.side.Broken()))
		}
	}
}

// firstSync starts both runs, kills the service while both are under way, starts
// it again and follows the runs to their ends.
func (w *demoWorld) firstSync(ctx context.Context, res *demoResult) error {
	for _, r := range w.remotes {
		good, broken := int64(len(r.side.Good())), int64(len(r.side.Broken()))
		r.want = demoCounts{read: good + broken, created: good, parked: broken}
	}
	runs, err := w.request(ctx, store.ModeIncremental)
	if err != nil {
		return err
	}
	at, err := w.underWay(ctx, runs)
	if err != nil {
		return err
	}
	res.Killed = demoKill{At: at, PID: w.killService()}
	w.say("  kill -9 %d, with %d of %d and %d of %d records done", res.Killed.PID, at["crm"], w.remotes[0].size(), at["hub"], w.remotes[1].size())
	for _, r := range w.remotes {
		r.gate.Open()
	}
	if err := w.startService(ctx); err != nil {
		return err
	}
	res.Killed.Next, res.URL = w.service.child.pid(), w.service.said.URL
	w.say("  Tandem is process %d now, and goes on there", res.Killed.Next)
	return w.follow(ctx, res, runs)
}

// underWay waits until the remotes have stopped to answer in the middle of their
// listings and something of each run is done, and gives how much that is.
func (w *demoWorld) underWay(ctx context.Context, runs []api.Run) (map[string]int, error) {
	for {
		at, ready := map[string]int{}, true
		for i, r := range w.remotes {
			run, err := w.service.client.Run(ctx, runs[i].ID)
			if err != nil {
				return nil, errors.Join(err, w.alive())
			}
			if run.Status.Ended() {
				return nil, fault.New(fault.Permanent, fault.CodeFailed, "", "run %d of %s ended early: %s", run.ID, r.channel, run.Status)
			}
			at[r.channel] = int(run.Progress.Done)
			ready = ready && run.Progress.Done > 0 && r.gate.Held() > 0
		}
		if ready {
			return at, nil
		}
		if err := (clock.System{}).Sleep(ctx, 50*time.Millisecond); err != nil {
			return nil, err
		}
	}
}

func (w *demoWorld) syncAll(ctx context.Context, res *demoResult, mode store.Mode) error {
	runs, err := w.request(ctx, mode)
	if err != nil {
		return err
	}
	return w.follow(ctx, res, runs)
}

// request asks for a run of each channel.
func (w *demoWorld) request(ctx context.Context, mode store.Mode) ([]api.Run, error) {
	runs := make([]api.Run, len(w.remotes))
	for i, r := range w.remotes {
		var err error
		if runs[i], err = w.service.client.Sync(ctx, r.channel, api.SyncRequest{Mode: mode}); err != nil {
			return nil, errors.Join(err, w.alive())
		}
	}
	return runs, nil
}

// follow waits for the runs and holds their counters against what they must be.
func (w *demoWorld) follow(ctx context.Context, res *demoResult, runs []api.Run) error {
	for i, r := range w.remotes {
		run, err := w.app.follow(ctx, w.session(), runs[i].ID)
		if err != nil {
			return errors.Join(err, w.alive())
		}
		res.Runs = append(res.Runs, run)
		w.say("  %s: run %d %s: %s in %s", r.channel, run.ID, run.Status, counts(run), took(run))
		if run.Error != nil {
			w.say("  %s", printable(run.Error.Message))
		}
		if got := (demoCounts{run.Read, run.Created, run.Updated, run.Deleted, run.Parked}); got != r.want {
			res.Differences = append(res.Differences, fmt.Sprintf("run %d of %s counted %s, it should be %s", run.ID, r.channel, got, r.want))
		}
	}
	return nil
}

func (c demoCounts) String() string {
	return fmt.Sprintf("%d read, %d created, %d updated, %d deleted, %d parked", c.read, c.created, c.updated, c.deleted, c.parked)
}
