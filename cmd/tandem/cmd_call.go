package main

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tandem-sync/tandem/api"
	"github.com/tandem-sync/tandem/channels"
	"github.com/tandem-sync/tandem/workers"
)

func channelsCall(a *app) *cobra.Command {
	var given []string
	cmd := &cobra.Command{
		Use: "call NAME OPERATION", Short: "Call an operation of a channel; `channels show` lists them", Args: cobra.ExactArgs(2),
		Example: "  tandem channels call crm find_contact --param email=ann@example.com",
		RunE: run(func(ctx context.Context, args []string) error {
			params, err := callParams(given)
			if err != nil {
				return err
			}
			return a.with(ctx, probing, func(s *session) error {
				r, err := s.CallOperation(ctx, args[0], args[1], params)
				if err != nil {
					return err
				}
				return a.showAnswer(r)
			})
		}),
	}
	cmd.Flags().StringArrayVar(&given, "param", nil, "a parameter, NAME=VALUE; may be repeated")
	return cmd
}

// callParams reads NAME=VALUE; the value may be empty and hold more of them.
func callParams(given []string) (map[string]string, error) {
	out := make(map[string]string, len(given))
	for _, g := range given {
		name, value, ok := strings.Cut(g, "=")
		if _, twice := out[name]; !ok || name == "" || twice {
			return nil, usagef("--param %q: want NAME=VALUE, each name once", g)
		}
		out[name] = value
	}
	return out, nil
}

func (a *app) showAnswer(r api.OperationResult) error {
	if a.json {
		return a.printJSON(r)
	}
	var text string
	if json.Unmarshal(r.Answer, &text) == nil && bytes.HasPrefix(bytes.TrimSpace(r.Answer), []byte(`"`)) {
		return a.println(printable(text))
	}
	var b bytes.Buffer
	if err := json.Indent(&b, r.Answer, "", "  "); err != nil {
		return err
	}
	return a.println(b.String())
}

// Operations lists what can be called on a channel.
func (t tester) Operations(ctx context.Context, channel string) ([]channels.Operation, error) {
	return workers.Operations(ctx, t.cfg, channel)
}

// Call calls an operation of a channel.
func (t tester) Call(ctx context.Context, channel, operation string, params map[string]string) (json.RawMessage, error) {
	return workers.Call(ctx, t.cfg, channel, operation, params)
}

// showReach prints what stands between a channel and its remote, and what can be
// called there.
func (a *app) showReach(c api.ChannelDetail) error {
	breaker := c.Breaker.State
	if c.Breaker.Until != nil && breaker != "closed" {
		breaker += " until " + timeText(c.Breaker.Until) + ": " + printable(c.Breaker.Reason)
	}
	rows := [][2]string{{"breaker", breaker}}
	if c.Problem != "" {
		rows = append(rows, [2]string{"re-authorise", printable(c.Problem)})
	}
	for _, o := range c.Operations {
		text := o.Name
		for _, p := range o.Params {
			switch {
			case p.Required:
				text += " " + p.Name + "=…"
			case p.Default != nil:
				text += " [" + p.Name + "=" + *p.Default + "]"
			default:
				text += " [" + p.Name + "=…]"
			}
		}
		if o.Summary != "" {
			text += "  (" + o.Summary + ")"
		}
		rows = append(rows, [2]string{"operation", printable(text)})
	}
	return a.pairs(rows...)
}

// waitingWord is why a run does nothing now, in one word, for tables.
func waitingWord(r api.Run) string {
	if r.Waiting == nil {
		return ""
	}
	word, _, _ := strings.Cut(r.Waiting.Reason, ":")
	if r.Waiting.Until != nil {
		word += " until " + timeText(r.Waiting.Until)
	}
	return ", " + printable(word)
}
