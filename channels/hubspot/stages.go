package hubspot

import (
	"context"

	"github.com/tandem-sync/tandem/channels"
)

// Stages reaches HubSpot step by step: name, connect and, for https, tls.
func (c *Channel) Stages(ctx context.Context) []channels.Stage {
	var out []channels.Stage
	for _, s := range c.client.http.Stages(ctx) {
		out = append(out, channels.Stage(s))
	}
	return out
}
