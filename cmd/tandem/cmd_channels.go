package main

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tandem-sync/tandem/api"
)

func channelsCommand(a *app) *cobra.Command {
	return group("channels", "The configured channels", channelsList(a), channelsShow(a), channelsTest(a), channelsEnable(a), channelsDisable(a), channelsDelete(a), channelsCall(a))
}

func channelsList(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List channels", Args: cobra.NoArgs,
		Example: "  tandem channels list -o json",
		RunE: run(func(ctx context.Context, _ []string) error {
			return a.with(ctx, reading, func(s *session) error {
				list, err := s.Channels(ctx)
				if err != nil {
					return err
				}
				return a.printChannels(list)
			})
		}),
	}
}

func (a *app) printChannels(list []api.Channel) error {
	rows := make([][]string, 0, len(list))
	for _, c := range list {
		if a.json {
			if err := a.printJSON(c); err != nil {
				return err
			}
			continue
		}
		last := "never ran"
		if c.LastRun != nil {
			last = "run " + number(c.LastRun.ID) + " " + string(c.LastRun.Status)
		}
		rows = append(rows, []string{c.Name, c.Type, yesNo(c.Enabled), strings.Join(c.Connectors, ", "), c.ManagedBy, last, nextText(c)})
	}
	if a.json {
		return nil
	}
	return a.table([]string{"NAME", "TYPE", "ENABLED", "CONNECTORS", "MANAGED BY", "LAST RUN", "NEXT RUN"}, rows)
}

func channelsShow(a *app) *cobra.Command {
	var revisions bool
	cmd := &cobra.Command{
		Use: "show NAME", Short: "Show a channel's settings and where its connectors stand", Args: cobra.ExactArgs(1),
		Example: "  tandem channels show crm\n  tandem channels show crm --revisions",
		RunE: run(func(ctx context.Context, args []string) error {
			return a.with(ctx, reading, func(s *session) error {
				c, err := s.Channel(ctx, args[0])
				if err != nil {
					return err
				}
				if revisions && !a.json {
					return a.showRevisions(c)
				}
				return a.showChannel(c)
			})
		}),
	}
	cmd.Flags().BoolVar(&revisions, "revisions", false, "show the revisions of the settings that are kept, and the runs that worked with them")
	return cmd
}

// showRevisions prints a channel's revisions. Each is the settings from its time
// on; a run names the one it works with.
func (a *app) showRevisions(c api.ChannelDetail) error {
	rows := make([][]string, 0, len(c.Revisions))
	for _, r := range c.Revisions {
		last := "-"
		if r.LastRun != nil {
			last = number(*r.LastRun)
		}
		rows = append(rows, []string{number(r.Revision), timeText(&r.CreatedAt), number(r.Runs), last})
	}
	return a.table([]string{"REVISION", "SINCE", "RUNS", "LAST RUN"}, rows)
}

func (a *app) showChannel(c api.ChannelDetail) error {
	if a.json {
		return a.printJSON(c)
	}
	if err := a.pairs(
		[2]string{"channel", c.Name}, [2]string{"type", c.Type}, [2]string{"managed by", c.ManagedBy},
		[2]string{"enabled", yesNo(c.Enabled)}, [2]string{"schedule", c.Schedule}, [2]string{"next run", nextText(c.Channel)},
		[2]string{"revision", number(c.Revision)}, [2]string{"changed", timeText(&c.UpdatedAt)},
	); err != nil {
		return err
	}
	rows := make([][]string, 0, len(c.State))
	for _, s := range c.State {
		rows = append(rows, []string{s.Connector, s.Direction, number(s.Links), timeText(s.Watermark), timeText(s.FullAt)})
	}
	if err := a.table([]string{"CONNECTOR", "DIRECTION", "LINKS", "WATERMARK", "LAST FULL"}, rows); err != nil {
		return err
	}
	if err := a.showOutward(c); err != nil {
		return err
	}
	if err := a.showReach(c); err != nil {
		return err
	}
	var settings bytes.Buffer
	if err := json.Indent(&settings, c.Settings, "", "  "); err != nil {
		return err
	}
	return a.println("settings " + settings.String())
}

func channelsTest(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "test NAME", Short: "Try a channel's remote step by step: name, TLS, sign-in, one record, clock, quota", Args: cobra.ExactArgs(1),
		Example: "  tandem channels test crm",
		RunE: run(func(ctx context.Context, args []string) error {
			return a.with(ctx, probing, func(s *session) error {
				r, err := s.TestChannel(ctx, args[0])
				if err != nil {
					return err
				}
				return a.showTest(r)
			})
		}),
	}
}

// showTest prints the stages. A stage that failed makes the command fail.
func (a *app) showTest(r api.TestResult) error {
	if a.json {
		if err := a.printJSON(r); err != nil {
			return err
		}
	}
	for _, s := range r.Stages {
		if a.json {
			break
		}
		mark := "ok  "
		if !s.OK {
			mark = "FAIL"
		} else if s.Warn {
			mark = "WARN"
		}
		line := mark + " " + s.Stage
		if s.Message != "" {
			line += ": " + s.Message
		}
		if err := a.println(printable(line)); err != nil {
			return err
		}
		if s.Hint != "" && (s.Warn || !s.OK) {
			if err := a.println("     " + printable(s.Hint)); err != nil {
				return err
			}
		}
	}
	if !r.OK {
		return silent(exitFailed)
	}
	return nil
}
