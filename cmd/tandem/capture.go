package main

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/store"
	"github.com/tandem-sync/tandem/store/seal"
	"github.com/tandem-sync/tandem/workers"
)

func captureCommand(a *app) *cobra.Command {
	return group("capture", "The change triggers on your tables", captureStatus(a), captureInstall(a), captureRemove(a))
}

func captureStatus(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "status [ENTITY]", Short: "Show which changes are noticed, and what is wrong with that", Args: cobra.MaximumNArgs(1),
		Long: `Shows for each stored entity how its local changes are noticed, whether its change
triggers are installed, and what differs from what they should be: a trigger that
is missing or disabled, a partition without one, a mapping they were not made for.`,
		Example: "  tandem capture status\n  tandem capture status contacts -o json",
		RunE: run(func(ctx context.Context, args []string) error {
			file, err := a.load()
			if err != nil {
				return err
			}
			var list []workers.Capture
			err = a.look(ctx, file, func(l looker) (err error) {
				if l.empty && len(args) > 0 {
					return fault.New(fault.Permanent, fault.CodeNotFound, "", "there is no entity %q", args[0]).WithHint("`tandem apply` stores those of tandem.yaml")
				}
				if !l.empty {
					list, err = workers.CaptureStatus(ctx, l.db, l.keys, args...)
				}
				return err
			})
			if err != nil {
				return err
			}
			return a.printCaptures(list)
		}),
	}
}

func captureInstall(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "install [ENTITY]", Short: "Install change triggers, or bring them up to date", Args: cobra.MaximumNArgs(1),
		Long: `Installs the change triggers of an entity, or of every stored entity with
capture: triggers, and repairs those that are there. ` + "`tandem apply`" + ` does it, too;
this command is for what happens outside the file: a new partition, a trigger that
was disabled. What triggers did not see meanwhile is looked for afterwards.

On PostgreSQL making a trigger waits for the table's writers and needs the right
TRIGGER on the table.`,
		Example: "  tandem capture install\n  tandem capture install contacts",
		RunE:    a.captureChange(workers.CaptureInstall),
	}
}

func captureRemove(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "remove [ENTITY]", Short: "Remove change triggers", Args: cobra.MaximumNArgs(1),
		Long: `Removes the change triggers of an entity, or all there are. While its entity has
capture: triggers, the next ` + "`tandem apply`" + ` installs them again.`,
		Example: "  tandem capture remove contacts",
		RunE:    a.captureChange(workers.CaptureRemove),
	}
}

// captureChange runs what changes triggers, with the database to itself where it
// is a file.
func (a *app) captureChange(do func(ctx context.Context, db *store.DB, keys *seal.Keyring, names ...string) ([]workers.Capture, error)) func(*cobra.Command, []string) error {
	return run(func(ctx context.Context, args []string) error {
		return a.withDatabase(ctx, func(e *engine) error {
			if err := e.current(ctx); err != nil {
				return err
			}
			list, err := do(ctx, e.db, e.keys, args...)
			if err != nil {
				return err
			}
			return a.printCaptures(list)
		})
	})
}

// printCaptures prints a line for each entity, and below it what is wrong.
func (a *app) printCaptures(list []workers.Capture) error {
	if a.json {
		for _, c := range list {
			if err := a.printJSON(c); err != nil {
				return err
			}
		}
		return nil
	}
	rows := make([][]string, 0, len(list))
	for i := range list {
		c := &list[i]
		triggers := "none"
		switch {
		case len(c.Problems) > 0:
			triggers = "impossible"
		case c.Installed && c.Right():
			triggers = "installed"
		case c.Installed:
			triggers = "to be corrected"
		case c.Mode == workers.CaptureTriggers:
			triggers = "missing"
		}
		rows = append(rows, []string{c.Entity, c.Table, c.Mode, triggers, strings.Join(c.Columns, ", ")})
	}
	if err := a.table([]string{"ENTITY", "TABLE", "CAPTURE", "TRIGGERS", "COLUMNS"}, rows); err != nil {
		return err
	}
	for _, c := range list {
		for _, text := range append(append([]string{}, c.Problems...), c.Drift...) {
			if err := a.println(printable(c.Entity + ": " + text)); err != nil {
				return err
			}
		}
	}
	return nil
}
