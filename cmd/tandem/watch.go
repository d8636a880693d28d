package main

import (
	"context"

	"github.com/tandem-sync/tandem/api"
	"github.com/tandem-sync/tandem/internal/metrics"
	"github.com/tandem-sync/tandem/store"
	"github.com/tandem-sync/tandem/web"
	"github.com/tandem-sync/tandem/workers"
)

// measure begins to count what this process does.
func (e *engine) measure(channels bool) {
	e.metrics = metrics.New(metrics.Config{Version: version(), Channels: channels})
}

// observed has the workers tell the metrics, where there are any.
func (e *engine) observed(cfg workers.Config) workers.Config {
	if e.metrics != nil {
		cfg.Observer = e.metrics
		cfg.Guard.Answered = e.metrics.Answered
	}
	return cfg
}

// expose puts the metrics and, where the API is, the pages and the database's
// values behind the server's address.
func (a *app) expose(e *engine, cfg *api.ServerConfig) *web.Pages {
	if e.metrics != nil {
		cfg.Metrics = e.metrics.Handler()
	}
	if cfg.Backend == nil {
		return nil
	}
	if e.metrics != nil {
		e.metrics.FromDatabase(func(ctx context.Context) (s store.Stats, err error) {
			err = e.db.Read(ctx, func(ctx context.Context, tx *store.Tx) (err error) {
				s, err = tx.Stats(ctx)
				return err
			})
			return s, err
		}, nil)
	}
	pages := web.New(web.Config{Backend: cfg.Backend, Token: cfg.Token, Version: version(), Logger: a.log})
	cfg.Pages = pages
	return pages
}

// link is the address for a person to open: it signs them in once. In a fleet
// the token is known to whoever set it, and a log is no place for a key.
func (s *server) link() string {
	if s.pages == nil {
		return ""
	}
	return s.url + s.pages.OnceLink()
}
