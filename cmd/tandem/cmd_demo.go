package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/tandem-sync/tandem/config"
	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/internal/demo"
	"github.com/tandem-sync/tandem/store"
)

func demoCommand(a *app) *cobra.Command {
	var exit bool
	cmd := &cobra.Command{
		Use: "demo", Short: "See it work: nothing to set up, nothing left behind", Args: cobra.NoArgs,
		Long: `Starts a small REST service with 2,000 contacts inside this process, which now and
then answers "too many requests" and holds some records that no table takes.
Synchronizes them into a SQLite database in a temporary folder, lets the service
edit, create and delete contacts, synchronizes again, and compares both sides
record by record. Then it stays up, so that you can look around, until Ctrl-C.`,
		Example: "  tandem demo\n  tandem demo --exit -o json",
		RunE: run(func(ctx context.Context, _ []string) error {
			if exit {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeoutCause(ctx, demoLimit, errDemoSlow)
				defer cancel()
			}
			return a.demo(ctx, exit)
		}),
	}
	cmd.Flags().BoolVar(&exit, "exit", false, "end after the comparison; the exit code says whether the sides agree")
	return cmd
}

// demoLimit keeps `demo --exit` below its promise of 45 seconds.
const demoLimit = 42 * time.Second

var errDemoSlow = fault.New(fault.Permanent, fault.CodeFailed, "", "the demo did not end in time")

// demoFile is the configuration of the demo. %s is the remote's address.
const demoFile = `# What the demo runs with. Copy it, and change it to your own service.
database: sqlite:%[2]s
listen: 127.0.0.1:8080
network: {allow: [127.0.0.0/8]}
entities:
  contacts:
    table: contacts
    key: id
    create:
      id: integer primary key
      crm_id: text not null unique
      email: text not null unique
      name: text not null
      phone: text
      city: text
      birthday: text
      orders: integer
channels:
  - name: crm
    type: rest
    transport: {base_url: "%[1]s", concurrency: 4}
    schedule: "off"
    connectors:
      - name: contacts
        entity: contacts
        delete: {local: delete}
        mapping:
          - {local: crm_id, remote: id}
          - {local: email, remote: email}
          - {local: name, remote: name}
          - {local: phone, remote: phone}
          - {local: city, remote: address.city}
          - {local: birthday, remote: birthday, type: date}
          - {local: orders, remote: orders, type: integer}
        remote:
          list:
            path: /contacts
            records: items
            page: {by: page, param: page, size_param: per_page, size: 100, total_at: total}
            since: {query: "updated_since={time}", format: rfc3339}
          id: id
          modified: updated
          deleted: {path: /contacts/deleted, records: ids}
          get: {path: "/contacts/{id}", record: ""}
`

// demoWorld is the emulated remote beside an embedded Tandem.
type demoWorld struct {
	app    *app
	remote *demo.Remote
	engine *engine
	server *server
	config string
	close  []func() error
}

func (a *app) demo(ctx context.Context, exit bool) (err error) {
	w := &demoWorld{app: a, remote: demo.New(demo.Options{Seed: 1, Delay: 40 * time.Millisecond})}
	defer func() { err = errors.Join(err, w.Close()) }()
	if err := w.setUp(ctx); err != nil {
		return err
	}
	res, err := w.play(ctx)
	if cause := context.Cause(ctx); err != nil && errors.Is(cause, errDemoSlow) {
		return errors.Join(errDemoSlow, err)
	}
	if err != nil {
		return err
	}
	if err := w.report(res); err != nil {
		return err
	}
	if !exit {
		w.invite()
		<-ctx.Done()
	}
	if !res.Agree {
		return silent(exitFailed)
	}
	return nil
}

// setUp starts the remote, writes the configuration and starts Tandem, all of
// it below a temporary folder and on loopback.
func (w *demoWorld) setUp(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "tandem-demo-")
	if err != nil {
		return err
	}
	w.later(func() error { return os.RemoveAll(dir) })
	url, err := w.serveRemote(ctx)
	if err != nil {
		return err
	}
	w.config = filepath.Join(dir, config.DefaultPath)
	database := filepath.Join(dir, "tandem.db")
	if err := os.WriteFile(w.config, fmt.Appendf(nil, demoFile, url, database), 0o600); err != nil {
		return err
	}
	// The user's own variables must not turn the demo into something else.
	file, problems := config.Validate(w.config, func(string) (string, bool) { return "", false }, registry())
	if err := problems.Err(); err != nil {
		return err
	}
	lock, err := store.AcquireLock(database)
	if err != nil {
		return err
	}
	if w.engine, err = openEngine(ctx, w.app.log, file, lock); err != nil {
		return err
	}
	w.later(w.engine.Close)
	return w.startTandem(ctx)
}

func (w *demoWorld) startTandem(ctx context.Context) error {
	e := w.engine
	if err := e.migrate(ctx); err != nil {
		return err
	}
	if _, err := e.apply(ctx); err != nil {
		return err
	}
	if err := e.build(); err != nil {
		return err
	}
	var err error
	if w.server, err = w.app.listen(ctx, e, e.file.Listen); err != nil {
		// Somebody else has the usual port; any other is as good.
		if w.server, err = w.app.listen(ctx, e, "127.0.0.1:0"); err != nil {
			return err
		}
	}
	w.later(w.server.close)
	e.start(ctx)
	return nil
}

// serveRemote starts the emulated service on a free port.
func (w *demoWorld) serveRemote(ctx context.Context) (url string, err error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	srv := &http.Server{Handler: w.remote, ReadHeaderTimeout: 10 * time.Second}
	done := make(chan error, 1)
	go func() { done <- srv.Serve(l) }()
	w.later(func() error {
		err := srv.Close()
		if serr := <-done; !errors.Is(serr, http.ErrServerClosed) {
			err = errors.Join(err, serr)
		}
		return err
	})
	return "http://" + l.Addr().String(), nil
}

// later has fn called by Close, the last one first.
func (w *demoWorld) later(fn func() error) { w.close = append(w.close, fn) }

// Close ends everything and removes the folder.
func (w *demoWorld) Close() error {
	var errs []error
	for i := len(w.close) - 1; i >= 0; i-- {
		errs = append(errs, w.close[i]())
	}
	return errors.Join(errs...)
}
