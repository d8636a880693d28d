package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/tandem-sync/tandem/store"
	"github.com/tandem-sync/tandem/sync/explain"
	"github.com/tandem-sync/tandem/sync/undo"
)

type conflictsInput struct {
	Channel   string `query:"channel"`
	Connector string `query:"connector"`
	Field     string `query:"field" doc:"Only conflicts about this local column"`
	LocalID   string `query:"local_id"`
	Run       int64  `query:"run" minimum:"0" doc:"Only what this run met last"`
	Resolved  bool   `query:"resolved" doc:"Those that are decided, too"`
	Before    int64  `query:"before" minimum:"0"`
	Limit     int    `query:"limit" minimum:"1" maximum:"500" default:"50"`
}

type recordInput struct {
	Name      string `path:"name" doc:"Name of the channel"`
	Connector string `path:"connector" doc:"Name of the connector"`
	LocalID   string `query:"local_id" doc:"Key of the local row; this or remote_id"`
	RemoteID  string `query:"remote_id" doc:"Id of the remote record; this or local_id"`
}

type winnerInput struct {
	ID   int64 `path:"id" minimum:"1"`
	Body struct {
		Winner string `json:"winner" enum:"local,remote" doc:"Whose value stands; it is then told to the other side"`
	}
}

type undoInput struct {
	ID   int64         `path:"id" minimum:"1"`
	Body *undo.Options `required:"false"`
}

type exportInput struct {
	Name    string       `path:"name" doc:"Name of the channel"`
	Trigger string       `header:"Tandem-Trigger" enum:"manual,api" doc:"manual when a person asks, else api"`
	Body    *SyncRequest `required:"false"`
}

func (s *Server) peopleRoutes(h huma.API) {
	b := s.cfg.Backend
	huma.Register(h, accepted(op("reverse-sync-channel", http.MethodPost, "/channels/{name}/reverse-sync",
		"Ask for an export of local changes; mode full looks at every row", http.StatusNotFound, http.StatusConflict, http.StatusUnprocessableEntity)),
		func(ctx context.Context, in *exportInput) (*body[Run], error) {
			var req SyncRequest
			if in.Body != nil {
				req = *in.Body
			}
			req.Trigger = store.Trigger(in.Trigger)
			r, err := b.ReverseSync(ctx, in.Name, req)
			return answer(ctx, s, r, err)
		})
	huma.Register(h, op("explain-record", http.MethodGet, "/channels/{name}/connectors/{connector}/records",
		"Explain a record: its link, both sides now, who won each field and why, and what waits", http.StatusNotFound, http.StatusConflict, http.StatusUnprocessableEntity),
		func(ctx context.Context, in *recordInput) (*body[explain.Record], error) {
			r, err := b.ExplainRecord(ctx, in.Name, in.Connector, explain.Query{LocalID: in.LocalID, RemoteID: in.RemoteID})
			return answer(ctx, s, r, err)
		})
	s.conflictRoutes(h)
	huma.Register(h, accepted(op("retry-run", http.MethodPost, "/runs/{id}/retry", "Try again what a run parked and what it did not finish",
		http.StatusNotFound, http.StatusConflict)),
		func(ctx context.Context, in *idInput) (*body[RunRetried], error) {
			r, err := b.RetryRun(ctx, in.ID)
			return answer(ctx, s, r, err)
		})
	huma.Register(h, op("undo-run", http.MethodPost, "/runs/{id}/undo",
		"Undo a page of what a run did; repeat with after while next is not empty", http.StatusNotFound, http.StatusConflict, http.StatusUnprocessableEntity),
		func(ctx context.Context, in *undoInput) (*body[Undone], error) {
			var o undo.Options
			if in.Body != nil {
				o = *in.Body
			}
			r, err := b.UndoRun(ctx, in.ID, o)
			return answer(ctx, s, r, err)
		})
	huma.Register(h, op("get-run-undone", http.MethodGet, "/runs/{id}/undo", "Tell how far a run has been undone", http.StatusNotFound),
		func(ctx context.Context, in *idInput) (*body[RunUndone], error) {
			r, err := b.RunUndone(ctx, in.ID)
			return answer(ctx, s, r, err)
		})
}

func (s *Server) conflictRoutes(h huma.API) {
	b := s.cfg.Backend
	huma.Register(h, op("list-conflicts", http.MethodGet, "/conflicts", "List fields that wait for a person to decide, the latest first",
		http.StatusNotFound, http.StatusUnprocessableEntity),
		func(ctx context.Context, in *conflictsInput) (*body[ConflictPage], error) {
			p, err := b.Conflicts(ctx, ConflictQuery{
				Channel: in.Channel, Connector: in.Connector, Field: in.Field, LocalID: in.LocalID, Run: in.Run,
				Resolved: in.Resolved, Before: in.Before, Limit: in.Limit,
			})
			return answer(ctx, s, p, err)
		})
	huma.Register(h, op("get-conflict", http.MethodGet, "/conflicts/{id}", "Show a conflict", http.StatusNotFound),
		func(ctx context.Context, in *idInput) (*body[Conflict], error) {
			c, err := b.Conflict(ctx, in.ID)
			return answer(ctx, s, c, err)
		})
	huma.Register(h, accepted(op("resolve-conflict", http.MethodPost, "/conflicts/{id}/resolve",
		"Decide a conflict: the winner's value is then told to the other side", http.StatusNotFound, http.StatusConflict, http.StatusUnprocessableEntity)),
		func(ctx context.Context, in *winnerInput) (*body[Decided], error) {
			d, err := b.ResolveConflict(ctx, in.ID, in.Body.Winner)
			return answer(ctx, s, d, err)
		})
	huma.Register(h, op("resolve-chosen-conflicts", http.MethodPost, "/conflicts/resolve",
		"Decide many conflicts; without confirm they are counted only", http.StatusNotFound, http.StatusConflict, http.StatusUnprocessableEntity),
		func(ctx context.Context, in *struct{ Body ConflictChoice }) (*body[Decided], error) {
			d, err := b.ResolveChosen(ctx, in.Body)
			return answer(ctx, s, d, err)
		})
}
