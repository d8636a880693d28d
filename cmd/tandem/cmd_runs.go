package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tandem-sync/tandem/api"
	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/store"
)

func runsCommand(a *app) *cobra.Command {
	return group("runs", "History and progress of runs", runsList(a), runsShow(a), runsWatch(a), runsCancel(a), runsRetry(a), runsUndo(a))
}

func runsList(a *app) *cobra.Command {
	var q api.RunQuery
	var status []string
	cmd := &cobra.Command{
		Use: "list", Short: "List runs, the latest first", Args: cobra.NoArgs,
		Example: "  tandem runs list --channel crm\n  tandem runs list --status failed -o json",
		RunE: run(func(ctx context.Context, _ []string) error {
			for _, s := range status {
				q.Status = append(q.Status, store.Status(s))
			}
			if err := checkStatus(q.Status); err != nil {
				return err
			}
			return a.with(ctx, reading, func(s *session) error {
				page, err := s.Runs(ctx, q)
				if err != nil {
					return err
				}
				return a.printRuns(page)
			})
		}),
	}
	f := cmd.Flags()
	f.StringVar(&q.Channel, "channel", "", "only runs of this channel")
	f.StringSliceVar(&status, "status", nil, "only runs in this state; may be repeated")
	f.Int64Var(&q.Before, "before", 0, "only runs with a smaller id")
	f.IntVar(&q.Limit, "limit", 50, "at most so many, up to 500")
	return cmd
}

func checkStatus(list []store.Status) error {
	for _, s := range list {
		switch s {
		case store.StatusPlanned, store.StatusPreparing, store.StatusExecution, store.StatusFinished, store.StatusFailed, store.StatusCancelled:
		default:
			return usagef("status %q: want planned, preparing, execution, finished, failed or cancelled", s)
		}
	}
	return nil
}

func (a *app) printRuns(page api.RunPage) error {
	if a.json {
		for _, r := range page.Runs {
			if err := a.printJSON(r); err != nil {
				return err
			}
		}
		return nil
	}
	rows := make([][]string, 0, len(page.Runs))
	for _, r := range page.Runs {
		rows = append(rows, []string{
			number(r.ID), r.Channel, string(r.Kind), string(r.Mode), string(r.Trigger), string(r.Status) + waitingWord(r),
			number(r.Read), number(r.Created), number(r.Updated), number(r.Deleted), number(r.Pushed), number(r.Conflicts), number(r.Parked), timeText(r.StartedAt), took(r),
		})
	}
	err := a.table(strings.Split("ID CHANNEL KIND MODE TRIGGER STATUS READ CREATED UPDATED DELETED PUSHED CONFLICTS PARKED STARTED TOOK", " "), rows)
	if page.Next != nil {
		a.note("there are more: --before %d", *page.Next)
	}
	return err
}

// idArg reads the id of a run or parked item.
func idArg(s string) (int64, error) {
	id, err := strconv.ParseInt(s, 10, 64)
	if err != nil || id < 1 {
		return 0, fault.New(fault.Permanent, fault.CodeNotFound, "", "there is no id %q; ids are numbers", s)
	}
	return id, nil
}

// byID makes a command that works on one id.
func byID(a *app, use, short, example string, need access, fn func(context.Context, *session, int64) error) *cobra.Command {
	return &cobra.Command{
		Use: use, Short: short, Example: example, Args: cobra.ExactArgs(1),
		RunE: run(func(ctx context.Context, args []string) error {
			id, err := idArg(args[0])
			if err != nil {
				return err
			}
			return a.with(ctx, need, func(s *session) error { return fn(ctx, s, id) })
		}),
	}
}

func runsShow(a *app) *cobra.Command {
	return byID(a, "show ID", "Show one run", "  tandem runs show 17 -o json", reading,
		func(ctx context.Context, s *session, id int64) error {
			r, err := s.Run(ctx, id)
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(r)
			}
			at, err := revisionText(ctx, s, id)
			if err != nil {
				return err
			}
			more := [][2]string{{"revision", at}}
			undone, err := undoneText(ctx, s, id)
			if err != nil {
				return err
			}
			if undone != "" {
				more = append(more, [2]string{"undone", undone})
			}
			return a.showRun(r, more...)
		})
}

// revisionText names the revision of its channel's settings that a run works
// with.
func revisionText(ctx context.Context, s *session, id int64) (string, error) {
	v, err := s.RunRevision(ctx, id)
	if fault.CodeOf(err) == fault.CodeNotFound { // forgotten, or asked of an older service
		return "-", nil
	}
	return number(v.Revision) + ", settings of " + timeText(&v.CreatedAt), err
}

// undoneText says how far a run has been undone; "" when nobody did.
func undoneText(ctx context.Context, s *session, id int64) (string, error) {
	u, err := s.RunUndone(ctx, id)
	if fault.CodeOf(err) == fault.CodeNotFound { // asked of an older service
		return "", nil
	}
	if err != nil || u.State == "no" {
		return "", err
	}
	text := fmt.Sprintf("%s: %d values in %d rows put back, %d rows deleted", u.State, u.Fields, u.Rows, u.Deleted)
	if u.State == store.UndonePartly {
		text += "; `tandem runs undo " + number(id) + "` goes on"
	}
	return text, nil
}

func (a *app) showRun(r api.Run, more ...[2]string) error {
	if a.json {
		return a.printJSON(r)
	}
	rows := [][2]string{
		{"run", number(r.ID)},
		{"channel", r.Channel},
		{"connectors", strings.Join(r.Connectors, ", ")},
		{"kind", string(r.Kind) + ", " + string(r.Mode)},
		{"trigger", string(r.Trigger)},
		{"status", string(r.Status) + waitingText(r)},
		{"counts", counts(r)},
		{"rate", strconv.FormatFloat(r.Progress.Rate, 'f', -1, 64) + " records/s"},
		{"started", timeText(r.StartedAt)},
		{"finished", timeText(r.FinishedAt)},
	}
	rows = append(rows, more...)
	if r.DryRun {
		rows = append(rows, [2]string{"dry run", "yes"})
	}
	if r.Progress.ETA != nil {
		rows = append(rows, [2]string{"eta", timeText(r.Progress.ETA)})
	}
	if r.Error != nil {
		rows = append(rows, [2]string{"error", r.Error.Code + ": " + r.Error.Message})
		if r.Error.Hint != "" {
			rows = append(rows, [2]string{"hint", r.Error.Hint})
		}
	}
	return a.pairs(rows...)
}

func runsWatch(a *app) *cobra.Command {
	return byID(a, "watch ID", "Follow a run until it ends", "  tandem runs watch 17", watching,
		func(ctx context.Context, s *session, id int64) error {
			if !a.json {
				r, err := a.follow(ctx, s, id)
				if err != nil {
					return err
				}
				if err := a.printRun(r); err != nil {
					return err
				}
				return a.outcome(r, false)
			}
			// One line for every state that differs from the one before.
			var last string
			r, err := s.watch(ctx, id, func(r api.Run) error {
				key := string(r.Status) + counts(r) + waitingText(r)
				if key == last {
					return nil
				}
				last = key
				return a.printJSON(r)
			})
			if err != nil {
				return err
			}
			return a.outcome(r, true)
		})
}

func runsCancel(a *app) *cobra.Command {
	return byID(a, "cancel ID", "Cancel a run; what it has done stays", "  tandem runs cancel 17", working,
		func(ctx context.Context, s *session, id int64) error {
			r, err := s.CancelRun(ctx, id)
			if err != nil {
				return err
			}
			if s.foreground() && !r.Status.Ended() {
				if r, err = a.follow(ctx, s, id); err != nil {
					return err
				}
			}
			if a.json {
				return a.printJSON(r)
			}
			if r.Status.Ended() {
				return a.println("run", r.ID, string(r.Status))
			}
			return a.println("run", r.ID, "is asked to end")
		})
}
