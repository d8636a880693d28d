package main

import (
	"context"
	"encoding/json"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tandem-sync/tandem/sync/explain"
)

func recordsCommand(a *app) *cobra.Command {
	return group("records", "Single records", recordsExplain(a))
}

func recordsExplain(a *app) *cobra.Command {
	var q explain.Query
	cmd := &cobra.Command{
		Use: "explain CHANNEL CONNECTOR", Short: "Explain a record: link, both sides now, who won each field and why", Args: cobra.ExactArgs(2),
		Long: `Tells everything that is known about one record: what links the two sides, what
both hold now and what they were last agreed on, field by field who won, why, when
and in which run, what would be decided now, and what waits: conflicts, changes on
their way out, parked items. It reads the local row and asks the remote for the
record; when the remote does not answer, it says so and tells the rest.`,
		Example: "  tandem records explain crm contacts --local-id 42\n  tandem records explain crm contacts --remote-id 100051 -o json",
		RunE: run(func(ctx context.Context, args []string) error {
			if (q.LocalID == "") == (q.RemoteID == "") {
				return usagef("name the record by --local-id or by --remote-id")
			}
			return a.with(ctx, probing, func(s *session) error {
				r, err := s.ExplainRecord(ctx, args[0], args[1], q)
				if err != nil {
					return err
				}
				if a.json {
					return a.printJSON(r)
				}
				return a.explain(&r)
			})
		}),
	}
	cmd.Flags().StringVar(&q.LocalID, "local-id", "", "the local row's key")
	cmd.Flags().StringVar(&q.RemoteID, "remote-id", "", "the remote record's id")
	return cmd
}

// explain prints a record for a person.
func (a *app) explain(r *explain.Record) error {
	rows := [][2]string{
		{"channel", r.Channel},
		{"connector", r.Connector},
		{"local", sideText(r.LocalID, r.Local)},
		{"remote", sideText(r.RemoteID, r.Remote)},
		{"link", linkText(r.Link)},
	}
	if r.Problem != "" {
		rows = append(rows, [2]string{"problem", r.Problem})
	}
	if w := r.Waits; w != nil {
		text := "since " + timeText(&w.Since) + ", due " + timeText(&w.Next)
		if w.Reason != "" {
			text += ", " + w.Reason
		}
		if w.Attempts > 0 {
			text += ", tried " + number(int64(w.Attempts)) + " times"
		}
		if w.Exporting {
			text += ", being exported now"
		}
		rows = append(rows, [2]string{"waits to go out", text})
	}
	if c := r.Create; c != nil {
		rows = append(rows, [2]string{"create", c.State + " since " + timeText(&c.Since) + ", looked up from " + timeText(&c.Next)})
	}
	for _, c := range r.Conflicts {
		rows = append(rows, [2]string{"conflict " + number(c.ID), c.Field + ": here " + jsonText(c.Local) + ", there " + jsonText(c.Remote)})
	}
	for _, p := range r.Parked {
		rows = append(rows, [2]string{"parked " + number(p.ID), p.Reason + ": " + p.Message})
	}
	if err := a.pairs(rows...); err != nil {
		return err
	}
	if err := a.explainFields(r); err != nil || len(r.History) == 0 {
		return err
	}
	var history [][]string
	for _, h := range r.History {
		history = append(history, []string{timeText(h.At), number(h.Run), h.Op + " " + h.Side, changesText(h)})
	}
	return a.table([]string{"AT", "RUN", "DID", "FIELDS"}, history)
}

func (a *app) explainFields(r *explain.Record) error {
	rows := make([][]string, 0, len(r.Fields))
	for _, f := range r.Fields {
		base := jsonText(f.BaseLocal)
		if string(f.BaseLocal) != string(f.BaseRemote) {
			base += " | " + jsonText(f.BaseRemote)
		}
		now, last := "-", "-"
		if f.Now != nil {
			now = f.Now.Winner + ", " + f.Now.Reason
		}
		if f.Last != nil {
			last = f.Last.Winner + ", " + f.Last.Reason + ", " + timeText(f.Last.At) + ", run " + number(f.Last.Run)
		}
		rows = append(rows, []string{f.Local, f.Remote, f.Direction, jsonText(f.LocalValue), jsonText(f.RemoteValue), base, now, last})
	}
	return a.table([]string{"FIELD", "REMOTE FIELD", "DIRECTION", "LOCAL", "REMOTE", "BASE", "NOW", "LAST"}, rows)
}

func changesText(l explain.Line) string {
	var out []string
	for _, f := range l.Fields {
		if f.Field == "" {
			out = append(out, f.Reason)
			continue
		}
		out = append(out, f.Field+": "+jsonText(f.Old)+" -> "+jsonText(f.New)+" ("+f.Reason+")")
	}
	return strings.Join(out, ", ")
}

// jsonText is a value for a person; absent is -.
func jsonText(raw json.RawMessage) string {
	if len(raw) == 0 {
		return "-"
	}
	return shorten(string(raw))
}

func sideText(id string, s explain.Side) string {
	text := id
	switch {
	case id == "":
		return "none"
	case s.Problem != "":
		text += ", cannot be told: " + s.Problem
	case !s.Exists:
		text += ", gone"
	}
	if s.Modified != nil {
		text += ", changed " + timeText(s.Modified)
	}
	return text
}

func linkText(l *explain.Link) string {
	if l == nil {
		return "none"
	}
	text := l.State
	if l.Version != "" {
		text += ", version " + l.Version
	}
	if len(l.Aliases) > 0 {
		text += ", formerly " + strings.Join(l.Aliases, ", ")
	}
	if l.ReadAt != nil {
		text += ", read " + timeText(l.ReadAt)
	}
	if l.WrittenAt != nil {
		text += ", exported " + timeText(l.WrittenAt)
	}
	if len(l.Customs) > 0 {
		text += ", customs " + shorten(string(l.Customs))
	}
	return text
}
