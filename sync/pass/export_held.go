package pass

import (
	"context"
	"slices"

	"github.com/tandem-sync/tandem/store"
)

// heldOut leaves rows out that a person skipped and that are as they were then.
// With other values, or under another mapping, the skip holds no longer.
func (x *exporter) heldOut(ctx context.Context, b *outBatch) error {
	if x.in.Run.Spec.Flags.Force {
		return nil
	}
	keys := make([]string, 0, len(b.items))
	for i := range b.items {
		keys = append(keys, b.items[i].key)
	}
	var skipped map[string][]string
	err := x.DB.Read(ctx, func(ctx context.Context, tx *store.Tx) error {
		_, some, err := tx.OpenOrSkipped(ctx, x.C.ID)
		if err != nil || !some {
			return err
		}
		skipped, err = tx.SkippedOut(ctx, x.C.ID, keys)
		return err
	})
	if err != nil || len(skipped) == 0 {
		return err
	}
	for i := range b.items {
		it := &b.items[i]
		prints := skipped[it.key]
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
