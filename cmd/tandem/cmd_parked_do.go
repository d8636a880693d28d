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
	"github.com/tandem-sync/tandem/store"
)

// parkedChoice is what retry and skip are about: ids, or a filter.
type parkedChoice struct {
	api.ParkedChoice
	kind string
	yes  bool
	ids  []int64
}

func (c *parkedChoice) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&c.Channel, "channel", "", "all items of this channel")
	f.StringVar(&c.Connector, "connector", "", "all items of connectors of this name")
	f.StringVar(&c.kind, "kind", "", "all items of this kind: "+parkedKinds+"; without it mass_delete is left out")
	f.StringVar(&c.Reason, "reason", "", "all items with this reason")
	f.Int64Var(&c.Run, "run", 0, "all that this run parked last")
	f.StringVar(&c.Since, "since", "", "all that was parked at or after: a time, or a duration ago such as 2h")
	f.BoolVar(&c.All, "all", false, "all open items but waves of deletions")
	f.BoolVarP(&c.yes, "yes", "y", false, "do not ask")
}

// check puts arguments and flags together.
func (c *parkedChoice) check(args []string) error {
	c.Kind = store.ParkedKind(c.kind)
	if err := checkKind(c.Kind); err != nil {
		return err
	}
	for _, arg := range args {
		id, err := idArg(arg)
		if err != nil {
			return err
		}
		c.ids = append(c.ids, id)
	}
	narrow := c.Channel != "" || c.Connector != "" || c.Kind != "" || c.Reason != "" || c.Run != 0 || c.Since != ""
	switch {
	case len(c.ids) > 0 && (narrow || c.All):
		return usagef("name items by id, or choose them by flags, not both")
	case len(c.ids) == 0 && !narrow && !c.All:
		return usagef("name an item, or choose with --channel, --connector, --kind, --reason, --run, --since or --all")
	}
	return nil
}

func parkedRetry(a *app) *cobra.Command {
	var c parkedChoice
	var wait bool
	cmd := &cobra.Command{
		Use: "retry [ID]...", Short: "Try parked items again; a mass_delete is approved by it",
		Long: `Tries items again, one by its id or many by what they have in common.

A record is read anew by its id, or with all others where the connector cannot
read single ones; a local row on its way to the application is exported anew. What a
message asks for is done if it is valid now. The deletions of a mass_delete are
carried out.`,
		Example: "  tandem parked retry 5\n  tandem parked retry --channel crm --reason bad_value --yes",
		RunE: run(func(ctx context.Context, args []string) error {
			if err := c.check(args); err != nil {
				return err
			}
			return a.with(ctx, working, func(s *session) error {
				if len(c.ids) > 0 {
					return a.retryParked(ctx, s, c.ids, wait)
				}
				done, err := a.confirmed(ctx, &c, "Try %d parked items again?", s.RetryChosen)
				if err != nil {
					return err
				}
				return a.finishRetry(ctx, s, done, wait)
			})
		}),
	}
	c.flags(cmd)
	cmd.Flags().BoolVar(&wait, "wait", false, "with a service: wait until the runs have ended")
	return cmd
}

func (a *app) retryParked(ctx context.Context, s *session, ids []int64, wait bool) error {
	var runs []api.Run
	for _, id := range ids {
		r, err := s.RetryParked(ctx, id)
		if err != nil {
			return err
		}
		if r.Note != "" {
			a.note("%s", r.Note)
		}
		if r.Run != nil {
			runs = append(runs, *r.Run)
		}
	}
	return a.serve(ctx, s, runs, wait, false)
}

// finishRetry waits for the runs where that is wanted and prints what was done.
func (a *app) finishRetry(ctx context.Context, s *session, done api.ParkedDone, wait bool) error {
	var errs []error
	if s.foreground() || wait {
		for i := range done.Runs {
			end, err := a.follow(ctx, s, done.Runs[i].ID)
			if err != nil {
				return err
			}
			done.Runs[i] = end
			errs = append(errs, a.outcome(end, a.json))
		}
	}
	if err := a.printDone(done, "tried again"); err != nil {
		return err
	}
	return errors.Join(errs...)
}

// printDone says what became of a choice. What could not be done makes the
// command fail.
func (a *app) printDone(done api.ParkedDone, word string) error {
	if a.json {
		if err := a.printJSON(done); err != nil {
			return err
		}
	} else {
		if err := a.println(fmt.Sprintf("%d of %d items %s", done.Count-done.Refused, done.Count, word)); err != nil {
			return err
		}
		for _, r := range done.Runs {
			if err := a.printRun(r); err != nil {
				return err
			}
		}
	}
	for _, n := range done.Notes {
		a.note("%s", n)
	}
	for _, r := range done.Reasons {
		a.note("item %d: %s", r.ID, printable(r.Message))
	}
	if done.Refused > 0 {
		return silent(exitFailed)
	}
	return nil
}

func parkedSkip(a *app) *cobra.Command {
	var c parkedChoice
	cmd := &cobra.Command{
		Use: "skip [ID]...", Short: "Close parked items without trying them again",
		Long: `Closes items, one by its id or many by what they have in common.

A record is left out, and counted as skipped, as long as it is what it is now;
as soon as its data or the mapping changes, it is tried again.`,
		Example: "  tandem parked skip 5\n  tandem parked skip --connector contacts --kind duplicate_identity",
		RunE: run(func(ctx context.Context, args []string) error {
			if err := c.check(args); err != nil {
				return err
			}
			return a.with(ctx, working, func(s *session) error {
				if len(c.ids) > 0 {
					return a.skipParked(ctx, s, c.ids)
				}
				done, err := a.confirmed(ctx, &c, "Skip %d parked items?", s.SkipChosen)
				if err != nil {
					return err
				}
				return a.printDone(done, "skipped")
			})
		}),
	}
	c.flags(cmd)
	return cmd
}

func (a *app) skipParked(ctx context.Context, s *session, ids []int64) error {
	for _, id := range ids {
		p, err := s.SkipParked(ctx, id)
		if err != nil {
			return err
		}
		if a.json {
			err = a.printJSON(p)
		} else {
			err = a.println("item", p.ID, "is", p.Resolved)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// confirmed counts the items, lets a person confirm the number, and does it.
func (a *app) confirmed(ctx context.Context, c *parkedChoice, question string,
	do func(context.Context, api.ParkedChoice) (api.ParkedDone, error),
) (api.ParkedDone, error) {
	c.Confirm = nil
	counted, err := do(ctx, c.ParkedChoice)
	if err != nil || counted.Count == 0 {
		return counted, err
	}
	if !c.yes {
		if !isTerminal(os.Stdin) || !isTerminal(a.stderr) {
			return counted, usagef("%d items are meant: add --yes", counted.Count)
		}
		fmt.Fprintf(a.stderr, question+" [y/N] ", counted.Count)
		text, err := bufio.NewReader(os.Stdin).ReadString('\n')
		if err != nil || !strings.HasPrefix(strings.ToLower(strings.TrimSpace(text)), "y") {
			return counted, usagef("nothing was done")
		}
	}
	c.Confirm = &counted.Count
	return do(ctx, c.ParkedChoice)
}
