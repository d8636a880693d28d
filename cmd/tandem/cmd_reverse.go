package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/tandem-sync/tandem/api"
)

// reverseFlags are the flags of `tandem reverse-sync`.
type reverseFlags struct {
	syncFlags
	everything bool
}

func reverseSyncCommand(a *app) *cobra.Command {
	var f reverseFlags
	cmd := &cobra.Command{
		Use:   "reverse-sync CHANNEL",
		Short: "Write local changes to the application now",
		Long: `Exports what changed in the local tables to the application: what waits to go
out, single rows by --local-id, or with --all every row that differs from what
both sides were last known to hold. --start and --end take of these only the rows
that changed in a window [start, end), by the captured time of the change or else
by the entity's modified column.

Local changes go out by themselves where a service runs; so this is for previews
(--dry-run), for tables whose changes are not captured, and for doing it at once.`,
		Example: "  tandem reverse-sync crm\n  tandem reverse-sync crm --all --dry-run -o json\n  tandem reverse-sync crm --start 2h --end 1h --wait\n  tandem reverse-sync crm --connector contacts --local-id 42 --wait",
		Args:    cobra.ExactArgs(1),
		RunE:    run(func(ctx context.Context, args []string) error { return a.reverseSync(ctx, f, args[0]) }),
	}
	fl := cmd.Flags()
	fl.StringArrayVar(&f.connectors, "connector", nil, "only this connector; may be repeated")
	fl.StringArrayVar(&f.localIDs, "local-id", nil, "only this local row; may be repeated")
	fl.StringArrayVar(&f.remoteIDs, "remote-id", nil, "only the local row of this remote record; may be repeated")
	fl.StringVar(&f.start, "start", "", "only rows that changed at or after this time")
	fl.StringVar(&f.end, "end", "", "only rows that changed before this time")
	fl.BoolVar(&f.everything, "all", false, "look at every row, linked or not")
	fl.BoolVar(&f.dryRun, "dry-run", false, "show what would be written and write nothing")
	fl.BoolVar(&f.force, "force", false, "judge every row again, even one that has not changed")
	fl.BoolVar(&f.wait, "wait", false, "with a service: wait until the run has ended")
	return cmd
}

func (a *app) reverseSync(ctx context.Context, f reverseFlags, channel string) error {
	f.full = f.everything
	if f.everything && len(f.localIDs)+len(f.remoteIDs) > 0 {
		return usagef("--all does not go with record ids")
	}
	req, err := f.request()
	if err != nil {
		return err
	}
	return a.with(ctx, working, func(s *session) error {
		r, err := s.ReverseSync(ctx, channel, req)
		if err != nil {
			return err
		}
		return a.serve(ctx, s, []api.Run{r}, f.wait, f.dryRun)
	})
}
