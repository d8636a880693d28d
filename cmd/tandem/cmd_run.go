package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"github.com/tandem-sync/tandem/api"
	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/internal/clock"
	"github.com/tandem-sync/tandem/messages/rabbit"
	"github.com/tandem-sync/tandem/store"
	"github.com/tandem-sync/tandem/web"
)

func runCommand(a *app) *cobra.Command {
	var names, health string
	var perChannel bool
	cmd := &cobra.Command{
		Use: "run", Short: "Run the service", Args: cobra.NoArgs,
		Long: `Runs the service until SIGTERM or Ctrl-C, then lets work under way reach its
next safe point and ends; a second signal ends it at once.

With SQLite or without a broker it is one process, which brings the schema up to
date and applies the file. With PostgreSQL and RabbitMQ any number of processes
share the work; then "tandem migrate" and "tandem apply" do that.

The role scheduler starts runs by the channels' schedules, and a channel that was
created or enabled at once; any number of processes may have it. "tandem sync",
the API or a message starts a run, too.

The role web serves pages, the API and /metrics at the listen address. As one
process, the link that is printed signs you in once; else sign in with the token.`,
		Example: "  tandem run\n  tandem run -c /etc/tandem.yaml --roles worker,relay --health 127.0.0.1:8081",
		RunE: run(func(ctx context.Context, _ []string) error {
			r, err := parseRoles(names)
			if err != nil {
				return err
			}
			if health != "" && r.web {
				return usagef("--health is for processes without the role web: the API's address answers /healthz, /readyz and /metrics, too")
			}
			return a.run(ctx, r, health, perChannel)
		}),
	}
	cmd.Flags().StringVar(&names, "roles", "all", "parts to run in this process: all, or some of worker,scheduler,relay,web")
	cmd.Flags().StringVar(&health, "health", "", "without the role web: address that answers /healthz, /readyz and /metrics, such as 127.0.0.1:8081")
	cmd.Flags().BoolVar(&perChannel, "metrics-channels", false, "metrics with the channel's name as a label: one series more per channel")
	return cmd
}

func (a *app) run(ctx context.Context, r roles, health string, perChannel bool) error {
	file, err := a.loadChecked()
	if err != nil {
		return err
	}
	single := isEmbedded(file)
	if single && (!r.worker || !r.relay) {
		return fault.New(fault.Permanent, fault.CodeUsage, "", "one process does all the work here, so it needs at least the roles worker and relay").
			WithHint("roles in processes of their own need PostgreSQL and RabbitMQ").WithWhere("--roles")
	}
	var lock *store.Lock
	if path, ok := sqlitePath(file.Database); ok {
		if lock, err = store.AcquireLock(path); err != nil {
			return err
		}
	}
	e, err := openEngine(ctx, a.log, file, lock)
	if err != nil {
		return err
	}
	e.roles = r
	e.measure(perChannel)
	address := file.Listen
	if !r.web {
		address = health
	}
	return errors.Join(a.serveEngine(ctx, e, address, single), e.Close())
}

// serveEngine makes everything ready, announces it and works until ctx ends.
func (a *app) serveEngine(ctx context.Context, e *engine, address string, single bool) error {
	if err := a.ready(ctx, e, single); err != nil {
		return err
	}
	if err := e.build(); err != nil {
		return err
	}
	srv, err := a.listen(ctx, e, address)
	if err != nil {
		return err
	}
	e.start(ctx)
	if e.note, err = e.scheduleNote(ctx); err == nil {
		err = a.announce(e, srv, single)
	}
	if err == nil {
		select {
		case <-ctx.Done():
		case <-e.ended:
		}
	}
	if ctx.Err() != nil {
		a.log.Info("draining; a second signal ends the process at once")
	}
	// Health and the API answer until the workers have come to rest.
	srv.drain()
	err = errors.Join(err, e.stop(), srv.close())
	a.log.Info("ended", zap.Error(err))
	return err
}

// ready brings the database to the state that work needs.
func (a *app) ready(ctx context.Context, e *engine, single bool) error {
	if !single {
		if err := e.db.CheckSchema(ctx); err != nil {
			return err
		}
		if err := e.fitKey(ctx); err != nil {
			return err
		}
		return e.dial(ctx)
	}
	if err := e.migrate(ctx); err != nil {
		return err
	}
	if _, err := e.apply(ctx); err != nil {
		return err
	}
	return e.dial(ctx)
}

// How long the start waits for a broker: for one that refuses, and for one that
// lets a try run into its deadline, because it is slow while many start at once.
const (
	dialFor = 10 * time.Second
	slowFor = time.Minute
)

// dial connects to the configured broker; the one inside the process needs no
// dialling.
func (e *engine) dial(ctx context.Context) error {
	if e.file.Broker == brokerEmbedded {
		return nil
	}
	b, err := rabbit.New(rabbit.Config{URL: e.file.Broker, Logger: e.log, AllowPlaintext: e.file.Network.AllowPlaintext})
	if err != nil {
		return err
	}
	e.broker = b
	for begun := time.Now(); ; {
		try := time.Now()
		err := b.Ready(ctx)
		patience := dialFor
		if time.Since(try) > dialFor/2 {
			patience = slowFor
		}
		if err == nil || fault.Of(err) == fault.Permanent || time.Since(begun) > patience {
			return err
		}
		e.log.Warn("the broker does not answer yet", zap.Error(err))
		if serr := (clock.System{}).Sleep(ctx, time.Second); serr != nil {
			return errors.Join(err, serr)
		}
	}
}

// server is the HTTP side of this process. The zero value serves nothing.
type server struct {
	api   *api.Server
	http  *http.Server
	pages *web.Pages // nil without the role web
	url   string
	done  chan error
}

// listen opens the address, if there is one, and serves: the API where this
// process has the role web, else only its health.
func (a *app) listen(ctx context.Context, e *engine, address string) (*server, error) {
	if address == "" {
		return &server{}, nil
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fault.New(fault.Permanent, fault.CodeConfig, "", "listen at %s: %w", address, err).
			WithHint("choose another listen address, or TANDEM_LISTEN").WithWhere("listen")
	}
	url := serverURL(l.Addr().String())
	cfg := api.ServerConfig{Ready: e.ready, Token: a.apiToken(), Loopback: loopbackOnly(l.Addr().String()), Version: version(), Logger: a.log}
	if e.roles.web {
		cfg.Backend = e.service()
	}
	if e.lock != nil && e.roles.web {
		if cfg.Token == "" {
			cfg.Token = newToken()
		}
		if err := e.lock.Publish(url, cfg.Token); err != nil {
			return nil, errors.Join(err, l.Close())
		}
	}
	pages := a.expose(e, &cfg)
	s := &server{api: api.NewServer(cfg), pages: pages, url: url, done: make(chan error, 1)}
	s.http = s.api.HTTPServer(ctx)
	go func() { s.done <- s.http.Serve(l) }()
	return s, nil
}

// ready says why this process cannot work now.
func (e *engine) ready(ctx context.Context) error {
	if err := e.failed(); err != nil {
		return err
	}
	if err := e.db.CheckSchema(ctx); err != nil {
		return err
	}
	return e.broker.Ready(ctx)
}

func (s *server) drain() {
	if s.api != nil {
		s.api.Drain()
	}
}

// close lets answers under way finish for a few seconds.
func (s *server) close() error {
	if s.http == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	err := s.http.Shutdown(ctx)
	if err != nil {
		err = s.http.Close()
	}
	if serr := <-s.done; !errors.Is(serr, http.ErrServerClosed) {
		err = errors.Join(err, serr)
	}
	return err
}

// announce says where the service is and what to expect.
func (a *app) announce(e *engine, srv *server, single bool) error {
	mode := "fleet"
	if single {
		mode = "embedded"
	}
	open := ""
	if single {
		open = srv.link()
	}
	if a.json {
		return a.printJSON(struct {
			URL     string   `json:"url"`
			PID     int      `json:"pid"`
			Mode    string   `json:"mode"`
			Roles   []string `json:"roles"`
			Version string   `json:"version"`
			Note    string   `json:"note"`
			Open    string   `json:"open,omitempty"`
		}{srv.url, os.Getpid(), mode, e.roles.names(), version(), e.note, open})
	}
	where := "without an address"
	if srv.url != "" {
		where = "at " + srv.url
	}
	text := fmt.Sprintf("Tandem %s is running %s (%s, process %d)\n%s", version(), where, mode, os.Getpid(), e.note)
	if path, ok := sqlitePath(e.file.Database); ok && srv.url != "" {
		text += fmt.Sprintf("\nthe API is at %s/api/v1/, its token in %s.lock", srv.url, path)
	}
	if open != "" {
		text += "\nopen " + open + " in a browser (it signs you in once, within 15 minutes)"
	}
	return a.println(text)
}
