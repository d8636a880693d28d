package api

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/tandem-sync/tandem/store"
)

const prefix = "/api/v1"

// TriggerHeader lets a command say that a person asked: its value is "manual".
const TriggerHeader = "Tandem-Trigger"

// body wraps an answer.
type body[T any] struct{ Body T }

func answer[T any](ctx context.Context, s *Server, v T, err error) (*body[T], error) {
	if err != nil {
		return nil, s.fail(ctx, err)
	}
	return &body[T]{v}, nil
}

func op(id, method, path, summary string, codes ...int) huma.Operation {
	return huma.Operation{
		OperationID: id, Method: method, Path: prefix + path, Summary: summary,
		Errors: append(codes, http.StatusUnauthorized, http.StatusForbidden, http.StatusTooManyRequests, http.StatusInternalServerError), MaxBodyBytes: maxBody,
	}
}

func accepted(o huma.Operation) huma.Operation {
	o.DefaultStatus = http.StatusAccepted
	return o
}

type nameInput struct {
	Name string `path:"name" doc:"Name of the channel"`
}

type idInput struct {
	ID int64 `path:"id" minimum:"1"`
}

type channelList struct {
	Channels []Channel `json:"channels"`
}

func (s *Server) channelRoutes(h huma.API) {
	s.operationRoutes(h)
	b := s.cfg.Backend
	huma.Register(h, op("list-channels", http.MethodGet, "/channels", "List channels"),
		func(ctx context.Context, _ *struct{}) (*body[channelList], error) {
			list, err := b.Channels(ctx)
			return answer(ctx, s, channelList{list}, err)
		})
	huma.Register(h, op("get-channel", http.MethodGet, "/channels/{name}", "Show a channel", http.StatusNotFound),
		func(ctx context.Context, in *nameInput) (*body[ChannelDetail], error) {
			c, err := b.Channel(ctx, in.Name)
			return answer(ctx, s, c, err)
		})
	huma.Register(h, op("test-channel", http.MethodPost, "/channels/{name}/test", "Test a channel's remote step by step", http.StatusNotFound),
		func(ctx context.Context, in *nameInput) (*body[TestResult], error) {
			r, err := b.TestChannel(ctx, in.Name)
			return answer(ctx, s, r, err)
		})
	type syncInput struct {
		Name    string       `path:"name" doc:"Name of the channel"`
		Trigger string       `header:"Tandem-Trigger" enum:"manual,api" doc:"manual when a person asks, else api"`
		Body    *SyncRequest `required:"false"`
	}
	huma.Register(h, accepted(op("sync-channel", http.MethodPost, "/channels/{name}/sync", "Ask for a synchronization",
		http.StatusNotFound, http.StatusConflict, http.StatusUnprocessableEntity)),
		func(ctx context.Context, in *syncInput) (*body[Run], error) {
			var req SyncRequest
			if in.Body != nil {
				req = *in.Body
			}
			req.Trigger = store.Trigger(in.Trigger)
			r, err := b.Sync(ctx, in.Name, req)
			return answer(ctx, s, r, err)
		})
}

type runsInput struct {
	Channel string   `query:"channel" doc:"Only runs of this channel"`
	Status  []string `query:"status" enum:"planned,preparing,execution,finished,failed,cancelled" doc:"Only runs in one of these states, separated by commas"`
	Before  int64    `query:"before" minimum:"0" doc:"Only runs with a smaller id"`
	Limit   int      `query:"limit" minimum:"1" maximum:"500" default:"50"`
}

func (s *Server) runRoutes(h huma.API) {
	b := s.cfg.Backend
	huma.Register(h, op("list-runs", http.MethodGet, "/runs", "List runs, the latest first", http.StatusNotFound),
		func(ctx context.Context, in *runsInput) (*body[RunPage], error) {
			q := RunQuery{Channel: in.Channel, Before: in.Before, Limit: in.Limit}
			for _, st := range in.Status {
				q.Status = append(q.Status, store.Status(st))
			}
			p, err := b.Runs(ctx, q)
			return answer(ctx, s, p, err)
		})
	huma.Register(h, op("get-run", http.MethodGet, "/runs/{id}", "Show a run", http.StatusNotFound),
		func(ctx context.Context, in *idInput) (*body[Run], error) {
			r, err := b.Run(ctx, in.ID)
			return answer(ctx, s, r, err)
		})
	changes := op("list-changes", http.MethodGet, "/runs/{id}/changes",
		"What a run changed or, dry, would change: one JSON object a line, the last one the counts", http.StatusNotFound)
	changes.Responses = map[string]*huma.Response{"200": {
		Description: "JSON lines", Content: map[string]*huma.MediaType{NDJSON: {Schema: &huma.Schema{Type: huma.TypeString}}},
	}}
	huma.Register(h, changes, s.changes)
	huma.Register(h, accepted(op("cancel-run", http.MethodPost, "/runs/{id}/cancel", "Cancel a run", http.StatusNotFound, http.StatusConflict)),
		func(ctx context.Context, in *idInput) (*body[Run], error) {
			r, err := b.CancelRun(ctx, in.ID)
			return answer(ctx, s, r, err)
		})
}

// NDJSON is the media type of JSON lines.
const NDJSON = "application/x-ndjson"

// changes streams the lines. The first one is fetched before the status goes
// out, so that an unknown run is still a 404; a failure later ends the answer
// without the counts, which says that it is not complete.
func (s *Server) changes(ctx context.Context, in *idInput) (*huma.StreamResponse, error) {
	if _, err := s.cfg.Backend.Run(ctx, in.ID); err != nil {
		return nil, s.fail(ctx, err)
	}
	return &huma.StreamResponse{Body: func(hc huma.Context) {
		hc.SetHeader("Content-Type", NDJSON)
		hc.SetStatus(http.StatusOK)
		w := hc.BodyWriter()
		enc := json.NewEncoder(w)
		ctrl, lines := (*http.ResponseController)(nil), 0
		if rw, ok := w.(http.ResponseWriter); ok {
			ctrl = http.NewResponseController(rw)
		}
		counts, err := s.cfg.Backend.Changes(hc.Context(), in.ID, func(c store.Change) error {
			if lines++; ctrl != nil && lines%500 == 0 {
				// A long answer is fine as long as it is being read.
				_ = ctrl.SetWriteDeadline(time.Now().Add(time.Minute)) // not every writer has deadlines
			}
			return enc.Encode(c)
		})
		if err != nil {
			_ = s.fail(hc.Context(), err) // logs it; the status is out already
			return
		}
		_ = enc.Encode(counts)
	}}, nil
}
