package main

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"github.com/tandem-sync/tandem/store"
)

func migrateCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "migrate", Short: "Bring the database's schema up to date", Args: cobra.NoArgs,
		Long:    "Creates or updates Tandem's own tables (tandem_…). Several may run at once: one\nworks, the others wait. No table of yours is touched.",
		Example: "  tandem migrate",
		RunE: run(func(ctx context.Context, _ []string) error {
			return a.withDatabase(ctx, func(e *engine) error {
				if err := e.db.Migrate(ctx); err != nil {
					return err
				}
				v, err := e.db.SchemaVersion()
				if err != nil {
					return err
				}
				if a.json {
					return a.printJSON(struct {
						Schema int64 `json:"schema"`
					}{v})
				}
				return a.println("the schema is version", v)
			})
		}),
	}
}

// withDatabase opens the configured database itself, whoever else is there: on
// PostgreSQL beside a fleet, on SQLite only when nobody holds the lock.
func (a *app) withDatabase(ctx context.Context, fn func(*engine) error) error {
	file, err := a.load()
	if err != nil {
		return err
	}
	var lock *store.Lock
	if path, ok := sqlitePath(file.Database); ok {
		var info store.LockInfo
		if lock, info, err = claim(ctx, path, working); err != nil {
			return err
		}
		if lock == nil {
			return lockedBy(info, path)
		}
	}
	e, err := openEngine(ctx, a.log, file, lock)
	if err != nil {
		return err
	}
	return errors.Join(fn(e), e.Close())
}
