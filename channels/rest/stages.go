package rest

import (
	"context"

	"github.com/tandem-sync/tandem/channels"
)

// Stages reaches the remote step by step: name, connect and, for https, tls.
func (c *channel) Stages(ctx context.Context) []channels.Stage {
	var out []channels.Stage
	for _, s := range c.http.Stages(ctx) {
		out = append(out, channels.Stage(s))
	}
	return out
}
