package pass

import (
	"context"

	"github.com/tandem-sync/tandem/channels"
	"github.com/tandem-sync/tandem/entities"
	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/sync/record"
)

// passing describes a record for the hooks.
func (d *delivery) passing(way channels.Way, key, id string, local, remote, write []record.Value) *channels.Passing {
	return &channels.Passing{
		Channel: d.C.Channel, Connector: d.C.Name, Way: way, LocalKey: key, RemoteID: id,
		Columns: d.C.Manual.LocalColumns(), Paths: d.C.Manual.RemotePaths(), Local: local, Remote: remote, Write: write,
	}
}

// hook calls the hooks for a record on its way in. false: a hook left it out or
// parked it, which is booked.
func (pl *planner) hook(m channels.Moment, it *item, local, write []record.Value) bool {
	if len(pl.s.C.Hooks) == 0 {
		return true
	}
	p := pl.s.passing(channels.ToLocal, localKey(it), it.rec.ID, local, it.rec.Values, write)
	for _, h := range pl.s.C.Hooks {
		err := h.Passing(pl.ctx, m, p)
		switch fault.Of(err) {
		case fault.Stop:
			pl.stop = err
			return false
		case fault.Skip:
			pl.skip(it, hookReason(err, "skipped_by_hook"))
			return false
		case fault.Unknown, fault.Permanent, fault.Retryable, fault.RateLimited:
			if err != nil {
				pl.parkRecord(it, hookReason(err, "refused_by_hook"), err)
				return false
			}
		}
	}
	return true
}

// decided has the hooks look at what was decided for a pair, and at what is about
// to be written. A decision that a hook takes back leaves the row as it is.
func (pl *planner) decided(it *item, local, out []record.Value, writes *bool) bool {
	if len(pl.s.C.Hooks) == 0 {
		return true
	}
	before := append([]record.Value(nil), out...)
	if !pl.hook(channels.AfterJudging, it, local, out) || *writes && !pl.hook(channels.BeforeWriting, it, local, out) {
		return false
	}
	*writes = false
	for f := range out {
		switch {
		case out[f].Has():
			*writes = true
			it.local[f] = out[f]
		case before[f].Has():
			it.local[f] = local[f]
		}
	}
	return true
}

// wrote tells the hooks what was written here. It is too late for them to object.
func (s *slice) wrote(c *entities.Change, it *item) {
	if len(s.C.Hooks) == 0 || c.Op == entities.OpLink || s.dry() {
		return
	}
	p := s.passing(channels.ToLocal, c.Key, c.Link.RemoteID, nil, it.rec.Values, c.New)
	for _, h := range s.C.Hooks {
		_ = h.Passing(context.Background(), channels.AfterWriting, p) //nolint:errcheck,contextcheck // nothing can be changed any more
	}
}

// hookReason is the stable word for what a hook decided: its own, if it has one.
func hookReason(err error, word string) string {
	if c := fault.CodeOf(err); c != "" {
		return c
	}
	return word
}

// hook calls the hooks for a row on its way out. false: a hook left it out,
// parked it or stopped the run.
func (x *exporter) hook(m channels.Moment, it *outItem, write []record.Value) bool {
	if len(x.C.Hooks) == 0 {
		return true
	}
	p := x.passing(channels.ToRemote, it.key, it.remoteID(), it.local, it.remote, write)
	if m == channels.AfterMapping {
		p.Remote = it.there
	}
	for _, h := range x.C.Hooks {
		err := h.Passing(x.ctx, m, p)
		switch fault.Of(err) {
		case fault.Stop:
			x.stop(err)
			it.end(fateLater, whyStopped, err)
			return false
		case fault.Skip:
			it.end(fateSkipped, hookReason(err, "skipped_by_hook"), nil)
			return false
		case fault.Unknown, fault.Permanent, fault.Retryable, fault.RateLimited:
			if err != nil {
				it.end(fateParked, hookReason(err, "refused_by_hook"), err)
				return false
			}
		}
	}
	return true
}

// allowed has the hooks look at what was decided for a row, and at what is about
// to be sent. A field that a hook takes back stays as it is on both sides.
func (x *exporter) allowed(it *outItem) bool {
	if len(x.C.Hooks) == 0 {
		return true
	}
	var write []record.Value
	if it.order != nil {
		write = it.order.Values
	}
	if !x.hook(channels.AfterJudging, it, write) {
		return false
	}
	if it.order == nil {
		return true
	}
	if !x.hook(channels.BeforeWriting, it, write) {
		return false
	}
	sends := false
	for f := range write {
		if v := &it.dec.Verdicts[f]; v.WriteRemote && !write[f].Has() {
			v.WriteRemote = false
			it.dec.Local[f], it.dec.Remote[f] = it.local[f], it.remote[f]
		}
		sends = sends || write[f].Has()
	}
	if !sends {
		it.order = nil
	}
	return true
}

// told tells the hooks what was written at the remote.
func (x *exporter) told(it *outItem) {
	if len(x.C.Hooks) == 0 {
		return
	}
	p := x.passing(channels.ToRemote, it.key, it.remoteID(), it.local, it.remote, it.order.Values)
	for _, h := range x.C.Hooks {
		_ = h.Passing(x.ctx, channels.AfterWriting, p) //nolint:errcheck // nothing can be changed any more
	}
}
