package api

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/tandem-sync/tandem/store"
)

// RevisionInfo is a kept revision of a channel's settings.
type RevisionInfo struct {
	Revision  int64     `json:"revision"`
	CreatedAt time.Time `json:"created_at" doc:"Since when the settings are so"`
	Runs      int64     `json:"runs" doc:"How many of the kept runs work with it"`
	LastRun   *int64    `json:"last_run" doc:"The latest of them; null none"`
}

// RunRevision is the configuration that a run works with. Secrets in the
// settings read "(secret)".
type RunRevision struct {
	Run       int64           `json:"run"`
	Channel   string          `json:"channel"`
	Revision  int64           `json:"revision"`
	CreatedAt time.Time       `json:"created_at" doc:"Since when the settings are so"`
	Settings  json.RawMessage `json:"settings"`
}

// Historian knows what a channel's settings were.
type Historian interface {
	// RunRevision gives the configuration that a run works with, or worked with.
	// A run that has not begun works with the one of its beginning.
	RunRevision(ctx context.Context, id int64) (RunRevision, error)
}

// maxRevisions bounds how many revisions a channel's details list.
const maxRevisions = 100

// revisions lists a channel's kept revisions, the latest first.
func revisions(ctx context.Context, tx *store.Tx, channelID int64) ([]RevisionInfo, error) {
	list, err := tx.Revisions(ctx, channelID, maxRevisions)
	if err != nil {
		return nil, err
	}
	out := make([]RevisionInfo, len(list))
	for i, r := range list {
		out[i] = RevisionInfo{Revision: r.Revision, CreatedAt: r.CreatedAt.UTC(), Runs: r.Runs}
		if r.LastRun > 0 {
			out[i].LastRun = &list[i].LastRun
		}
	}
	return out, nil
}

// RunRevision gives the configuration that a run works with.
func (s *Service) RunRevision(ctx context.Context, id int64) (RunRevision, error) {
	var out RunRevision
	err := s.read(ctx, func(ctx context.Context, tx *store.Tx) error {
		r, err := findRun(ctx, tx, id)
		if err != nil {
			return err
		}
		out = RunRevision{Run: r.ID, Channel: r.Channel, Revision: r.Revision}
		if out.CreatedAt, err = tx.RevisionAt(ctx, r.ChannelID, r.Revision); err != nil {
			return err
		}
		settings, err := tx.ChannelRevision(ctx, r.ChannelID, r.Revision)
		if err != nil {
			return err
		}
		out.Settings, err = redact(settings)
		return err
	})
	return out, err
}

func (s *Server) revisionRoutes(h huma.API) {
	huma.Register(h, op("get-run-revision", http.MethodGet, "/runs/{id}/revision", "Show the configuration that a run works with", http.StatusNotFound),
		func(ctx context.Context, in *idInput) (*body[RunRevision], error) {
			r, err := s.cfg.Backend.RunRevision(ctx, in.ID)
			return answer(ctx, s, r, err)
		})
}
