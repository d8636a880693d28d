package main

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/tandem-sync/tandem/config"
	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/workers"
)

func exportCommand(a *app) *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use: "export [FILE]", Short: "Write the stored entities and channels as a configuration file", Args: cobra.MaximumNArgs(1),
		Long: `Writes what is stored back as YAML, to FILE or standard output. Applying it changes
nothing. Secrets never come out: each is a reference to an environment variable,
TANDEM_<CHANNEL>_<FIELD>, and the variables that must be set are listed. An
existing file is never overwritten without --force.`,
		Example: "  tandem export\n  tandem export tandem.yaml --force",
		RunE: run(func(ctx context.Context, args []string) error {
			file, err := a.load()
			if err != nil {
				return err
			}
			out := *file
			err = a.look(ctx, file, func(l looker) (err error) {
				if l.empty {
					return fault.New(fault.Permanent, fault.CodeNotFound, "", "nothing is stored in %s yet", redactURL(file.Database)).
						WithHint("`tandem apply` stores what tandem.yaml says")
				}
				out.Entities, out.Channels, err = workers.ForExport(ctx, l.db, l.keys)
				return err
			})
			if err != nil {
				return err
			}
			text, vars, err := config.Export(&out)
			if err != nil {
				return err
			}
			name := ""
			if len(args) > 0 {
				name = args[0]
				if err := writeFile(name, text, force); err != nil {
					return err
				}
			}
			return a.printExport(name, string(text), &out, vars)
		}),
	}
	cmd.Flags().BoolVar(&force, "force", false, "overwrite FILE")
	return cmd
}

// redactURL gives the address of a database without what may be secret in it.
func redactURL(database string) string {
	if _, ok := sqlitePath(database); ok {
		return database
	}
	return "the database"
}

// writeFile writes a whole, new file, or nothing.
func writeFile(name string, text []byte, force bool) error {
	if _, err := os.Lstat(name); err == nil && !force {
		return usageExists(name)
	}
	f, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+".*") // mode 0600
	if err != nil {
		return fault.Wrap(fault.Permanent, fault.CodeUsage, "write "+name, err)
	}
	defer func() { _ = os.Remove(f.Name()) }() // the name is only a stopover
	_, err = f.Write(text)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if force {
		return os.Rename(f.Name(), name)
	}
	err = os.Link(f.Name(), name) // fails when somebody made the file meanwhile
	if errors.Is(err, fs.ErrExist) {
		return usageExists(name)
	}
	return err
}

func usageExists(name string) error {
	return fault.New(fault.Permanent, fault.CodeUsage, "", "the file exists already").
		WithWhere(name).WithHint("name another file, or overwrite it with --force")
}

func (a *app) printExport(name, text string, f *config.File, vars []config.Variable) error {
	if vars == nil {
		vars = []config.Variable{}
	}
	if a.json {
		out := struct {
			File      string            `json:"file"`
			Entities  int               `json:"entities"`
			Channels  int               `json:"channels"`
			Variables []config.Variable `json:"variables"`
			YAML      string            `json:"yaml,omitempty"`
		}{File: name, Entities: len(f.Entities), Channels: len(f.Channels), Variables: vars}
		if name == "" {
			out.YAML = text
		}
		return a.printJSON(out)
	}
	if name == "" {
		_, err := a.stdout.Write([]byte(text))
		return err
	}
	if err := a.println("wrote "+name+":", len(f.Entities), "entities,", len(f.Channels), "channels"); err != nil || len(vars) == 0 {
		return err
	}
	rows := make([][]string, 0, len(vars))
	for _, v := range vars {
		rows = append(rows, []string{v.Name, v.For})
	}
	return a.table([]string{"SET THIS VARIABLE", "TO THE SECRET OF"}, rows)
}
