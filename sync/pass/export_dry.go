package pass

import (
	"context"

	"github.com/tandem-sync/tandem/channels"
	"github.com/tandem-sync/tandem/store"
)

// dueDry says what would be sent out.
func (x *exporter) dueDry(ctx context.Context) (bool, error) {
	for {
		b, err := x.claimDry(ctx)
		if err != nil {
			return false, err
		}
		if b == nil || x.limited() {
			return true, x.ended(ctx)
		}
		if err := x.exportDry(ctx, b); err != nil {
			return false, err
		}
		if x.expired() {
			return false, nil
		}
	}
}

// exportDry says what would be done about a block.
func (x *exporter) exportDry(ctx context.Context, b *outBatch) error {
	if err := x.prepare(ctx, b); err != nil {
		return err
	}
	var read []*outItem
	for i := range b.items {
		if it := &b.items[i]; x.toRead(it) {
			read = append(read, it)
		}
	}
	if err := x.readRemote(ctx, read); err != nil {
		return err
	}
	if err := x.lookUp(ctx, b); err != nil {
		return err
	}
	for i := range b.items {
		it := &b.items[i]
		if it.fate == fateOpen {
			x.decide(it)
		}
		if it.order != nil || it.fate == fateParked {
			b.next.Count++
		}
	}
	if err := x.show(ctx, b); err != nil {
		return err
	}
	return x.stoppedBy()
}

// show books what a dry run would have done.
func (x *exporter) show(ctx context.Context, b *outBatch) error {
	var r results
	for i := range b.items {
		it := &b.items[i]
		x.showItem(&r, it)
		r.add.Conflicts += int64(len(it.lost) + len(it.disputed))
	}
	x.total(&r.add)
	err := x.move(ctx, "export.show", &b.next, &r.add, func(ctx context.Context, tx *store.Tx) error {
		return tx.AddChanges(ctx, x.in.Run.ID, r.lines)
	})
	if err == nil {
		x.pos = b.next
	}
	return err
}

func (x *exporter) showItem(r *results, it *outItem) {
	op, fields := "", it.fields
	switch it.fate {
	case fateParked:
		r.add.Parked++
		op, fields = "park", []store.FieldChange{{Reason: it.why}}
	case fateSkipped, fateWaits, fateLater:
		r.add.Skipped++
		op, fields = "skip", []store.FieldChange{{Reason: it.why}}
	case fateCandidate:
		r.add.Deleted++
		op, fields = "delete", []store.FieldChange{{Reason: it.why}}
	case fateOpen, fateSettled:
		switch {
		case it.order != nil && it.order.Op == channels.OrderCreate:
			r.add.Created++
			r.add.Pushed++
			op = "create"
		case it.order != nil:
			r.add.Updated++
			r.add.Pushed++
			op = "update"
		case it.first:
			r.add.Unchanged++
			op = "link"
		case it.why == "local_deleted" || it.why == "out_of_scope":
			r.add.Deleted++
			op, fields = "unlink", []store.FieldChange{{Reason: it.why}}
		default:
			r.add.Unchanged++
			if len(it.fields) == 0 {
				return
			}
			op = "skip"
		}
	}
	r.lines = append(r.lines, x.line(it, op, fields))
}
