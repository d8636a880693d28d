package api

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"go.uber.org/zap"
)

// ServerConfig is what a Server needs.
type ServerConfig struct {
	// Backend answers the API. nil serves the health addresses only.
	Backend Backend
	// Ready says why the process cannot work now; nil means always ready.
	Ready func(context.Context) error
	// Token must be sent as a bearer token; "" leaves the API open, which only
	// a server on loopback may be.
	Token string
	// Loopback says that the server listens on loopback only: then the Host
	// header must name it.
	Loopback bool
	// Pages serves every address that is neither the API nor health nor metrics,
	// and checks by itself who is signed in; nil serves nothing there.
	Pages http.Handler
	// Metrics serves /metrics. Off loopback it needs the token, and without one
	// it serves nothing; neither does nil.
	Metrics http.Handler
	// Rate is how many requests a second one address may make of the API and the
	// pages, with bursts of ten seconds' worth; 0 means 100, less than 0 no limit.
	Rate float64
	// Version is the program's, for the description of the API.
	Version string
	// Logger takes what an answer must not tell; nil drops it.
	Logger *zap.Logger
}

// Server is the HTTP side of a Backend.
type Server struct {
	cfg      ServerConfig
	log      *zap.Logger
	handler  http.Handler
	draining atomic.Bool
}

// NewServer builds the routes.
func NewServer(cfg ServerConfig) *Server {
	s := &Server{cfg: cfg, log: cfg.Logger}
	if s.log == nil {
		s.log = zap.NewNop()
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", s.healthz)
	mux.HandleFunc("GET /readyz", s.readyz)
	if cfg.Backend != nil {
		s.routes(mux)
	}
	if cfg.Metrics != nil && (cfg.Loopback || cfg.Token != "") {
		mux.Handle("GET /metrics", cfg.Metrics)
	}
	nothing := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		refuse(w, http.StatusNotFound, "not_found", "there is nothing at this address", "the API is described at /api/v1/openapi.json")
	})
	mux.Handle("/", pagesOr(cfg.Pages, nothing))
	s.handler = &guard{
		loopback: cfg.Loopback, token: cfg.Token, pages: cfg.Pages != nil, limits: newLimits(cfg.Rate), next: mux,
	}
	return s
}

// Handler gives the server's handler, checks included.
func (s *Server) Handler() http.Handler { return s.handler }

// Drain makes /readyz answer 503 from now on.
func (s *Server) Drain() { s.draining.Store(true) }

// HTTPServer gives a server with its time limits set, ready to Serve.
func (s *Server) HTTPServer(ctx context.Context) *http.Server {
	errors, err := zap.NewStdLogAt(s.log, zap.DebugLevel)
	if err != nil { // DebugLevel is a level
		panic(err)
	}
	return &http.Server{
		Handler:           s.handler,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       60 * time.Second,
		WriteTimeout:      120 * time.Second,
		IdleTimeout:       120 * time.Second,
		MaxHeaderBytes:    32 << 10,
		ErrorLog:          errors,
		BaseContext:       func(net.Listener) context.Context { return context.WithoutCancel(ctx) },
	}
}

// healthz depends on nothing: an outage elsewhere must not restart the process.
func (s *Server) healthz(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, map[string]string{"status": "ok"})
}

func (s *Server) readyz(w http.ResponseWriter, r *http.Request) {
	if s.draining.Load() {
		writeJSON(w, http.StatusServiceUnavailable, map[string]string{"status": "draining"})
		return
	}
	if s.cfg.Ready != nil {
		ctx, cancel := context.WithTimeout(r.Context(), 5*time.Second)
		defer cancel()
		if err := s.cfg.Ready(ctx); err != nil {
			s.log.Warn("not ready", zap.Error(err))
			p := problem(err)
			writeJSON(w, http.StatusServiceUnavailable, map[string]string{"status": "not ready", "code": p.Code, "hint": p.Hint})
			return
		}
	}
	writeJSON(w, http.StatusOK, map[string]string{"status": "ready"})
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // a client that left needs no answer
}

func (s *Server) routes(mux *http.ServeMux) {
	cfg := huma.DefaultConfig("Tandem", s.cfg.Version)
	cfg.Info.Description = "Channels, runs and what is parked."
	cfg.OpenAPIPath = "/api/v1/openapi"
	cfg.DocsPath, cfg.SchemasPath = "", ""
	cfg.CreateHooks = nil // no $schema fields: a run's JSON is the same here and on the command line
	cfg.Transformers = []huma.Transformer{transformProblem}
	cfg.RejectUnknownQueryParameters = true
	cfg.Components.SecuritySchemes = map[string]*huma.SecurityScheme{"token": {Type: "http", Scheme: "bearer"}}
	cfg.Security = []map[string][]string{{"token": {}}}
	h := humago.New(mux, cfg)
	s.channelRoutes(h)
	s.keeperRoutes(h)
	s.revisionRoutes(h)
	s.runRoutes(h)
	s.parkedRoutes(h)
	s.peopleRoutes(h)
	s.localChangeRoutes(h)
	describe(h.OpenAPI())
}

// fail logs what an answer must not tell and makes the answer.
func (s *Server) fail(ctx context.Context, err error) error {
	p := problem(err)
	if p.Status >= http.StatusInternalServerError && ctx.Err() == nil {
		s.log.Error("request failed", zap.Error(err))
	}
	return p
}
