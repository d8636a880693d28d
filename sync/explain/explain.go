package explain

import (
	"context"
	"encoding/json"
	"time"

	"github.com/tandem-sync/tandem/channels"
	"github.com/tandem-sync/tandem/entities"
	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/store"
	"github.com/tandem-sync/tandem/sync/judge"
	"github.com/tandem-sync/tandem/sync/mapping"
	"github.com/tandem-sync/tandem/sync/pass"
	"github.com/tandem-sync/tandem/sync/record"
)

const (
	historyLines = 50
	// remoteFor bounds asking the remote.
	remoteFor = 15 * time.Second
)

// known is what the database knows of a record.
type known struct {
	q         Query
	link      *store.Link
	row       *entities.Row
	aliases   []string
	dirty     *store.Dirty
	exporting bool
	intent    *store.Intent
	conflicts []store.Conflict
	parked    []store.Parked
	history   []store.RecordChange
}

// Explain tells of a record of a connector. Exactly one id of q must be given. A
// record that neither side nor Tandem knows is an error with code not_found; a
// remote that cannot be reached is none.
func Explain(ctx context.Context, db *store.DB, c pass.Connector, q Query) (Record, error) {
	if (q.LocalID == "") == (q.RemoteID == "") {
		return Record{}, fault.New(fault.Permanent, fault.CodeUsage, "", "name the record by its local or by its remote id")
	}
	var k known
	err := db.Read(ctx, func(ctx context.Context, tx *store.Tx) (err error) {
		k, err = gather(ctx, tx, c, q)
		return err
	})
	if err != nil {
		return Record{}, err
	}
	out := k.record(c)
	rec := k.ask(ctx, c, &out.Remote)
	if !k.any() && (rec == nil || rec.Deleted) && out.Remote.Problem == "" {
		return Record{}, notFound(c, q)
	}
	var look pass.Look
	err = db.Read(ctx, func(ctx context.Context, tx *store.Tx) (err error) {
		live := k.row
		if live != nil && live.Deleted {
			live = nil
		}
		look, err = pass.LookAt(ctx, tx, c, k.link, live, rec)
		return err
	})
	if err != nil {
		return Record{}, err
	}
	if look.Problem != nil {
		out.Problem = look.Problem.Error()
	}
	out.Fields = fields(c.Manual, &look, &k)
	return out, nil
}

func notFound(c pass.Connector, q Query) error {
	side, id := "local row", q.LocalID
	if id == "" {
		side, id = "remote record", q.RemoteID
	}
	return fault.New(fault.Permanent, fault.CodeNotFound, "", "connector %s of %s knows no %s %q", c.Name, c.Channel, side, id)
}

// any reports whether anything at all is known.
func (k *known) any() bool {
	return k.link != nil || k.row != nil || k.dirty != nil || k.intent != nil || len(k.parked) > 0 || len(k.history) > 0 || len(k.conflicts) > 0
}

// gather reads everything but the remote.
func gather(ctx context.Context, tx *store.Tx, c pass.Connector, q Query) (known, error) {
	k := known{q: q}
	if err := k.findLink(ctx, tx, c); err != nil {
		return k, err
	}
	if k.link != nil {
		k.q = Query{k.link.LocalKey, k.link.RemoteID}
		var err error
		if k.aliases, err = tx.AliasesOf(ctx, c.ID, k.link.RemoteID); err != nil {
			return k, err
		}
	}
	if k.q.LocalID != "" {
		if err := k.local(ctx, tx, c); err != nil {
			return k, err
		}
	}
	var err error
	if k.parked, err = tx.ParkedOf(ctx, c.ID, k.q.LocalID, k.q.RemoteID); err != nil {
		return k, err
	}
	k.history, err = tx.ChangesOf(ctx, c.ID, k.q.LocalID, k.q.RemoteID, historyLines)
	return k, err
}

// findLink finds the pair, by a former id of the remote record, too, and one that
// was taken apart where there is no live one.
func (k *known) findLink(ctx context.Context, tx *store.Tx, c pass.Connector) error {
	find := func(list []store.Link, err error) error {
		if err == nil && len(list) > 0 && k.link == nil {
			k.link = &list[0]
		}
		return err
	}
	if k.q.LocalID != "" {
		if err := find(tx.LinksByLocal(ctx, c.ID, []string{k.q.LocalID})); err != nil || k.link != nil {
			return err
		}
		return find(tx.LinksApart(ctx, c.ID, []string{k.q.LocalID}))
	}
	now, err := tx.ResolveAliases(ctx, c.ID, []string{k.q.RemoteID})
	if err != nil {
		return err
	}
	if id := now[k.q.RemoteID]; id != "" {
		k.q.RemoteID = id
	}
	return find(tx.Links(ctx, c.ID, []string{k.q.RemoteID}))
}

// local reads what belongs to the local row.
func (k *known) local(ctx context.Context, tx *store.Tx, c pass.Connector) error {
	key := []string{k.q.LocalID}
	rows, err := c.Local.Load(ctx, tx, key)
	if err != nil {
		return err
	}
	if len(rows) > 0 {
		k.row = &rows[0]
	}
	dirty, err := tx.DirtyOf(ctx, c.ID, key)
	if err != nil {
		return err
	}
	if len(dirty) > 0 {
		k.dirty = &dirty[0]
		claimed, err := tx.ClaimedKeys(ctx, c.ID, key)
		if err != nil {
			return err
		}
		k.exporting = claimed[k.q.LocalID]
	}
	intents, err := tx.Intents(ctx, c.ID, key)
	if err != nil {
		return err
	}
	if len(intents) > 0 {
		k.intent = &intents[0]
	}
	k.conflicts, err = tx.OpenConflicts(ctx, c.ID, key)
	return err
}

// ask reads the remote record. Trouble is told and ends nothing.
func (k *known) ask(ctx context.Context, c pass.Connector, side *Side) *record.Record {
	if k.q.RemoteID == "" {
		return nil
	}
	getter, ok := c.Remote.(channels.Getter)
	if !ok {
		side.Problem = "the connector cannot read single records"
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, remoteFor)
	defer cancel()
	recs, err := getter.Get(ctx, c.Manual.RemotePaths(), []string{k.q.RemoteID})
	if err == nil && len(recs) == 0 {
		err = fault.New(fault.Permanent, fault.CodeFailed, "", "the remote did not answer about the record")
	}
	if err == nil {
		err = recs[0].Err
	}
	if err != nil {
		side.Problem = err.Error()
		if c.Redact != nil {
			side.Problem = c.Redact(side.Problem)
		}
		return nil
	}
	rec := &recs[0]
	side.Exists, side.Modified = !rec.Deleted, timeOf(rec.Modified)
	return rec
}

// record tells what the database knows.
func (k *known) record(c pass.Connector) Record {
	r := Record{
		Channel: c.Channel, Connector: c.Name, LocalID: k.q.LocalID, RemoteID: k.q.RemoteID,
		Conflicts: []Dispute{}, Parked: []Held{}, History: []Line{},
	}
	if l := k.link; l != nil {
		r.Link = &Link{
			State: stateWord(l.State), LocalID: l.LocalKey, RemoteID: l.RemoteID, Aliases: append([]string{}, k.aliases...), Version: l.Version,
			ReadAt: millis(l.ReadAt), WrittenAt: millis(l.WrittenAt),
		}
		if json.Valid([]byte(l.Customs)) {
			r.Link.Customs = json.RawMessage(l.Customs)
		}
	}
	if k.row != nil {
		r.Local = Side{Exists: !k.row.Deleted, Modified: timeOf(k.row.Modified)}
	}
	if d := k.dirty; d != nil {
		r.Waits = &Waits{Since: d.FirstAt.UTC(), Next: d.NextAt.UTC(), Reason: d.Reason, Attempts: d.Attempts, Exporting: k.exporting}
	}
	if i := k.intent; i != nil {
		r.Create = &Create{State: string(i.State), Since: i.CreatedAt.UTC(), Next: i.NextAt.UTC(), Attempts: i.Attempts}
	}
	for _, f := range k.conflicts {
		r.Conflicts = append(r.Conflicts, Dispute{ID: f.ID, Field: f.Field, Local: f.Local, Remote: f.Remote, Since: f.CreatedAt.UTC(), Run: f.RunID})
	}
	for _, p := range k.parked {
		r.Parked = append(r.Parked, Held{ID: p.ID, Kind: p.Kind, Reason: p.Reason, Message: p.Message, Outward: p.Outward, Since: p.CreatedAt.UTC()})
	}
	for _, h := range k.history {
		fields := h.Fields
		if fields == nil {
			fields = []store.FieldChange{}
		}
		r.History = append(r.History, Line{Run: h.RunID, At: timeOf(h.At), Side: h.Side, Op: h.Op, Fields: fields})
	}
	return r
}

func stateWord(s store.LinkState) string {
	switch s {
	case store.Linked:
		return "linked"
	case store.RemoteDeleted:
		return "remote_deleted"
	case store.LocalDeleted:
		return "local_deleted"
	case store.Unlinked:
	}
	return "unlinked"
}

// fields lays the fields side by side.
func fields(m *mapping.Manual, l *pass.Look, k *known) []Field {
	out := make([]Field, m.Len())
	for f, fld := range m.Fields() {
		out[f] = Field{
			Local: fld.Local, Remote: fld.Remote, Direction: direction(&fld),
			LocalValue: valueOf(l.Local, f), RemoteValue: valueOf(l.Remote, f), BaseLocal: valueOf(l.BaseLocal, f), BaseRemote: valueOf(l.BaseRemote, f),
			Last: k.last(&fld),
		}
		if f < len(l.Verdicts) {
			out[f].Now = verdict(&l.Verdicts[f])
		}
		for i := range k.conflicts {
			if k.conflicts[i].Field == fld.Local {
				out[f].Conflict = &k.conflicts[i].ID
			}
		}
	}
	return out
}

func direction(f *mapping.Field) string {
	switch {
	case f.ToLocal() && f.ToRemote():
		return "both"
	case f.ToRemote():
		return "to_remote"
	}
	return "to_local"
}

func verdict(v *judge.Verdict) *Verdict {
	out := &Verdict{Winner: v.Winner.Side(), Reason: v.Reason}
	switch {
	case v.WriteLocal:
		out.Writes = "local"
	case v.WriteRemote:
		out.Writes = "remote"
	}
	return out
}

// last finds the latest decision about a field: lines about the local side name
// its column, lines about the remote its path.
func (k *known) last(f *mapping.Field) *Last {
	for _, h := range k.history {
		name := f.Local
		if h.Side == "remote" {
			name = f.Remote
		}
		for _, c := range h.Fields {
			if c.Field == name && c.Field != "" {
				return &Last{Winner: c.Winner, Reason: c.Reason, Side: h.Side, Old: c.Old, New: c.New, At: timeOf(h.At), Run: h.RunID}
			}
		}
	}
	return nil
}

// valueOf is a value as JSON; nil for one that is absent.
func valueOf(vals []record.Value, f int) json.RawMessage {
	if vals == nil || !vals[f].Has() {
		return nil
	}
	return pass.JSON(vals[f])
}

func timeOf(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

func millis(ms int64) *time.Time {
	if ms == 0 {
		return nil
	}
	return timeOf(time.UnixMilli(ms))
}
