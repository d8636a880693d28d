package client

import (
	"context"
	"net/http"
	"net/url"

	"github.com/tandem-sync/tandem/api"
	"github.com/tandem-sync/tandem/fault"
)

// CallOperation calls an operation of a channel.
func (c *Client) CallOperation(ctx context.Context, channel, operation string, params map[string]string) (out api.OperationResult, err error) {
	if operation == "" || operation == "." || operation == ".." {
		return out, fault.New(fault.Permanent, fault.CodeNotFound, "", "no operation %q", operation)
	}
	path, err := channelPath(channel, "/operations/"+url.PathEscape(operation))
	if err == nil {
		err = c.call(ctx, http.MethodPost, path, nil, map[string]any{"params": params}, &out)
	}
	return out, err
}
