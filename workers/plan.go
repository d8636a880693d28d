package workers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/tandem-sync/tandem/channels"
	"github.com/tandem-sync/tandem/config"
	"github.com/tandem-sync/tandem/entities"
	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/store"
	"github.com/tandem-sync/tandem/store/seal"
)

// What a planned item is about and what becomes of it.
const (
	PlanEntity  = "entity"
	PlanChannel = "channel"
	PlanIndex   = "index"
	PlanCapture = "capture" // the change triggers of an entity

	PlanCreate = "create"
	PlanUpdate = "update"
	PlanRemove = "remove" // by pruning
	PlanLeave  = "leave"  // managed by file, not in the file, and not pruned
	PlanWant   = "want"   // an index that a person may create
)

// Planned is one thing that applying a file would do, or that the file wants.
type Planned struct {
	Kind   string `json:"kind"`
	Name   string `json:"name"` // of an index: channel/connector
	Action string `json:"action"`
	// Fields are the fields that differ. Secrets are never shown.
	Fields []config.FieldChange `json:"fields,omitempty"`
	// SQL is what is run on a table of the user's, or makes the wanted index; ""
	// nothing.
	SQL string `json:"sql,omitempty"`
	Why string `json:"why,omitempty"`
	// Links, Runs and Parked go with a channel that is removed.
	Links  int64 `json:"links,omitempty"`
	Runs   int64 `json:"runs,omitempty"`
	Parked int64 `json:"parked,omitempty"`
}

// Changes reports whether applying does something about it.
func (p Planned) Changes() bool {
	return p.Action == PlanCreate || p.Action == PlanUpdate || p.Action == PlanRemove
}

// PlanOptions says how the file is to be applied.
type PlanOptions struct {
	Prune bool
	// Empty says that the database has none of Tandem's tables yet.
	Empty bool
}

// MakePlan compares the file with what is stored and with the tables as they
// are, and changes nothing. What would keep the file from being applied is an
// error that names all of it.
func MakePlan(ctx context.Context, db *store.DB, keys *seal.Keyring, reg *channels.Registry, f *config.File, opts PlanOptions) ([]Planned, error) {
	var out []Planned
	err := db.Read(ctx, func(ctx context.Context, tx *store.Tx) error {
		p := planner{applier: applier{tx: tx, keys: keys, reg: reg, file: f}, opts: opts, stored: map[string]store.Entity{}}
		err := p.plan(ctx)
		out = p.out
		return err
	})
	return out, err
}

type planner struct {
	applier
	opts     PlanOptions
	stored   map[string]store.Entity // by name
	out      []Planned
	problems []error
}

func (p *planner) plan(ctx context.Context) error {
	var list []store.Channel
	if !p.opts.Empty {
		rows, err := p.tx.Entities(ctx)
		if err != nil {
			return err
		}
		for _, e := range rows {
			p.stored[e.Name] = e
		}
		if list, err = p.tx.Channels(ctx); err != nil {
			return err
		}
	}
	for i := range p.file.Entities {
		if err := p.entity(ctx, &p.file.Entities[i]); err != nil {
			return err
		}
	}
	byName := map[string]*store.Channel{}
	for i := range list {
		byName[list[i].Name] = &list[i]
	}
	var indexes []Planned
	for i := range p.file.Channels {
		c := &p.file.Channels[i]
		if err := p.channel(c, byName[c.Name]); err != nil {
			return err
		}
		delete(byName, c.Name)
		more, err := p.indexes(ctx, c)
		if err != nil {
			return err
		}
		indexes = append(indexes, more...)
	}
	for i := range list {
		if c := byName[list[i].Name]; c != nil && c.Managed == "file" {
			if err := p.gone(ctx, c); err != nil {
				return err
			}
		}
	}
	if err := p.captures(ctx, list); err != nil {
		return err
	}
	p.out = append(p.out, indexes...)
	return errors.Join(p.problems...)
}

// problem keeps what is wrong with the file and lets the plan go on; any other
// error ends it.
func (p *planner) problem(err error) error {
	if fault.CodeOf(err) != fault.CodeConfig && fault.CodeOf(err) != fault.CodeNotFound {
		return err
	}
	p.problems = append(p.problems, err)
	return nil
}

func (p *planner) entity(ctx context.Context, e *config.Entity) error {
	item := Planned{Kind: PlanEntity, Name: e.Name, Action: PlanCreate}
	var old *config.Entity
	if row, ok := p.stored[e.Name]; ok {
		was, err := config.UnmarshalEntity(row.Name, row.Spec)
		if err == nil { // an unreadable one is written anew
			old = &was
		}
		item.Action = PlanUpdate
	}
	var err error
	if item.Fields, err = config.DiffEntity(old, e); err != nil {
		return err
	}
	missing, sql, err := entities.Missing(ctx, p.tx, entitySpec(e))
	if err != nil {
		return p.problem(fmt.Errorf("entity %s: %w", e.Name, err))
	}
	item.SQL = sql
	if declares := func(c config.FieldChange) bool { return strings.HasPrefix(c.Field, "create") }; !missing && slices.ContainsFunc(item.Fields, declares) {
		item.Why = "the table is there already, and its columns stay as they are"
	}
	if len(item.Fields) > 0 || item.SQL != "" {
		p.out = append(p.out, item)
	}
	return nil
}

func (p *planner) channel(c *config.Channel, old *store.Channel) error {
	item := Planned{Kind: PlanChannel, Name: c.Name, Action: PlanCreate}
	var was *config.Channel
	if old != nil {
		item.Action = PlanUpdate
		if old.Type != c.Type {
			return p.problem(typeChange(*old, c))
		}
		o := Opener{cfg: Config{Keys: p.keys}}
		stored, err := config.UnmarshalStored(old.Name, old.Settings, o.unseal(old.Name))
		if err == nil { // an unreadable one is written anew
			was = stored
		}
	}
	fields, err := config.DiffChannel(was, c)
	if err != nil {
		return err
	}
	if old != nil && old.Managed != "file" {
		manager, err := json.Marshal(old.Managed)
		if err != nil {
			return err
		}
		fields = append(fields, config.FieldChange{Field: "managed by", Old: manager, New: json.RawMessage(`"file"`)})
	}
	if item.Fields = fields; len(fields) > 0 {
		p.out = append(p.out, item)
	}
	return nil
}

func typeChange(old store.Channel, c *config.Channel) error {
	return fault.New(fault.Permanent, fault.CodeConfig, "apply", "channel %s is of type %s and cannot become %s", c.Name, old.Type, c.Type).
		WithHint("give the new channel another name")
}

// indexes checks every connector against its table, as applying does, and gives
// the indexes it wants.
func (p *planner) indexes(ctx context.Context, c *config.Channel) ([]Planned, error) {
	var out []Planned
	for i := range c.Connectors {
		more, err := p.connector(ctx, &c.Connectors[i])
		if err != nil {
			if err = p.problem(fmt.Errorf("channel %s: connector %s: %w", c.Name, c.Connectors[i].Name, err)); err != nil {
				return nil, err
			}
		}
		for _, x := range more {
			out = append(out, Planned{Kind: PlanIndex, Name: c.Name + "/" + c.Connectors[i].Name, Action: PlanWant, SQL: x.SQL, Why: x.Why})
		}
	}
	return out, nil
}

func (p *planner) connector(ctx context.Context, cc *config.Connector) ([]entities.Index, error) {
	e, err := p.entityOf(cc.Entity)
	if err != nil {
		return nil, err
	}
	spec := entitySpec(e)
	table, err := tableOrDeclared(ctx, p.tx, spec)
	if err != nil {
		return nil, err
	}
	_, binding, err := bindTable(table, cc, e)
	if err != nil {
		return nil, err
	}
	out, err := binding.MissingIndexes(ctx, p.tx)
	if err != nil || e.Capture != "modified" {
		return out, err
	}
	x, err := table.MissingModified(ctx, p.tx)
	if x != nil {
		out = append(out, *x)
	}
	return out, err
}

// tableOrDeclared gives the table as it is, or as applying will make it.
func tableOrDeclared(ctx context.Context, tx *store.Tx, spec entities.Spec) (*entities.Table, error) {
	missing, sql, err := entities.Missing(ctx, tx, spec)
	if err != nil {
		return nil, err
	}
	if missing && sql != "" {
		return entities.Declared(tx.Dialect(), spec)
	}
	return entities.Introspect(ctx, tx, spec)
}

// entityOf gives an entity of the file, or a stored one.
func (p *planner) entityOf(name string) (*config.Entity, error) {
	for i := range p.file.Entities {
		if p.file.Entities[i].Name == name {
			return &p.file.Entities[i], nil
		}
	}
	row, ok := p.stored[name]
	if !ok {
		return nil, fault.New(fault.Permanent, fault.CodeNotFound, "", "there is no entity %q", name)
	}
	e, err := config.UnmarshalEntity(row.Name, row.Spec)
	return &e, err
}

// gone is a channel that the file does not name any more.
func (p *planner) gone(ctx context.Context, c *store.Channel) error {
	item := Planned{Kind: PlanChannel, Name: c.Name, Action: PlanLeave, Why: "the file does not name it any more"}
	if p.opts.Prune {
		item.Action = PlanRemove
	}
	left, err := p.tx.Leavings(ctx, c.ID)
	item.Links, item.Runs, item.Parked = left.Links, left.Runs, left.Parked
	p.out = append(p.out, item)
	return err
}

// MissingIndexes gives the indexes that the file's connectors want and that
// tables which are there lack. Connectors that do not fit their table are left
// out; see CheckOnline for those.
func MissingIndexes(ctx context.Context, db *store.DB, f *config.File) ([]Planned, error) {
	var out []Planned
	err := db.Read(ctx, func(ctx context.Context, tx *store.Tx) error {
		p := planner{applier: applier{tx: tx, file: f}}
		out = nil
		for i := range f.Channels {
			more, err := p.indexes(ctx, &f.Channels[i])
			if err != nil {
				return err
			}
			out = append(out, more...)
		}
		return nil
	})
	return out, err
}

// sealKeeping seals a channel's secrets; one that is the same as in the stored
// settings keeps its sealed text.
func (a applier) sealKeeping(old store.Channel, channel string) func(field, plain string) (string, error) {
	was := map[string]string{}
	if len(old.Settings) > 0 {
		if fields, err := config.SealedFields(old.Settings); err == nil {
			was = fields
		}
	}
	anew := a.seal(channel)
	return func(field, plain string) (string, error) {
		if s := was[field]; a.keys != nil && seal.KeyOf(s) == a.keys.KeyID() {
			if same, err := a.keys.Open(s, SecretName(channel, field)); err == nil && same == plain {
				return s, nil
			}
		}
		return anew(field, plain)
	}
}

// ForExport gives the stored entities and channels as a configuration, secrets in
// clear: config.Export hides them.
func ForExport(ctx context.Context, db *store.DB, keys *seal.Keyring) ([]config.Entity, []config.Channel, error) {
	var es []config.Entity
	var cs []config.Channel
	err := db.Read(ctx, func(ctx context.Context, tx *store.Tx) error {
		es, cs = nil, nil
		rows, err := tx.Entities(ctx)
		if err != nil {
			return err
		}
		for _, row := range rows {
			e, err := config.UnmarshalEntity(row.Name, row.Spec)
			if err != nil {
				return err
			}
			es = append(es, e)
		}
		list, err := tx.Channels(ctx)
		if err != nil {
			return err
		}
		o := Opener{cfg: Config{Keys: keys}}
		for _, row := range list {
			c, err := config.UnmarshalStored(row.Name, row.Settings, o.unseal(row.Name))
			if err != nil {
				return fault.Wrap(fault.Permanent, fault.CodeConfig, "channel "+row.Name, err)
			}
			cs = append(cs, *c)
		}
		return nil
	})
	return es, cs, err
}
