package pass

import (
	"context"
	"slices"

	"github.com/tandem-sync/tandem/entities"
	"github.com/tandem-sync/tandem/store"
	"github.com/tandem-sync/tandem/sync/mapping"
	"github.com/tandem-sync/tandem/sync/record"
)

// Why a row is among those to be exported, where no change told so.
const (
	dirtyAsked    = "asked"
	dirtyDrift    = "drift"
	dirtyUnsynced = "unsynced"
	dirtyJudged   = "judged"
	dirtyModified = "modified"
)

// mark puts the named rows among those to be exported.
func (x *exporter) mark(ctx context.Context) error {
	next := x.pos
	next.Stage = stageDue
	return x.advance(ctx, next, func(ctx context.Context, tx *store.Tx) error {
		if x.dry() {
			return nil
		}
		_, err := tx.MarkDirty(ctx, x.C.ID, x.only, dirtyAsked)
		return err
	})
}

// drift walks the links and marks the rows that differ from what both sides
// were last known to hold, or that are gone. It finds what was changed while
// nothing captured changes.
func (x *exporter) drift(ctx context.Context) (bool, error) {
	if err := x.beginRound(ctx); err != nil {
		return false, err
	}
	for {
		next := x.pos
		var changed []string
		seen := 0
		err := x.DB.Read(ctx, func(ctx context.Context, tx *store.Tx) error {
			heads, err := tx.ScanLinks(ctx, x.C.ID, x.pos.After, batchRecords)
			if err != nil || len(heads) == 0 {
				next.After = ""
				return err
			}
			next.After, seen = heads[len(heads)-1].RemoteID, len(heads)
			if changed, err = x.drifted(ctx, tx, heads); err == nil {
				changed, err = x.within(ctx, tx, changed)
			}
			return err
		})
		if err != nil {
			return false, err
		}
		if next.After == "" {
			next.Stage = stageUnsynced
			return true, x.advance(ctx, next, nil)
		}
		if err := x.found(ctx, next, changed, dirtyDrift, x.round(seen, false)); err != nil {
			return false, err
		}
		if x.expired() {
			return false, nil
		}
	}
}

// beginRound starts the round over all rows of which drift and unsynced are the
// two parts.
func (x *exporter) beginRound(ctx context.Context) error {
	if x.pos.Pass > 0 || x.dry() || x.windowed() {
		return nil
	}
	next := x.pos
	err := x.move(ctx, "export.round", &next, &store.Counters{}, func(ctx context.Context, tx *store.Tx) error {
		links, err := tx.CountLinks(ctx, x.C.ID)
		if err != nil {
			return err
		}
		next.Pass, err = tx.StartPass(ctx, x.C.ChannelID, x.C.ID, &links)
		return err
	})
	if err == nil {
		x.pos = next
	}
	return err
}

// round adds a step to the round.
func (x *exporter) round(done int, finished bool) func(ctx context.Context, tx *store.Tx) error {
	return func(ctx context.Context, tx *store.Tx) error {
		if x.dry() || x.windowed() {
			return nil
		}
		return tx.AdvancePass(ctx, store.PassStep{ID: x.pos.Pass, Done: int64(done), Finished: finished})
	}
}

// drifted gives the local keys of a page of links whose rows are not as the
// base says.
func (x *exporter) drifted(ctx context.Context, tx *store.Tx, heads []store.LinkHead) ([]string, error) {
	heads = slices.DeleteFunc(heads, func(h store.LinkHead) bool { return h.State != store.Linked })
	ids, keys := make([]string, len(heads)), make([]string, len(heads))
	for i, h := range heads {
		ids[i], keys[i] = h.RemoteID, h.LocalKey
	}
	links, err := tx.Links(ctx, x.C.ID, ids)
	if err != nil {
		return nil, err
	}
	rows, err := x.C.Local.Load(ctx, tx, keys)
	if err != nil {
		return nil, err
	}
	byKey := make(map[string]*entities.Row, len(rows))
	for i := range rows {
		byKey[rows[i].Key] = &rows[i]
	}
	var changed []string
	local := make([]record.Value, x.C.Manual.Len())
	for i := range links {
		l := &links[i]
		differs, err := x.differs(l, byKey[l.LocalKey], local)
		if err != nil {
			return nil, err
		}
		if differs {
			changed = append(changed, l.LocalKey)
		}
	}
	return changed, nil
}

// differs reports whether a linked row has something to tell the remote.
func (x *exporter) differs(l *store.Link, row *entities.Row, local []record.Value) (bool, error) {
	if row == nil || row.Deleted {
		return true, nil
	}
	if err := x.C.Manual.CanonLocal(row.Values, local); err != nil {
		return false, err
	}
	base, _, err := mapping.DecodeBase(l.Base, len(local))
	if err != nil {
		return true, nil //nolint:nilerr // made under another mapping: judged as a first link
	}
	for f := range local {
		if x.C.Manual.Fields()[f].ToRemote() && local[f] != base[f] {
			return true, nil
		}
	}
	return false, nil
}

// unsynced walks the rows that are not linked and marks them, so that they are
// looked for at the remote and created where they are not found.
func (x *exporter) unsynced(ctx context.Context) (bool, error) {
	for {
		next := x.pos
		var found []string
		err := x.DB.Read(ctx, func(ctx context.Context, tx *store.Tx) error {
			if !x.C.CreateRemote {
				return nil
			}
			keys, err := x.C.Local.Unlinked(ctx, tx, x.C.ID, x.pos.After, batchRecords)
			if err != nil || len(keys) == 0 {
				return err
			}
			next.After = keys[len(keys)-1]
			found, err = x.within(ctx, tx, keys)
			return err
		})
		if err != nil {
			return false, err
		}
		if next.After == x.pos.After {
			next.Stage, next.After = stageDue, ""
			if x.dry() {
				next.Stage = stageEnd // what waits is among what was just shown
			}
			return true, x.advance(ctx, next, x.round(0, true))
		}
		if err := x.found(ctx, next, found, dirtyUnsynced, x.round(0, false)); err != nil {
			return false, err
		}
		if x.expired() {
			return false, nil
		}
	}
}

// found marks rows and moves on. A dry run exports them at once instead, which
// for a dry run is to say what would happen.
func (x *exporter) found(ctx context.Context, next position, keys []string, why string, round func(context.Context, *store.Tx) error) error {
	if !x.dry() {
		return x.advance(ctx, next, func(ctx context.Context, tx *store.Tx) error {
			if err := round(ctx, tx); err != nil {
				return err
			}
			_, err := tx.MarkDirty(ctx, x.C.ID, keys, why)
			return err
		})
	}
	for chunk := range slices.Chunk(keys, x.blockSize()) {
		b, err := x.preview(ctx, chunk)
		if err != nil {
			return err
		}
		b.next = x.pos
		if err := x.exportDry(ctx, b); err != nil {
			return err
		}
	}
	return x.advance(ctx, next, nil)
}
