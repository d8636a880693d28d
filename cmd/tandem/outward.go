package main

import (
	"strings"

	"github.com/tandem-sync/tandem/api"
)

// showOutward prints where the ways to the remote stand, where there are any.
func (a *app) showOutward(c api.ChannelDetail) error {
	var rows [][]string
	for _, s := range c.State {
		o := s.Outward
		if o == nil {
			continue
		}
		rows = append(rows, []string{
			s.Connector, number(o.Waiting), timeText(o.Oldest), number(s.Conflicts), roundText(o.Round), number(o.Echoes), number(o.NearMiss), captureText(o.Capture),
		})
	}
	if len(rows) == 0 {
		return nil
	}
	return a.table([]string{"TO THE REMOTE", "WAITING", "OLDEST", "CONFLICTS", "ROUND", "ECHOES", "NEAR MISSES", "CAPTURE"}, rows)
}

func roundText(r *api.Round) string {
	if r == nil {
		return "-"
	}
	text := number(r.Done)
	if r.Total != nil {
		text += " of " + number(*r.Total)
	}
	if r.FinishedAt != nil {
		return text + ", done " + timeText(r.FinishedAt)
	}
	return text + ", since " + timeText(&r.StartedAt)
}

func captureText(c *api.CaptureState) string {
	switch {
	case c == nil:
		return "-"
	case c.Right:
		return c.Mode + ", ok"
	case len(c.Problems) == 0:
		return c.Mode + ", not installed"
	}
	return c.Mode + ", " + strings.Join(c.Problems, "; ")
}
