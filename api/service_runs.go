package api

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/store"
)

// Sync stores the request and wakes the workers.
func (s *Service) Sync(ctx context.Context, channel string, req SyncRequest) (Run, error) {
	return s.ask(ctx, store.KindSync, channel, req)
}

// ask stores a request for a run of a kind.
func (s *Service) ask(ctx context.Context, kind store.Kind, channel string, req SyncRequest) (Run, error) {
	spec, err := req.SpecOf(kind, channel, s.clock.Now())
	if err != nil {
		return Run{}, err
	}
	trigger := req.Trigger
	if trigger == "" {
		trigger = store.TriggerAPI
	}
	return s.request(ctx, "request "+string(kind), func(ctx context.Context, tx *store.Tx) (store.Request, error) {
		c, err := findChannel(ctx, tx, channel)
		if err != nil {
			return store.Request{}, err
		}
		if !c.Enabled {
			return store.Request{}, disabled(channel)
		}
		if err := checkConnectors(ctx, tx, c, spec.Connectors); err != nil {
			return store.Request{}, err
		}
		return store.Request{ExternalID: req.ID, ChannelID: c.ID, Trigger: trigger, Spec: spec}, nil
	})
}

// request adds the request that prepare makes and gives the run that serves it.
func (s *Service) request(ctx context.Context, what string, prepare func(context.Context, *store.Tx) (store.Request, error)) (Run, error) {
	var out Run
	err := s.write(ctx, what, func(ctx context.Context, tx *store.Tx) error {
		req, err := prepare(ctx, tx)
		if err != nil {
			return err
		}
		run, _, _, err := tx.AddRequest(ctx, req, true)
		if err != nil {
			return err
		}
		out, err = s.show(ctx, tx, run)
		return err
	})
	if err != nil {
		return Run{}, err
	}
	if s.fleet != nil {
		s.fleet.Kick()
	}
	return out, nil
}

// write is a transaction of the store that gives back a refusal as it was said,
// without what the transaction was for.
func (s *Service) write(ctx context.Context, what string, fn func(context.Context, *store.Tx) error) error {
	var said error
	err := s.db.Write(ctx, what, func(ctx context.Context, tx *store.Tx) error {
		said = fn(ctx, tx)
		return said
	})
	if refused(said) {
		return said
	}
	return err
}

// read is write for a transaction that only looks.
func (s *Service) read(ctx context.Context, fn func(context.Context, *store.Tx) error) error {
	var said error
	err := s.db.Read(ctx, func(ctx context.Context, tx *store.Tx) error {
		said = fn(ctx, tx)
		return said
	})
	if refused(said) {
		return said
	}
	return err
}

func checkConnectors(ctx context.Context, tx *store.Tx, c store.Channel, want []string) error {
	if len(want) == 0 {
		return nil
	}
	have, err := connectorNames(ctx, tx, c.ID)
	if err != nil {
		return err
	}
	for _, name := range want {
		if !slices.Contains(have, name) {
			return fault.New(fault.Permanent, fault.CodeNotFound, "", "channel %q has no connector %q", c.Name, name).
				WithHint("its connectors: " + strings.Join(have, ", "))
		}
	}
	return nil
}

// Runs gives a page of runs, the latest first.
func (s *Service) Runs(ctx context.Context, q RunQuery) (RunPage, error) {
	out := RunPage{Runs: []Run{}}
	limit := pageSize(q.Limit)
	err := s.read(ctx, func(ctx context.Context, tx *store.Tx) error {
		out = RunPage{Runs: []Run{}}
		f := store.RunFilter{Status: q.Status, Before: q.Before, Limit: limit + 1}
		if q.Channel != "" {
			c, err := findChannel(ctx, tx, q.Channel)
			if err != nil {
				return err
			}
			f.ChannelID = c.ID
		}
		runs, err := tx.Runs(ctx, f)
		if err != nil {
			return err
		}
		if len(runs) > limit {
			runs = runs[:limit]
			out.Next = &runs[limit-1].ID
		}
		for _, r := range runs {
			one, err := s.show(ctx, tx, r)
			if err != nil {
				return err
			}
			out.Runs = append(out.Runs, one)
		}
		return nil
	})
	return out, err
}

func pageSize(limit int) int {
	if limit <= 0 {
		return 50
	}
	return min(limit, 500)
}

// Run gives one run.
func (s *Service) Run(ctx context.Context, id int64) (Run, error) {
	var out Run
	err := s.read(ctx, func(ctx context.Context, tx *store.Tx) error {
		r, err := findRun(ctx, tx, id)
		if err != nil {
			return err
		}
		out, err = s.show(ctx, tx, r)
		return err
	})
	return out, err
}

func findRun(ctx context.Context, tx *store.Tx, id int64) (store.Run, error) {
	r, err := tx.Run(ctx, id)
	if fault.CodeOf(err) == fault.CodeNotFound {
		err = fault.New(fault.Permanent, fault.CodeNotFound, "", "no run %d", id).WithHint("`tandem runs list` shows the runs there are")
	}
	return r, err
}

// show builds the JSON form of a run.
func (s *Service) show(ctx context.Context, tx *store.Tx, r store.Run) (Run, error) {
	total, by, expected, err := tx.RunCounters(ctx, r.ID)
	if err != nil {
		return Run{}, err
	}
	var connectors []string
	if len(r.Spec.Connectors) == 0 {
		if connectors, err = connectorNames(ctx, tx, r.ChannelID); err != nil {
			return Run{}, err
		}
	}
	w, err := s.waiting(ctx, tx, r)
	if err != nil {
		return Run{}, err
	}
	return makeRun(r, total, by, expected, connectors, w, s.clock.Now()), nil
}

// waiting says why a run does nothing now, in the words of docs/waiting.md.
func (s *Service) waiting(ctx context.Context, tx *store.Tx, r store.Run) (*Waiting, error) {
	switch {
	case r.Status.Ended():
		return nil, nil //nolint:nilnil // nil says that it does not wait
	case s.db.Full() != nil: // the database has no room to say so itself
		return &Waiting{Reason: fmt.Sprintf("%s: %v; %s", store.CodeDiskFull, s.db.Full(), fault.HintOf(s.db.Full()))}, nil
	}
	reason, until, err := tx.Waiting(ctx, r)
	if err != nil || reason == "" {
		return nil, err
	}
	return &Waiting{Reason: reason, Until: utc(until)}, nil
}

// Changes calls fn for every change the run noted and gives its counts.
func (s *Service) Changes(ctx context.Context, id int64, fn func(store.Change) error) (store.Counters, error) {
	const page = 500
	var counts store.Counters
	for after := int64(0); ; {
		var list []store.Change
		var last int64
		err := s.read(ctx, func(ctx context.Context, tx *store.Tx) error {
			if after == 0 {
				if _, err := findRun(ctx, tx, id); err != nil {
					return err
				}
			}
			var err error
			if list, last, err = tx.Changes(ctx, id, after, page); err != nil {
				return err
			}
			counts, _, _, err = tx.RunCounters(ctx, id)
			return err
		})
		if err != nil {
			return counts, err
		}
		for _, c := range list {
			if c.Fields == nil {
				c.Fields = []store.FieldChange{}
			}
			if err := fn(c); err != nil {
				return counts, err
			}
		}
		if len(list) < page {
			return counts, nil
		}
		after = last
	}
}

// CancelRun ends a planned run and asks an executing one to end.
func (s *Service) CancelRun(ctx context.Context, id int64) (Run, error) {
	var out Run
	err := s.write(ctx, "cancel run", func(ctx context.Context, tx *store.Tx) error {
		r, err := findRun(ctx, tx, id)
		if err != nil {
			return err
		}
		if r.Status.Ended() {
			return fault.New(fault.Permanent, fault.CodeConflict, "", "run %d is over: %s", id, r.Status)
		}
		if err := tx.CancelRun(ctx, id); err != nil {
			return err
		}
		if r, err = tx.Run(ctx, id); err != nil {
			return err
		}
		out, err = s.show(ctx, tx, r)
		return err
	})
	if err == nil && s.fleet != nil {
		s.fleet.Kick()
	}
	return out, err
}
