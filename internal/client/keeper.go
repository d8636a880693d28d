package client

import (
	"context"
	"net/http"

	"github.com/tandem-sync/tandem/api"
)

// EnableChannel switches a channel on.
func (c *Client) EnableChannel(ctx context.Context, name string) (api.Channel, error) {
	return c.keep(ctx, http.MethodPost, name, "/enable")
}

// DisableChannel switches a channel off.
func (c *Client) DisableChannel(ctx context.Context, name string) (api.Channel, error) {
	return c.keep(ctx, http.MethodPost, name, "/disable")
}

// DeleteChannel deletes a channel.
func (c *Client) DeleteChannel(ctx context.Context, name string) (api.Channel, error) {
	return c.keep(ctx, http.MethodDelete, name, "")
}

func (c *Client) keep(ctx context.Context, method, name, verb string) (out api.Channel, err error) {
	path, err := channelPath(name, verb)
	if err == nil {
		err = c.call(ctx, method, path, nil, nil, &out)
	}
	return out, err
}
