package workers

import (
	"context"
	"fmt"
	"slices"

	"github.com/tandem-sync/tandem/channels"
	"github.com/tandem-sync/tandem/config"
	"github.com/tandem-sync/tandem/entities"
	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/internal/clock"
	"github.com/tandem-sync/tandem/store"
	"github.com/tandem-sync/tandem/store/seal"
	"github.com/tandem-sync/tandem/transport"
)

// StoredView is the configuration that is in the database.
type StoredView struct {
	Entities []config.Entity
	Channels []config.Channel
	// Disabled names the channels that are switched off.
	Disabled map[string]bool
	// Unreadable says, by channel, why one cannot be read, such as another key.
	Unreadable map[string]error
}

// ReadStored reads the stored configuration. keys nil works while no channel has
// a secret.
func ReadStored(ctx context.Context, db *store.DB, keys *seal.Keyring) (StoredView, error) {
	var out StoredView
	err := db.Read(ctx, func(ctx context.Context, tx *store.Tx) (err error) {
		out, err = readStored(ctx, tx, keys)
		return err
	})
	return out, err
}

func readStored(ctx context.Context, tx *store.Tx, keys *seal.Keyring) (StoredView, error) {
	o := Opener{cfg: Config{Keys: keys}}
	out := StoredView{Disabled: map[string]bool{}, Unreadable: map[string]error{}}
	rows, err := tx.Entities(ctx)
	if err != nil {
		return out, err
	}
	for _, row := range rows {
		e, err := config.UnmarshalEntity(row.Name, row.Spec)
		if err != nil {
			return out, err
		}
		out.Entities = append(out.Entities, e)
	}
	list, err := tx.Channels(ctx)
	if err != nil {
		return out, err
	}
	for _, row := range list {
		out.Disabled[row.Name] = !row.Enabled
		c, err := config.UnmarshalStored(row.Name, row.Settings, o.unseal(row.Name))
		if err != nil {
			out.Unreadable[row.Name] = err
			continue
		}
		out.Channels = append(out.Channels, *c)
	}
	return out, nil
}

// TableCheck is how a connector's table is fit for it.
type TableCheck struct {
	Connector, Table string
	// Err says that the table cannot serve the connector at all.
	Err error
	// Lacking are missing privileges, Grants the statements that give them.
	Lacking, Grants []string
	// Indexes are those that matching wants and that are not there.
	Indexes []entities.Index
}

// CheckTables looks at the tables of a channel's connectors. An error means that
// the database could not be asked.
func CheckTables(ctx context.Context, db *store.DB, known []config.Entity, c *config.Channel) ([]TableCheck, error) {
	var out []TableCheck
	for i := range c.Connectors {
		cc := &c.Connectors[i]
		t := TableCheck{Connector: cc.Name, Table: cc.Entity}
		k := slices.IndexFunc(known, func(e config.Entity) bool { return e.Name == cc.Entity })
		if k < 0 {
			t.Err = fault.New(fault.Permanent, fault.CodeConfig, "", "there is no entity %q", cc.Entity).WithHint("declare it under entities:")
			out = append(out, t)
			continue
		}
		e := &known[k]
		t.Table = e.Table
		// A transaction each: what PostgreSQL refuses ends the transaction.
		err := db.Read(ctx, func(ctx context.Context, tx *store.Tx) error { return t.look(ctx, tx, cc, e) })
		if err != nil {
			if fault.CodeOf(err) != fault.CodeConfig && store.SQLState(err) != "42501" {
				return out, err
			}
			t.Err = err
		}
		out = append(out, t)
	}
	return out, nil
}

func (t *TableCheck) look(ctx context.Context, tx *store.Tx, cc *config.Connector, e *config.Entity) error {
	table, err := entities.Introspect(ctx, tx, entitySpec(e))
	if err != nil {
		return err
	}
	_, b, err := bindTable(table, cc, e)
	if err != nil {
		return err
	}
	use := entities.Use{Create: cc.Create == "both" || cc.Create == "to_local", Update: true, Remove: cc.DeleteLocal == "delete"}
	if t.Lacking, t.Grants, err = b.Lacking(ctx, tx, use); err != nil {
		return err
	}
	t.Indexes, err = b.MissingIndexes(ctx, tx)
	return err
}

// TestConfigured is TestChannel for a channel that is not stored.
func TestConfigured(ctx context.Context, reg *channels.Registry, g transport.Guard, c *config.Channel) ([]TestStage, error) {
	typ, err := reg.Get(c.Type)
	if err != nil {
		return nil, err
	}
	ch, err := typ.Open(ctx, c.Settings(g))
	if err != nil {
		return nil, fmt.Errorf("open channel %s: %w", c.Name, err)
	}
	defer func() { _ = ch.Close() }() // nothing is pending
	return testOpened(ctx, clock.System{}, &opened{config: c, channel: ch}), nil
}
