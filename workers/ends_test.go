package workers

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/internal/yield"
	"github.com/tandem-sync/tandem/store"
	"github.com/tandem-sync/tandem/transport/transporttest"
)

// tally is an Observer that counts ends by status.
type tally struct {
	mu   sync.Mutex
	ends map[store.Status]int
}

func (c *tally) RunEnded(e store.RunEnd) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ends == nil {
		c.ends = map[store.Status]int{}
	}
	c.ends[e.Status]++
}

func (c *tally) Records(string, store.Counters) {}
func (c *tally) QueueWait(time.Duration)        {}
func (c *tally) LeaseLost()                     {}

func (c *tally) now() map[store.Status]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.ends)
}

// TestEveryEndIsCountedOnce ends runs in all the ways workers have, some of them
// with a COMMIT whose answer is lost, and compares what was counted with what
// the database says.
func TestEveryEndIsCountedOnce(t *testing.T) {
	t.Parallel()
	onEachSite(t, func(s *site) {
		var refuse atomic.Bool
		srv := transporttest.New(s.t, pages(func(string) transporttest.Step {
			if refuse.Load() {
				return transporttest.Status(http.StatusForbidden)
			}
			return nil
		}))
		s.apply(fmt.Sprintf(contactsFile, srv.URL, ""))
		var seen tally
		f := s.work(func(c *Config) { c.Observer = &seen })
		id := s.channel().ID
		ask := func(flags store.Flags) store.Run {
			var run store.Run
			s.write(func(ctx context.Context, tx *store.Tx) (err error) {
				run, _, _, err = tx.AddRequest(ctx, store.Request{ChannelID: id, Spec: store.Spec{Kind: store.KindSync, Flags: flags}}, false)
				return err
			})
			f.Kick()
			return s.awaitFailed("the end", run.ID).run
		}
		want := map[store.Status]int{}
		for what, run := range map[string]func() store.Run{
			"finished":      func() store.Run { return ask(store.Flags{}) },
			"dry":           func() store.Run { return ask(store.Flags{DryRun: true}) },
			"nothing to do": func() store.Run { return ask(store.Flags{NoPull: true}) },
			"failed": func() store.Run {
				refuse.Store(true)
				defer refuse.Store(false)
				return ask(store.Flags{})
			},
		} {
			got := run()
			if want[got.Status]++; what == "failed" && got.Status != store.StatusFailed {
				s.t.Errorf("%s: %s", what, got.Status)
			}
		}
		s.awaitTally(&seen, want)

		// A channel that is disabled before its run starts, and a lost answer.
		p := &processor{cfg: f.cfg, opener: f.opener, kick: f.Kick, soft: s.t.Context().Done()}
		var run store.Run
		s.write(func(ctx context.Context, tx *store.Tx) (err error) {
			if run, _, _, err = tx.AddRequest(ctx, store.Request{ChannelID: id, Spec: store.Spec{Kind: store.KindSync}}, false); err != nil {
				return err
			}
			_, err = tx.ExecContext(ctx, "UPDATE tandem_channel SET enabled = false")
			return err
		})
		lost := yield.With(s.t.Context(), func(_ context.Context, point string) error {
			if point == "tx.after_commit" {
				return fault.New(fault.Retryable, "", "", "the answer is lost")
			}
			return nil
		})
		for range 2 {
			if err := p.start(lost, run.ID); err != nil {
				s.t.Fatal(err)
			}
		}
		want[store.StatusCancelled]++
		s.awaitTally(&seen, want)
	})
}

func (s *site) awaitTally(c *tally, want map[store.Status]int) {
	s.t.Helper()
	for end := time.Now().Add(90 * time.Second); !maps.Equal(c.now(), want); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			s.t.Fatalf("counted %v, want %v", c.now(), want)
		}
	}
}
