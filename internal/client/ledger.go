package client

import (
	"context"
	"net/http"
	"net/url"

	"github.com/tandem-sync/tandem/api"
)

// Parked gives a page of parked items.
func (c *Client) Parked(ctx context.Context, q api.ParkedQuery) (out api.ParkedPage, err error) {
	v := url.Values{}
	set(v, "channel", q.Channel)
	set(v, "connector", q.Connector)
	set(v, "kind", string(q.Kind))
	set(v, "reason", q.Reason)
	set(v, "since", q.Since)
	setNumber(v, "run", q.Run)
	setNumber(v, "before", q.Before)
	setNumber(v, "limit", int64(q.Limit))
	if q.Resolved {
		v.Set("resolved", "true")
	}
	err = c.call(ctx, http.MethodGet, prefix+"/parked", v, nil, &out)
	return out, err
}

// ParkedItem gives one parked item with its history.
func (c *Client) ParkedItem(ctx context.Context, id int64) (out api.Parked, err error) {
	err = c.call(ctx, http.MethodGet, prefix+"/parked/"+number(id), nil, nil, &out)
	return out, err
}

// RetryParked tries the item again.
func (c *Client) RetryParked(ctx context.Context, id int64) (out api.Retried, err error) {
	err = c.call(ctx, http.MethodPost, prefix+"/parked/"+number(id)+"/retry", nil, nil, &out)
	return out, err
}

// SkipParked closes the item.
func (c *Client) SkipParked(ctx context.Context, id int64) (out api.Parked, err error) {
	err = c.call(ctx, http.MethodPost, prefix+"/parked/"+number(id)+"/skip", nil, nil, &out)
	return out, err
}

// RetryChosen tries many items again.
func (c *Client) RetryChosen(ctx context.Context, choice api.ParkedChoice) (out api.ParkedDone, err error) {
	err = c.call(ctx, http.MethodPost, prefix+"/parked/retry", nil, choice, &out)
	return out, err
}

// SkipChosen closes many items.
func (c *Client) SkipChosen(ctx context.Context, choice api.ParkedChoice) (out api.ParkedDone, err error) {
	err = c.call(ctx, http.MethodPost, prefix+"/parked/skip", nil, choice, &out)
	return out, err
}
