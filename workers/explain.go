package workers

import (
	"context"
	"strings"

	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/store"
	"github.com/tandem-sync/tandem/sync/explain"
	"github.com/tandem-sync/tandem/sync/pass"
)

// Desk does for people what needs an opened connector and no run: it explains
// records, settles conflicts and undoes runs. It is safe for concurrent use.
type Desk struct {
	cfg    Config
	opener *Opener
	own    bool
}

// NewDesk makes a desk of its own, without a fleet. Close frees what it opened.
func NewDesk(cfg Config) *Desk {
	cfg.setDefaults()
	return &Desk{cfg: cfg, opener: newOpener(cfg), own: true}
}

// Desk gives the fleet's desk.
func (f *Fleet) Desk() *Desk { return &Desk{cfg: f.cfg, opener: f.opener} }

// Close closes what a desk of its own has opened; a fleet's desk has nothing.
func (d *Desk) Close() {
	if d.own {
		d.opener.Close()
	}
}

// open opens a connector of a stored channel as it is configured now.
func (d *Desk) open(ctx context.Context, channel, connector string) (pass.Connector, error) {
	var run store.Run
	var sl store.Slice
	var said error
	err := d.cfg.DB.Read(ctx, func(ctx context.Context, tx *store.Tx) error {
		ch, err := tx.ChannelByName(ctx, channel)
		if fault.CodeOf(err) == fault.CodeNotFound {
			said = fault.New(fault.Permanent, fault.CodeNotFound, "", "no channel %q", channel).WithHint("`tandem channels list` shows the channels")
			return said
		}
		if err != nil {
			return err
		}
		run = store.Run{ChannelID: ch.ID, Channel: ch.Name, Revision: ch.Revision}
		list, err := tx.Connectors(ctx, ch.ID)
		var names []string
		for _, k := range list {
			if k.Retired {
				continue
			}
			names = append(names, k.Name)
			if k.Name == connector {
				sl = store.Slice{ChannelID: ch.ID, ConnectorID: k.ID, Connector: k.Name}
			}
		}
		if err == nil && sl.ConnectorID == 0 {
			said = fault.New(fault.Permanent, fault.CodeNotFound, "", "channel %q has no connector %q", channel, connector).
				WithHint("its connectors: " + strings.Join(names, ", "))
			return said
		}
		return err
	})
	if said != nil {
		return pass.Connector{}, said
	}
	if err != nil {
		return pass.Connector{}, err
	}
	return d.opener.Connector(ctx, run, sl)
}

// ExplainRecord tells everything that is known about a record.
func (d *Desk) ExplainRecord(ctx context.Context, channel, connector string, q explain.Query) (explain.Record, error) {
	c, err := d.open(ctx, channel, connector)
	if err != nil {
		return explain.Record{}, err
	}
	return explain.Explain(ctx, d.cfg.DB, c, q)
}

// CaptureOf tells how local changes of an entity are noticed.
func (d *Desk) CaptureOf(ctx context.Context, entity string) (Capture, error) {
	list, err := CaptureStatus(ctx, d.cfg.DB, d.cfg.Keys, entity)
	if err != nil || len(list) == 0 {
		return Capture{}, err
	}
	return list[0], nil
}

// RefreshCaptures brings the change triggers of entities in line; see
// CaptureRefresh.
func (d *Desk) RefreshCaptures(ctx context.Context, entities []string) error {
	return CaptureRefresh(ctx, d.cfg.DB, d.cfg.Keys, entities...)
}
