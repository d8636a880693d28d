package workers

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/tandem-sync/tandem/config"
	"github.com/tandem-sync/tandem/entities"
	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/store"
	"github.com/tandem-sync/tandem/store/seal"
	"github.com/tandem-sync/tandem/sync/mapping"
)

// CaptureTriggers and CaptureModified are ways in which an entity's local changes
// are noticed, as the configuration spells them.
const (
	CaptureTriggers = "triggers"
	CaptureModified = "modified"
)

// Capture is how an entity's local changes are noticed.
type Capture struct {
	Entity string `json:"entity"`
	Table  string `json:"table"`
	// Mode is the configured way: triggers, modified, api or none.
	Mode string `json:"capture"`
	// Installed says that change triggers are on the table, right or not.
	Installed bool `json:"installed"`
	// Columns are those whose change is noticed, beside the key and the mark of
	// deletion.
	Columns []string `json:"columns"`
	// Drift is what differs from what installing makes; Problems is what keeps it
	// from being installed.
	Drift    []string `json:"drift"`
	Problems []string `json:"problems"`
	// SQL are the statements that installing would run.
	SQL []string `json:"sql,omitempty"`
}

// Right reports whether the table is as the configuration wants it.
func (c *Capture) Right() bool {
	if c.Mode != CaptureTriggers {
		return !c.Installed
	}
	return c.Installed && len(c.Drift) == 0 && len(c.Problems) == 0
}

// capturer looks after the change triggers within one transaction.
type capturer struct {
	tx       *store.Tx
	entities []config.Entity
	channels []config.Channel
}

// readCapturer reads the stored configuration. A channel that cannot be read is an
// error: without its columns the triggers would notice less than before.
func readCapturer(ctx context.Context, tx *store.Tx, keys *seal.Keyring) (capturer, error) {
	view, err := readStored(ctx, tx, keys)
	if err != nil {
		return capturer{}, err
	}
	if bad := sortedNames(view.Unreadable); len(bad) > 0 {
		return capturer{}, fault.Wrap(fault.Permanent, fault.CodeConfig, "channel "+bad[0], view.Unreadable[bad[0]])
	}
	return capturer{tx: tx, entities: view.Entities, channels: view.Channels}, nil
}

// find gives an entity; an unknown one is an error with code not_found.
func (c *capturer) find(name string) (*config.Entity, error) {
	names := make([]string, len(c.entities))
	for i := range c.entities {
		if names[i] = c.entities[i].Name; names[i] == name {
			return &c.entities[i], nil
		}
	}
	hint := "no entity is stored yet; `tandem apply` stores those of tandem.yaml"
	if len(names) > 0 {
		hint = "known entities: " + strings.Join(names, ", ")
	}
	return nil, fault.New(fault.Permanent, fault.CodeNotFound, "", "there is no entity %q", name).WithHint(hint)
}

// columns are the columns whose change a connector that writes to its remote wants
// to hear of: all that it maps, and those that its scope looks at.
func (c *capturer) columns(entity string, table *entities.Table) []string {
	out := []string{}
	add := func(name string) {
		if col, ok := table.Column(name); ok && !slices.Contains(out, col.Name) {
			out = append(out, col.Name)
		}
	}
	for i := range c.channels {
		for k := range c.channels[i].Connectors {
			cc := &c.channels[i].Connectors[k]
			if cc.Entity != entity || !cc.Writes() {
				continue
			}
			for _, f := range cc.Mapping {
				add(f.Local)
			}
			scope, err := mapping.CompileScope(cc.Scope.Local)
			if err != nil || cc.Scope.Local == "" {
				continue // without a scope, or one that binding refuses
			}
			for _, n := range scope.Names() {
				add(n)
			}
		}
	}
	slices.Sort(out)
	return out
}

// look describes an entity; the table is nil where there is none.
func (c *capturer) look(ctx context.Context, e *config.Entity) (Capture, *entities.Table, error) {
	out := Capture{Entity: e.Name, Table: e.Table, Mode: e.Capture, Columns: []string{}, Drift: []string{}, Problems: []string{}}
	table, err := tableOrDeclared(ctx, c.tx, entitySpec(e))
	if err != nil {
		return out, nil, err
	}
	cols := c.columns(e.Name, table)
	if e.Capture == CaptureTriggers {
		out.Columns = cols
	}
	s, err := table.CaptureStatus(ctx, c.tx, e.Name, cols)
	if err != nil {
		return out, nil, err
	}
	out.Installed, out.SQL = s.Installed, s.SQL
	if e.Capture == CaptureTriggers {
		out.Drift, out.Problems = append(out.Drift, s.Drift...), append(out.Problems, s.Problems...)
	}
	return out, table, nil
}

// apply brings the triggers of an entity in line with its configuration; action
// is "" when nothing was to do.
func (c *capturer) apply(ctx context.Context, e *config.Entity) (action string, err error) {
	now, table, err := c.look(ctx, e)
	switch {
	case err != nil:
		return "", err
	case e.Capture == CaptureTriggers:
		if len(now.SQL) == 0 && len(now.Problems) == 0 {
			return "", nil
		}
		if action = "created"; now.Installed {
			action = "updated"
		}
		if err := table.CaptureInstall(ctx, c.tx, e.Name, now.Columns); err != nil || now.Installed {
			return action, err
		}
		return action, c.forgetRounds(ctx, e.Name)
	case now.Installed:
		return "removed", table.CaptureRemove(ctx, c.tx, e.Name)
	case e.Capture == CaptureModified:
		return "", table.OrdersByTime()
	}
	return "", nil
}

// forgetRounds has every connector that writes an entity's values to its remote
// look at all rows once more: what happened while there were no triggers is
// unknown.
func (c *capturer) forgetRounds(ctx context.Context, entity string) error {
	out, err := c.tx.Outward(ctx)
	if err != nil {
		return err
	}
	for _, k := range out[entity] {
		if err := c.tx.ForgetRounds(ctx, k.ID); err != nil {
			return err
		}
	}
	return nil
}

// CaptureRefresh brings the change triggers of the named entities in line with
// what is stored. Entities that capture otherwise, and ones that are not known, are
// left alone, and so is everything where a channel cannot be read: its columns
// would be missing. Nothing is locked where nothing is to do.
func CaptureRefresh(ctx context.Context, db *store.DB, keys *seal.Keyring, names ...string) error {
	return db.Write(ctx, "refresh change triggers", func(ctx context.Context, tx *store.Tx) error {
		view, err := readStored(ctx, tx, keys)
		if err != nil || len(view.Unreadable) > 0 {
			return err
		}
		c := capturer{tx: tx, entities: view.Entities, channels: view.Channels}
		for _, name := range names {
			e, err := c.find(name)
			if err != nil || e.Capture != CaptureTriggers {
				continue
			}
			if _, err := c.apply(ctx, e); err != nil {
				return fmt.Errorf("entity %s: %w", name, err)
			}
		}
		return nil
	})
}

// CaptureStatus describes the change triggers of the named entities, of all
// stored ones when no name is given. An entity whose table cannot be looked at has
// the reason among its problems.
func CaptureStatus(ctx context.Context, db *store.DB, keys *seal.Keyring, names ...string) ([]Capture, error) {
	var out []Capture
	err := db.Read(ctx, func(ctx context.Context, tx *store.Tx) error {
		out = nil
		c, err := readCapturer(ctx, tx, keys)
		if err != nil {
			return err
		}
		list, err := c.named(names)
		for _, e := range list {
			one, _, lerr := c.look(ctx, e)
			if fault.CodeOf(lerr) == fault.CodeConfig {
				one.Problems, lerr = append(one.Problems, lerr.Error()), nil
			}
			err = errors.Join(err, lerr)
			out = append(out, one)
		}
		return err
	})
	return out, err
}

// named gives the named entities, or all of them.
func (c *capturer) named(names []string) ([]*config.Entity, error) {
	var out []*config.Entity
	for _, n := range names {
		e, err := c.find(n)
		if err != nil {
			return nil, err
		}
		out = append(out, e)
	}
	for i := range c.entities {
		if len(names) == 0 {
			out = append(out, &c.entities[i])
		}
	}
	return out, nil
}

// CaptureInstall installs the change triggers of the named entities, or of all
// stored ones with capture: triggers, and brings those up to date that are there.
// A named entity that captures otherwise is an error with code usage.
func CaptureInstall(ctx context.Context, db *store.DB, keys *seal.Keyring, names ...string) ([]Capture, error) {
	return captureAll(ctx, db, "install change triggers", keys, names, func(ctx context.Context, c *capturer, e *config.Entity) (bool, error) {
		if e.Capture != CaptureTriggers {
			if len(names) == 0 {
				return false, nil
			}
			return false, fault.New(fault.Permanent, fault.CodeUsage, "", "entity %s has capture: %s", e.Name, e.Capture).
				WithHint("set capture: triggers, then `tandem apply`")
		}
		_, err := c.apply(ctx, e)
		return true, err
	})
}

// CaptureRemove removes the change triggers of the named entities, or of all
// stored ones.
func CaptureRemove(ctx context.Context, db *store.DB, keys *seal.Keyring, names ...string) ([]Capture, error) {
	return captureAll(ctx, db, "remove change triggers", keys, names, func(ctx context.Context, c *capturer, e *config.Entity) (bool, error) {
		removed, err := entities.CaptureRemove(ctx, c.tx, e.Name)
		return removed || len(names) > 0, err
	})
}

// captureAll does something about entities in one transaction, and then describes
// those about which it did.
func captureAll(ctx context.Context, db *store.DB, what string, keys *seal.Keyring, names []string, do func(context.Context, *capturer, *config.Entity) (bool, error)) ([]Capture, error) {
	var done []string
	err := db.Write(ctx, what, func(ctx context.Context, tx *store.Tx) error {
		done = nil
		c, err := readCapturer(ctx, tx, keys)
		if err != nil {
			return err
		}
		list, err := c.named(names)
		if err != nil {
			return err
		}
		for _, e := range list {
			did, err := do(ctx, &c, e)
			if err != nil {
				return fmt.Errorf("entity %s: %w", e.Name, err)
			}
			if did {
				done = append(done, e.Name)
			}
		}
		return nil
	})
	if err != nil || len(done) == 0 {
		return nil, err
	}
	return CaptureStatus(ctx, db, keys, done...)
}

// captures sees to the triggers of every stored entity, at the end of an apply so
// that tables are locked for a moment only. An entity that the file does not name
// and whose table is not there is left alone.
func (a applier) captures(ctx context.Context) ([]Applied, error) {
	c, err := readCapturer(ctx, a.tx, a.keys)
	if err != nil {
		return nil, err
	}
	var out []Applied
	for i := range c.entities {
		e := &c.entities[i]
		action, err := c.apply(ctx, e)
		if err != nil {
			if ours := slices.ContainsFunc(a.file.Entities, func(f config.Entity) bool { return f.Name == e.Name }); !ours && fault.CodeOf(err) == fault.CodeConfig {
				continue
			}
			return nil, fmt.Errorf("entity %s: capture: %w", e.Name, err)
		}
		if action != "" {
			out = append(out, Applied{Kind: PlanCapture, Name: e.Name, Action: action})
		}
	}
	return out, nil
}

// captures plans what applying does about change triggers.
func (p *planner) captures(ctx context.Context, stored []store.Channel) error {
	c := capturer{tx: p.tx, entities: p.file.Entities}
	for _, name := range sortedNames(p.stored) {
		if slices.ContainsFunc(c.entities, func(e config.Entity) bool { return e.Name == name }) {
			continue
		}
		if e, err := config.UnmarshalEntity(name, p.stored[name].Spec); err == nil {
			c.entities = append(c.entities, e)
		}
	}
	c.channels = append(c.channels, p.file.Channels...)
	o := Opener{cfg: Config{Keys: p.keys}}
	for _, row := range stored {
		if slices.ContainsFunc(p.file.Channels, func(k config.Channel) bool { return k.Name == row.Name }) {
			continue
		}
		if k, err := config.UnmarshalStored(row.Name, row.Settings, o.unseal(row.Name)); err == nil {
			c.channels = append(c.channels, *k)
		}
	}
	for i := range c.entities {
		e := &c.entities[i]
		now, table, err := c.look(ctx, e)
		if err != nil {
			if i >= len(p.file.Entities) && fault.CodeOf(err) == fault.CodeConfig {
				continue // not the file's, and its table is gone
			}
			if err := p.problem(fmt.Errorf("entity %s: %w", e.Name, err)); err != nil {
				return err
			}
			continue
		}
		if err := p.capture(now, table); err != nil {
			return err
		}
	}
	return nil
}

// capture adds what becomes of one entity's triggers.
func (p *planner) capture(now Capture, table *entities.Table) error {
	item := Planned{Kind: PlanCapture, Name: now.Entity, Action: PlanCreate, SQL: strings.Join(now.SQL, ";\n"), Why: strings.Join(now.Drift, "; ")}
	switch {
	case now.Mode == CaptureTriggers && len(now.Problems) > 0:
		return p.problem(fault.New(fault.Permanent, fault.CodeConfig, "", "entity %s: changes cannot be captured by triggers: %s", now.Entity, strings.Join(now.Problems, "; ")))
	case now.Mode == CaptureTriggers && len(now.SQL) == 0:
		return nil
	case now.Mode == CaptureTriggers && now.Installed:
		item.Action = PlanUpdate
	case now.Mode == CaptureTriggers:
	case now.Installed:
		item.Action, item.SQL, item.Why = PlanRemove, "", "the entity has capture: "+now.Mode
	case now.Mode == CaptureModified:
		if err := table.OrdersByTime(); err != nil {
			return p.problem(err)
		}
		return nil
	default:
		return nil
	}
	p.out = append(p.out, item)
	return nil
}

func sortedNames[T any](m map[string]T) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}
