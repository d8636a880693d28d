package main

import (
	"context"
	"time"

	"github.com/tandem-sync/tandem/api"
	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/internal/clock"
)

// outage is how long a service may be away before a waiting command gives up.
const outage = 30 * time.Second

// watch follows a run to its end and calls seen with every state of it.
func (s *session) watch(ctx context.Context, id int64, seen func(api.Run) error) (api.Run, error) {
	pause := 100 * time.Millisecond
	var lost time.Time
	for {
		r, err := s.Run(ctx, id)
		switch {
		case err == nil:
			lost = time.Time{}
			if err := seen(r); err != nil || r.Status.Ended() {
				return r, err
			}
		case ctx.Err() != nil:
			return r, s.interrupted(id)
		case fault.CodeOf(err) != fault.CodeUnreachable:
			return r, err
		case lost.IsZero():
			lost = time.Now()
		case time.Since(lost) > outage:
			return r, err
		}
		if err := s.alive(); err != nil {
			return r, err
		}
		if err := (clock.System{}).Sleep(ctx, pause); err != nil {
			return r, s.interrupted(id)
		}
		pause = min(pause+20*time.Millisecond, time.Second/2)
	}
}

// interrupted says what becomes of a run whose command is interrupted.
func (s *session) interrupted(id int64) error {
	hint := "the service goes on with it; `tandem runs watch` follows it"
	if s.engine != nil {
		hint = "nothing is lost: the next `tandem sync` or `tandem run` goes on where it stopped"
	}
	return fault.New(fault.Stop, fault.CodeCancelled, "", "interrupted while run %d was under way", id).WithHint(hint)
}

// follow waits for the run and shows its progress.
func (a *app) follow(ctx context.Context, s *session, id int64) (api.Run, error) {
	p := a.newProgress()
	defer p.done()
	return s.watch(ctx, id, func(r api.Run) error {
		p.update(r)
		return nil
	})
}

// outcome tells on standard error how the run ended, unless the run itself is
// the printed result that says it (shown), and gives the exit code as an error.
func (a *app) outcome(r api.Run, shown bool) error {
	if r.Parked > 0 {
		a.note("%d parked in run %d wait for a person; see `tandem parked list --run %d`", r.Parked, r.ID, r.ID)
	}
	if r.Status == "finished" {
		return nil
	}
	if r.Error != nil && !shown {
		a.note("run %d %s: %s", r.ID, r.Status, r.Error.Message)
		if r.Error.Hint != "" {
			a.note("  %s", r.Error.Hint)
		}
	}
	return silent(exitFailed)
}
