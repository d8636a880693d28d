package client

import (
	"context"
	"net/http"
	"net/url"

	"github.com/tandem-sync/tandem/api"
	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/sync/explain"
	"github.com/tandem-sync/tandem/sync/undo"
)

// ReverseSync asks for an export.
func (c *Client) ReverseSync(ctx context.Context, channel string, req api.SyncRequest) (out api.Run, err error) {
	path, err := channelPath(channel, "/reverse-sync")
	if err == nil {
		err = c.call(ctx, http.MethodPost, path, nil, req, &out)
	}
	return out, err
}

// ExplainRecord tells everything that is known about a record.
func (c *Client) ExplainRecord(ctx context.Context, channel, connector string, q explain.Query) (out explain.Record, err error) {
	if connector == "" || connector == "." || connector == ".." {
		return out, fault.New(fault.Permanent, fault.CodeNotFound, "", "no connector %q", connector)
	}
	path, err := channelPath(channel, "/connectors/"+url.PathEscape(connector)+"/records")
	if err == nil {
		v := url.Values{}
		set(v, "local_id", q.LocalID)
		set(v, "remote_id", q.RemoteID)
		err = c.call(ctx, http.MethodGet, path, v, nil, &out)
	}
	return out, err
}

// Conflicts gives a page of conflicts.
func (c *Client) Conflicts(ctx context.Context, q api.ConflictQuery) (out api.ConflictPage, err error) {
	v := url.Values{}
	set(v, "channel", q.Channel)
	set(v, "connector", q.Connector)
	set(v, "field", q.Field)
	set(v, "local_id", q.LocalID)
	setNumber(v, "run", q.Run)
	setNumber(v, "before", q.Before)
	setNumber(v, "limit", int64(q.Limit))
	if q.Resolved {
		v.Set("resolved", "true")
	}
	err = c.call(ctx, http.MethodGet, prefix+"/conflicts", v, nil, &out)
	return out, err
}

// Conflict gives one conflict.
func (c *Client) Conflict(ctx context.Context, id int64) (out api.Conflict, err error) {
	err = c.call(ctx, http.MethodGet, prefix+"/conflicts/"+number(id), nil, nil, &out)
	return out, err
}

// ResolveConflict decides a conflict.
func (c *Client) ResolveConflict(ctx context.Context, id int64, winner string) (out api.Decided, err error) {
	err = c.call(ctx, http.MethodPost, prefix+"/conflicts/"+number(id)+"/resolve", nil, map[string]string{"winner": winner}, &out)
	return out, err
}

// ResolveChosen decides many conflicts.
func (c *Client) ResolveChosen(ctx context.Context, choice api.ConflictChoice) (out api.Decided, err error) {
	err = c.call(ctx, http.MethodPost, prefix+"/conflicts/resolve", nil, choice, &out)
	return out, err
}

// RetryRun tries again what a run parked and what it did not finish.
func (c *Client) RetryRun(ctx context.Context, id int64) (out api.RunRetried, err error) {
	err = c.call(ctx, http.MethodPost, prefix+"/runs/"+number(id)+"/retry", nil, nil, &out)
	return out, err
}

// UndoRun takes a page of what a run did back.
func (c *Client) UndoRun(ctx context.Context, id int64, o undo.Options) (out api.Undone, err error) {
	err = c.call(ctx, http.MethodPost, prefix+"/runs/"+number(id)+"/undo", nil, o, &out)
	return out, err
}
