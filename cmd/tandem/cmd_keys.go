package main

import (
	"context"
	"errors"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"github.com/tandem-sync/tandem/config"
	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/store/seal"
	"github.com/tandem-sync/tandem/workers"
)

func keysCommand(a *app) *cobra.Command {
	return group("keys", "The key that seals stored secrets", keysStatus(a), keysRotate(a))
}

func keysStatus(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "status", Short: "Show with which keys secrets are sealed", Args: cobra.NoArgs,
		Long: `Shows the keys by their ids, which tell nothing about the keys: which one seals new
secrets, which ones the database knows, and how many secrets are sealed with each.`,
		Example: "  tandem keys status",
		RunE: run(func(ctx context.Context, _ []string) error {
			file, err := a.load()
			if err != nil {
				return err
			}
			var list []workers.KeyUse
			err = a.look(ctx, file, func(l looker) (err error) {
				if !l.empty {
					list, err = workers.KeyStatus(ctx, l.db, l.keys)
				}
				return err
			})
			if err != nil {
				return err
			}
			return a.printKeys(list)
		}),
	}
}

func (a *app) printKeys(list []workers.KeyUse) error {
	yes := map[bool]string{true: "yes", false: "no"}
	rows := make([][]string, 0, len(list))
	for _, k := range list {
		if a.json {
			if err := a.printJSON(k); err != nil {
				return err
			}
			continue
		}
		rows = append(rows, []string{k.KeyID, yes[k.Current], yes[k.Opens], yes[k.Known], number(int64(k.Secrets))})
	}
	if a.json {
		return nil
	}
	return a.table([]string{"KEY", "SEALS", "OPENS", "KNOWN", "SECRETS"}, rows)
}

func keysRotate(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "rotate", Short: "Seal every stored secret with a new key", Args: cobra.NoArgs,
		Long: `Seals every stored secret anew, in one transaction: those of the channels, of their
kept revisions, and access tokens. The new key is that in TANDEM_SECRET_KEY_NEW;
with SQLite and a key file, a new one is made and the key file replaced. Done again
after an interruption it goes on where it stopped.

On a fleet, first give TANDEM_SECRET_KEY_NEW to all processes beside
TANDEM_SECRET_KEY and restart them: then they open secrets of both keys. Rotate,
make the new key TANDEM_SECRET_KEY everywhere, and take the other variable away.
Backups of the database need the key of their time.`,
		Example: "  TANDEM_SECRET_KEY_NEW=$(openssl rand -base64 32) tandem keys rotate",
		RunE: run(func(ctx context.Context, _ []string) error {
			return a.withDatabase(ctx, func(e *engine) error { return a.rotate(ctx, e) })
		}),
	}
}

// fitKey checks that the database's key is one of this process's, and seals with
// it from now on.
func (e *engine) fitKey(ctx context.Context) error {
	keys, err := e.db.FitKey(ctx, e.keys)
	if err == nil {
		e.keys = keys
	}
	return err
}

// rotate seals with the new key. A new key for the key file is on disk before
// anything is sealed with it and takes the old one's place afterwards: whenever
// this is interrupted, one of the two files has the key that opens everything.
func (a *app) rotate(ctx context.Context, e *engine) error {
	if isEmbedded(e.file) {
		if err := e.db.Migrate(ctx); err != nil {
			return err
		}
	} else if err := e.db.CheckSchema(ctx); err != nil {
		return err
	}
	path, keyFile := sqlitePath(e.file.Database)
	path, keyFile = path+".key", keyFile && e.file.SecretKey == ""
	begun := false
	if keyFile {
		_, err := os.Lstat(seal.NextKeyFile(path))
		begun = !errors.Is(err, fs.ErrNotExist)
	}
	if !begun {
		// Before a new key is made: the old one must be right.
		if err := e.fitKey(ctx); err != nil {
			return err
		}
	}
	next, err := nextKey(e.file, path, keyFile)
	if err != nil {
		return err
	}
	ring := next.With(e.keys)
	if begun {
		if _, err := e.db.FitKey(ctx, ring); err != nil {
			return err
		}
	}
	done, err := workers.Rotate(ctx, e.db, ring)
	if err != nil {
		return err
	}
	if keyFile {
		if err := seal.ReplaceKeyFile(path); err != nil {
			return err
		}
	}
	return a.printRotated(done, path, keyFile)
}

func nextKey(file *config.File, path string, keyFile bool) (*seal.Keyring, error) {
	if keyFile {
		next, err := seal.NextKey(path, file.SecretKeyNew)
		if err != nil {
			return nil, fault.Wrap(fault.Permanent, fault.CodeConfig, "new key", err)
		}
		return next, nil
	}
	if file.SecretKeyNew == "" {
		return nil, usageNewKey()
	}
	next, err := seal.New(file.SecretKeyNew)
	if err != nil {
		return nil, fault.Wrap(fault.Permanent, fault.CodeConfig, config.NewKeyVariable, err)
	}
	return next, nil
}

func usageNewKey() error {
	return fault.New(fault.Permanent, fault.CodeUsage, "", "%s is not set", config.NewKeyVariable).
		WithHint("set it to the new key, 32 random bytes as base64: openssl rand -base64 32")
}

func (a *app) printRotated(done workers.Rotated, path string, keyFile bool) error {
	out := struct {
		workers.Rotated
		KeyFile string `json:"key_file,omitempty"`
	}{Rotated: done}
	if keyFile {
		out.KeyFile = path
	}
	if a.json {
		return a.printJSON(out)
	}
	if err := a.println("sealed", done.Secrets, "secrets anew; the key is", done.KeyID); err != nil {
		return err
	}
	if keyFile {
		return a.println("it is in " + path)
	}
	return a.println("now make it TANDEM_SECRET_KEY everywhere, and take " + config.NewKeyVariable + " away")
}
