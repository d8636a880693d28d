package main

import (
	"bufio"
	"context"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tandem-sync/tandem/api"
)

func channelsEnable(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "enable NAME", Short: "Switch a channel on", Args: cobra.ExactArgs(1),
		Long:    "Switches a channel on. A running service synchronizes it at once, unless its schedule is off.",
		Example: "  tandem channels enable crm",
		RunE: run(func(ctx context.Context, args []string) error {
			return a.with(ctx, changing, func(s *session) error {
				c, err := s.EnableChannel(ctx, args[0])
				if err != nil {
					return err
				}
				return a.printKept(c, "enabled")
			})
		}),
	}
}

func channelsDisable(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "disable NAME", Short: "Switch a channel off; its runs end within seconds", Args: cobra.ExactArgs(1),
		Long: `Switches a channel off. Its planned runs are cancelled, and those under way end
at their next safe point, within seconds; what they have done stays. Applying the
file does not switch it on again.`,
		Example: "  tandem channels disable crm",
		RunE: run(func(ctx context.Context, args []string) error {
			return a.with(ctx, changing, func(s *session) error {
				c, err := s.DisableChannel(ctx, args[0])
				if err != nil {
					return err
				}
				return a.printKept(c, "disabled")
			})
		}),
	}
}

func channelsDelete(a *app) *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use: "delete NAME", Short: "Delete a channel with its links, watermarks and runs", Args: cobra.ExactArgs(1),
		Long: `Deletes a channel with everything that Tandem knows about it: links, watermarks,
requests, runs and parked items. No row of a table of yours is touched, but which
record belongs to which row is forgotten: a channel of the same name begins anew.
Asks before it does so, unless --yes is given.`,
		Example: "  tandem channels delete crm --yes",
		RunE: run(func(ctx context.Context, args []string) error {
			return a.with(ctx, changing, func(s *session) error { return a.deleteChannel(ctx, s, args[0], yes) })
		}),
	}
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	return cmd
}

func (a *app) deleteChannel(ctx context.Context, s *session, name string, yes bool) error {
	c, err := s.Channel(ctx, name)
	if err != nil {
		return err
	}
	links := int64(0)
	for _, st := range c.State {
		links += st.Links
	}
	if !yes {
		if !isTerminal(os.Stdin) || !isTerminal(a.stderr) {
			return usagef("deleting channel %s forgets its %d links; say so with --yes", name, links)
		}
		if !a.confirm(printable(name), links) {
			return usagef("channel %s was not deleted", name)
		}
	}
	gone, err := s.DeleteChannel(ctx, name)
	if err != nil {
		return err
	}
	return a.printKept(gone, "deleted")
}

// confirm asks the person at the terminal to type the channel's name.
func (a *app) confirm(name string, links int64) bool {
	a.note("Deleting channel %s forgets its %d links; the rows they lead to stay. Type its name to go on:", name, links)
	line, err := bufio.NewReader(os.Stdin).ReadString('\n')
	return err == nil && strings.TrimSpace(line) == name
}

// printKept prints what became of a channel, and what a file that manages it
// has to do with that.
func (a *app) printKept(c api.Channel, what string) error {
	if c.ManagedBy == "file" {
		switch what {
		case "deleted":
			a.note("a file manages channel %s: applying it makes the channel anew, unless you take it out there", printable(c.Name))
		default:
			a.note("a file manages channel %s; whether it is enabled is not in there, so applying the file leaves it %s", printable(c.Name), what)
		}
	}
	if a.json {
		return a.printJSON(c)
	}
	return a.println("channel", printable(c.Name), "is", what)
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// nextText says when a channel runs next by itself, and what puts that off.
func nextText(c api.Channel) string {
	text := timeText(c.NextRunAt)
	if c.Waiting != nil {
		text += " (" + c.Waiting.Reason + ")"
	}
	return text
}
