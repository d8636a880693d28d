package main

import (
	"context"
	"errors"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"github.com/tandem-sync/tandem/config"
	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/internal/client"
	"github.com/tandem-sync/tandem/internal/doctor"
	"github.com/tandem-sync/tandem/store/seal"
	"github.com/tandem-sync/tandem/workers"
)

func doctorCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "doctor", Short: "Look the deployment over and say what to do about what is found", Args: cobra.NoArgs,
		Long: `Checks the configuration, the database (version, schema, permissions, clock,
settings, indexes), the broker (version, queues, what lies in them) and every
channel (name, TLS, sign-in, one record of each connector, clock, quota), and
says the fix of each finding. It changes nothing.

The exit code is 0 when nothing fails, 3 when a needed service cannot be reached
or is too old, else 1.`,
		Example: "  tandem doctor\n  tandem doctor -c /etc/tandem.yaml -o json",
		RunE:    run(func(ctx context.Context, _ []string) error { return a.doctor(ctx) }),
	}
}

func (a *app) doctor(ctx context.Context) error {
	file, problems := config.Validate(a.path(), a.env, registry())
	cfg := doctor.Config{File: file, Problems: problems, Registry: registry()}
	cfg.Keys, cfg.KeyErr = knownKeys(file)
	test, closing := a.channelTester(file)
	cfg.Test = test
	sum, err := doctor.Examine(ctx, cfg, a.printCheck)
	if err = errors.Join(err, closing()); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if !a.json {
		a.note("%d ok, %d to look at, %d failed", sum.OK, sum.Warn, sum.Fail)
	}
	switch {
	case sum.Unavailable > 0:
		return silent(exitService)
	case sum.Fail > 0:
		return silent(exitFailed)
	}
	return nil
}

func (a *app) printCheck(c doctor.Check) error {
	if a.json {
		return a.printJSON(c)
	}
	mark := map[doctor.Status]string{doctor.OK: "ok  ", doctor.Warn: "WARN", doctor.Fail: "FAIL"}[c.Status]
	line := mark + " " + c.Area
	if c.Subject != "" {
		line += " " + c.Subject
	}
	if err := a.println(printable(line + ": " + c.Check + ": " + c.Message)); err != nil || c.Fix == "" {
		return err
	}
	return a.println("     " + printable(c.Fix))
}

// knownKeys gives the keys there are. Unlike work, looking makes no key file.
func knownKeys(file *config.File) (*seal.Keyring, error) {
	if path, ok := sqlitePath(file.Database); ok && file.SecretKey == "" {
		if _, err := os.Stat(path + ".key"); errors.Is(err, fs.ErrNotExist) {
			return nil, nil //nolint:nilnil // no secret has been stored
		}
	}
	return keyring(file)
}

// channelTester tries stored channels: through the process that holds a SQLite
// database, else from here with the database open for work, so that a token that
// is renewed meanwhile is kept.
func (a *app) channelTester(file *config.File) (test func(context.Context, string) ([]workers.TestStage, error), closing func() error) {
	var e *engine
	var c *client.Client
	open := func(ctx context.Context) error {
		path, sqlite := sqlitePath(file.Database)
		if !sqlite {
			var err error
			e, err = openEngine(ctx, a.log, file, nil)
			return err
		}
		lock, info, err := claim(ctx, path, probing)
		switch {
		case err != nil:
			return err
		case lock != nil:
			e, err = openEngine(ctx, a.log, file, lock)
		case info.URL != "":
			c, err = client.New(info.URL, info.Token, "the process that holds the database does not answer")
		default:
			err = fault.New(fault.Permanent, fault.CodeConflict, "", "process %d works on the database and has no address to ask", info.PID).
				WithHint("ask again when it has ended")
		}
		return err
	}
	test = func(ctx context.Context, name string) ([]workers.TestStage, error) {
		if e == nil && c == nil {
			if err := open(ctx); err != nil {
				return nil, err
			}
		}
		if e != nil {
			return workers.TestChannel(ctx, workersConfig(e), name)
		}
		r, err := c.TestChannel(ctx, name)
		out := make([]workers.TestStage, len(r.Stages))
		for i, s := range r.Stages {
			out[i] = workers.TestStage{Stage: s.Stage, OK: s.OK, Warn: s.Warn, Message: s.Message, Hint: s.Hint}
		}
		return out, err
	}
	return test, func() error {
		if c != nil {
			c.Close()
		}
		if e != nil {
			return e.Close()
		}
		return nil
	}
}
