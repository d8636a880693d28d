package sim

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/tandem-sync/tandem/store"
)

// The scenes come after the faults have ended. Each sets up one situation that
// a random history meets too seldom, at a random moment.

// holder is the worker that has the lease of the whole connector; -1 none.
func (w *world) holder() int {
	var owners []string
	must(w.t, w.db.Read(context.Background(), func(ctx context.Context, tx *store.Tx) error {
		return tx.SelectContext(ctx, &owners, "SELECT owner FROM tandem_lease WHERE shard = '' AND owner <> ''")
	}))
	n := -1
	for _, o := range owners {
		_, _ = fmt.Sscanf(strings.SplitN(o, ".", 2)[0], "w%d", &n) // stays -1 when it is none of ours
	}
	return n
}

// midRun starts a complete run of a slow remote, with edits under way, and stops
// the worker that has it, at a random moment. nil when it was over before.
func (w *world) midRun() (thaw func()) {
	w.remote.slow(400 * time.Millisecond)
	for range 8 {
		w.remote.edit(w.rng, w.token())
	}
	w.request(store.ModeFull)
	w.asking.Wait()
	time.Sleep(time.Duration(300+w.rng.IntN(2500)) * time.Millisecond)
	if n := w.holder(); n >= 0 {
		return w.sched.Stop(n)
	}
	return nil
}

// token counts edits upwards.
func (w *world) token() int {
	w.tokens++
	return 10000 + w.tokens
}

// stopAndTakeOver suspends a worker in mid-run until another one has taken its
// lease over, and lets it go on as if nothing had happened.
func (w *world) stopAndTakeOver() {
	for range 2 {
		if thaw := w.midRun(); thaw != nil {
			time.Sleep(time.Duration(19+w.rng.IntN(9)) * time.Second)
			time.Sleep(time.Duration(w.rng.IntN(3000)) * time.Millisecond)
			thaw()
		}
		w.watch(12)
		w.settle()
	}
}

// stopAndOvertake suspends a worker with a page in its hands, for less than its
// lease; meanwhile the page's records are edited and read by id.
func (w *world) stopAndOvertake() {
	for range 2 {
		if thaw := w.midRun(); thaw != nil {
			var ids []string
			w.remote.mu.Lock()
			for _, c := range w.remote.live() {
				c.name, c.updated = fmt.Sprint("n", w.token()), w.remote.now()
				ids = append(ids, c.id)
			}
			w.remote.mu.Unlock()
			w.request(store.ModeIncremental, ids...)
			w.asking.Wait()
			w.watch(20)
			thaw()
		}
		w.watch(12)
		w.settle()
	}
}

// watch checks the invariants often for a while.
func (w *world) watch(times int) {
	for range times {
		time.Sleep(100 * time.Millisecond)
		w.invariants()
	}
}

// hideOne reads a complete listing that leaves out a record which is there.
func (w *world) hideOne() {
	w.remote.slow(5 * time.Millisecond)
	for range 2 {
		w.remote.hide(w.rng, w.last)
		w.request(store.ModeFull)
		w.asking.Wait()
		w.settle()
		w.invariants()
	}
	w.remote.mu.Lock()
	defer w.remote.mu.Unlock()
	w.remote.hidden = ""
}
