package undo

import (
	"context"
	"net/url"
	"slices"
	"strings"

	"github.com/RoaringBitmap/roaring/v2/roaring64"

	"github.com/tandem-sync/tandem/entities"
	"github.com/tandem-sync/tandem/store"
	"github.com/tandem-sync/tandem/sync/mapping"
	"github.com/tandem-sync/tandem/sync/pass"
	"github.com/tandem-sync/tandem/sync/record"
)

type refOf = mapping.Ref

// created deletes a page of the rows that the run created and nobody touched.
// rest is the connector and the remote id to go on behind.
func (w *work) created(ctx context.Context, rest string) error {
	name, after, _ := strings.Cut(rest, "/")
	after, err := url.PathUnescape(after)
	if err != nil {
		return refuse("after %q is no place to go on from", w.opts.After)
	}
	var list []store.Connector
	err = w.DB.Read(ctx, func(ctx context.Context, tx *store.Tx) error {
		list, err = tx.Connectors(ctx, w.Run.ChannelID)
		return err
	})
	if err != nil {
		return err
	}
	// Those that others refer to were created first, so they go last.
	slices.Reverse(list)
	for i, k := range list {
		if name != "" && k.Name != name {
			continue
		}
		name = ""
		last, err := w.createdBy(ctx, k, after)
		if err != nil {
			return err
		}
		switch {
		case last != "":
			w.out.Next = "made/" + k.Name + "/" + url.PathEscape(last)
		case len(w.out.Lines) > 0 && i+1 < len(list):
			w.out.Next = "made/" + list[i+1].Name + "/"
		case len(w.out.Lines) > 0:
			w.out.Next = "lines/0"
		default:
			after = ""
			continue
		}
		return nil
	}
	return w.lines(ctx, 0)
}

// createdBy works on the rows of one connector, up to a page of them, and gives
// the remote id to go on behind; "" when there are no more.
func (w *work) createdBy(ctx context.Context, k store.Connector, after string) (last string, err error) {
	made := roaring64.New()
	err = w.DB.Read(ctx, func(ctx context.Context, tx *store.Tx) error {
		made.Clear()
		return tx.Made(ctx, w.Run.ID, k.ID, func(links []uint64) error {
			made.AddMany(links)
			return nil
		})
	})
	if err != nil || made.IsEmpty() {
		return "", err
	}
	c, err := w.connector(ctx, k.Name)
	if err != nil {
		return "", err
	}
	if c == nil {
		w.keep(store.Change{Connector: k.Name, Side: "local"}, KeepConnector)
		return "", nil
	}
	for {
		var ids []string
		err := w.DB.Read(ctx, func(ctx context.Context, tx *store.Tx) error {
			heads, err := tx.ScanLinks(ctx, c.ID, after, pageLines)
			ids, last = nil, ""
			for _, h := range heads {
				if last = h.RemoteID; h.State == store.Linked && made.Contains(uint64(h.ID)) {
					ids = append(ids, h.RemoteID)
				}
			}
			return err
		})
		if err != nil || last == "" {
			return "", err
		}
		if len(ids) > 0 {
			return last, w.remove(ctx, c, ids)
		}
		after = last
	}
}

// remove deletes the untouched ones of the rows of these pairs.
func (w *work) remove(ctx context.Context, c *pass.Connector, ids []string) error {
	return w.commit(ctx, c, func(ctx context.Context, tx *store.Tx, wr *entities.Writer, p *page) error {
		if wr != nil {
			if _, err := tx.LockLinks(ctx, c.ID, ids); err != nil {
				return err
			}
		}
		links, err := tx.Links(ctx, c.ID, ids)
		if err != nil {
			return err
		}
		r := &remover{work: w, c: c, p: p}
		if err := r.look(ctx, tx, links); err != nil {
			return err
		}
		return r.write(ctx, tx, wr)
	})
}

// remover deletes the rows of one page.
type remover struct {
	*work
	c       *pass.Connector
	p       *page
	changes []entities.Change
	lines   []store.Change
}

func (r *remover) keep(l store.Change, why, field string) {
	r.p.counts.Kept++
	l.Op, l.Fields = OpKeep, []store.FieldChange{{Field: field, Reason: why}}
	r.p.lines = append(r.p.lines, l)
}

// look finds out which rows are as the run made them.
func (r *remover) look(ctx context.Context, tx *store.Tx, links []store.Link) error {
	slices.SortFunc(links, func(a, b store.Link) int { return strings.Compare(a.RemoteID, b.RemoteID) })
	keys := make([]string, len(links))
	for i := range links {
		keys[i] = links[i].LocalKey
	}
	loaded, err := r.c.Local.Load(ctx, tx, keys)
	if err != nil {
		return err
	}
	rows := map[string]entities.Row{}
	for _, row := range loaded {
		rows[row.Key] = row
	}
	touched, err := r.c.Local.Touched(ctx, tx, keys)
	if err != nil {
		return err
	}
	elsewhere, err := tx.LinkedElsewhere(ctx, r.c.ID, keys)
	if err != nil {
		return err
	}
	now, err := tx.Now(ctx)
	if err != nil {
		return err
	}
	for i := range links {
		l := links[i]
		line := store.Change{Connector: r.c.Name, Side: "local", Op: OpDelete, LocalID: l.LocalKey, RemoteID: l.RemoteID, Fields: []store.FieldChange{}}
		row, there := rows[l.LocalKey]
		field, other := r.differs(&l, &row)
		switch {
		case l.State != store.Linked:
		case !there || row.Deleted:
			r.keep(line, KeepGone, "")
		case elsewhere[l.LocalKey]:
			r.keep(line, KeepElsewhere, "")
		case other:
			r.keep(line, KeepTouched, field)
		case touched[l.LocalKey] != "":
			r.keep(line, KeepTouched, touched[l.LocalKey])
		default:
			l.State, l.ReadAt = store.LocalDeleted, max(l.ReadAt, now.UnixMilli())
			r.changes = append(r.changes, entities.Change{N: len(r.changes), Op: entities.OpDelete, Key: l.LocalKey, Old: row.Values, Link: l})
			r.lines = append(r.lines, line)
		}
	}
	return nil
}

// differs finds a mapped column that does not hold what was written.
func (r *remover) differs(l *store.Link, row *entities.Row) (field string, differs bool) {
	m := r.c.Manual
	if len(row.Values) != m.Len() {
		return "", true
	}
	local := make([]record.Value, m.Len())
	base, _, err := mapping.DecodeBase(l.Base, m.Len())
	if err != nil || m.CanonLocal(row.Values, local) != nil {
		return "", true
	}
	for f := range local {
		if base[f].Has() && local[f] != base[f] || !base[f].Has() && !local[f].Empty() {
			return m.LocalColumns()[f], true
		}
	}
	return "", false
}

// write carries the deletions out.
func (r *remover) write(ctx context.Context, tx *store.Tx, wr *entities.Writer) error {
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
		switch results[i].Outcome {
		case entities.Done:
			r.p.counts.Deleted++
			r.p.lines = append(r.p.lines, r.lines[i])
		case entities.Missed:
			r.keep(r.lines[i], KeepTouched, "")
		case entities.Collided, entities.Refused:
			r.keep(r.lines[i], KeepRefused, "")
		}
	}
	return nil
}
