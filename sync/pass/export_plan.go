package pass

import (
	"context"
	"time"

	"github.com/tandem-sync/tandem/channels"
	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/store"
	"github.com/tandem-sync/tandem/sync/judge"
	"github.com/tandem-sync/tandem/sync/mapping"
	"github.com/tandem-sync/tandem/sync/record"
)

// whyStopped says that a hook ended the run.
const whyStopped = "stopped"

// prepare settles what needs no look at the remote and brings the rest into the
// remote's form.
func (x *exporter) prepare(ctx context.Context, b *outBatch) error {
	if err := x.scopes(ctx, b); err != nil {
		return err
	}
	if err := x.heldOut(ctx, b); err != nil {
		return err
	}
	if err := x.recordScopes(ctx, b); err != nil {
		return err
	}
	for i := range b.items {
		it := &b.items[i]
		switch {
		case it.fate != fateOpen:
		case it.row == nil:
			x.rowMissing(it)
		default:
			x.compare(it)
		}
	}
	if err := x.refsOut(ctx, b); err != nil {
		return err
	}
	for i := range b.items {
		if it := &b.items[i]; it.fate == fateOpen {
			x.toRemote(it)
		}
	}
	return nil
}

// rowMissing settles a row that does not exist any more.
func (x *exporter) rowMissing(it *outItem) {
	switch {
	case it.link == nil && it.intent != nil:
		it.end(fateParked, "create_unknown", fault.New(fault.Permanent, "create_unknown", "export",
			"row %s was removed while it was not known whether its record had been created", it.key).
			WithHint("look for the record at the remote and remove it there if it is not wanted"))
	case it.link == nil || it.link.State != store.Linked:
		it.end(fateSettled, "gone", nil)
	case x.C.OnLocalDelete == DeleteRow && x.caps.Delete:
		it.end(fateCandidate, "local_deleted", nil)
	case x.C.OnLocalDelete == DeleteUnlink:
		it.link.State = store.Unlinked
		it.end(fateSettled, "local_deleted", nil)
	default:
		it.link.State = store.LocalDeleted
		it.end(fateSettled, "local_deleted", nil)
	}
}

// compare finds out whether a row has anything to tell.
func (x *exporter) compare(it *outItem) {
	n := x.C.Manual.Len()
	if it.link == nil {
		if !x.C.CreateRemote || !x.caps.Create {
			it.end(fateSkipped, "create_off", nil)
		}
		return
	}
	if it.link.State != store.Linked && !x.revives(it) {
		return
	}
	it.base = baseOf(it.link, n)
	if it.link.State == store.Linked && !x.in.Run.Spec.Flags.Force && !x.tells(it) {
		it.end(fateSettled, judge.ReasonUnchanged, nil)
	}
}

// toRemote brings a row's values into the remote's form.
func (x *exporter) toRemote(it *outItem) {
	m := x.C.Manual
	it.there = make([]record.Value, m.Len())
	if !x.hook(channels.BeforeMapping, it, nil) {
		return
	}
	if err := m.ToRemote(it.out, it.there); err != nil {
		it.end(fateParked, reasonOf(err), err)
		return
	}
	if !x.hook(channels.AfterMapping, it, nil) {
		return
	}
	x.sentBefore(it)
	it.asked = it.there
	if it.sent.remote != nil {
		it.asked = it.sent.remote
	}
	if it.link != nil {
		return
	}
	if field, missing := m.RequiredMissingRemote(it.asked); missing {
		if it.waits {
			it.end(fateLater, "ref", fault.New(fault.Retryable, "ref", "export", "%s of row %s refers to a record that is not linked yet", field, it.key))
			return
		}
		it.end(fateSkipped, "required", nil)
	}
}

// revives reports whether a row whose pair was taken apart is exported again: a
// row that was deleted and has come back is.
func (x *exporter) revives(it *outItem) bool {
	switch it.link.State {
	case store.LocalDeleted:
		return true
	case store.RemoteDeleted:
		it.end(fateSkipped, "remote_deleted", nil)
	case store.Unlinked:
		if it.inScope || x.C.Manual.ScopeRemote() == nil {
			return true // it is back in the scope, or there is none any more
		}
		it.end(fateSkipped, "unlinked", nil)
	case store.Linked:
	}
	return false
}

// tells reports whether a field that travels to the remote differs from the
// local half of the base.
func (x *exporter) tells(it *outItem) bool {
	if it.base.local == nil {
		return true
	}
	for f := range it.local {
		if x.C.Manual.Fields()[f].ToRemote() && it.local[f] != it.base.local[f] {
			return true
		}
	}
	return false
}

// baseOf decodes a link's base; nil halves where there is none to go by.
func baseOf(link *store.Link, n int) halves {
	if link.Base == "" || link.State != store.Linked {
		return halves{}
	}
	local, remote, err := mapping.DecodeBase(link.Base, n)
	if err != nil {
		return halves{} // made under another mapping
	}
	return halves{local, remote}
}

// decide judges an item and makes its order.
func (x *exporter) decide(it *outItem) {
	if err := x.stoppedBy(); err != nil {
		it.end(fateLater, whyStopped, err)
		return
	}
	if it.link == nil {
		x.orderCreate(it)
		return
	}
	if it.remote == nil {
		// Not read: the remote is taken to hold what it was last known to hold.
		it.remote = it.base.remote
	}
	want := make([]record.Value, len(it.local))
	if it.remote != nil {
		if err := x.want(it, want); err != nil {
			it.end(fateParked, reasonOf(err), err)
			return
		}
	} else {
		it.remote = make([]record.Value, len(it.local))
	}
	if !x.hook(channels.BeforeJudging, it, nil) {
		return
	}
	x.C.Rules.Record(x.sheet(it, want), &it.dec)
	x.take(it, want)
	if !x.allowed(it) {
		return
	}
	switch {
	case it.order == nil:
		it.fate = fateSettled
	case it.turns > maxTurns:
		it.end(fateParked, "ping_pong", fault.New(fault.Permanent, "ping_pong", "export",
			"the two sides of row %s have written over each other %d times within an hour", it.key, it.turns).
			WithHint("look at the record's history (`tandem records explain`): a transform or the remote changes what was written"))
	case !x.caps.Update:
		it.end(fateSkipped, "update_off", nil)
	default:
		x.complete(it)
		it.order.Op, it.order.ID = channels.OrderUpdate, it.link.RemoteID
		it.order.Version, it.order.Customs = it.link.Version, it.link.Customs
	}
}

// complete gives an order every mapped value where the remote takes whole records
// only: what is not sent would be cleared there.
func (x *exporter) complete(it *outItem) {
	if !x.caps.Whole {
		return
	}
	for f := range it.order.Values {
		switch v := &it.order.Values[f]; {
		case v.Has():
		case it.remote[f].Has():
			*v = it.remote[f]
		default:
			*v = it.there[f]
		}
	}
}

// want gives what the row would hold if the remote's values were written.
func (x *exporter) want(it *outItem, dst []record.Value) error {
	rec := it.rec
	if rec == nil {
		rec = &record.Record{ID: it.link.RemoteID, Values: it.remote}
	}
	if err := x.C.Manual.ToLocal(rec, dst); err != nil {
		return err
	}
	it.refs.toLocal(x.C.Manual, dst)
	return nil
}

// sheet lays an item out for the judge.
func (x *exporter) sheet(it *outItem, want []record.Value) *judge.Sheet {
	s := &judge.Sheet{
		Local: it.local, LocalThere: it.there, Remote: it.remote, RemoteThere: want,
		BaseLocal: it.base.local, BaseRemote: it.base.remote,
		LocalAt: it.row.Modified, LocalFieldAt: fieldTimes(x.C.Manual, &it.dirty),
	}
	if len(it.dirty.Times) > 0 {
		s.LocalAt = later(s.LocalAt, it.dirty.At)
	}
	if it.rec != nil {
		s.RemoteAt, s.RemoteFieldAt = it.rec.Modified, it.rec.ChangedAt
	}
	return s
}

// fieldTimes is when each field of a row changed, as far as captured changes
// say; nil is not known.
func fieldTimes(m *mapping.Manual, d *store.Dirty) []time.Time {
	if len(d.Times) == 0 {
		return nil
	}
	out := make([]time.Time, m.Len())
	for f, col := range m.LocalColumns() {
		out[f] = d.Times[col]
		out[f] = later(out[f], d.Times[store.AnyColumn])
	}
	return out
}

// take turns the verdicts into an order, lines and conflicts. Fields that the
// remote wins stay as they are here: the direct sync writes them.
func (x *exporter) take(it *outItem, want []record.Value) {
	for f := range it.dec.Verdicts {
		v := &it.dec.Verdicts[f]
		switch {
		case v.WriteRemote:
			if it.order == nil {
				it.order = &channels.Order{Values: make([]record.Value, len(it.local))}
			}
			it.order.Values[f] = v.Base.Remote
			it.fields = append(it.fields, x.change(f, it.remote[f], v.Base.Remote, v))
			if v.Conflict {
				it.lost = append(it.lost, x.change(f, it.remote[f], v.Base.Remote, v))
			}
		case v.WriteLocal:
			it.reread = true
			x.leave(it, f)
		case v.Winner == judge.WinUnresolved:
			it.disputed = append(it.disputed, x.conflict(it, f, want[f]))
		case v.Reason == judge.ReasonRequired:
			// It would have cleared the field there: told, and not done.
			it.fields = append(it.fields, x.change(f, it.remote[f], it.there[f], v))
		}
	}
}

// leave keeps the base of field f as it was.
func (x *exporter) leave(it *outItem, f int) {
	it.dec.Local[f], it.dec.Remote[f] = record.Value{}, record.Value{}
	if it.base.local != nil {
		it.dec.Local[f], it.dec.Remote[f] = it.base.local[f], it.base.remote[f]
	}
}

func (x *exporter) change(f int, old, now record.Value, v *judge.Verdict) store.FieldChange {
	return store.FieldChange{
		Field: x.C.Manual.Fields()[f].Remote, Old: jsonOf(old), New: jsonOf(now), Winner: v.Winner.Side(), Reason: v.Reason,
	}
}

// conflict is a field that waits for a person.
func (x *exporter) conflict(it *outItem, f int, want record.Value) store.Conflict {
	c := store.Conflict{
		ChannelID: x.C.ChannelID, ConnectorID: x.C.ID, Connector: x.C.Name, LocalKey: it.key, RemoteID: it.remoteID(),
		Field: x.C.Manual.Fields()[f].Local, Local: jsonOf(it.local[f]), Remote: jsonOf(want), RunID: x.in.Run.ID,
		Seen: mapping.EncodeBase(it.local[f:f+1], it.remote[f:f+1]),
	}
	if at := it.dirty.At; !at.IsZero() {
		c.LocalAt = &at
	}
	if it.base.local != nil {
		c.Base = jsonOf(it.base.local[f])
	}
	if it.rec != nil {
		if at := changedAt(it.rec, f); !at.IsZero() {
			c.RemoteAt = &at
		}
	}
	return c
}

// orderCreate orders a new record.
func (x *exporter) orderCreate(it *outItem) {
	it.order = &channels.Order{Op: channels.OrderCreate, Values: it.asked}
	paths, vals := x.C.Manual.SetRemote()
	for i := range paths {
		it.order.Set = append(it.order.Set, channels.PathValue{Path: paths[i], Value: vals[i]})
	}
	for f := range it.asked {
		if it.asked[f].Has() {
			it.fields = append(it.fields, store.FieldChange{
				Field: x.C.Manual.Fields()[f].Remote, New: jsonOf(it.asked[f]), Winner: "local", Reason: "created",
			})
		}
	}
	x.hook(channels.BeforeWriting, it, it.order.Values)
}
