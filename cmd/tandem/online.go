package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/tandem-sync/tandem/channels"
	"github.com/tandem-sync/tandem/config"
	"github.com/tandem-sync/tandem/entities"
	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/store"
	"github.com/tandem-sync/tandem/workers"
)

// checkOnline looks at the tables and asks the remotes. An error means that the
// database itself could not be asked.
func (a *app) checkOnline(ctx context.Context, file *config.File) (config.Problems, error) {
	problems, err := checkTables(ctx, file)
	if err != nil {
		return nil, err
	}
	for i := range file.Channels {
		if err := checkRemote(ctx, &file.Channels[i], file); err != nil {
			problems = append(problems, onlineProblem(file, fmt.Errorf("channel %s: %w", file.Channels[i].Name, err)))
		}
	}
	return problems, nil
}

func onlineProblem(file *config.File, err error) config.Problem {
	name := file.Path
	if name == "" {
		name = config.DefaultPath
	}
	return config.Problem{File: name, Field: fault.WhereOf(err), Message: err.Error(), Fix: fault.HintOf(err)}
}

// checkTables compares the file with the tables. Tables that applying the file
// will create cannot be wrong yet.
func checkTables(ctx context.Context, file *config.File) (config.Problems, error) {
	if path, ok := sqlitePath(file.Database); ok {
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
			return missingTables(file), nil
		}
	}
	db, err := store.Open(ctx, store.Config{URL: file.Database, ReadOnly: true, AllowPlaintext: file.Network.AllowPlaintext})
	if err != nil {
		return nil, err
	}
	there, err := existing(ctx, db, file)
	var problems config.Problems
	if err == nil {
		for _, e := range workers.CheckOnline(ctx, db, there) {
			problems = append(problems, onlineProblem(file, e))
		}
	}
	return problems, errors.Join(err, db.Close())
}

// missingTables is the answer for a database that is not there: every table
// that nobody will create is missing.
func missingTables(file *config.File) config.Problems {
	var out config.Problems
	for i := range file.Entities {
		if e := &file.Entities[i]; len(e.Create) == 0 {
			out = append(out, onlineProblem(file, fault.New(fault.Permanent, fault.CodeConfig, "",
				"entity %s: there is no table %s: the database %s does not exist", e.Name, e.Table, file.Database).
				WithHint("create the table, or declare its columns with create:").WithWhere("entities."+e.Name)))
		}
	}
	return out
}

// existing gives the file without the connectors whose table applying will
// create.
func existing(ctx context.Context, db *store.DB, file *config.File) (*config.File, error) {
	pending := map[string]bool{}
	err := db.Read(ctx, func(ctx context.Context, tx *store.Tx) error {
		for i := range file.Entities {
			e := &file.Entities[i]
			if len(e.Create) == 0 {
				continue
			}
			_, err := entities.Introspect(ctx, tx, entities.Spec{Name: e.Name, Table: e.Table, Key: e.Key, Modified: e.Modified, Deleted: e.Deleted})
			pending[e.Name] = fault.CodeOf(err) == fault.CodeConfig
			if err != nil && !pending[e.Name] {
				return err
			}
		}
		return nil
	})
	out := *file
	out.Channels = nil
	for _, c := range file.Channels {
		var kept []config.Connector
		for _, con := range c.Connectors {
			if !pending[con.Entity] {
				kept = append(kept, con)
			}
		}
		c.Connectors = kept
		out.Channels = append(out.Channels, c)
	}
	return &out, err
}

// checkRemote asks a channel's remote whether it answers with its credentials.
func checkRemote(ctx context.Context, c *config.Channel, file *config.File) (err error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	t, err := registry().Get(c.Type)
	if err != nil {
		return err
	}
	ch, err := t.Open(ctx, c.Settings(guardOf(file)))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, ch.Close()) }()
	if s, ok := ch.(channels.Stager); ok {
		for _, stage := range s.Stages(ctx) {
			if stage.Err != nil {
				return fmt.Errorf("%s: %w", stage.Name, stage.Err)
			}
		}
	}
	return ch.Ping(ctx)
}
