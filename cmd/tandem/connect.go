package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/tandem-sync/tandem/api"
	"github.com/tandem-sync/tandem/config"
	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/internal/client"
	"github.com/tandem-sync/tandem/internal/clock"
	"github.com/tandem-sync/tandem/store"
)

// access says what a command needs of the other side.
type access int

const (
	reading  access = iota // looks things up
	probing                // calls a channel's remote, changes nothing
	watching               // looks on, and works where nobody else does
	working                // changes something and needs workers
	changing               // changes something that needs no workers
)

// session is a command's connection: to a running service, or to the database
// with workers of its own (engine set). Close ends it.
type session struct {
	api.Backend
	engine *engine
	close  func() error
}

// Close ends the session: workers drain, the lock is released.
func (s *session) Close() error {
	if s.close == nil {
		return nil
	}
	return s.close()
}

// foreground reports whether the work is done by this process.
func (s *session) foreground() bool { return s.engine != nil }

// alive gives the reason why the workers of this process ended early.
func (s *session) alive() error {
	if s.engine == nil {
		return nil
	}
	return s.engine.failed()
}

// with opens a session for fn and closes it afterwards.
func (a *app) with(ctx context.Context, need access, fn func(*session) error) error {
	s, err := a.connect(ctx, need)
	if err != nil {
		return err
	}
	return errors.Join(fn(s), s.Close())
}

// connect finds out who can serve the command. --server: that one. SQLite: the
// process that holds the lock, if it has an address; the lock is free: this
// process. A fleet: the service at the listen address.
func (a *app) connect(ctx context.Context, need access) (*session, error) {
	if a.server != "" {
		return a.remote(a.server, a.tokenFor(a.server), "check --server, or start the service with `tandem run`")
	}
	file, err := a.load()
	if err != nil {
		return nil, err
	}
	path, ok := sqlitePath(file.Database)
	if !ok {
		return a.connectFleet(ctx, file, need)
	}
	lock, info, err := claim(ctx, path, need)
	switch {
	case err != nil:
		return nil, err
	case lock != nil:
		return a.embedded(ctx, file, lock, need)
	case info.URL != "":
		return a.remote(info.URL, info.Token, fmt.Sprintf("process %d holds %s but does not answer", info.PID, path))
	}
	return a.readOnly(ctx, file)
}

// claim takes the lock of the database, or says who has it. Without an address
// to talk to, a command that changes something waits a moment, because a short
// look at the database takes the lock, too.
func claim(ctx context.Context, path string, need access) (*store.Lock, store.LockInfo, error) {
	for try := 0; ; try++ {
		lock, err := store.AcquireLock(path)
		if err == nil || fault.CodeOf(err) != fault.CodeLocked {
			return lock, store.LockInfo{}, err
		}
		info, held, rerr := store.ReadLock(path)
		if rerr != nil {
			return nil, info, rerr
		}
		if held && (info.URL != "" || need != working && need != changing) {
			return nil, info, nil
		}
		if try >= 20 {
			return nil, info, err
		}
		if err := (clock.System{}).Sleep(ctx, 50*time.Millisecond); err != nil {
			return nil, info, err
		}
	}
}

func (a *app) remote(url, token, hint string) (*session, error) {
	c, err := client.New(url, token, hint)
	if err != nil {
		return nil, err
	}
	return &session{Backend: c, close: func() error { c.Close(); return nil }}, nil
}

// tokenFor gives the token for an address named by the user: that of the lock
// file where the process there published it, else TANDEM_API_TOKEN.
func (a *app) tokenFor(server string) string {
	if token := a.apiToken(); token != "" {
		return token
	}
	file, err := a.load()
	if err != nil {
		return "" // without a readable file there is no lock file to look at
	}
	path, ok := sqlitePath(file.Database)
	if !ok {
		return ""
	}
	info, held, err := store.ReadLock(path)
	if err != nil || !held || strings.TrimSuffix(server, "/") != info.URL {
		return ""
	}
	return info.Token
}

func (a *app) connectFleet(ctx context.Context, file *config.File, need access) (*session, error) {
	url := serverURL(file.Listen)
	s, err := a.remote(url, a.apiToken(), "start the service with `tandem run`, or name it with --server")
	if err != nil {
		return nil, err
	}
	c, ok := s.Backend.(*client.Client)
	if !ok {
		return s, nil
	}
	if err = c.Reachable(ctx); err == nil || file.Broker != brokerEmbedded {
		if err != nil {
			return nil, errors.Join(err, s.Close())
		}
		return s, nil
	}
	// PostgreSQL without a broker is one process, and nobody is at work: leases
	// and fences keep this right even when somebody begins in the meantime.
	if err := s.Close(); err != nil {
		return nil, err
	}
	return a.embedded(ctx, file, nil, need)
}

// serverURL is where a process that listens at the address is reached from the
// same machine.
func serverURL(listen string) string {
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return "http://" + listen
	}
	if ip := net.ParseIP(host); host == "" || (ip != nil && ip.IsUnspecified()) {
		host = "127.0.0.1"
	}
	return "http://" + net.JoinHostPort(host, port)
}

// embedded opens the database for this process alone: it migrates, applies the
// file and, for work, starts workers.
func (a *app) embedded(ctx context.Context, file *config.File, lock *store.Lock, need access) (*session, error) {
	e, err := openEngine(ctx, a.log, file, lock)
	if err != nil {
		return nil, err
	}
	e.foreground = true
	fail := func(err error) (*session, error) { return nil, errors.Join(err, e.Close()) }
	if err := e.migrate(ctx); err != nil {
		return fail(err)
	}
	if _, err := e.apply(ctx); err != nil {
		if need == probing || need == working {
			return fail(err)
		}
		// What has happened can be looked at with a file that has become wrong.
		a.note("the file is not applied: %v", err)
	}
	if need == working || need == watching {
		if err := e.build(); err != nil {
			return fail(err)
		}
		e.start(ctx)
	}
	return &session{Backend: e.service(), engine: e, close: e.Close}, nil
}

// readOnly looks at a database that another process works on.
func (a *app) readOnly(ctx context.Context, file *config.File) (*session, error) {
	e, err := openReader(ctx, a.log, file)
	if err != nil {
		return nil, err
	}
	return &session{Backend: e.service(), close: e.Close}, nil
}
