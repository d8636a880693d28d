package pass

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/store"
)

// A record may come to go by another id: it was merged into another one, or
// converted. Its link goes with it, and the old id stays as an alias. Where the
// other record is linked to a row of its own, two rows have become one record;
// the link of the old id then ends like that of any record that is gone.

// rename is the move of a link from one remote id to another.
type rename struct{ from, to string }

// renames gives the moves that a batch's records tell of.
func (b *batch) renames() []rename {
	var out []rename
	for i := range b.recs {
		r := &b.recs[i]
		switch {
		case r.Renamed == nil || r.ID == "" || r.Err != nil:
		case r.Deleted && r.Renamed.To != "":
			out = append(out, rename{r.ID, r.Renamed.To})
		case !r.Deleted:
			for _, from := range r.Renamed.From {
				out = append(out, rename{from, r.ID})
			}
		}
	}
	return out
}

// rename moves the links of records that go by other ids now, before the batch is
// looked up. It commits by itself: a move is right whatever becomes of the batch,
// and doing it again changes nothing.
func (s *slice) rename(ctx context.Context, b *batch) error {
	list := b.renames()
	if len(list) == 0 || s.dry() {
		return nil
	}
	var due []rename
	err := s.DB.Read(ctx, func(ctx context.Context, tx *store.Tx) (err error) {
		due, err = renamesDue(ctx, tx, s.C.ID, list)
		return err
	})
	if err != nil || len(due) == 0 {
		return err
	}
	return s.DB.Write(ctx, "rename", func(ctx context.Context, tx *store.Tx) error {
		if err := tx.CheckLease(ctx, s.in.Lease); err != nil {
			return err
		}
		for _, r := range due {
			moved, err := moveLink(ctx, tx, s.C.ID, r)
			if err != nil {
				return err
			}
			if moved {
				s.fresh.mayBeLinked(r.to) // from now on it may
			}
		}
		return nil
	})
}

// renamesDue leaves of moves those whose old id is linked and whose new id is not.
func renamesDue(ctx context.Context, tx *store.Tx, connectorID int64, list []rename) ([]rename, error) {
	ids := make([]string, 0, 2*len(list))
	for _, r := range list {
		ids = append(ids, r.from, r.to)
	}
	heads, err := tx.LinkHeads(ctx, connectorID, ids)
	if err != nil {
		return nil, err
	}
	linked := make(map[string]bool, len(heads))
	for _, h := range heads {
		linked[h.RemoteID] = h.State == store.Linked
	}
	var due []rename
	for _, r := range list {
		if linked[r.from] && !linked[r.to] {
			due = append(due, r)
			linked[r.from], linked[r.to] = false, true
		}
	}
	return due, nil
}

// moveLink moves a link; false says that by now there is none, or another one in
// its place.
func moveLink(ctx context.Context, tx *store.Tx, connectorID int64, r rename) (bool, error) {
	err := tx.MoveLink(ctx, connectorID, r.from, r.to)
	switch fault.CodeOf(err) {
	case fault.CodeConflict, fault.CodeNotFound:
		return false, nil
	}
	return err == nil, err
}

// follow asks for the record that a missing one has become: by id, where that was
// asked for or its link was moved there.
func (pl *planner) follow(it *item) {
	r := it.rec
	if r.Renamed == nil || r.Renamed.To == "" {
		return
	}
	if pl.s.targeted() || it.head == nil {
		pl.p.again = append(pl.p.again, r.Renamed.To)
	}
}

// renamed notes that the record of a linked row goes by another id now: the link
// moves there, and the row is exported to that record next.
func (x *exporter) renamed(it *outItem, to string) {
	it.newID = to
	it.end(fateLater, whyRenamed, fault.New(fault.Retryable, whyRenamed, "export", "record %s goes by the id %s now", it.remoteID(), to).After(time.Millisecond))
}

// whyRenamed says that a row waits because its record goes by another id now.
const whyRenamed = "renamed"

// storeMoves moves the links of records that go by other ids now. Where another
// row has the record already, a person decides, and nothing else is booked.
func (x *exporter) storeMoves(ctx context.Context, tx *store.Tx, r *results) error {
	for _, m := range r.moved {
		err := tx.MoveLink(ctx, x.C.ID, m.from, m.to)
		switch fault.CodeOf(err) {
		case fault.CodeNotFound:
			continue // somebody has moved it, or taken it apart
		case fault.CodeConflict:
		default:
			if err != nil {
				return err
			}
			continue
		}
		for i := range r.update {
			if l := &r.update[i]; l.LocalKey == m.key && l.RemoteID == m.to {
				l.RemoteID = m.from
			}
		}
		r.later = slices.DeleteFunc(r.later, func(d store.DirtyDefer) bool {
			if d.LocalKey != m.key {
				return false
			}
			r.done = append(r.done, store.DirtyDone{LocalKey: m.key, Version: d.Version})
			return true
		})
		r.add.Parked++
		r.park = append(r.park, store.Parked{
			Kind: store.ParkedDuplicate, ChannelID: x.C.ChannelID, ConnectorID: x.C.ID, RunID: x.in.Run.ID, LocalID: m.key, RemoteID: m.from,
			Reason: "duplicate_identity", Outward: true,
			Message: fmt.Sprintf("remote record %s has become %s, which belongs to another row already", m.from, m.to),
		})
	}
	return nil
}

// rowMove is the move of the link of a local row.
type rowMove struct {
	rename
	key string
}
