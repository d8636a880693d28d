package convergence

import (
	"context"
	"time"

	"github.com/tandem-sync/tandem/store"
)

// progress is an active slice with the lease that its next batch needs.
type progress struct {
	Slice   int64  `db:"id"`
	Batch   int64  `db:"batch_no"`
	Lease   int64  `db:"lease"`
	Owner   string `db:"owner"`
	Epoch   int64  `db:"epoch"`
	Expires int64  `db:"expires_at"`
}

const activeSlices = `SELECT s.id, s.batch_no, coalesce(l.rowid, 0) AS lease, coalesce(l.owner, '') AS owner, coalesce(l.epoch, 0) AS epoch, coalesce(l.expires_at, 0) AS expires_at
	FROM tandem_slice s LEFT JOIN tandem_lease l ON l.connector_id = s.connector_id
		AND l.direction = CASE s.shard WHEN 'push' THEN 'reverse-sync' ELSE 'sync' END AND l.shard = CASE s.shard WHEN 'push' THEN '' ELSE s.shard END
	WHERE s.state = 'active'`

// committed looks at the transaction that a worker has just committed; nobody else
// commits before it goes on. A slice that moved on moved by one batch, and the one
// who moved it holds its lease: one writer, with one epoch, and nobody shares one.
func (w *world) committed(k *worker) {
	var list []progress
	must(w.t, w.db.Read(context.Background(), func(ctx context.Context, tx *store.Tx) error {
		var last int64
		if err := tx.GetContext(ctx, &last, "SELECT coalesce(max(id), 0) FROM contacts"); err != nil {
			return err
		}
		w.highest = max(w.highest, last)
		return tx.SelectContext(ctx, &list, activeSlices)
	}))
	now := time.Now().UnixMicro()
	if w.dozed { // while the transaction kept everybody else away
		now, w.dozed = 0, false
	}
	for _, p := range list {
		last, known := w.memory.batches[p.Slice]
		w.memory.batches[p.Slice] = p.Batch
		if p.Batch == last && known || p.Batch == 0 {
			continue
		}
		if p.Batch != last+1 {
			w.m.breaks("slice %d goes from batch %d to %d", p.Slice, last, p.Batch)
		}
		if p.Owner != k.owner() || p.Expires <= now {
			w.m.breaks("slice %d: batch %d is committed by %s, and its lease is %q's for %v more", p.Slice, p.Batch, k.owner(), p.Owner, time.Duration(p.Expires-now)*time.Microsecond)
		}
		id := [2]int64{p.Lease, p.Epoch}
		if other, ok := w.memory.owners[id]; ok && other != p.Owner {
			w.m.breaks("epoch %d of lease %d belongs to %s and to %s", p.Epoch, p.Lease, other, p.Owner)
		}
		w.memory.owners[id] = p.Owner
	}
}

// accounted: every message that reached a queue was dealt with, was lost with its
// queue or still waits; none was taken for a bad one.
func (w *world) accounted() {
	if w.restless {
		return
	}
	if b := w.net.Books(); b.Dead != 0 || b.Open != 0 {
		w.m.breaks("of %d messages %d were taken for bad ones, and nobody knows of %d: %+v", b.Put, b.Dead, b.Open, b)
	}
}
