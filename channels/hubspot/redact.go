package hubspot

import "github.com/tandem-sync/tandem/channels"

var _ channels.Redactor = (*Channel)(nil)

// Redact gives a text without the channel's token.
func (c *Channel) Redact(text string) string { return c.reach.Redact(text) }
