package main

import (
	"context"
	"errors"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"github.com/tandem-sync/tandem/config"
	"github.com/tandem-sync/tandem/fault"
)

func initCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "init [TYPE]", Short: "Write a commented starter configuration", Args: cobra.MaximumNArgs(1),
		Long:    "Writes a commented tandem.yaml for a channel type (rest unless named) to start from.\nA file that is there is never overwritten; -c chooses another name.",
		Example: "  tandem init\n  tandem init rest -c crm.yaml",
		RunE: run(func(_ context.Context, args []string) error {
			name := "rest"
			if len(args) > 0 {
				name = args[0]
			}
			text, err := config.Starter(name, registry())
			if err != nil {
				return err
			}
			if err := create(a.config, text); err != nil {
				return err
			}
			if a.json {
				return a.printJSON(struct {
					File string `json:"file"`
					Type string `json:"type"`
				}{a.config, name})
			}
			return a.println("wrote " + a.config + "; edit it, then `tandem validate` and `tandem sync`")
		}),
	}
}

// create writes a file that must not be there yet.
func create(path string, text []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600) //nolint:gosec // the user names the file
	if errors.Is(err, fs.ErrExist) {
		return fault.New(fault.Permanent, fault.CodeUsage, "", "%s is there already and is not overwritten", path).
			WithHint("choose another name with -c, or move the file away").WithWhere(path)
	}
	if err != nil {
		return fault.Wrap(fault.Permanent, fault.CodeConfig, "write the starter", err)
	}
	_, err = f.Write(text)
	return errors.Join(err, f.Close())
}
