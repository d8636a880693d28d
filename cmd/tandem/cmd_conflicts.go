package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tandem-sync/tandem/api"
)

func conflictsCommand(a *app) *cobra.Command {
	return group("conflicts", "Fields on which both sides differ and that a person decides", conflictsList(a), conflictsResolve(a))
}

func conflictsList(a *app) *cobra.Command {
	var q api.ConflictQuery
	cmd := &cobra.Command{
		Use: "list", Short: "List conflicts, the latest first", Args: cobra.NoArgs,
		Example: "  tandem conflicts list --channel crm\n  tandem conflicts list --field email --resolved -o json",
		RunE: run(func(ctx context.Context, _ []string) error {
			return a.with(ctx, reading, func(s *session) error {
				page, err := s.Conflicts(ctx, q)
				if err != nil {
					return err
				}
				return a.printConflicts(page)
			})
		}),
	}
	f := cmd.Flags()
	f.StringVar(&q.Channel, "channel", "", "only conflicts of this channel")
	f.StringVar(&q.Connector, "connector", "", "only conflicts of connectors of this name")
	f.StringVar(&q.Field, "field", "", "only conflicts about this local column")
	f.StringVar(&q.LocalID, "local-id", "", "only conflicts of this local row")
	f.Int64Var(&q.Run, "run", 0, "only what this run met last")
	f.BoolVar(&q.Resolved, "resolved", false, "those that are decided, too")
	f.Int64Var(&q.Before, "before", 0, "only conflicts with a smaller id")
	f.IntVar(&q.Limit, "limit", 50, "at most so many, up to 500")
	return cmd
}

func (a *app) printConflicts(page api.ConflictPage) error {
	rows := make([][]string, 0, len(page.Conflicts))
	for _, c := range page.Conflicts {
		if a.json {
			if err := a.printJSON(c); err != nil {
				return err
			}
			continue
		}
		state := "open"
		if c.Resolved != "" {
			state = c.Resolved
		}
		rows = append(rows, []string{
			number(c.ID), c.Channel, c.Connector, c.LocalID, c.RemoteID, c.Field, jsonText(c.Local), jsonText(c.Remote), jsonText(c.Base), state, timeText(&c.CreatedAt),
		})
	}
	if a.json {
		return nil
	}
	err := a.table(strings.Split("ID CHANNEL CONNECTOR LOCAL-ID REMOTE-ID FIELD LOCAL REMOTE BASE STATE SINCE", " "), rows)
	if page.Next != nil {
		a.note("there are more: --before %d", *page.Next)
	}
	return err
}

// conflictChoice is what resolve is about: ids, or a filter.
type conflictChoice struct {
	api.ConflictChoice
	yes, wait bool
	ids       []int64
}

func (c *conflictChoice) check(args []string) error {
	if c.Winner != "local" && c.Winner != "remote" {
		return usagef("--winner %q: want local or remote", c.Winner)
	}
	for _, arg := range args {
		id, err := idArg(arg)
		if err != nil {
			return err
		}
		c.ids = append(c.ids, id)
	}
	narrow := c.Channel != "" || c.Connector != "" || c.Field != "" || c.LocalID != "" || c.Run != 0
	switch {
	case len(c.ids) > 0 && (narrow || c.All):
		return usagef("name conflicts by id, or choose them by flags, not both")
	case len(c.ids) == 0 && !narrow && !c.All:
		return usagef("name a conflict, or choose with --channel, --connector, --field, --local-id, --run or --all")
	}
	return nil
}

func conflictsResolve(a *app) *cobra.Command {
	var c conflictChoice
	cmd := &cobra.Command{
		Use: "resolve [ID]... --winner local|remote", Short: "Decide conflicts: the winner's value is told to the other side",
		Long: `Decides conflicts, one by its id or many by what they have in common. The value of
the side that wins is then written to the other one, by a run that looks at both
sides once more: when one of them was changed in the meantime, it is judged anew
and nothing is lost.`,
		Example: "  tandem conflicts resolve 5 --winner local\n  tandem conflicts resolve --channel crm --field email --winner remote --yes",
		RunE: run(func(ctx context.Context, args []string) error {
			if err := c.check(args); err != nil {
				return err
			}
			return a.with(ctx, working, func(s *session) error { return a.resolve(ctx, s, &c) })
		}),
	}
	f := cmd.Flags()
	f.StringVar(&c.Winner, "winner", "", "whose value stands: local or remote")
	f.StringVar(&c.Channel, "channel", "", "all conflicts of this channel")
	f.StringVar(&c.Connector, "connector", "", "all conflicts of connectors of this name")
	f.StringVar(&c.Field, "field", "", "all conflicts about this local column")
	f.StringVar(&c.LocalID, "local-id", "", "all conflicts of this local row")
	f.Int64Var(&c.Run, "run", 0, "all that this run met last")
	f.BoolVar(&c.All, "all", false, "all open conflicts")
	f.BoolVarP(&c.yes, "yes", "y", false, "do not ask")
	f.BoolVar(&c.wait, "wait", false, "with a service: wait until the runs have ended")
	return cmd
}

func (a *app) resolve(ctx context.Context, s *session, c *conflictChoice) error {
	var done api.Decided
	if len(c.ids) == 0 {
		var err error
		if done, err = a.resolveChosen(ctx, s, c); err != nil {
			return err
		}
	}
	for _, id := range c.ids {
		one, err := s.ResolveConflict(ctx, id, c.Winner)
		if err != nil {
			return err
		}
		done.Count, done.Confirmed = done.Count+one.Count, true
		done.Runs, done.Notes = append(done.Runs, one.Runs...), append(done.Notes, one.Notes...)
	}
	var errs []error
	if s.foreground() || c.wait {
		for i := range done.Runs {
			end, err := a.follow(ctx, s, done.Runs[i].ID)
			if err != nil {
				return err
			}
			done.Runs[i] = end
			errs = append(errs, a.outcome(end, a.json))
		}
	}
	shown := api.ParkedDone{
		Count: done.Count, Confirmed: done.Confirmed, Runs: done.Runs, Refused: done.Refused, Reasons: done.Reasons, Notes: done.Notes,
	}
	return errors.Join(append(errs, a.printDone(shown, "resolved"))...)
}

// resolveChosen counts the conflicts, lets a person confirm the number, and
// decides them.
func (a *app) resolveChosen(ctx context.Context, s *session, c *conflictChoice) (api.Decided, error) {
	counted, err := s.ResolveChosen(ctx, c.ConflictChoice)
	if err != nil || counted.Count == 0 {
		return counted, err
	}
	if !c.yes {
		if !isTerminal(os.Stdin) || !isTerminal(a.stderr) {
			return counted, usagef("%d conflicts are meant: add --yes", counted.Count)
		}
		fmt.Fprintf(a.stderr, "Decide %d conflicts, %s wins? [y/N] ", counted.Count, c.Winner)
		text, err := bufio.NewReader(os.Stdin).ReadString('\n')
		if err != nil || !strings.HasPrefix(strings.ToLower(strings.TrimSpace(text)), "y") {
			return counted, usagef("nothing was done")
		}
	}
	c.Confirm = &counted.Count
	return s.ResolveChosen(ctx, c.ConflictChoice)
}
