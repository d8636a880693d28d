package main

import (
	"bufio"
	"context"
	"errors"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tandem-sync/tandem/config"
	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/store"
	"github.com/tandem-sync/tandem/workers"
)

func applyCommand(a *app) *cobra.Command {
	var prune, yes bool
	cmd := &cobra.Command{
		Use: "apply", Short: "Store what the file says", Args: cobra.NoArgs,
		Long: `Stores the file's entities and channels over those of the same name and creates
the tables it declares. Channels that are not in the file stay as they are, unless
--prune is given: then those that a file manages and this one does not name are
removed with their links, watermarks, requests and runs, and never a row of a table
of yours. ` + "`tandem plan --prune`" + ` shows them. Without a terminal, --prune
needs --yes where it finds something.`,
		Example: "  tandem apply -c tandem.yaml\n  tandem apply --prune --yes",
		RunE: run(func(ctx context.Context, _ []string) error {
			return a.withDatabase(ctx, func(e *engine) error {
				if err := e.current(ctx); err != nil {
					return err
				}
				gone, err := a.toPrune(ctx, e, prune, yes)
				if err != nil {
					return err
				}
				done, err := e.apply(ctx)
				if err != nil {
					return err
				}
				return errors.Join(a.printApplied(done), a.prune(ctx, e, gone))
			})
		}),
	}
	cmd.Flags().BoolVar(&prune, "prune", false, "remove channels that a file manages and this one does not name")
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask before removing")
	return cmd
}

// toPrune gives the channels that pruning removes, once a person or --yes has
// agreed to it.
func (a *app) toPrune(ctx context.Context, e *engine, prune, yes bool) ([]workers.Planned, error) {
	if !prune {
		return nil, nil
	}
	if e.file.Path == "" {
		return nil, usagef("there is no %s, and without a file --prune would remove every channel that a file manages", config.DefaultPath)
	}
	if err := e.file.Check(registry()).Err(); err != nil {
		return nil, err
	}
	items, err := workers.MakePlan(ctx, e.db, e.keys, registry(), e.file, workers.PlanOptions{Prune: true})
	if err != nil {
		return nil, err
	}
	items = slices.DeleteFunc(items, func(p workers.Planned) bool { return p.Action != workers.PlanRemove || p.Kind != workers.PlanChannel })
	for _, p := range items {
		a.note("removes channel %s: %s", printable(p.Name), leavings(p))
	}
	if len(items) == 0 || yes {
		return items, nil
	}
	if !isTerminal(os.Stdin) || !isTerminal(a.stderr) {
		return nil, usagef("--prune removes %d channels; say so with --yes", len(items))
	}
	a.note("Type yes to go on:")
	if line, err := bufio.NewReader(os.Stdin).ReadString('\n'); err != nil || strings.TrimSpace(line) != "yes" {
		return nil, usagef("nothing was applied and nothing removed")
	}
	return items, nil
}

// prune removes channels. What it did not get to is removed the next time.
func (a *app) prune(ctx context.Context, e *engine, gone []workers.Planned) error {
	for _, p := range gone {
		if _, err := e.service().DeleteChannel(ctx, p.Name); err != nil {
			return err
		}
		if err := a.printApplied([]workers.Applied{{Kind: workers.PlanChannel, Name: p.Name, Action: "removed"}}); err != nil {
			return err
		}
	}
	return nil
}

// current makes sure that the schema is this binary's: by migrating where this
// process is alone, else by looking.
func (e *engine) current(ctx context.Context) error {
	if isEmbedded(e.file) {
		return e.migrate(ctx)
	}
	if err := e.db.CheckSchema(ctx); err != nil {
		return err
	}
	return e.fitKey(ctx)
}

// printApplied prints a line for every entity and channel of the file.
func (a *app) printApplied(done []workers.Applied) error {
	for _, d := range done {
		var err error
		if a.json {
			err = a.printJSON(d)
		} else {
			err = a.println(d.Kind, d.Name, d.Action)
			if err == nil && d.SQL != "" {
				err = a.println("  " + d.SQL)
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// lockedBy is the error of a command that needs the database for itself while a
// service has it.
func lockedBy(info store.LockInfo, path string) error {
	return fault.New(fault.Permanent, fault.CodeLocked, "", "process %d holds %s", info.PID, path).
		WithHint("the service applies the file and migrates when it starts: restart it").WithWhere(path)
}
