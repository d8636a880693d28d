package undo

import (
	"context"
	"encoding/json"
	"errors"
	"slices"

	"github.com/tandem-sync/tandem/entities"
	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/store"
	"github.com/tandem-sync/tandem/sync/pass"
	"github.com/tandem-sync/tandem/sync/record"
)

// tries is how often a transaction is begun anew for a passing reason.
const tries = 5

// page is what one transaction does; it is made anew when that is repeated.
type page struct {
	counts Counts
	lines  []store.Change
	told   []string // rows that have something to tell
}

// commit runs a page in a transaction of its own, on a session that can write
// rows, and takes over what it did.
func (w *work) commit(ctx context.Context, c *pass.Connector, fn func(ctx context.Context, tx *store.Tx, wr *entities.Writer, p *page) error) error {
	var p page
	if w.opts.DryRun {
		err := w.DB.Read(ctx, func(ctx context.Context, tx *store.Tx) error { return fn(ctx, tx, nil, &p) })
		w.take(&p, c)
		return err
	}
	sess, err := w.DB.Session(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = sess.Close() }() // its transactions have ended
	wr := c.Local.Writer(sess, c.ID)
	for try := 1; ; try++ {
		p = page{}
		if err = wr.Prepare(ctx); err == nil {
			err = sess.Write(ctx, "undo", func(ctx context.Context, tx *store.Tx) error {
				if err := fn(ctx, tx, wr, &p); err != nil {
					return err
				}
				return w.note(ctx, tx, c, &p)
			})
		}
		if err == nil {
			w.take(&p, c)
			return nil
		}
		if errors.Is(err, store.ErrCommitUnknown) || fault.Of(err) != fault.Retryable || try == tries || ctx.Err() != nil {
			return err
		}
	}
}

// take adds a page that was done to the result.
func (w *work) take(p *page, c *pass.Connector) {
	w.out.Add(p.counts)
	w.out.Lines = append(w.out.Lines, p.lines...)
	if len(p.told) > 0 && c.Rules != nil && !slices.Contains(w.out.Connectors, c.Name) {
		w.out.Connectors = append(w.out.Connectors, c.Name)
	}
}

// note keeps the history of a page and lets everybody know whom the rows concern:
// our own writing of them counts as this connector's and would not come back.
func (w *work) note(ctx context.Context, tx *store.Tx, c *pass.Connector, p *page) error {
	var lines []store.Change
	for _, l := range p.lines {
		if l.Op != OpKeep {
			l.Op = "undo"
			lines = append(lines, l)
		}
	}
	if len(lines) > 0 {
		if err := tx.AddUndone(ctx, w.Run.ID, p.counts.Fields, p.counts.Rows, p.counts.Deleted); err != nil {
			return err
		}
	}
	if err := tx.AddChanges(ctx, w.Run.ID, lines); err != nil || len(p.told) == 0 {
		return err
	}
	out, err := tx.Outward(ctx)
	if err != nil {
		return err
	}
	for _, list := range out {
		if !slices.ContainsFunc(list, func(k store.OutwardConnector) bool { return k.ID == c.ID }) {
			continue
		}
		for _, k := range list {
			if _, err := tx.MarkDirty(ctx, k.ID, p.told, Reason); err != nil {
				return err
			}
		}
	}
	return nil
}

// putBack puts values back into rows, each where it is still what the run wrote.
func (w *work) putBack(ctx context.Context, c *pass.Connector, edits []*edit) error {
	return w.commit(ctx, c, func(ctx context.Context, tx *store.Tx, wr *entities.Writer, p *page) error {
		keys := make([]string, len(edits))
		for i, e := range edits {
			keys[i] = e.key
		}
		find := tx.LockLinksByLocal
		if wr == nil {
			find = tx.LinksByLocal
		}
		links, err := find(ctx, c.ID, keys)
		if err != nil {
			return err
		}
		rows, err := c.Local.Load(ctx, tx, keys)
		if err != nil {
			return err
		}
		r := &restorer{work: w, c: c, p: p, links: map[string]store.Link{}, rows: map[string]entities.Row{}}
		for _, l := range links {
			r.links[l.LocalKey] = l
		}
		for _, row := range rows {
			r.rows[row.Key] = row
		}
		for _, e := range edits {
			r.plan(e)
		}
		return r.write(ctx, tx, wr)
	})
}

// restorer puts values back into the rows of one page.
type restorer struct {
	*work
	c       *pass.Connector
	p       *page
	links   map[string]store.Link
	rows    map[string]entities.Row
	changes []entities.Change
	lines   []store.Change // of changes
}

func (r *restorer) keep(c store.Change, f *store.FieldChange, why string) {
	r.p.counts.Kept++
	c.Op = OpKeep
	c.Fields = []store.FieldChange{{Reason: why}}
	if f != nil {
		c.Fields[0] = store.FieldChange{Field: f.Field, Old: value(f.New), New: value(f.Old), Reason: why}
	}
	r.p.lines = append(r.p.lines, c)
}

// plan decides what is put back into one row.
func (r *restorer) plan(e *edit) {
	row, there := r.rows[e.key]
	link, linked := r.links[e.key]
	why := ""
	switch {
	case !there || row.Deleted:
		why = KeepGone
	case !linked:
		why = KeepUnlinked
	}
	m := r.c.Manual
	now := make([]record.Value, m.Len())
	if why == "" && m.CanonLocal(row.Values, now) != nil {
		why = KeepChanged
	}
	if why != "" {
		for _, l := range e.lines {
			r.keep(l, nil, why)
		}
		return
	}
	back := append([]record.Value(nil), now...)
	for i := range e.lines {
		for k := range e.lines[i].Fields {
			r.field(&e.lines[i], &e.lines[i].Fields[k], back)
		}
	}
	r.add(e, row, link, now, back)
}

// field takes one field's change back in the row as it would be.
func (r *restorer) field(l *store.Change, f *store.FieldChange, back []record.Value) {
	m := r.c.Manual
	names := m.LocalColumns()
	writer := "remote"
	if l.Side == "remote" {
		names, writer = m.RemotePaths(), "local"
	}
	if f.Winner != writer {
		return // told, not written
	}
	at := slices.Index(names, f.Field)
	if at < 0 || !m.Fields()[at].ToLocal() {
		r.keep(*l, f, KeepUnmapped)
		return
	}
	var old record.Value
	var still bool
	if l.Side == "remote" {
		old, still = r.pushed(at, f, back)
	} else {
		old, still = r.canon(at, f.Old), r.same(at, back[at], r.canon(at, f.New))
	}
	switch {
	case !still && back[at] == old: // it is so already
	case !still:
		r.keep(*l, f, KeepChanged)
	default:
		back[at] = old
	}
}

// same compares what a row holds with what was written.
func (r *restorer) same(at int, a, b record.Value) bool {
	if a == b {
		return true
	}
	equal := r.c.Manual.Same(at)
	return equal != nil && a.Kind > record.Null && b.Kind > record.Null && equal(a, b)
}

// canon brings a value of a line into the form of its column.
func (r *restorer) canon(at int, raw json.RawMessage) record.Value {
	vals := make([]record.Value, r.c.Manual.Len())
	vals[at] = fromJSON(raw)
	out := make([]record.Value, len(vals))
	if r.c.Manual.CanonLocal(vals, out) != nil {
		return vals[at]
	}
	return out[at]
}

// pushed gives what the row would hold with the value that the remote had before,
// and whether the row still holds what was told.
func (r *restorer) pushed(at int, f *store.FieldChange, back []record.Value) (old record.Value, still bool) {
	m := r.c.Manual
	if slices.ContainsFunc(m.Refs(), func(ref refOf) bool { return ref.Field == at }) {
		return record.Value{}, false
	}
	there := make([]record.Value, m.Len())
	if m.ToRemote(back, there) != nil {
		return record.Value{}, false
	}
	vals := make([]record.Value, m.Len())
	vals[at] = fromJSON(f.Old)
	want := make([]record.Value, m.Len())
	if m.CanonRemote(vals) != nil || m.ToLocal(&record.Record{Values: vals}, want) != nil || !want[at].Has() {
		return record.Value{}, false
	}
	return want[at], string(pass.JSON(there[at])) == string(value(f.New))
}

// add orders the write of a row.
func (r *restorer) add(e *edit, row entities.Row, link store.Link, now, back []record.Value) {
	m := r.c.Manual
	set := make([]record.Value, m.Len())
	line := store.Change{Connector: r.c.Name, Side: "local", Op: OpUpdate, LocalID: e.key, RemoteID: link.RemoteID}
	for f := range back {
		if back[f] == now[f] {
			continue
		}
		set[f] = back[f]
		line.Fields = append(line.Fields, store.FieldChange{
			Field: m.LocalColumns()[f], Old: pass.JSON(now[f]), New: pass.JSON(back[f]), Winner: "local", Reason: Reason,
		})
	}
	if len(line.Fields) == 0 {
		return
	}
	r.changes = append(r.changes, entities.Change{N: len(r.changes), Op: entities.OpUpdate, Key: e.key, New: set, Old: row.Values, Link: link})
	r.lines = append(r.lines, line)
}

// write carries the changes out.
func (r *restorer) write(ctx context.Context, tx *store.Tx, wr *entities.Writer) error {
	if len(r.changes) == 0 {
		return nil
	}
	results := make([]entities.Result, len(r.changes)) // done, in a dry run
	if wr != nil {
		var err error
		if results, err = wr.Apply(ctx, tx, r.changes, nil); err != nil {
			return err
		}
	}
	for i := range results {
		line := r.lines[i]
		switch results[i].Outcome {
		case entities.Done:
			r.p.counts.Rows++
			r.p.counts.Fields += int64(len(line.Fields))
			r.p.lines = append(r.p.lines, line)
			r.p.told = append(r.p.told, line.LocalID)
		case entities.Missed:
			r.keep(line, nil, KeepChanged)
		case entities.Collided, entities.Refused:
			r.keep(line, nil, KeepRefused)
		}
	}
	return nil
}

// fromJSON reads a value of a line.
func fromJSON(raw json.RawMessage) record.Value {
	if len(raw) == 0 || string(raw) == "null" {
		return record.NullValue
	}
	switch raw[0] {
	case '"':
		var s string
		if json.Unmarshal(raw, &s) == nil {
			return record.T(s)
		}
	case 't', 'f':
		return record.B(raw[0] == 't')
	case '{', '[':
		return record.J(string(raw))
	}
	return record.N(string(raw))
}
