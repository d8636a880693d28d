package api

import (
	"math"
	"time"

	"github.com/tandem-sync/tandem/store"
)

// Run is one synchronization as the API and every command show it.
type Run struct {
	ID          int64                     `json:"id" doc:"Number of the run"`
	Channel     string                    `json:"channel"`
	Connectors  []string                  `json:"connectors" doc:"The connectors it works on"`
	Kind        store.Kind                `json:"kind" enum:"sync,reverse-sync"`
	Mode        store.Mode                `json:"mode" enum:"incremental,full"`
	Trigger     store.Trigger             `json:"trigger" enum:"schedule,manual,api,message,webhook,change"`
	DryRun      bool                      `json:"dry_run"`
	Status      store.Status              `json:"status" enum:"planned,preparing,execution,finished,failed,cancelled"`
	Waiting     *Waiting                  `json:"waiting" doc:"Why nothing happens now; null when it works or is over"`
	Progress    Progress                  `json:"progress"`
	Read        int64                     `json:"read" doc:"Records read, each once: created + updated + unchanged + skipped + parked"`
	Created     int64                     `json:"created"`
	Updated     int64                     `json:"updated"`
	Deleted     int64                     `json:"deleted"`
	Unchanged   int64                     `json:"unchanged"`
	Skipped     int64                     `json:"skipped"`
	Conflicts   int64                     `json:"conflicts" doc:"Fields on which both sides differed"`
	Parked      int64                     `json:"parked" doc:"Records that wait for a person"`
	Pushed      int64                     `json:"pushed"`
	ByConnector map[string]store.Counters `json:"by_connector"`
	StartedAt   *time.Time                `json:"started_at"`
	FinishedAt  *time.Time                `json:"finished_at"`
	Error       *store.RunError           `json:"error"`
}

// Waiting says why a run does nothing at the moment.
type Waiting struct {
	Reason string     `json:"reason" doc:"One of queued, run_ahead, busy, retry, rate_limited, quota, breaker_open, cancelling, disk_full; alone or followed by a colon and a sentence for a person"`
	Until  *time.Time `json:"until" doc:"When it goes on by itself; null when that is unknown"`
}

// Progress says how far a run is. Total and ETA are nil while unknown.
type Progress struct {
	Done  int64      `json:"done" doc:"Records done"`
	Total *int64     `json:"total" doc:"Records expected; null when unknown"`
	Rate  float64    `json:"rate" doc:"Records per second since the start"`
	ETA   *time.Time `json:"eta" doc:"When it will be done at this rate; null when unknown"`
}

// progress derives rate and ETA. Nothing is estimated for a run that has ended
// or has not begun.
func progress(r store.Run, done int64, total *int64, now time.Time) Progress {
	if total != nil && *total < done {
		total = &done // the remote's count leaves out what it lists as gone
	}
	p := Progress{Done: done, Total: total}
	if r.StartedAt == nil {
		return p
	}
	end := now
	if r.FinishedAt != nil {
		end = *r.FinishedAt
	}
	if took := end.Sub(*r.StartedAt).Seconds(); took > 0 {
		p.Rate = math.Round(float64(done)/took*10) / 10
	}
	if r.Status.Ended() || total == nil || p.Rate <= 0 {
		return p
	}
	left := max(*total-done, 0)
	eta := now.Add(time.Duration(float64(left) / p.Rate * float64(time.Second))).UTC().Truncate(time.Second)
	p.ETA = &eta
	return p
}

// makeRun joins what the store knows about a run. connectors are the channel's
// own, used when the run names none.
func makeRun(r store.Run, c store.Counters, by map[string]store.Counters, expected *int64, connectors []string, w *Waiting, now time.Time) Run {
	out := Run{
		ID: r.ID, Channel: r.Channel, Connectors: r.Spec.Connectors, Kind: r.Spec.Kind, Mode: r.Spec.Mode,
		Trigger: r.Trigger, DryRun: r.Spec.Flags.DryRun, Status: r.Status, Waiting: w,
		Progress: progress(r, c.Read, expected, now),
		Read:     c.Read, Created: c.Created, Updated: c.Updated, Deleted: c.Deleted, Unchanged: c.Unchanged,
		Skipped: c.Skipped, Conflicts: c.Conflicts, Parked: c.Parked, Pushed: c.Pushed,
		ByConnector: by, StartedAt: utc(r.StartedAt), FinishedAt: utc(r.FinishedAt), Error: r.Error,
	}
	if len(out.Connectors) == 0 {
		out.Connectors = connectors
	}
	if out.Connectors == nil {
		out.Connectors = []string{}
	}
	if out.Mode == "" {
		out.Mode = store.ModeIncremental
	}
	if out.Kind == "" {
		out.Kind = store.KindSync
	}
	if out.ByConnector == nil {
		out.ByConnector = map[string]store.Counters{}
	}
	return out
}

func utc(t *time.Time) *time.Time {
	if t == nil {
		return nil
	}
	u := t.UTC()
	return &u
}
