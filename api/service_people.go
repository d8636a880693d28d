package api

import (
	"context"
	"slices"

	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/store"
	"github.com/tandem-sync/tandem/sync/explain"
	"github.com/tandem-sync/tandem/sync/undo"
)

// desk gives who can open connectors.
func (s *Service) desk() (Desk, error) {
	d, ok := s.fleet.(Desk)
	if !ok {
		return nil, fault.New(fault.Permanent, fault.CodeUnreachable, "", "no worker in this process can open a connector")
	}
	return d, nil
}

// ReverseSync stores the request and wakes the workers.
func (s *Service) ReverseSync(ctx context.Context, channel string, req SyncRequest) (Run, error) {
	return s.ask(ctx, store.KindReverseSync, channel, req)
}

// ExplainRecord tells everything that is known about a record.
func (s *Service) ExplainRecord(ctx context.Context, channel, connector string, q explain.Query) (explain.Record, error) {
	err := s.read(ctx, func(ctx context.Context, tx *store.Tx) error {
		c, err := findChannel(ctx, tx, channel)
		if err != nil {
			return err
		}
		return checkConnectors(ctx, tx, c, []string{connector})
	})
	if err != nil {
		return explain.Record{}, err
	}
	d, err := s.desk()
	if err != nil {
		return explain.Record{}, err
	}
	return d.ExplainRecord(ctx, channel, connector, q)
}

// conflictFilter turns a query into what the store looks for.
func (s *Service) conflictFilter(ctx context.Context, tx *store.Tx, q ConflictQuery) (store.ConflictFilter, error) {
	f := store.ConflictFilter{Connector: q.Connector, Field: q.Field, LocalKey: q.LocalID, RunID: q.Run, Open: !q.Resolved, Before: q.Before}
	if q.Channel == "" {
		return f, nil
	}
	c, err := findChannel(ctx, tx, q.Channel)
	f.ChannelID = c.ID
	return f, err
}

// Conflicts gives a page of conflicts, the latest first.
func (s *Service) Conflicts(ctx context.Context, q ConflictQuery) (ConflictPage, error) {
	out := ConflictPage{Conflicts: []Conflict{}}
	limit := pageSize(q.Limit)
	err := s.read(ctx, func(ctx context.Context, tx *store.Tx) error {
		out = ConflictPage{Conflicts: []Conflict{}}
		f, err := s.conflictFilter(ctx, tx, q)
		if err != nil {
			return err
		}
		f.Limit = limit + 1
		list, err := tx.Conflicts(ctx, f)
		if len(list) > limit {
			list = list[:limit]
			out.Next = &list[limit-1].ID
		}
		for _, c := range list {
			out.Conflicts = append(out.Conflicts, showConflict(c))
		}
		return err
	})
	return out, err
}

// Conflict gives one conflict.
func (s *Service) Conflict(ctx context.Context, id int64) (Conflict, error) {
	c, err := s.conflict(ctx, id)
	return showConflict(c), err
}

func (s *Service) conflict(ctx context.Context, id int64) (c store.Conflict, err error) {
	err = s.read(ctx, func(ctx context.Context, tx *store.Tx) (err error) {
		c, err = tx.Conflict(ctx, id)
		if fault.CodeOf(err) == fault.CodeNotFound {
			err = fault.New(fault.Permanent, fault.CodeNotFound, "", "no conflict %d", id).WithHint("`tandem conflicts list` shows what waits")
		}
		return err
	})
	return c, err
}

func showConflict(c store.Conflict) Conflict {
	return Conflict{
		ID: c.ID, Channel: c.Channel, Connector: c.Connector, LocalID: c.LocalKey, RemoteID: c.RemoteID, Field: c.Field,
		Local: c.Local, Remote: c.Remote, Base: c.Base, LocalAt: utc(c.LocalAt), RemoteAt: utc(c.RemoteAt), Run: c.RunID,
		CreatedAt: c.CreatedAt.UTC(), Resolved: c.Resolved, ResolvedAt: utc(c.ResolvedAt),
	}
}

func checkWinner(winner string) error {
	if winner != store.WinnerLocal && winner != store.WinnerRemote {
		return usage("winner %q: want local or remote", winner)
	}
	return nil
}

// ResolveConflict decides an open conflict.
func (s *Service) ResolveConflict(ctx context.Context, id int64, winner string) (Decided, error) {
	if err := checkWinner(winner); err != nil {
		return Decided{}, err
	}
	c, err := s.conflict(ctx, id)
	if err != nil {
		return Decided{}, err
	}
	out, failed, err := s.decide(ctx, []store.Conflict{c}, winner)
	if err == nil {
		err = failed[id]
	}
	return out, err
}

// ResolveChosen decides many conflicts at once.
func (s *Service) ResolveChosen(ctx context.Context, c ConflictChoice) (Decided, error) {
	out := Decided{Runs: []Run{}, Reasons: []ParkedRefusal{}, Notes: []string{}}
	if err := checkWinner(c.Winner); err != nil {
		return out, err
	}
	narrow := c.Channel != "" || c.Connector != "" || c.Field != "" || c.LocalID != "" || c.Run != 0
	if !narrow && !c.All {
		return out, usage("name what is meant: channel, connector, field, local_id or run, or all of it")
	}
	var list []store.Conflict
	err := s.read(ctx, func(ctx context.Context, tx *store.Tx) error {
		f, err := s.conflictFilter(ctx, tx, ConflictQuery{Channel: c.Channel, Connector: c.Connector, Field: c.Field, LocalID: c.LocalID, Run: c.Run})
		if err != nil {
			return err
		}
		if out.Count, err = tx.CountConflicts(ctx, f); err != nil || c.Confirm == nil {
			return err
		}
		if *c.Confirm != out.Count {
			return fault.New(fault.Permanent, fault.CodeConflict, "", "%d were confirmed, and %d conflicts are meant now", *c.Confirm, out.Count).
				WithHint("look at them again, then confirm their number").WithWhere("confirm")
		}
		f.Limit = int(out.Count)
		list, err = tx.Conflicts(ctx, f)
		return err
	})
	if err != nil || c.Confirm == nil {
		return out, err
	}
	if len(list) == 0 {
		out.Confirmed = true
		return out, nil
	}
	out, _, err = s.decide(ctx, list, c.Winner)
	return out, err
}

// decide decides conflicts and shows what became of them.
func (s *Service) decide(ctx context.Context, list []store.Conflict, winner string) (Decided, map[int64]error, error) {
	out := Decided{Count: int64(len(list)), Confirmed: true, Runs: []Run{}, Reasons: []ParkedRefusal{}, Notes: []string{}}
	d, err := s.desk()
	if err != nil {
		return out, nil, err
	}
	got, err := d.SettleConflicts(ctx, list, winner)
	if s.fleet != nil {
		s.fleet.Kick()
	}
	if err != nil {
		return out, nil, err
	}
	out.Notes = append(out.Notes, got.Notes...)
	for _, c := range list {
		if why := got.Refused[c.ID]; why != nil {
			out.Refused++
			if len(out.Reasons) < maxReasons {
				out.Reasons = append(out.Reasons, ParkedRefusal{ID: c.ID, Message: why.Error(), Hint: fault.HintOf(why)})
			}
		}
	}
	err = s.read(ctx, func(ctx context.Context, tx *store.Tx) error {
		out.Runs = out.Runs[:0]
		for _, r := range got.Runs {
			one, err := s.show(ctx, tx, r)
			if err != nil {
				return err
			}
			out.Runs = append(out.Runs, one)
		}
		return nil
	})
	return out, got.Refused, err
}

// over gives a run that is over and was no dry run.
func (s *Service) over(ctx context.Context, id int64, what string) (r store.Run, err error) {
	err = s.read(ctx, func(ctx context.Context, tx *store.Tx) (err error) {
		r, err = findRun(ctx, tx, id)
		switch {
		case err != nil:
		case !r.Status.Ended():
			err = fault.New(fault.Permanent, fault.CodeConflict, "", "run %d is not over: %s", id, r.Status).WithHint("`tandem runs cancel` ends it")
		case r.Spec.Flags.DryRun:
			err = fault.New(fault.Permanent, fault.CodeConflict, "", "run %d was a dry run: there is nothing to %s", id, what)
		}
		return err
	})
	return r, err
}

// RetryRun tries again what a run parked and what it did not finish.
func (s *Service) RetryRun(ctx context.Context, id int64) (RunRetried, error) {
	out := RunRetried{Parked: ParkedDone{Runs: []Run{}, Reasons: []ParkedRefusal{}, Notes: []string{}}}
	r, err := s.over(ctx, id, "try again")
	if err != nil {
		return out, err
	}
	if r.Status != store.StatusFinished {
		run, err := s.request(ctx, "retry run", func(ctx context.Context, tx *store.Tx) (store.Request, error) {
			c, err := tx.Channel(ctx, r.ChannelID)
			if err == nil && !c.Enabled {
				err = disabled(c.Name)
			}
			return store.Request{ChannelID: r.ChannelID, Trigger: store.TriggerManual, Spec: r.Spec}, err
		})
		if err != nil {
			return out, err
		}
		out.Run = &run
	}
	choice := ParkedChoice{Run: id}
	counted, err := s.RetryChosen(ctx, choice)
	if err != nil || counted.Count == 0 {
		return out, err
	}
	choice.Confirm = &counted.Count
	out.Parked, err = s.RetryChosen(ctx, choice)
	return out, err
}

// RunUndone tells how far a run has been undone.
func (s *Service) RunUndone(ctx context.Context, id int64) (RunUndone, error) {
	out := RunUndone{Run: id, State: "no"}
	err := s.read(ctx, func(ctx context.Context, tx *store.Tx) error {
		if _, err := findRun(ctx, tx, id); err != nil {
			return err
		}
		u, err := tx.UndoneOf(ctx, id)
		if err != nil || u.State == "" {
			return err
		}
		out = RunUndone{Run: id, State: u.State, Fields: u.Fields, Rows: u.Rows, Deleted: u.Deleted, StartedAt: &u.StartedAt, EndedAt: u.EndedAt}
		return nil
	})
	return out, err
}

// UndoRun takes a page of what a run did back.
func (s *Service) UndoRun(ctx context.Context, id int64, o undo.Options) (Undone, error) {
	out := Undone{Runs: []Run{}}
	r, err := s.over(ctx, id, "undo")
	if err != nil {
		return out, err
	}
	d, err := s.desk()
	if err != nil {
		return out, err
	}
	if out.Result, err = d.UndoRun(ctx, r, o); err != nil || o.DryRun || len(out.Connectors) == 0 {
		return out, err
	}
	slices.Sort(out.Connectors)
	err = s.write(ctx, "export what was undone", func(ctx context.Context, tx *store.Tx) error {
		out.Runs = []Run{}
		c, err := tx.Channel(ctx, r.ChannelID)
		if err != nil || !c.Enabled {
			return err // the rows wait until it is enabled
		}
		run, _, _, err := tx.AddRequest(ctx, store.Request{ChannelID: r.ChannelID, Trigger: store.TriggerManual, Spec: store.Spec{
			Kind: store.KindReverseSync, Mode: store.ModeIncremental, Connectors: out.Connectors,
		}}, true)
		if err != nil {
			return err
		}
		one, err := s.show(ctx, tx, run)
		out.Runs = append(out.Runs, one)
		return err
	})
	if err == nil && s.fleet != nil {
		s.fleet.Kick()
	}
	return out, err
}
