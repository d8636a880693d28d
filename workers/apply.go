package workers

import (
	"bytes"
	"context"
	"fmt"

	"github.com/tandem-sync/tandem/channels"
	"github.com/tandem-sync/tandem/config"
	"github.com/tandem-sync/tandem/entities"
	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/store"
	"github.com/tandem-sync/tandem/store/seal"
)

// Applied is what applying a file did with one entity or channel.
type Applied struct {
	Kind   string `json:"kind"` // "entity", "channel" or "capture": an entity's change triggers
	Name   string `json:"name"`
	Action string `json:"action"` // "created", "updated", "unchanged"; of triggers also "removed"
	SQL    string `json:"sql,omitempty"`
}

// Apply stores the file's entities and channels, creates the tables that are
// missing and declared, and brings the change triggers in line with all of it. All of it happens in one transaction: a table or column
// that a mapping needs and nobody has is an error with code config, and then
// nothing is applied. Channels that the file does not name stay as they are.
func Apply(ctx context.Context, db *store.DB, keys *seal.Keyring, reg *channels.Registry, f *config.File) ([]Applied, error) {
	var out []Applied
	err := db.Write(ctx, "apply", func(ctx context.Context, tx *store.Tx) error {
		out = nil
		if keys != nil {
			if err := tx.HoldKey(ctx, keys); err != nil {
				return err
			}
		}
		a := applier{tx: tx, keys: keys, reg: reg, file: f}
		for i := range f.Entities {
			done, err := a.entity(ctx, &f.Entities[i])
			if err != nil {
				return err
			}
			out = append(out, done)
		}
		for i := range f.Channels {
			done, err := a.channel(ctx, &f.Channels[i])
			if err != nil {
				return err
			}
			out = append(out, done)
		}
		captured, err := a.captures(ctx)
		out = append(out, captured...)
		return err
	})
	return out, err
}

type applier struct {
	tx   *store.Tx
	keys *seal.Keyring
	reg  *channels.Registry
	file *config.File
}

func (a applier) entity(ctx context.Context, e *config.Entity) (Applied, error) {
	done := Applied{Kind: "entity", Name: e.Name, Action: "unchanged"}
	created, sql, err := entities.Ensure(ctx, a.tx, entitySpec(e))
	if err != nil {
		return done, fmt.Errorf("entity %s: %w", e.Name, err)
	}
	if created {
		done.SQL = sql
	}
	spec, err := e.MarshalStored()
	if err != nil {
		return done, err
	}
	_, err = a.tx.Entity(ctx, e.Name)
	isNew := fault.CodeOf(err) == fault.CodeNotFound
	if err != nil && !isNew {
		return done, err
	}
	changed, err := a.tx.PutEntity(ctx, store.Entity{Name: e.Name, Spec: spec})
	done.Action = action(isNew, changed || created)
	return done, err
}

func action(isNew, changed bool) string {
	switch {
	case isNew:
		return "created"
	case changed:
		return "updated"
	}
	return "unchanged"
}

func (a applier) channel(ctx context.Context, c *config.Channel) (Applied, error) {
	done := Applied{Kind: "channel", Name: c.Name, Action: "unchanged"}
	if err := a.bindable(ctx, c); err != nil {
		return done, err
	}
	old, err := a.tx.ChannelByName(ctx, c.Name)
	isNew := fault.CodeOf(err) == fault.CodeNotFound
	if err != nil && !isNew {
		return done, err
	}
	if !isNew && old.Type != c.Type {
		return done, typeChange(old, c)
	}
	same, err := a.same(old, c)
	if err != nil {
		return done, err
	}
	row := store.Channel{Name: c.Name, Type: c.Type, Enabled: isNew || old.Enabled, Managed: "file", Settings: old.Settings}
	if !same {
		if row.Settings, err = c.MarshalStored(a.sealKeeping(old, c.Name)); err != nil {
			return done, err
		}
	}
	id, _, changed, err := a.tx.PutChannel(ctx, row)
	if err != nil {
		return done, err
	}
	done.Action = action(isNew, changed)
	conns := make([]store.Connector, len(c.Connectors))
	for i := range c.Connectors {
		conns[i] = store.Connector{Name: c.Connectors[i].Name, Ord: i, Entity: c.Connectors[i].Entity, Outward: c.Connectors[i].Writes()}
	}
	if _, err = a.tx.PutConnectors(ctx, id, conns); err == nil {
		err = a.tx.ForgetPasses(ctx, id)
	}
	if err != nil || isNew || !changed || !row.Enabled {
		return done, err
	}
	return done, a.retryHeld(ctx, id, c)
}

// same compares the configuration in clear: sealing the same secret twice gives
// two texts.
func (a applier) same(old store.Channel, c *config.Channel) (bool, error) {
	if len(old.Settings) == 0 {
		return false, nil
	}
	clearText := func(_, plain string) (string, error) { return plain, nil }
	o := Opener{cfg: Config{Keys: a.keys}}
	was, err := config.UnmarshalStored(old.Name, old.Settings, o.unseal(old.Name))
	if err != nil {
		return false, nil //nolint:nilerr // unreadable: write it anew
	}
	x, err := was.MarshalStored(clearText)
	if err != nil {
		return false, err
	}
	y, err := c.MarshalStored(clearText)
	return bytes.Equal(x, y), err
}

func (a applier) seal(channel string) func(field, plain string) (string, error) {
	return func(field, plain string) (string, error) {
		if a.keys == nil {
			return "", fault.New(fault.Permanent, fault.CodeConfig, "secrets", "channel %s has secrets and no secret_key is set", channel)
		}
		return a.keys.Seal(plain, SecretName(channel, field)), nil
	}
}

// bindable checks every connector against its table as it is now.
func (a applier) bindable(ctx context.Context, c *config.Channel) error {
	for i := range c.Connectors {
		cc := &c.Connectors[i]
		e, err := a.find(ctx, cc.Entity)
		if err != nil {
			return err
		}
		table, err := entities.Introspect(ctx, a.tx, entitySpec(e))
		if err == nil {
			_, _, err = bindTable(table, cc, e)
		}
		if err != nil {
			return fmt.Errorf("channel %s: connector %s: %w", c.Name, cc.Name, err)
		}
	}
	return nil
}

// find gives an entity of the file, or a stored one.
func (a applier) find(ctx context.Context, name string) (*config.Entity, error) {
	for i := range a.file.Entities {
		if a.file.Entities[i].Name == name {
			return &a.file.Entities[i], nil
		}
	}
	row, err := a.tx.Entity(ctx, name)
	if err != nil {
		return nil, err
	}
	e, err := config.UnmarshalEntity(row.Name, row.Spec)
	return &e, err
}

// CheckOnline compares the file with the tables as they are, without changing
// anything, and returns every disagreement.
func CheckOnline(ctx context.Context, db *store.DB, f *config.File) []error {
	var errs []error
	err := db.Read(ctx, func(ctx context.Context, tx *store.Tx) error {
		a := applier{tx: tx, file: f}
		for i := range f.Channels {
			for j := range f.Channels[i].Connectors {
				one := f.Channels[i]
				one.Connectors = one.Connectors[j : j+1]
				if err := a.bindable(ctx, &one); err != nil {
					errs = append(errs, err)
				}
			}
		}
		return nil
	})
	if err != nil {
		errs = append(errs, err)
	}
	return errs
}
