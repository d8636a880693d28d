package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/tandem-sync/tandem/config"
)

func validateCommand(a *app) *cobra.Command {
	var online bool
	cmd := &cobra.Command{
		Use: "validate", Short: "Check the configuration and name every problem", Args: cobra.NoArgs,
		Long: `Checks the file without any network and prints every problem at once, one a line:
file:line:column: field: problem; fix. --online also looks at the tables and
columns in the database and asks every remote whether it answers.`,
		Example: "  tandem validate\n  tandem validate -c tandem.yaml --online -o json",
		RunE: run(func(ctx context.Context, _ []string) error {
			file, problems := config.Validate(a.path(), a.env, registry())
			if len(problems) == 0 && online {
				var err error
				if problems, err = a.checkOnline(ctx, file); err != nil {
					return err
				}
			}
			return a.printProblems(file, problems)
		}),
	}
	cmd.Flags().BoolVar(&online, "online", false, "also check tables, columns and remotes")
	return cmd
}

// printProblems prints the problems, which are this command's result.
func (a *app) printProblems(file *config.File, problems config.Problems) error {
	switch {
	case len(problems) == 0 && a.json:
		return a.printJSON(struct {
			OK       bool   `json:"ok"`
			File     string `json:"file"`
			Entities int    `json:"entities"`
			Channels int    `json:"channels"`
		}{true, file.Path, len(file.Entities), len(file.Channels)})
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
