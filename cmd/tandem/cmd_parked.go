package main

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tandem-sync/tandem/api"
	"github.com/tandem-sync/tandem/store"
)

func parkedCommand(a *app) *cobra.Command {
	return group("parked", "What waits for a person", parkedList(a), parkedShow(a), parkedRetry(a))
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
	f.StringVar(&kind, "kind", "", "only items of this kind: record, message, mass_delete, duplicate_identity, create_unknown or write_refused")
	f.Int64Var(&q.Run, "run", 0, "only what this run parked")
	f.BoolVar(&q.Resolved, "resolved", false, "those that are done with, too")
	f.Int64Var(&q.Before, "before", 0, "only items with a smaller id")
	f.IntVar(&q.Limit, "limit", 50, "at most so many, up to 500")
	return cmd
}

func checkKind(k store.ParkedKind) error {
	switch k {
	case "", store.ParkedRecord, store.ParkedMessage, store.ParkedMassDelete, store.ParkedDuplicate, store.ParkedRefused, "create_unknown":
		return nil
	}
	return usagef("kind %q: want record, message, mass_delete, duplicate_identity, create_unknown or write_refused", k)
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
			number(p.ID), string(p.Kind), p.Channel, p.Connector, p.RemoteID, p.Reason, shorten(p.Message), number(int64(p.Attempts)), timeText(&p.CreatedAt),
		})
	}
	if a.json {
		return nil
	}
	err := a.table(strings.Split("ID KIND CHANNEL CONNECTOR REMOTE REASON MESSAGE ATTEMPTS SINCE", " "), rows)
	if page.Next != nil {
		a.note("there are more: --before %d", *page.Next)
	}
	return err
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
				{"local id", p.LocalID},
				{"remote id", p.RemoteID},
				{"reason", p.Reason},
				{"message", p.Message},
				{"attempts", number(int64(p.Attempts))},
				{"since", timeText(&p.CreatedAt)},
				{"next try", timeText(p.NextAt)},
				{"payload", payload},
			}
			if p.Resolved != "" {
				rows = append(rows, [2]string{"resolved", p.Resolved})
			}
			return a.pairs(rows...)
		})
}

func parkedRetry(a *app) *cobra.Command {
	var wait bool
	cmd := byID(a, "retry ID", "Approve a mass_delete: its deletions are carried out", "  tandem parked retry 5", working,
		func(ctx context.Context, s *session, id int64) error {
			r, err := s.RetryParked(ctx, id)
			if err != nil {
				return err
			}
			return a.serve(ctx, s, []api.Run{r}, wait, false)
		})
	cmd.Flags().BoolVar(&wait, "wait", false, "with a service: wait until the run has ended")
	return cmd
}
