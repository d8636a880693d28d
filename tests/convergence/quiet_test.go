package convergence

import (
	"context"
	"time"

	"github.com/tandem-sync/tandem/store"
)

// fixpoint: further complete runs write nothing on any side.
func (w *world) fixpoint() {
	for range 3 {
		before := w.written()
		w.cycle(store.ModeFull)
		if after := w.written(); after != before {
			w.m.breaks("a run with nothing to do wrote: %+v, then %+v", before, after)
		}
	}
}

// written counts what was ever written.
type written struct {
	Local, Pushed int
	A, B, Echoes  int
}

func (w *world) written() written {
	var n written
	must(w.t, w.db.Read(context.Background(), func(ctx context.Context, tx *store.Tx) error {
		return tx.QueryRowContext(ctx, `SELECT coalesce(sum(CASE WHEN shard = 'push' THEN 0 ELSE n_created + n_updated + n_deleted END), 0), coalesce(sum(n_pushed), 0)
			FROM tandem_slice`).Scan(&n.Local, &n.Pushed)
	}))
	a, b := w.remotes["A"], w.remotes["B"]
	n.A, n.B, n.Echoes = a.writes, b.writes, a.echoes+b.echoes
	return n
}

// echo: what somebody edits at one remote goes to all the others and not back to
// where it came from, not even to be looked at.
func (w *world) echo() {
	if w.sc.Shape.Chain || w.restless {
		return
	}
	for _, at := range []string{"A", "B"} {
		r := w.remotes[at]
		who := w.someone(r)
		if who == "" {
			continue
		}
		looks, before := w.looks(at), w.written()
		w.there(r, act{What: actEdit, At: at, who: who})
		w.serve(10 * time.Second) // until a listing of changes shows it
		w.cycle(store.ModeIncremental)
		w.told()
		if n := w.looks(at) - looks; n != 0 {
			w.m.breaks("%s: what was edited there was looked at %d times to be written there", at, n)
		}
		after := w.written()
		if at == "A" && (after.A != before.A || after.B > before.B+1) || at == "B" && (after.B != before.B || after.A > before.A+1) || after.Echoes != before.Echoes {
			w.m.breaks("%s: one edit was written too often: %+v, then %+v", at, before, after)
		}
	}
}

// someone is a record of a remote that nobody took apart, with a row here; "" none.
func (w *world) someone(r *remote) (who string) {
	must(w.t, w.db.Read(context.Background(), func(ctx context.Context, tx *store.Tx) error {
		r.mu.Lock()
		defer r.mu.Unlock()
		for _, c := range r.live() {
			links, err := tx.Links(ctx, w.conns[r.name], []string{c.id})
			if err != nil {
				return err
			}
			if len(links) != 1 || w.m.isGone(c.vals[0]) {
				continue
			}
			if paired, err := w.paired(ctx, tx, links[0].LocalKey); err != nil || paired {
				who = c.vals[0]
				return err
			}
		}
		return nil
	}))
	return who
}

// looks is how many exports to a remote were begun because of changes.
func (w *world) looks(at string) (n int) {
	must(w.t, w.db.Read(context.Background(), func(ctx context.Context, tx *store.Tx) error {
		return tx.GetContext(ctx, &n, "SELECT count(*) FROM tandem_run WHERE channel_id = ? AND kind = ? AND trigger_by = ?", w.ids[at], store.KindReverseSync, store.TriggerChange)
	}))
	return n
}
