package main

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tandem-sync/tandem/api"
	"github.com/tandem-sync/tandem/store"
)

func parkedCommand(a *app) *cobra.Command {
	return group("parked", "What waits for a person", parkedList(a), parkedShow(a), parkedRetry(a), parkedSkip(a))
}

func parkedList(a *app) *cobra.Command {
	var q api.ParkedQuery
	var kind string
	cmd := &cobra.Command{
		Use: "list", Short: "List what is parked, the latest first", Args: cobra.NoArgs,
		Example: "  tandem parked list --channel crm\n  tandem parked list --kind mass_delete -o json",
		RunE: run(func(ctx context.Context, _ []string) error {
			q.Kind = store.ParkedKind(kind)
			if err := checkKind(q.Kind); err != nil {
				return err
			}
			return a.with(ctx, reading, func(s *session) error {
				page, err := s.Parked(ctx, q)
				if err != nil {
					return err
				}
				return a.printParked(page)
			})
		}),
	}
	f := cmd.Flags()
	f.StringVar(&q.Channel, "channel", "", "only items of this channel")
	f.StringVar(&q.Connector, "connector", "", "only items of connectors of this name")
	f.StringVar(&kind, "kind", "", "only items of this kind: "+parkedKinds)
	f.StringVar(&q.Reason, "reason", "", "only items with this reason")
	f.Int64Var(&q.Run, "run", 0, "only what this run parked last")
	f.StringVar(&q.Since, "since", "", "only what was parked at or after: a time, or a duration ago such as 2h")
	f.BoolVar(&q.Resolved, "resolved", false, "those that are done with, too")
	f.Int64Var(&q.Before, "before", 0, "only items with a smaller id")
	f.IntVar(&q.Limit, "limit", 50, "at most so many, up to 500")
	return cmd
}

const parkedKinds = "record, message, mass_delete, duplicate_identity, create_unknown or write_refused"

func checkKind(k store.ParkedKind) error {
	switch k {
	case "", store.ParkedRecord, store.ParkedMessage, store.ParkedMassDelete, store.ParkedDuplicate, store.ParkedRefused, "create_unknown":
		return nil
	}
	return usagef("kind %q: want %s", k, parkedKinds)
}

func (a *app) printParked(page api.ParkedPage) error {
	rows := make([][]string, 0, len(page.Parked))
	for _, p := range page.Parked {
		if a.json {
			if err := a.printJSON(p); err != nil {
				return err
			}
			continue
		}
		rows = append(rows, []string{
			number(p.ID), string(p.Kind), p.Channel, p.Connector, recordText(p), p.Reason, shorten(p.Message), number(int64(p.Attempts)), timeText(&p.CreatedAt),
		})
	}
	if a.json {
		return nil
	}
	err := a.table(strings.Split("ID KIND CHANNEL CONNECTOR RECORD REASON MESSAGE ATTEMPTS SINCE", " "), rows)
	if page.Next != nil {
		a.note("there are more: --before %d", *page.Next)
	}
	return err
}

// recordText names the record that an item is about.
func recordText(p api.Parked) string {
	if p.Outward && p.LocalID != "" || p.RemoteID == "" && p.LocalID != "" {
		return "local " + p.LocalID
	}
	return p.RemoteID
}

// wayText says which way an item was going.
func wayText(p api.Parked) string {
	switch {
	case p.Outward:
		return "to the application"
	case p.Kind == store.ParkedMessage:
		return "from a queue"
	}
	return "from the application"
}

func parkedShow(a *app) *cobra.Command {
	return byID(a, "show ID", "Show a parked item with what was received", "  tandem parked show 5", reading,
		func(ctx context.Context, s *session, id int64) error {
			p, err := s.ParkedItem(ctx, id)
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(p)
			}
			payload := string(p.Payload)
			if payload == "" {
				payload = "-"
			}
			rows := [][2]string{
				{"parked", number(p.ID)},
				{"kind", string(p.Kind)},
				{"channel", p.Channel},
				{"connector", p.Connector},
				{"way", wayText(p)},
				{"local id", p.LocalID},
				{"remote id", p.RemoteID},
				{"reason", p.Reason},
				{"message", p.Message},
				{"answer", p.Answer},
				{"attempts", number(int64(p.Attempts))},
				{"since", timeText(&p.CreatedAt)},
				{"next try", timeText(p.NextAt)},
				{"payload", payload},
			}
			if p.Resolved != "" {
				rows = append(rows, [2]string{"resolved", p.Resolved + " at " + timeText(p.ResolvedAt)})
			}
			if err := a.pairs(rows...); err != nil {
				return err
			}
			return a.printTries(p.History)
		})
}

// runText names a run; none for a message, which is refused before there is one.
func runText(id int64) string {
	if id == 0 {
		return "-"
	}
	return number(id)
}

// printTries shows when and in which runs an item failed.
func (a *app) printTries(list []store.ParkedAttempt) error {
	rows := make([][]string, 0, len(list))
	for _, t := range list {
		rows = append(rows, []string{number(int64(t.N)), timeText(&t.At), runText(t.Run), t.Reason, shorten(t.Message)})
	}
	return a.table([]string{"TRY", "AT", "RUN", "REASON", "MESSAGE"}, rows)
}
