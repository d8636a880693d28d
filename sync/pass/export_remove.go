package pass

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/tandem-sync/tandem/channels"
	"github.com/tandem-sync/tandem/store"
	"github.com/tandem-sync/tandem/sync/record"
)

// guard weighs the deletions that are about to go out, as the direct sync
// weighs those that came in: an emptied table must not empty the other side.
func (x *exporter) guard(ctx context.Context) error {
	next := x.pos
	next.After, next.Stage = "", stageRemove
	var n, links int64
	err := x.DB.Read(ctx, func(ctx context.Context, tx *store.Tx) error {
		var err error
		if n, err = tx.CountCandidates(ctx, x.owner()); err != nil {
			return err
		}
		links, err = tx.CountLinks(ctx, x.C.ID)
		return err
	})
	switch {
	case err != nil:
		return err
	case n == 0:
		next.Stage = stageEnd
		return x.advance(ctx, next, nil)
	case n <= max(guardCount, links/guardShare):
		return x.advance(ctx, next, nil)
	}
	next.Stage = stageEnd
	return x.advance(ctx, next, func(ctx context.Context, tx *store.Tx) error {
		body, err := json.Marshal(map[string]int64{"deletions": n, "links": links})
		if err != nil {
			return err
		}
		list := []store.Parked{{
			Kind: store.ParkedMassDelete, ChannelID: x.C.ChannelID, ConnectorID: x.C.ID, RunID: x.in.Run.ID, Reason: "mass_delete", Payload: body, Outward: true,
			Message: fmt.Sprintf("%d of %d linked rows are gone, more than max(%d, 5 %%): nothing was removed at the remote; "+
				"approve with `tandem parked retry` if that is meant", n, links, guardCount),
		}}
		if _, err := tx.Park(ctx, list); err != nil {
			return err
		}
		return tx.MoveCandidates(ctx, x.owner(), ParkedOwner(list[0].ID))
	})
}

// remove deletes the remote records of rows that are gone, batch by batch.
func (x *exporter) remove(ctx context.Context) (bool, error) {
	for {
		b, err := x.claimRemoval(ctx)
		if err != nil {
			return false, err
		}
		if b == nil {
			next := x.pos
			next.Stage = stageEnd
			return true, x.advance(ctx, next, func(ctx context.Context, tx *store.Tx) error {
				if id := x.in.Run.Spec.ApproveParked; id > 0 {
					if err := tx.ResolveParked(ctx, id, store.ResolvedApproved); err != nil {
						return err
					}
				}
				return tx.DropCandidates(ctx, x.candidates())
			})
		}
		trouble, err := x.sendRemoval(ctx, b.all())
		if err != nil {
			return false, err
		}
		if err := x.settleRemoval(ctx, b); err != nil {
			return false, err
		}
		if trouble != nil {
			return false, trouble
		}
		if x.expired() {
			return false, nil
		}
	}
}

// claimRemoval gives the next candidates whose rows are still gone.
func (x *exporter) claimRemoval(ctx context.Context) (*outBatch, error) {
	var b *outBatch
	err := x.DB.Write(ctx, "export.claim_removal", func(ctx context.Context, tx *store.Tx) error {
		if err := tx.CheckLease(ctx, x.in.Lease); err != nil {
			return err
		}
		cands, err := tx.Candidates(ctx, x.candidates(), x.pos.After, x.blockSize())
		if err != nil || len(cands) == 0 {
			return err
		}
		b = &outBatch{next: x.pos}
		for _, c := range cands {
			b.items = append(b.items, outItem{key: c.LocalKey})
			b.next.After = c.RemoteID
		}
		if err := x.fill(ctx, tx, b); err != nil {
			return err
		}
		for i := range b.items {
			it := &b.items[i]
			if it.row != nil || it.link == nil || it.link.State != store.Linked {
				it.end(fateSkipped, "changed", nil)
				continue
			}
			it.order = x.removal(it)
		}
		return nil
	})
	return b, err
}

// removal orders the deletion of an item's record.
func (*exporter) removal(it *outItem) *channels.Order {
	return &channels.Order{Op: channels.OrderDelete, ID: it.link.RemoteID, Version: it.link.Version, Customs: it.link.Customs}
}

// settleRemoval books what became of the deletions. One that was not carried
// out is put on the list again.
func (x *exporter) settleRemoval(ctx context.Context, b *outBatch) error {
	var add store.Counters
	err := x.move(ctx, "export.remove", &b.next, &add, func(ctx context.Context, tx *store.Tx) error {
		add = store.Counters{}
		var update []store.Link
		var lines []store.Change
		var again, gone []string
		var parked []store.Parked
		for i := range b.items {
			it := &b.items[i]
			switch {
			case it.result == nil:
			case it.result.Outcome == channels.Written || it.result.Outcome == channels.Gone:
				l := *it.link
				l.State = store.LocalDeleted
				update = append(update, l)
				gone = append(gone, it.key)
				add.Deleted++
				add.Pushed++
				lines = append(lines, x.line(it, "delete", it.fields))
			case it.result.Outcome == channels.Refused:
				add.Parked++
				parked = append(parked, store.Parked{
					Kind: store.ParkedRefused, ChannelID: x.C.ChannelID, ConnectorID: x.C.ID, RunID: x.in.Run.ID, LocalID: it.key, RemoteID: it.remoteID(),
					Reason: "write_refused", Message: x.clean(orUnexplained(it.result.Err).Error()), Answer: x.said(it.result.Err), Outward: true,
				})
			default:
				again = append(again, it.key)
			}
		}
		if _, err := tx.UpdateLinks(ctx, update); err != nil {
			return err
		}
		if err := tx.AddChanges(ctx, x.in.Run.ID, lines); err != nil {
			return err
		}
		if _, err := tx.MarkDirty(ctx, x.C.ID, again, dirtyDrift); err != nil {
			return err
		}
		if _, err := tx.Park(ctx, parked); err != nil {
			return err
		}
		if err := tx.ResolveOutward(ctx, x.C.ID, gone, store.ResolvedRetried); err != nil {
			return err
		}
		x.total(&add)
		return nil
	})
	if err == nil {
		x.pos = b.next
	}
	return err
}

// print is the fingerprint of what a row is exported by: its values and the
// mapping.
func (x *exporter) print(it *outItem) string {
	if it.local == nil {
		return ""
	}
	return fmt.Sprintf("l%016x", uint64(x.C.Manual.Hash(it.local)))
}

// outgoing is a row as it was to be sent, for a person to look at.
func (x *exporter) outgoing(it *outItem) json.RawMessage {
	vals := it.there
	if vals == nil {
		vals = it.local
	}
	if vals == nil {
		return nil
	}
	return x.received(&record.Record{Values: vals})
}
