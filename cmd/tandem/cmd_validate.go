package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/tandem-sync/tandem/config"
	"github.com/tandem-sync/tandem/workers"
)

func validateCommand(a *app) *cobra.Command {
	var online bool
	cmd := &cobra.Command{
		Use: "validate", Short: "Check the configuration and name every problem", Args: cobra.NoArgs,
		Long: `Checks the file without any network and prints every problem at once, one a line:
file:line:column: field: problem; fix. --online also looks at the tables and
columns in the database and asks every remote whether it answers; indexes that
matching wants and a table lacks are notes, not problems.`,
		Example: "  tandem validate\n  tandem validate -c tandem.yaml --online -o json",
		RunE: run(func(ctx context.Context, _ []string) error {
			file, problems := config.Validate(a.path(), a.env, registry())
			var notes []workers.Planned
			if len(problems) == 0 && online {
				var err error
				if problems, err = a.checkOnline(ctx, file); err != nil {
					return err
				}
				if notes, err = a.missingIndexes(ctx, file); err != nil {
					return err
				}
			}
			return a.printProblems(file, problems, notes)
		}),
	}
	cmd.Flags().BoolVar(&online, "online", false, "also check tables, columns and remotes")
	return cmd
}

// missingIndexes looks for the indexes that the connectors want.
func (a *app) missingIndexes(ctx context.Context, file *config.File) (notes []workers.Planned, err error) {
	err = a.lookAtTables(ctx, file, func(l looker) error {
		notes, err = workers.MissingIndexes(ctx, l.db, file)
		return err
	})
	return notes, err
}

// printProblems prints the problems, which are this command's result, and what
// is no problem but worth a word.
func (a *app) printProblems(file *config.File, problems config.Problems, notes []workers.Planned) error {
	if !a.json {
		for _, n := range notes {
			a.note("note: %s: %s: %s", printable(n.Name), printable(n.Why), printable(n.SQL))
		}
	}
	switch {
	case len(problems) == 0 && a.json:
		return a.printJSON(struct {
			OK       bool              `json:"ok"`
			File     string            `json:"file"`
			Entities int               `json:"entities"`
			Channels int               `json:"channels"`
			Notes    []workers.Planned `json:"notes,omitempty"`
		}{true, file.Path, len(file.Entities), len(file.Channels), notes})
	case len(problems) == 0:
		if file.Path == "" {
			return a.println("there is no " + config.DefaultPath + "; the defaults are fine")
		}
		return a.println(file.Path+" is fine:", len(file.Entities), "entities,", len(file.Channels), "channels")
	case a.json:
		return problems
	}
	for _, p := range problems {
		if err := a.println(p.String()); err != nil {
			return err
		}
	}
	return silent(exitUsage)
}
