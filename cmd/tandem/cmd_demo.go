package main

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tandem-sync/tandem/config"
	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/internal/demo"
)

func demoCommand(a *app) *cobra.Command {
	var exit bool
	cmd := &cobra.Command{
		Use: "demo", Short: "See it work: nothing to set up, nothing left behind", Args: cobra.NoArgs,
		Long: `Emulates two applications inside this process, a REST service with 2,000 contacts
and a HubSpot account with 1,200. Both now and then answer "too many requests" and
hold some records that no table takes. Starts Tandem as a process of its own on a
SQLite database in a temporary folder, synchronizes both, kills Tandem with kill -9
in the middle and starts it again, lets the applications edit, create and delete
contacts, synchronizes again, and compares the sides record by record. Then it
stays up, so that you can look around, until Ctrl-C.`,
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

const (
	// demoLimit keeps `demo --exit` below its promise of 45 seconds.
	demoLimit = 40 * time.Second
	// demoEnd is how long the service may take to end.
	demoEnd = 3 * time.Second
	// demoDelay is how long an answer of a remote takes.
	demoDelay = 40 * time.Millisecond
	// demoLag is how long HubSpot's searches do not see a change.
	demoLag = 500 * time.Millisecond
)

var errDemoSlow = fault.New(fault.Permanent, fault.CodeFailed, "", "the demo did not end in time")

// demoSide is what an emulated remote tells of itself.
type demoSide interface {
	Edit(want demo.Edits) demo.Edits
	Good() map[string]demo.Fields
	Broken() map[string]string
	Calls() (calls, refused int)
}

// demoRemote is an emulated remote with the channel that reads it.
type demoRemote struct {
	channel, typ string
	side         demoSide
	gate         *demo.Gate
	rows         string // query for the local rows
	want         demoCounts
}

// demoWorld is two emulated remotes and a Tandem process.
type demoWorld struct {
	app      *app
	exit     bool
	remotes  []*demoRemote
	dir      string
	config   string
	database string
	service  *demoService // nil while it is dead
	close    []func() error
}

func (a *app) demo(ctx context.Context, exit bool) (err error) {
	w := &demoWorld{app: a, exit: exit}
	defer func() { err = errors.Join(err, w.Close()) }()
	if err := w.setUp(ctx); err != nil {
		return slowDemo(ctx, err)
	}
	res, err := w.play(ctx)
	if err != nil {
		return slowDemo(ctx, err)
	}
	if err := w.report(res); err != nil {
		return err
	}
	if !exit {
		w.invite()
		select {
		case <-ctx.Done():
		case <-w.service.child.done:
			return w.service.child.failed()
		}
	}
	if !res.Agree {
		return silent(exitFailed)
	}
	return nil
}

// slowDemo says so where the time is up.
func slowDemo(ctx context.Context, err error) error {
	if errors.Is(context.Cause(ctx), errDemoSlow) {
		return errors.Join(errDemoSlow, err)
	}
	return err
}

// setUp starts the remotes, writes the configuration and starts Tandem, all of
// it below a temporary folder and on loopback.
func (w *demoWorld) setUp(ctx context.Context) (err error) {
	if w.dir, err = os.MkdirTemp("", "tandem-demo-"); err != nil {
		return err
	}
	w.later(func() error { return os.RemoveAll(w.dir) })
	crm, hub := demo.New(demo.Options{Seed: 1}), demo.NewAccount(demo.AccountOptions{Seed: 1, Lag: demoLag})
	w.remotes = []*demoRemote{
		{channel: "crm", typ: "rest", side: crm, gate: demo.NewGate(crm, demoDelay, 12), rows: crmRows},
		{channel: "hub", typ: "hubspot", side: hub, gate: demo.NewGate(hub, demoDelay, 9), rows: hubRows},
	}
	var urls []string
	for _, r := range w.remotes {
		url, closeServer, err := serveEmulated(ctx, "127.0.0.1:0", r.gate)
		if err != nil {
			return err
		}
		w.later(closeServer)
		w.later(func() error { r.gate.Open(); return nil })
		urls = append(urls, url)
	}
	w.config, w.database = filepath.Join(w.dir, config.DefaultPath), filepath.Join(w.dir, "tandem.db")
	text := demoConfig(w.database, w.listen(ctx), urls[0], urls[1], hub)
	if err := os.WriteFile(w.config, []byte(text), 0o600); err != nil {
		return err
	}
	w.later(w.stopService)
	return w.startService(ctx)
}

// listen chooses where the service listens: the usual address for people, if it
// is free; any other is as good.
func (w *demoWorld) listen(ctx context.Context) string {
	if !w.exit {
		if l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", config.Default().Listen); err == nil && l.Close() == nil {
			return config.Default().Listen
		}
	}
	return "127.0.0.1:0"
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

// ownVariables leaves out what would turn the demo into something else.
func ownVariables(env []string) []string {
	var out []string
	for _, v := range env {
		if !strings.HasPrefix(v, "TANDEM_") {
			out = append(out, v)
		}
	}
	return out
}
