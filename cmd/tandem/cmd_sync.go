package main

import (
	"context"
	"errors"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tandem-sync/tandem/api"
	"github.com/tandem-sync/tandem/store"
)

// syncFlags are the flags of `tandem sync`.
type syncFlags struct {
	all, full, noPush, noPull, dryRun, force, wait bool
	start, end                                     string
	connectors, remoteIDs, localIDs, params        []string
}

func syncCommand(a *app) *cobra.Command {
	var f syncFlags
	cmd := &cobra.Command{
		Use:   "sync CHANNEL | --all",
		Short: "Synchronize a channel now",
		Long: `Reads what changed in the application and brings the local rows in step. The
first time everything is read, later what changed since; --full reads everything
again, --start and --end bound it to a window [start, end): of both sides only
what changed within it is taken.

With a service running it does the work, and --wait follows it; else the work is
done here, until it is done. Times are RFC 3339, "2006-01-02 15:04:05" (UTC), or
a duration ago such as 2h.`,
		Example: "  tandem sync crm\n  tandem sync crm --full --dry-run -o json\n  tandem sync crm --connector contacts --start 2h --wait\n  tandem sync crm --remote-id 42 --remote-id 43",
		Args:    cobra.MaximumNArgs(1),
		RunE:    run(func(ctx context.Context, args []string) error { return a.sync(ctx, f, args) }),
	}
	fl := cmd.Flags()
	fl.BoolVar(&f.all, "all", false, "every channel")
	fl.StringArrayVar(&f.connectors, "connector", nil, "only this connector; may be repeated")
	fl.BoolVar(&f.full, "full", false, "read everything, and find what is gone")
	fl.StringVar(&f.start, "start", "", "only what changed at or after this time")
	fl.StringVar(&f.end, "end", "", "only what changed before this time")
	fl.StringArrayVar(&f.remoteIDs, "remote-id", nil, "only this remote record; may be repeated")
	fl.StringArrayVar(&f.localIDs, "local-id", nil, "only this local row; may be repeated")
	fl.BoolVar(&f.noPush, "no-push", false, "write nothing to the application")
	fl.BoolVar(&f.noPull, "no-pull", false, "read nothing from the application")
	fl.BoolVar(&f.dryRun, "dry-run", false, "show what would change and change nothing")
	fl.BoolVar(&f.force, "force", false, "judge every record again, even one that has not changed")
	fl.StringArrayVar(&f.params, "param", nil, "parameter for the channel type as key=value; may be repeated")
	fl.BoolVar(&f.wait, "wait", false, "with a service: wait until the run has ended")
	return cmd
}

// request turns the flags into the API's request.
func (f syncFlags) request() (api.SyncRequest, error) {
	r := api.SyncRequest{Connectors: f.connectors, Start: f.start, End: f.end, Trigger: store.TriggerManual}
	if f.full {
		r.Mode = store.ModeFull
	}
	for _, id := range f.remoteIDs {
		r.RemoteIDs = append(r.RemoteIDs, api.RecordID(id))
	}
	for _, id := range f.localIDs {
		r.LocalIDs = append(r.LocalIDs, api.RecordID(id))
	}
	for _, p := range f.params {
		k, v, ok := strings.Cut(p, "=")
		if !ok || k == "" {
			return r, usagef("--param %q: want key=value", p)
		}
		if r.Params == nil {
			r.Params = map[string]string{}
		}
		r.Params[k] = v
	}
	for _, flag := range []struct {
		on   bool
		name string
	}{{f.dryRun, "dry_run"}, {f.force, "force"}, {f.noPush, "no_push"}, {f.noPull, "no_pull"}} {
		if flag.on {
			r.Flags = append(r.Flags, flag.name)
		}
	}
	return r, nil
}

func (a *app) sync(ctx context.Context, f syncFlags, args []string) error {
	switch {
	case f.all && len(args) > 0:
		return usagef("name a channel or --all, not both")
	case !f.all && len(args) == 0:
		return usagef("name a channel, or --all")
	case f.all && len(f.connectors)+len(f.remoteIDs)+len(f.localIDs) > 0:
		return usagef("--all goes with neither --connector nor record ids")
	}
	req, err := f.request()
	if err != nil {
		return err
	}
	return a.with(ctx, working, func(s *session) error {
		names, err := a.channelsOf(ctx, s, f, args)
		if err != nil {
			return err
		}
		runs := make([]api.Run, 0, len(names))
		for _, name := range names {
			r, err := s.Sync(ctx, name, req)
			if err != nil {
				return err
			}
			runs = append(runs, r)
		}
		return a.serve(ctx, s, runs, f.wait, f.dryRun)
	})
}

func (a *app) channelsOf(ctx context.Context, s *session, f syncFlags, args []string) ([]string, error) {
	if !f.all {
		return args, nil
	}
	list, err := s.Channels(ctx)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, c := range list {
		if c.Enabled {
			names = append(names, c.Name)
		}
	}
	if len(names) == 0 {
		a.note("there is no channel to synchronize")
	}
	return names, nil
}

// serve prints the runs: as accepted where a service does the work and nobody
// waits, else once they have ended.
func (a *app) serve(ctx context.Context, s *session, runs []api.Run, wait, dry bool) error {
	var errs []error
	for _, r := range runs {
		if !s.foreground() && !wait {
			if err := a.printAccepted(r); err != nil {
				return err
			}
			continue
		}
		end, err := a.follow(ctx, s, r.ID)
		if err != nil {
			return err
		}
		if dry {
			err = a.printChanges(ctx, s, end)
		} else {
			err = a.printRun(end)
		}
		if err != nil {
			return err
		}
		errs = append(errs, a.outcome(end, a.json && !dry))
	}
	return errors.Join(errs...)
}

func (a *app) printAccepted(r api.Run) error {
	if a.json {
		return a.printJSON(r)
	}
	return a.println(r.ID)
}

func (a *app) printRun(r api.Run) error {
	if a.json {
		return a.printJSON(r)
	}
	return a.println("run", r.ID, "of", printable(r.Channel), string(r.Status)+":", counts(r), "in", took(r))
}

// printChanges prints what a dry run would do: a line a record, then the counts.
func (a *app) printChanges(ctx context.Context, s *session, r api.Run) error {
	total, err := s.Changes(ctx, r.ID, func(c store.Change) error {
		if a.json {
			return a.printJSON(c)
		}
		return a.printChange(c)
	})
	if err != nil {
		return err
	}
	if a.json {
		return a.printJSON(total)
	}
	return a.printRun(r)
}

func (a *app) printChange(c store.Change) error {
	var fields []string
	for _, f := range c.Fields {
		if f.Field == "" { // why nothing is written
			fields = append(fields, f.Reason)
			continue
		}
		fields = append(fields, f.Field+": "+shorten(string(f.Old))+" -> "+shorten(string(f.New)))
	}
	return a.println(printable(strings.TrimSpace(
		c.Op + " " + c.Side + " " + c.Connector + " local=" + c.LocalID + " remote=" + c.RemoteID + "  " + strings.Join(fields, ", "))))
}

func shorten(s string) string {
	const most = 60
	if r := []rune(s); len(r) > most {
		return string(r[:most]) + "…"
	}
	return s
}
