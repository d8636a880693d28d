package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/tandem-sync/tandem/store"
)

type parkedInput struct {
	Channel   string `query:"channel"`
	Connector string `query:"connector"`
	Kind      string `query:"kind" enum:"record,message,mass_delete,duplicate_identity,create_unknown,write_refused"`
	Reason    string `query:"reason"`
	Run       int64  `query:"run" minimum:"0" doc:"Only what this run parked last"`
	Since     string `query:"since" doc:"Only what was parked at or after: RFC 3339, 2006-01-02 15:04:05 in UTC, or a duration ago (2h)"`
	Resolved  bool   `query:"resolved" doc:"Those that are done with, too"`
	Before    int64  `query:"before" minimum:"0"`
	Limit     int    `query:"limit" minimum:"1" maximum:"500" default:"50"`
}

func (s *Server) parkedRoutes(h huma.API) {
	b := s.cfg.Backend
	huma.Register(h, op("list-parked", http.MethodGet, "/parked", "List what waits for a person, the latest first",
		http.StatusNotFound, http.StatusUnprocessableEntity),
		func(ctx context.Context, in *parkedInput) (*body[ParkedPage], error) {
			p, err := b.Parked(ctx, ParkedQuery{
				Channel: in.Channel, Connector: in.Connector, Kind: store.ParkedKind(in.Kind), Reason: in.Reason, Run: in.Run,
				Since: in.Since, Resolved: in.Resolved, Before: in.Before, Limit: in.Limit,
			})
			return answer(ctx, s, p, err)
		})
	huma.Register(h, op("get-parked", http.MethodGet, "/parked/{id}", "Show a parked item with its history", http.StatusNotFound),
		func(ctx context.Context, in *idInput) (*body[Parked], error) {
			p, err := b.ParkedItem(ctx, in.ID)
			return answer(ctx, s, p, err)
		})
	huma.Register(h, accepted(op("retry-parked", http.MethodPost, "/parked/{id}/retry",
		"Try a parked item again: a record is read anew, what a message asks for is done, a mass_delete is approved",
		http.StatusNotFound, http.StatusConflict)),
		func(ctx context.Context, in *idInput) (*body[Retried], error) {
			r, err := b.RetryParked(ctx, in.ID)
			return answer(ctx, s, r, err)
		})
	huma.Register(h, op("skip-parked", http.MethodPost, "/parked/{id}/skip",
		"Close a parked item: a record is left out as long as its data and its mapping stay as they are", http.StatusNotFound, http.StatusConflict),
		func(ctx context.Context, in *idInput) (*body[Parked], error) {
			p, err := b.SkipParked(ctx, in.ID)
			return answer(ctx, s, p, err)
		})
	for _, c := range []struct {
		id, path, summary string
		do                func(context.Context, ParkedChoice) (ParkedDone, error)
	}{
		{"retry-chosen-parked", "/parked/retry", "Try many parked items again; without confirm they are counted only", b.RetryChosen},
		{"skip-chosen-parked", "/parked/skip", "Close many parked items; without confirm they are counted only", b.SkipChosen},
	} {
		huma.Register(h, op(c.id, http.MethodPost, c.path, c.summary, http.StatusNotFound, http.StatusConflict, http.StatusUnprocessableEntity),
			func(ctx context.Context, in *struct{ Body ParkedChoice }) (*body[ParkedDone], error) {
				d, err := c.do(ctx, in.Body)
				return answer(ctx, s, d, err)
			})
	}
}
