package pass_test

import (
	"context"
	"sync"
	"testing"

	"github.com/tandem-sync/tandem/channels"
	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/internal/clock"
	"github.com/tandem-sync/tandem/store"
	"github.com/tandem-sync/tandem/sync/pass"
	"github.com/tandem-sync/tandem/sync/record"
)

// ear is a hook that notes the moments it was called at and may act.
type ear struct {
	mu    sync.Mutex
	heard map[channels.Way]map[channels.Moment]int
	act   func(m channels.Moment, p *channels.Passing) error
}

func (e *ear) Passing(_ context.Context, m channels.Moment, p *channels.Passing) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.heard == nil {
		e.heard = map[channels.Way]map[channels.Moment]int{channels.ToLocal: {}, channels.ToRemote: {}}
	}
	e.heard[p.Way][m]++
	if e.act == nil {
		return nil
	}
	return e.act(m, p)
}

func hooked(p *pair) *ear {
	e := &ear{}
	p.tune = func(c *pass.Connector) { c.Hooks = []channels.Hook{e} }
	return e
}

func TestEveryMomentIsHeardBothWays(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, b *workbench) {
		p := newPair(b)
		e := hooked(p)
		p.remote.put("1", "email", "ann@x.org", "name", "Ann")
		p.sync(store.Spec{})
		p.push(store.Spec{})
		p.remote.put("1", "name", "Anne")
		p.sync(store.Spec{})
		p.exec("UPDATE contacts SET score = 4")
		p.push(store.Spec{})
		for _, way := range []channels.Way{channels.ToLocal, channels.ToRemote} {
			for m := channels.BeforeMapping; m <= channels.AfterWriting; m++ {
				if e.heard[way][m] == 0 {
					t.Errorf("way %d: %s was never called", way, m)
				}
			}
		}
		eq(t, "remote score", p.there("1", "score"), "4")
		p.quiet()
	})
}

func TestHooksChangeWhatPasses(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, b *workbench) {
		p := newPair(b)
		e := hooked(p)
		e.act = func(m channels.Moment, s *channels.Passing) error {
			switch {
			case s.Way == channels.ToLocal && m == channels.AfterMapping && s.Local[1] == record.T("Ann"):
				s.Local[1] = record.T("from there")
			case s.Way == channels.ToRemote && m == channels.BeforeWriting && s.Write[1] == record.T("Bob"):
				s.Write[1] = record.T("from here")
			}
			return nil
		}
		p.remote.put("1", "email", "ann@x.org", "name", "Ann")
		p.exec("INSERT INTO contacts (email, name) VALUES ('bob@x.org', 'Bob')")
		p.sync(store.Spec{})
		p.push(store.Spec{})
		name, _, _ := p.row("ann@x.org")
		eq(t, "changed on the way in", name, "from there")
		eq(t, "changed on the way out", p.there("n1", "name"), "from here")
	})
}

func TestHooksSkipVetoAndPark(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, b *workbench) {
		p := newPair(b)
		e := hooked(p)
		e.act = func(m channels.Moment, s *channels.Passing) error {
			vals := s.Remote
			if s.Way == channels.ToRemote {
				vals = s.Local
			}
			switch {
			case m == channels.BeforeMapping && vals[1] == record.T("skip"):
				return fault.New(fault.Skip, "", "hook", "not this one")
			case m == channels.BeforeMapping && vals[1] == record.T("park"):
				return fault.New(fault.Permanent, "odd_name", "hook", "a person has to look")
			case m == channels.AfterJudging && s.Write != nil && s.Write[2].Has():
				s.Write[2] = record.Value{} // the score is nobody's business
			}
			return nil
		}
		p.remote.put("1", "email", "ann@x.org", "name", "Ann", "score", "1")
		p.remote.put("2", "email", "2@x.org", "name", "skip")
		p.remote.put("3", "email", "3@x.org", "name", "park")
		p.exec("INSERT INTO contacts (email, name) VALUES ('4@x.org', 'skip'), ('5@x.org', 'park')")
		in := p.sync(store.Spec{})
		eq(t, "created", in.Created, 1)
		eq(t, "skipped", in.Skipped, 1)
		eq(t, "parked", in.Parked, 1)
		out := p.push(store.Spec{})
		eq(t, "pushed", out.Pushed, 0)
		eq(t, "skipped", out.Skipped, 1)
		eq(t, "parked", out.Parked, 1)
		eq(t, "by the hook's own word", p.number("SELECT count(*) FROM tandem_parked WHERE reason = 'odd_name'"), 2)

		p.remote.put("1", "score", "2", "name", "Anne")
		p.sync(store.Spec{})
		name, score, _ := p.row("ann@x.org")
		eq(t, "name", name, "Anne")
		eq(t, "vetoed score", score, "1")
		p.exec("UPDATE contacts SET score = 9, name = 'Annie' WHERE email = 'ann@x.org'")
		p.push(store.Spec{})
		eq(t, "name there", p.there("1", "name"), "Annie")
		eq(t, "vetoed score there", p.there("1", "score"), "2")
	})
}

func TestHookStopsTheRun(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, b *workbench) {
		p := newPair(b)
		e := hooked(p)
		p.exec("INSERT INTO contacts (email, name) VALUES ('1@x.org', 'a'), ('2@x.org', 'stop'), ('3@x.org', 'c')")
		e.act = func(m channels.Moment, s *channels.Passing) error {
			if m == channels.BeforeWriting && s.Write[1] == record.T("stop") {
				return fault.New(fault.Stop, "", "hook", "enough")
			}
			return nil
		}
		p.relay()
		in := p.beginPush(store.Spec{})
		r := &pass.Reverse{DB: p.db, C: p.connector(), Clock: clock.System{}}
		_, err := r.Run(t.Context(), in)
		eq(t, "class", fault.Of(err), fault.Stop)
		p.end(in)
		eq(t, "what went out before", len(p.remote.recs), 1)
		e.act = nil
		p.due()
		p.push(store.Spec{})
		eq(t, "what went out after", len(p.remote.recs), 3)
		p.sync(store.Spec{})
		p.quiet()
	})
}
