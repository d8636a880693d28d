package pass

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	"github.com/tandem-sync/tandem/entities"
	"github.com/tandem-sync/tandem/store"
)

// modifiedTo is what a pass by time of change leaves for the next one.
type modifiedTo struct {
	At time.Time `json:"at"`
}

// modified finds the rows whose time of change is new since the last time it was
// looked, less the overlap: the application sets that time before it commits.
// Rows that were deleted are not found like this, but by the complete rounds.
func (x *exporter) modified(ctx context.Context) (bool, error) {
	if err := x.beginModified(ctx); err != nil {
		return false, err
	}
	for {
		var list []entities.Touched
		err := x.DB.Read(ctx, func(ctx context.Context, tx *store.Tx) (err error) {
			list, err = x.C.Local.ChangedSince(ctx, tx, *x.pos.ModifiedAt, x.pos.After, batchRecords)
			return err
		})
		if err != nil {
			return false, err
		}
		next := x.pos
		if end := x.in.Run.Spec.End; end != nil {
			list = slices.DeleteFunc(list, func(r entities.Touched) bool { return !r.Modified.Before(*end) })
		}
		if len(list) == 0 {
			next.Stage, next.After = stageDue, ""
			return true, x.advance(ctx, next, x.endModified)
		}
		keys := make([]string, len(list))
		for i, r := range list {
			keys[i] = r.Key
		}
		last := list[len(list)-1]
		next.ModifiedAt, next.After = &last.Modified, last.Key
		if err := x.found(ctx, next, keys, dirtyModified, x.round(len(keys), false)); err != nil {
			return false, err
		}
		if x.expired() {
			return false, nil
		}
	}
}

// beginModified goes back to where the last look ended, less the overlap.
func (x *exporter) beginModified(ctx context.Context) error {
	if x.pos.ModifiedAt != nil {
		return nil
	}
	next := x.pos
	next.ModifiedAt = &time.Time{}
	if x.windowed() {
		if from := x.in.Run.Spec.Start; from != nil {
			next.ModifiedAt = from
		}
		x.pos = next
		return nil
	}
	err := x.move(ctx, "export.modified", &next, &store.Counters{}, func(ctx context.Context, tx *store.Tx) error {
		raw, err := tx.LastPosition(ctx, x.C.ChannelID, x.C.ID)
		if err != nil {
			return err
		}
		var last modifiedTo
		if len(raw) > 0 {
			err = json.Unmarshal(raw, &last)
		} else {
			// The first time: whatever is older was seen by a round over all rows.
			last.At, err = tx.LastPass(ctx, x.C.ChannelID, x.C.ID)
		}
		if err != nil {
			return err
		}
		if !last.At.IsZero() {
			last.At = last.At.Add(-x.C.Overlap)
		}
		next.ModifiedAt = &last.At
		if x.dry() {
			return nil
		}
		next.Pass, err = tx.StartPass(ctx, x.C.ChannelID, x.C.ID, nil)
		return err
	})
	if err == nil {
		x.pos = next
	}
	return err
}

// endModified keeps how far was looked.
func (x *exporter) endModified(ctx context.Context, tx *store.Tx) error {
	if x.dry() || x.windowed() {
		return nil
	}
	raw, err := json.Marshal(modifiedTo{At: *x.pos.ModifiedAt})
	if err != nil {
		return err
	}
	return tx.AdvancePass(ctx, store.PassStep{ID: x.pos.Pass, Finished: true, Position: raw})
}
