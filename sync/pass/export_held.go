package pass

import (
	"context"
	"slices"

	"github.com/tandem-sync/tandem/store"
)

// byRound reports whether a row is only looked at because all rows are.
func byRound(reason string) bool {
	return reason == dirtyUnsynced || reason == dirtyDrift || reason == dirtyModified
}

// heldOut leaves rows out that a person skipped and that are as they were then,
// and on rounds over all rows those that are parked with the data that they have.
// With other values, or under another mapping, the skip holds no longer.
func (x *exporter) heldOut(ctx context.Context, b *outBatch) error {
	if x.in.Run.Spec.Flags.Force || !b.open && !b.skipped {
		return nil
	}
	keys := make([]string, 0, len(b.items))
	for i := range b.items {
		keys = append(keys, b.items[i].key)
	}
	var skipped, parked map[string][]string
	err := x.DB.Read(ctx, func(ctx context.Context, tx *store.Tx) (err error) {
		if b.open {
			parked, err = tx.ParkedOut(ctx, x.C.ID, keys)
		}
		if err == nil && b.skipped {
			skipped, err = tx.SkippedOut(ctx, x.C.ID, keys)
		}
		return err
	})
	if err != nil || len(skipped)+len(parked) == 0 {
		return err
	}
	for i := range b.items {
		it := &b.items[i]
		prints := skipped[it.key]
		if it.fate == fateOpen && it.local != nil && byRound(it.dirty.Reason) && slices.Contains(parked[it.key], x.print(it)) {
			it.end(fateWaits, "parked", nil)
			continue
		}
		switch {
		case len(prints) == 0:
		case it.local != nil && slices.Contains(prints, x.print(it)):
			if it.fate == fateOpen {
				it.end(fateSkipped, "skipped", nil)
			}
		default:
			it.unskip = true
		}
	}
	return nil
}
