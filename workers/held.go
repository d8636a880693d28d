package workers

import (
	"context"
	"slices"

	"github.com/tandem-sync/tandem/channels"
	"github.com/tandem-sync/tandem/config"
	"github.com/tandem-sync/tandem/store"
	"github.com/tandem-sync/tandem/transport"
)

// ReadsByID reports whether a connector of a stored channel can read records by
// their ids, which is what trying a single one again needs.
func (f *Fleet) ReadsByID(ctx context.Context, channel, connector string) (bool, error) {
	return readsByID(ctx, f.cfg, f.opener, channel, connector)
}

// ReadsByID is Fleet.ReadsByID without a fleet.
func ReadsByID(ctx context.Context, cfg Config, channel, connector string) (bool, error) {
	cfg.setDefaults()
	o := newOpener(cfg)
	defer o.Close()
	return readsByID(ctx, cfg, o, channel, connector)
}

func readsByID(ctx context.Context, cfg Config, o *Opener, channel, connector string) (bool, error) {
	var ch store.Channel
	err := cfg.DB.Read(ctx, func(ctx context.Context, tx *store.Tx) (err error) {
		ch, err = tx.ChannelByName(ctx, channel)
		return err
	})
	if err != nil {
		return false, err
	}
	op, err := o.channel(ctx, ch.ID, ch.Revision)
	if err != nil {
		return false, err
	}
	return getsRecords(op.channel, connector), nil
}

// getsRecords reports whether a connector can read by id; one that is unknown
// cannot.
func getsRecords(ch channels.Channel, connector string) bool {
	c, err := ch.Connector(connector)
	if err != nil {
		return false
	}
	_, ok := c.(channels.Getter)
	return ok
}

// reasonHeld is why a parked row is exported again: the mapping is another.
const reasonHeld = "mapping_changed"

// retryHeld asks for the parked and skipped records of a channel whose
// configuration has changed: what they were parked for may be cured. Those of a
// connector that cannot read by id are met by a run that reads everything.
func (a applier) retryHeld(ctx context.Context, channelID int64, c *config.Channel) error {
	held, err := a.tx.HeldRecords(ctx, channelID)
	if err != nil || len(held) == 0 {
		return err
	}
	typ, err := a.reg.Get(c.Type)
	if err != nil {
		return err
	}
	ch, err := typ.Open(ctx, c.Settings(transport.Guard{Allow: a.file.Network.Allow, AllowPlaintext: a.file.Network.AllowPlaintext}))
	if err != nil {
		return err
	}
	defer func() { _ = ch.Close() }() // it made no call
	ids, keys := map[string][]string{}, map[store.Connector][]string{}
	for _, h := range held {
		if h.Outward {
			k := store.Connector{ID: h.ConnectorID, ChannelID: channelID, Name: h.Connector}
			keys[k] = append(keys[k], h.LocalID)
			continue
		}
		ids[h.Connector] = append(ids[h.Connector], h.RemoteID)
	}
	for k, list := range keys {
		if _, err := a.tx.RequestExport(ctx, k, store.TriggerManual, reasonHeld, list); err != nil {
			return err
		}
	}
	for i := range c.Connectors {
		name := c.Connectors[i].Name
		list := ids[name]
		if len(list) == 0 {
			continue
		}
		slices.Sort(list)
		list = slices.Compact(list)
		if list[0] == "" { // parked without an id: no call can ask for it
			list = list[1:]
		}
		if getsRecords(ch, name) {
			_, err = a.tx.RequestRecords(ctx, channelID, name, store.TriggerManual, list)
		} else {
			_, _, _, err = a.tx.AddRequest(ctx, store.Request{ChannelID: channelID, Trigger: store.TriggerManual, Spec: store.Spec{
				Kind: store.KindSync, Mode: store.ModeFull, Connectors: []string{name},
			}}, true)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
