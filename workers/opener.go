package workers

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/tandem-sync/tandem/channels"
	"github.com/tandem-sync/tandem/config"
	"github.com/tandem-sync/tandem/entities"
	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/store"
	"github.com/tandem-sync/tandem/sync/judge"
	"github.com/tandem-sync/tandem/sync/mapping"
	"github.com/tandem-sync/tandem/sync/pass"
)

// Opener turns stored configuration into channels that can be talked to. An
// opened channel is kept per revision, so that its rate and concurrency limits
// hold across slices; tables are looked at afresh each time, because users
// change them.
type Opener struct {
	cfg  Config
	mu   sync.Mutex
	open map[int64]*opened // by channel id
}

type opened struct {
	revision int64
	config   *config.Channel
	channel  channels.Channel
}

func newOpener(cfg Config) *Opener { return &Opener{cfg: cfg, open: map[int64]*opened{}} }

// Close closes every opened channel.
func (o *Opener) Close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	for id, c := range o.open {
		_ = c.channel.Close() //nolint:errcheck // nothing is pending
		delete(o.open, id)
	}
}

// Connector opens the connector of a slice under the configuration its run
// began with.
func (o *Opener) Connector(ctx context.Context, run store.Run, sl store.Slice) (pass.Connector, error) {
	op, err := o.channel(ctx, run.ChannelID, run.Revision)
	if err != nil {
		return pass.Connector{}, err
	}
	cc := op.connector(sl.Connector)
	if cc == nil {
		return pass.Connector{}, fault.New(fault.Permanent, fault.CodeNotFound, "open", "connector %s is not in the channel's configuration", sl.Connector)
	}
	remote, err := op.channel.Connector(sl.Connector)
	if err != nil {
		return pass.Connector{}, err
	}
	c := pass.Connector{
		ID: sl.ConnectorID, Name: sl.Connector, ChannelID: run.ChannelID, Channel: run.Channel, Remote: remote,
		Conflict: judge.Policy(op.config.Conflict), Create: cc.Create == "both" || cc.Create == "to_local",
		OnRemoteDelete: pass.Deletion(cc.DeleteLocal), Overlap: cc.Overlap, FullDue: fullDue(cc.Full, run.Channel),
	}
	c.Entity = cc.Entity
	c.Limit, c.Hooks = cc.Limit, o.cfg.Registry.Hooks()
	if r, ok := op.channel.(channels.Redactor); ok {
		c.Redact = r.Redact
	}
	if err := o.bind(ctx, cc, &c); err != nil {
		return c, err
	}
	if cc.Writes() {
		outward(cc, &c)
	}
	return c, o.referred(ctx, &c)
}

// outward adds what the way to the remote needs.
func outward(cc *config.Connector, c *pass.Connector) {
	c.CreateRemote, c.OnLocalDelete = cc.CreatesRemote(), pass.Deletion(cc.DeleteRemote)
	c.Rules = make(judge.Rules, c.Manual.Len())
	for i := range c.Rules {
		f := &c.Manual.Fields()[i]
		c.Rules[i] = judge.Rule{Direction: f.Direction, Policy: c.Conflict, On: f.On, Required: f.Required, Equal: c.Manual.Same(i)}
		c.TwoWay = c.TwoWay || f.ToLocal() && f.ToRemote()
	}
}

// referred finds the connectors whose links translate the references.
func (o *Opener) referred(ctx context.Context, c *pass.Connector) error {
	refs := c.Manual.Refs()
	if len(refs) == 0 {
		return nil
	}
	return o.cfg.DB.Read(ctx, func(ctx context.Context, tx *store.Tx) error {
		conns, err := tx.Connectors(ctx, c.ChannelID)
		if err != nil {
			return err
		}
		c.RefConnectors = make([]int64, len(refs))
		for i, ref := range refs {
			for _, k := range conns {
				if k.Name == ref.Connector {
					c.RefConnectors[i] = k.ID
				}
			}
		}
		return nil
	})
}

func (op *opened) connector(name string) *config.Connector {
	for i := range op.config.Connectors {
		if op.config.Connectors[i].Name == name {
			return &op.config.Connectors[i]
		}
	}
	return nil
}

// bind looks at the connector's table and compiles its mapping against it.
func (o *Opener) bind(ctx context.Context, cc *config.Connector, c *pass.Connector) error {
	return o.cfg.DB.Read(ctx, func(ctx context.Context, tx *store.Tx) error {
		row, err := tx.Entity(ctx, cc.Entity)
		if err != nil {
			return err
		}
		e, err := config.UnmarshalEntity(row.Name, row.Spec)
		if err != nil {
			return err
		}
		table, err := entities.Introspect(ctx, tx, entitySpec(&e))
		if err != nil {
			return err
		}
		c.Captured, c.ByModified = e.Capture == "triggers" || e.Capture == "api", e.Capture == "modified"
		c.Manual, c.Local, err = bindTable(table, cc, &e)
		return err
	})
}

// bindTable compiles a connector's mapping against its table.
func bindTable(table *entities.Table, cc *config.Connector, e *config.Entity) (*mapping.Manual, *entities.Binding, error) {
	manual, problems := mapping.Compile(cc.Spec(), table.Column)
	if len(problems) > 0 {
		errs := make([]error, len(problems))
		for i, p := range problems {
			errs[i] = fmt.Errorf("%s: %s; %s", p.Field, p.Message, p.Fix)
		}
		return nil, nil, fault.Wrap(fault.Permanent, fault.CodeConfig, "connector "+cc.Name, errors.Join(errs...))
	}
	cols, _ := manual.SetLocal()
	b, err := table.Bind(manual, e.Deleted, cols)
	return manual, b, err
}

func entitySpec(e *config.Entity) entities.Spec {
	s := entities.Spec{Name: e.Name, Table: e.Table, Key: e.Key, Modified: e.Modified, Deleted: e.Deleted}
	for _, c := range e.Create {
		s.Create = append(s.Create, entities.ColumnDecl{Name: c.Name, Type: c.Type})
	}
	return s
}

// channel opens a channel at a revision, or gives the one that is open.
func (o *Opener) channel(ctx context.Context, id, revision int64) (*opened, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if op, ok := o.open[id]; ok && op.revision == revision {
		return op, nil
	}
	var ch store.Channel
	var settings []byte
	err := o.cfg.DB.Read(ctx, func(ctx context.Context, tx *store.Tx) (err error) {
		if ch, err = tx.Channel(ctx, id); err != nil {
			return err
		}
		settings, err = tx.ChannelRevision(ctx, id, revision)
		return err
	})
	if err != nil {
		return nil, err
	}
	op, err := o.openStored(ctx, ch, settings)
	if err != nil {
		return nil, err
	}
	op.revision = revision
	if old, ok := o.open[id]; ok && old.revision < revision {
		// Slices of the old revision may still use it: it has no more state than
		// idle connections, which time out by themselves.
		delete(o.open, id)
	}
	o.open[id] = op
	return op, nil
}

func (o *Opener) openStored(ctx context.Context, ch store.Channel, settings []byte) (*opened, error) {
	cc, err := config.UnmarshalStored(ch.Name, settings, o.unseal(ch.Name))
	if err != nil {
		return nil, fault.Wrap(fault.Permanent, fault.CodeConfig, "channel "+ch.Name, err)
	}
	typ, err := o.cfg.Registry.Get(cc.Type)
	if err != nil {
		return nil, err
	}
	s := cc.Settings(o.cfg.Guard)
	s.Tokens = channelTokens{cfg: &o.cfg, id: ch.ID, channel: ch.Name}
	s.Breaker = noteBreaker(&o.cfg, ch.ID, ch.Name)
	c, err := typ.Open(ctx, s)
	if err != nil {
		return nil, err
	}
	return &opened{config: cc, channel: c}, nil
}

// unseal opens a channel's secrets; each is bound to its channel and field.
func (o *Opener) unseal(channel string) func(field, sealed string) (string, error) {
	return func(field, sealed string) (string, error) {
		if o.cfg.Keys == nil {
			return "", fault.New(fault.Permanent, fault.CodeConfig, "secrets", "channel %s has sealed secrets and no secret_key is set", channel)
		}
		return o.cfg.Keys.Open(sealed, SecretName(channel, field))
	}
}

// SecretName is the authenticated name of a channel's secret: a sealed value
// that is moved to another channel or field does not open.
func SecretName(channel, field string) string { return "channel/" + channel + "/" + field }
