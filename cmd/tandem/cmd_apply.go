package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/store"
	"github.com/tandem-sync/tandem/workers"
)

func applyCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "apply", Short: "Store what the file says", Args: cobra.NoArgs,
		Long:    "Stores the file's entities and channels over those of the same name and creates\nthe tables it declares. Channels that are not in the file stay as they are.",
		Example: "  tandem apply -c tandem.yaml",
		RunE: run(func(ctx context.Context, _ []string) error {
			return a.withDatabase(ctx, func(e *engine) error {
				if err := e.current(ctx); err != nil {
					return err
				}
				done, err := e.apply(ctx)
				if err != nil {
					return err
				}
				return a.printApplied(done)
			})
		}),
	}
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
	return e.db.CheckKey(ctx, e.keys)
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
