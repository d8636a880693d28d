package workers

import (
	"context"
	"testing"
	"time"

	"github.com/tandem-sync/tandem/store"
)

// forever is longer than any test waits.
const forever = time.Hour

// A slice that has sent everything waits for the next change, and hears of it at
// once.
func TestLingeringSliceHearsOfTheNextChange(t *testing.T) {
	t.Parallel()
	onEachSite(t, func(s *site) {
		const connector = 77
		for _, relay := range []bool{true, false} {
			p := idler(s, relay)
			got := make(chan bool, 1)
			go func() {
				l, leave := p.lingerer(connector, "people", forever)
				more, err := l.more(s.t.Context())
				leave()
				got <- more && err == nil
			}()
			for waiting := false; !waiting; time.Sleep(time.Millisecond) {
				p.stir.mu.Lock()
				waiting = len(p.stir.ears[connector]) == 1
				p.stir.mu.Unlock()
			}
			s.write(func(ctx context.Context, tx *store.Tx) error {
				_, err := tx.MarkDirty(ctx, connector, []string{"1"}, "asked")
				return err
			})
			if relay { // without one in this process nobody tells, and it looks by itself
				p.stir.tell([]int64{connector - 1, connector})
			}
			if !<-got {
				t.Errorf("relay here %t: the row is not found", relay)
			}
			if len(p.stir.ears) > 0 {
				t.Errorf("somebody still listens: %v", p.stir.ears)
			}
			s.write(func(ctx context.Context, tx *store.Tx) error {
				_, err := tx.ExecContext(ctx, "DELETE FROM tandem_dirty")
				return err
			})
		}
	})
}

// It waits for nothing while somebody else may need its slot, nor while the
// process ends, nor longer than it is told.
func TestLingeringSliceGivesWay(t *testing.T) {
	t.Parallel()
	onEachSite(t, func(s *site) {
		full := idler(s, true)
		defer full.busy.in()()
		defer full.busy.in()()
		ending := idler(s, true)
		soft := make(chan struct{})
		close(soft)
		ending.soft = soft
		for name, c := range map[string]struct {
			p    *processor
			most time.Duration
		}{"every slot is taken": {full, forever}, "the process ends": {ending, forever}, "its time is up": {idler(s, true), time.Millisecond}} {
			l, leave := c.p.lingerer(77, "people", c.most)
			if more, err := l.more(s.t.Context()); more || err != nil {
				t.Errorf("%s: more %t, error %v", name, more, err)
			}
			leave()
		}
	})
}

func idler(s *site, relay bool) *processor {
	cfg := s.config(s.db, "lingerer")
	cfg.Roles.Relay, cfg.ReverseSlots = relay, 2
	cfg.setDefaults()
	return &processor{cfg: cfg, stir: newStir()}
}
