package main

import (
	"bytes"
	"context"
	"encoding/json"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tandem-sync/tandem/channels"
)

func typesCommand(a *app) *cobra.Command {
	return group("types", "The channel types of this binary", typesList(a), typesShow(a))
}

func typesList(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List channel types", Args: cobra.NoArgs,
		Example: "  tandem types list",
		RunE: run(func(context.Context, []string) error {
			var rows [][]string
			for _, t := range registry().All() {
				i := t.Info()
				if a.json {
					if err := a.printJSON(filled(i)); err != nil {
						return err
					}
					continue
				}
				rows = append(rows, []string{i.Name, i.Label, strings.Join(i.Capabilities, ", "), i.Summary})
			}
			if a.json {
				return nil
			}
			return a.table([]string{"TYPE", "LABEL", "CAN", "SUMMARY"}, rows)
		}),
	}
}

// filled replaces missing lists, so that programs always find lists.
func filled(i channels.Info) channels.Info {
	if i.Connectors == nil {
		i.Connectors = []channels.ConnectorInfo{}
	}
	if i.Operations == nil {
		i.Operations = []string{}
	}
	if i.Capabilities == nil {
		i.Capabilities = []string{}
	}
	return i
}

func typesShow(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "show TYPE", Short: "Show a channel type with the schema of its settings", Args: cobra.ExactArgs(1),
		Example: "  tandem types show rest -o json",
		RunE: run(func(_ context.Context, args []string) error {
			t, err := registry().Get(args[0])
			if err != nil {
				return err
			}
			i := filled(t.Info())
			if a.json {
				return a.printJSON(i)
			}
			names := make([]string, len(i.Connectors))
			for n, c := range i.Connectors {
				names[n] = c.Name
			}
			connectors := strings.Join(names, ", ")
			if connectors == "" {
				connectors = "as the configuration names them"
			}
			operations := strings.Join(i.Operations, ", ")
			if operations == "" && slices.Contains(i.Capabilities, channels.CapabilityOperations) {
				operations = "as the configuration declares them"
			}
			if err := a.pairs(
				[2]string{"type", i.Name}, [2]string{"label", i.Label}, [2]string{"summary", i.Summary},
				[2]string{"connectors", connectors}, [2]string{"operations", operations},
				[2]string{"capabilities", strings.Join(i.Capabilities, ", ")}, [2]string{"create safety", i.CreateSafety},
			); err != nil {
				return err
			}
			var schema bytes.Buffer
			if err := json.Indent(&schema, i.Schema, "", "  "); err != nil {
				return err
			}
			return a.println("settings " + schema.String())
		}),
	}
}
