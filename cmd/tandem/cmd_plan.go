package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tandem-sync/tandem/config"
	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/store"
	"github.com/tandem-sync/tandem/store/seal"
	"github.com/tandem-sync/tandem/workers"
)

func planCommand(a *app) *cobra.Command {
	var prune bool
	cmd := &cobra.Command{
		Use: "plan", Short: "Show what `tandem apply` would change", Args: cobra.NoArgs,
		Long: `Compares the file with the stored entities and channels and with the tables, field
by field, and changes nothing. Also shows the SQL that applying runs on tables of
yours, and the indexes that the connectors want but Tandem does not create. Of a
secret it only says that it changes. The exit code is 0 with and without changes.`,
		Example: "  tandem plan\n  tandem plan --prune -o json",
		RunE: run(func(ctx context.Context, _ []string) error {
			file, err := a.loadChecked()
			if err != nil {
				return err
			}
			var items []workers.Planned
			err = a.look(ctx, file, func(l looker) (err error) {
				items, err = workers.MakePlan(ctx, l.db, l.keys, registry(), file, workers.PlanOptions{Prune: prune, Empty: l.empty})
				return err
			})
			if err != nil {
				return err
			}
			return a.printPlan(items)
		}),
	}
	cmd.Flags().BoolVar(&prune, "prune", false, "also show what apply --prune would remove")
	return cmd
}

// looker is a database that is only looked at.
type looker struct {
	db    *store.DB
	keys  *seal.Keyring
	empty bool // there is none, or it has none of Tandem's tables
}

// look opens the configured database for reading only, whoever works on it, and
// makes nothing: for a SQLite database that is not there, an empty one in a
// temporary folder stands in.
func (a *app) look(ctx context.Context, file *config.File, fn func(looker) error) error {
	return a.lookAtTables(ctx, file, func(l looker) error {
		keys, err := a.lookable(ctx, file, l)
		if err != nil {
			return err
		}
		l.keys = keys
		return fn(l)
	})
}

// lookAtTables is look for who is interested in the user's tables only: it takes
// any schema and key.
func (a *app) lookAtTables(ctx context.Context, file *config.File, fn func(looker) error) (err error) {
	cfg := store.Config{URL: file.Database, ReadOnly: true, AllowPlaintext: file.Network.AllowPlaintext, Logger: a.log}
	path, sqlite := sqlitePath(file.Database)
	if sqlite {
		if _, serr := os.Stat(path); errors.Is(serr, fs.ErrNotExist) {
			dir, err := os.MkdirTemp("", "tandem-plan-")
			if err != nil {
				return err
			}
			defer func() { _ = os.RemoveAll(dir) }() // nothing of worth is in it
			cfg.URL, cfg.ReadOnly = "sqlite:"+filepath.Join(dir, "empty.db"), false
		}
	}
	l := looker{}
	if l.keys, err = a.existingKeys(file); err != nil {
		return err
	}
	if l.db, err = store.Open(ctx, cfg); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.db.Close()) }()
	has, err := l.db.HasSchema(ctx)
	if err != nil {
		return err
	}
	l.empty = !has
	return fn(l)
}

// lookable refuses a database that this binary or key does not fit, and gives the
// keys that do. One process
// alone migrates before it applies, so that an old schema is no obstacle there.
func (a *app) lookable(ctx context.Context, file *config.File, l looker) (*seal.Keyring, error) {
	err := l.db.CheckSchema(ctx)
	if fault.CodeOf(err) == fault.CodeSchemaOld && isEmbedded(file) {
		if !l.empty {
			a.note("applying also brings the schema of Tandem's own tables up to date")
		}
		err = nil
	}
	if err != nil || l.empty {
		return l.keys, err
	}
	return l.db.FitKey(ctx, l.keys)
}

// existingKeys is keyring without making a key file. Where there is none, a key
// that opens nothing stands in.
func (a *app) existingKeys(file *config.File) (*seal.Keyring, error) {
	path, sqlite := sqlitePath(file.Database)
	if file.SecretKey == "" && sqlite {
		if _, err := os.Stat(path + ".key"); errors.Is(err, fs.ErrNotExist) {
			return seal.New(seal.NewKey())
		}
	}
	return keyring(file)
}

// printPlan prints the items, and for a person what they add up to.
func (a *app) printPlan(items []workers.Planned) error {
	counts := map[string]int{}
	var left, wanted []workers.Planned
	for _, p := range items {
		counts[p.Action]++
		switch {
		case a.json:
			if err := a.printJSON(p); err != nil {
				return err
			}
		case p.Action == workers.PlanLeave:
			left = append(left, p)
		case p.Action == workers.PlanWant:
			wanted = append(wanted, p)
		default:
			if err := a.println(planText(p)); err != nil {
				return err
			}
		}
	}
	if a.json {
		return nil
	}
	summary := "no changes"
	if n := counts[workers.PlanCreate] + counts[workers.PlanUpdate] + counts[workers.PlanRemove]; n > 0 {
		summary = fmt.Sprintf("%d to create, %d to update, %d to remove", counts[workers.PlanCreate], counts[workers.PlanUpdate], counts[workers.PlanRemove])
	}
	return errors.Join(a.println(summary), a.printLeft(left), a.printWanted(wanted))
}

// planText words one change over several lines.
func planText(p workers.Planned) string {
	mark := map[string]string{workers.PlanCreate: "+", workers.PlanUpdate: "~", workers.PlanRemove: "-"}[p.Action]
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s %s", mark, p.Kind, printable(p.Name))
	switch {
	case p.Action != workers.PlanRemove:
	case p.Kind == workers.PlanCapture:
		b.WriteString(": " + printable(p.Why))
	default:
		b.WriteString(": " + leavings(p))
	}
	b.WriteString("\n")
	if p.Why != "" && p.Action != workers.PlanRemove {
		b.WriteString("    note: " + printable(p.Why) + "\n")
	}
	if p.SQL != "" {
		for i, line := range strings.Split(p.SQL, "\n") {
			b.WriteString([]string{"    runs: ", "          "}[min(i, 1)] + printable(strings.ReplaceAll(line, "\t", "  ")) + "\n")
		}
	}
	for _, f := range p.Fields {
		b.WriteString("    " + fieldText(f) + "\n")
	}
	return b.String()
}

func fieldText(f config.FieldChange) string {
	field := printable(f.Field)
	switch {
	case f.Old == nil:
		return "+ " + field + ": " + valueText(f.New)
	case f.New == nil:
		return "- " + field + ": " + valueText(f.Old)
	case f.Secret:
		return "~ " + field + ": (secret) changed"
	}
	return "~ " + field + ": " + valueText(f.Old) + " -> " + valueText(f.New)
}

// valueText shows a value, at the most a few lines of it.
func valueText(v json.RawMessage) string {
	const most = 400
	s := []rune(printable(string(v)))
	if string(v) == `"(secret)"` {
		return "(secret)"
	}
	if len(s) > most {
		return string(s[:most]) + "…"
	}
	return string(s)
}

func leavings(p workers.Planned) string {
	return fmt.Sprintf("%s; %d links, %d runs and %d parked items go with it, no row of a table of yours", p.Why, p.Links, p.Runs, p.Parked)
}

func (a *app) printLeft(left []workers.Planned) error {
	for _, p := range left {
		if err := a.println("channel", printable(p.Name), "stays, though", p.Why+"; `tandem apply --prune` removes it"); err != nil {
			return err
		}
	}
	return nil
}

func (a *app) printWanted(wanted []workers.Planned) error {
	if len(wanted) == 0 {
		return nil
	}
	if err := a.println("\nwanted indexes, which Tandem does not create:"); err != nil {
		return err
	}
	for _, p := range wanted {
		text := "  " + printable(p.Name) + ": " + printable(p.Why)
		if p.SQL != "" {
			text += "\n    " + printable(p.SQL) + ";"
		}
		if err := a.println(text); err != nil {
			return err
		}
	}
	return nil
}
