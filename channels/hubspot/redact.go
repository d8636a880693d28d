package hubspot

import "github.com/tandem-sync/tandem/channels"

var _ channels.Redactor = (*Channel)(nil)

// Redact gives a text without the channel's credentials.
func (c *Channel) Redact(text string) string { return c.client.http.Redact(text) }
