package client

import (
	"context"
	"net/http"
	"net/url"

	"github.com/tandem-sync/tandem/api"
	"github.com/tandem-sync/tandem/fault"
)

// LocalChanges stores changes of an entity's rows.
func (c *Client) LocalChanges(ctx context.Context, entity string, req api.LocalChanges) (out api.ChangesAccepted, err error) {
	if entity == "" || entity == "." || entity == ".." {
		return out, fault.New(fault.Permanent, fault.CodeNotFound, "", "no entity %q", entity)
	}
	err = c.call(ctx, http.MethodPost, prefix+"/entities/"+url.PathEscape(entity)+"/changes", nil, req, &out)
	return out, err
}
