package sim

import (
	"context"
	"time"

	"github.com/tandem-sync/tandem/store"
)

// ticks checks what two schedulers that crash, pause and lose answers made of
// the schedule: every tick was seen to once, and the channel goes on.
func (w *world) ticks() {
	var ticks, served, requests int
	var next int64
	must(w.t, w.db.Read(context.Background(), func(ctx context.Context, tx *store.Tx) error {
		return tx.QueryRowContext(ctx, `SELECT (SELECT count(*) FROM tandem_tick), (SELECT count(*) FROM tandem_tick WHERE run_id > 0),
			(SELECT count(*) FROM tandem_request WHERE trigger_by = 'schedule'), (SELECT next_at FROM tandem_schedule)`).
			Scan(&ticks, &served, &requests, &next)
	}))
	if ticks == 0 || served != ticks || requests != ticks {
		w.breaks("%d ticks, %d with a run, %d requests of the schedule", ticks, served, requests)
	}
	// A failed run may have put the next one off, by six hours at most.
	if ahead := time.Until(time.UnixMicro(next)); ahead < -time.Minute || ahead > 7*time.Hour {
		w.breaks("the next tick is due in %v", ahead)
	}
}
