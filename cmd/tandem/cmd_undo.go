package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/tandem-sync/tandem/api"
	"github.com/tandem-sync/tandem/store"
	"github.com/tandem-sync/tandem/sync/undo"
)

func runsRetry(a *app) *cobra.Command {
	var wait bool
	cmd := byID(a, "retry ID", "Try again what a run parked and what it did not finish", "  tandem runs retry 17 --wait", working,
		func(ctx context.Context, s *session, id int64) error {
			got, err := s.RetryRun(ctx, id)
			if err != nil {
				return err
			}
			return a.finishRunRetry(ctx, s, id, got, wait)
		})
	cmd.Flags().BoolVar(&wait, "wait", false, "with a service: wait until the runs have ended")
	return cmd
}

func (a *app) finishRunRetry(ctx context.Context, s *session, id int64, got api.RunRetried, wait bool) error {
	var errs []error
	if s.foreground() || wait {
		follow := func(r *api.Run) error {
			end, err := a.follow(ctx, s, r.ID)
			if err != nil {
				return err
			}
			*r = end
			errs = append(errs, a.outcome(end, a.json))
			return nil
		}
		if got.Run != nil {
			if err := follow(got.Run); err != nil {
				return err
			}
		}
		for i := range got.Parked.Runs {
			if err := follow(&got.Parked.Runs[i]); err != nil {
				return err
			}
		}
	}
	if a.json {
		errs = append(errs, a.printJSON(got))
		return errors.Join(errs...)
	}
	if got.Run == nil && got.Parked.Count == 0 {
		return a.println(fmt.Sprintf("run %d finished, and nothing that it parked waits", id))
	}
	if got.Run != nil {
		if err := a.printRun(*got.Run); err != nil {
			return err
		}
	}
	if got.Parked.Count > 0 {
		errs = append(errs, a.printDone(got.Parked, "tried again"))
	}
	return errors.Join(errs...)
}

func runsUndo(a *app) *cobra.Command {
	var o undo.Options
	var wait bool
	cmd := byID(a, "undo ID", "Undo what a run did, where nobody has changed it since", "  tandem runs undo 17 --dry-run\n  tandem runs undo 17 --wait", working,
		func(ctx context.Context, s *session, id int64) error { return a.undo(ctx, s, id, o, wait) })
	cmd.Long = `Takes back what a run did, as a person would who edits the rows: values that it
replaced are put back where they are still what it wrote, and told to the
application where the field travels there; rows that it created are deleted when
nobody has touched them. Nothing is deleted in the application. What cannot be
undone is told with its reason. docs/undo.md says more.

What the run wrote to the application were edits of your rows: they are undone,
on both sides, only with --pushed.`
	cmd.Flags().BoolVar(&o.DryRun, "dry-run", false, "show what would be undone and change nothing")
	cmd.Flags().BoolVar(&o.Pushed, "pushed", false, "also put back, on both sides, what the run replaced in the application")
	cmd.Flags().BoolVar(&wait, "wait", false, "with a service: wait until the application was told")
	return cmd
}

// undo takes a run back page by page, a line a record, and tells the counts.
func (a *app) undo(ctx context.Context, s *session, id int64, o undo.Options, wait bool) error {
	var total undo.Counts
	var runs []api.Run
	for {
		got, err := s.UndoRun(ctx, id, o)
		if err != nil {
			return err
		}
		total.Add(got.Counts)
		for _, r := range got.Runs {
			if len(runs) == 0 || runs[len(runs)-1].ID != r.ID {
				runs = append(runs, r)
			}
		}
		for _, l := range got.Lines {
			if a.json {
				err = a.printJSON(l)
			} else {
				err = a.printUndo(l)
			}
			if err != nil {
				return err
			}
		}
		if o.After = got.Next; got.Next == "" {
			break
		}
	}
	var errs []error
	for i := range runs {
		if !s.foreground() && !wait {
			break
		}
		end, err := a.follow(ctx, s, runs[i].ID)
		if err != nil {
			return err
		}
		runs[i] = end
		errs = append(errs, a.outcome(end, a.json))
	}
	return errors.Join(append(errs, a.printUndone(id, o.DryRun, total, runs))...)
}

func (a *app) printUndo(l store.Change) error {
	if l.Op != undo.OpKeep {
		return a.printChange(l)
	}
	why := ""
	for _, f := range l.Fields {
		if f.Field != "" {
			why += " " + f.Field
		}
		why += " " + f.Reason
	}
	return a.println(printable("keep " + l.Side + " " + l.Connector + " local=" + l.LocalID + " remote=" + l.RemoteID + " " + why))
}

func (a *app) printUndone(id int64, dry bool, c undo.Counts, runs []api.Run) error {
	if a.json {
		if runs == nil {
			runs = []api.Run{}
		}
		return a.printJSON(struct {
			Run    int64 `json:"run"`
			DryRun bool  `json:"dry_run"`
			undo.Counts
			Runs []api.Run `json:"runs"`
		}{id, dry, c, runs})
	}
	word := "undone"
	if dry {
		word = "would be undone"
	}
	if err := a.println(fmt.Sprintf("run %d %s: %d values in %d rows put back, %d rows deleted, %d kept", id, word, c.Fields, c.Rows, c.Deleted, c.Kept)); err != nil {
		return err
	}
	for _, r := range runs {
		if err := a.printRun(r); err != nil {
			return err
		}
	}
	return nil
}
