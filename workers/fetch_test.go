package workers

import (
	"context"
	"testing"
	"time"

	"github.com/tandem-sync/tandem/messages/embedded"
	"github.com/tandem-sync/tandem/store"
)

// A slice that is told of changes takes them up itself, plans no run for it, and
// leaves to the relay what is not for it.
func TestLingeringSliceTakesChangesUp(t *testing.T) {
	t.Parallel()
	onEachSite(t, func(s *site) {
		p := idler(s, true)
		l, leave := p.lingerer(77, "people", forever)
		log := func(entity string) {
			s.write(func(ctx context.Context, tx *store.Tx) error {
				return tx.LogChanges(ctx, []store.LocalChange{{Entity: entity, LocalKey: "1", Op: store.LogUpsert}})
			})
		}
		fetch := func(fail bool) (asked bool) {
			var taken func()
			err := s.db.Write(s.t.Context(), "test", func(ctx context.Context, tx *store.Tx) (err error) {
				if taken, err = l.fetch(ctx, tx); err == nil && fail {
					err = context.Canceled
				}
				return err
			})
			if (err != nil) != fail {
				s.t.Fatal(err)
			}
			if taken != nil && !fail {
				taken()
			}
			return taken != nil
		}
		waiting := func() (changes, due int64) {
			s.write(func(ctx context.Context, tx *store.Tx) (err error) {
				if changes, _, err = tx.ChangeLogDepth(ctx); err != nil {
					return err
				}
				return tx.QueryRowContext(ctx, "SELECT count(*) FROM tandem_dirty").Scan(&due)
			})
			return changes, due
		}
		want := func(what string, changes, due int64, told bool) {
			s.t.Helper()
			if c, d := waiting(); c != changes || d != due || (len(p.stir.again) == 1) != told {
				s.t.Errorf("%s: %d changes, %d rows due, relay told %t; want %d, %d, %t", what, c, d, len(p.stir.again) == 1, changes, due, told)
			}
			if told {
				<-p.stir.again
			}
		}

		log("people")
		if fetch(false) {
			t.Error("it looks for changes that it was not told of")
		}
		want("not told", 1, 0, false)
		if !p.stir.offer() {
			t.Error("nobody takes changes up")
		}
		if more, err := l.more(s.t.Context()); !more || err != nil {
			t.Errorf("more %t, error %v", more, err)
		}
		fetch(true)
		want("rolled back", 1, 0, false)
		fetch(false)
		want("taken up", 0, 1, false)
		if len(s.runs()) > 0 {
			t.Errorf("a run was planned: %v", s.runs())
		}
		log("firms")
		p.stir.offer()
		fetch(false)
		want("for others", 1, 1, true)
		p.stir.offer()
		leave()
		want("it left before it came to that", 1, 1, true)
		if p.stir.offer() {
			t.Error("it listens still")
		}
	})
}

// Changes that are for nobody who exports keep no slice from ending.
func TestLingeringSliceEndsAmongOtherChanges(t *testing.T) {
	t.Parallel()
	onEachSite(t, func(s *site) {
		p := idler(s, true)
		l, leave := p.lingerer(77, "people", time.Millisecond)
		defer leave()
		for tries := 0; ; tries++ {
			p.stir.offer()
			more, err := l.more(s.t.Context())
			if err != nil || tries > 100_000 {
				t.Fatal(tries, err)
			}
			if !more {
				return
			}
			s.write(func(ctx context.Context, tx *store.Tx) error {
				taken, err := l.fetch(ctx, tx)
				if err == nil {
					taken()
				}
				return err
			})
		}
	})
}

// The relay leaves to a slice what is new, and takes up what the slice does not
// come to, or cannot.
func TestRelayLeavesNewChangesToASlice(t *testing.T) {
	t.Parallel()
	onEachSite(t, func(s *site) {
		cfg := s.config(s.db, "relay")
		cfg.Roles.Relay = true
		cfg.Broker = embedded.New(embedded.Config{})
		f, err := NewFleet(cfg)
		if err != nil {
			t.Fatal(err)
		}
		look := func(what string, how taking, at time.Time, wantTaken int, wantLeft bool) {
			s.t.Helper()
			s.write(func(ctx context.Context, tx *store.Tx) error {
				return tx.LogChanges(ctx, []store.LocalChange{{Entity: "people", LocalKey: "1", Op: store.LogUpsert, At: at}})
			})
			n, left, err := f.changesOnce(s.t.Context(), how)
			if n != wantTaken || left != wantLeft || err != nil {
				s.t.Errorf("%s: %d taken, left %t, error %v; want %d, %t", what, n, left, err, wantTaken, wantLeft)
			}
		}
		old := time.Now().Add(-time.Hour)
		look("no slice", offerChanges, time.Time{}, 1, false)
		e, leave := f.stir.listen(77, true)
		look("just found", offerChanges, old, 0, true)
		if e.offers.Load() != 1 {
			t.Errorf("offered %d times", e.offers.Load())
		}
		look("offered for long", takeOld, old, 2, false)
		look("for no slice", takeAll, time.Time{}, 1, false)
		leave()
		_, leave = f.stir.listen(77, false)
		defer leave()
		look("a slice that takes none", offerChanges, time.Time{}, 1, false)
	})
}
