package rest

import "github.com/tandem-sync/tandem/channels"

var _ channels.Redactor = (*channel)(nil)

// Redact gives a text without the channel's credentials.
func (c *channel) Redact(text string) string { return c.http.Redact(text) }
