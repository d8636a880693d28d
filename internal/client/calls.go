package client

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/tandem-sync/tandem/api"
	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/store"
)

// Channels lists the channels by name.
func (c *Client) Channels(ctx context.Context) ([]api.Channel, error) {
	var out struct{ Channels []api.Channel }
	err := c.call(ctx, http.MethodGet, prefix+"/channels", nil, nil, &out)
	return out.Channels, err
}

// Channel gives one channel.
func (c *Client) Channel(ctx context.Context, name string) (out api.ChannelDetail, err error) {
	path, err := channelPath(name, "")
	if err == nil {
		err = c.call(ctx, http.MethodGet, path, nil, nil, &out)
	}
	return out, err
}

// TestChannel tries a channel's remote step by step.
func (c *Client) TestChannel(ctx context.Context, name string) (out api.TestResult, err error) {
	path, err := channelPath(name, "/test")
	if err == nil {
		err = c.call(ctx, http.MethodPost, path, nil, nil, &out)
	}
	return out, err
}

// Sync asks for a run.
func (c *Client) Sync(ctx context.Context, channel string, req api.SyncRequest) (out api.Run, err error) {
	path, err := channelPath(channel, "/sync")
	if err == nil {
		err = c.call(ctx, http.MethodPost, path, nil, req, &out)
	}
	return out, err
}

// Runs gives a page of runs.
func (c *Client) Runs(ctx context.Context, q api.RunQuery) (out api.RunPage, err error) {
	v := url.Values{}
	set(v, "channel", q.Channel)
	if len(q.Status) > 0 {
		names := make([]string, len(q.Status))
		for i, s := range q.Status {
			names[i] = string(s)
		}
		v.Set("status", strings.Join(names, ","))
	}
	setNumber(v, "before", q.Before)
	setNumber(v, "limit", int64(q.Limit))
	err = c.call(ctx, http.MethodGet, prefix+"/runs", v, nil, &out)
	return out, err
}

// Run gives one run.
func (c *Client) Run(ctx context.Context, id int64) (out api.Run, err error) {
	err = c.call(ctx, http.MethodGet, prefix+"/runs/"+number(id), nil, nil, &out)
	return out, err
}

// RunRevision gives the configuration that a run works with.
func (c *Client) RunRevision(ctx context.Context, id int64) (out api.RunRevision, err error) {
	err = c.call(ctx, http.MethodGet, prefix+"/runs/"+number(id)+"/revision", nil, nil, &out)
	return out, err
}

// RunUndone tells how far a run has been undone.
func (c *Client) RunUndone(ctx context.Context, id int64) (out api.RunUndone, err error) {
	err = c.call(ctx, http.MethodGet, prefix+"/runs/"+number(id)+"/undo", nil, nil, &out)
	return out, err
}

// Changes calls fn for every change the run noted.
func (c *Client) Changes(ctx context.Context, id int64, fn func(store.Change) error) (store.Counters, error) {
	var counts store.Counters
	var line []byte // the last one seen; only the line after it says whether it is a change
	handle := func() error {
		var ch store.Change
		if err := json.Unmarshal(line, &ch); err != nil {
			return fmt.Errorf("unreadable line: %w", err)
		}
		return fn(ch)
	}
	err := c.lines(ctx, prefix+"/runs/"+number(id)+"/changes", func(b []byte) error {
		if line != nil {
			if err := handle(); err != nil {
				return err
			}
		}
		line = append(line[:0], b...)
		return nil
	})
	if err != nil {
		return counts, err
	}
	var last struct {
		store.Counters
		Op string `json:"op"`
	}
	if line == nil || json.Unmarshal(line, &last) != nil || last.Op != "" {
		return counts, fault.New(fault.Retryable, fault.CodeFailed, "", "the list of changes of run %d ended early", id).WithHint("ask again")
	}
	return last.Counters, nil
}

// CancelRun cancels a run.
func (c *Client) CancelRun(ctx context.Context, id int64) (out api.Run, err error) {
	err = c.call(ctx, http.MethodPost, prefix+"/runs/"+number(id)+"/cancel", nil, nil, &out)
	return out, err
}

// channelPath is the address of a channel. Names that no address can hold are
// names that no channel has.
func channelPath(name, rest string) (string, error) {
	if name == "" || name == "." || name == ".." {
		return "", fault.New(fault.Permanent, fault.CodeNotFound, "", "no channel %q", name)
	}
	return prefix + "/channels/" + url.PathEscape(name) + rest, nil
}

func number(n int64) string { return strconv.FormatInt(n, 10) }

func set(v url.Values, key, value string) {
	if value != "" {
		v.Set(key, value)
	}
}

func setNumber(v url.Values, key string, n int64) {
	if n > 0 {
		v.Set(key, number(n))
	}
}
