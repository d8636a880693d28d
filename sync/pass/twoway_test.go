package pass_test

import (
	"context"
	"testing"
	"time"

	"github.com/tandem-sync/tandem/channels"
	"github.com/tandem-sync/tandem/entities"
	"github.com/tandem-sync/tandem/internal/clock"
	"github.com/tandem-sync/tandem/store"
	"github.com/tandem-sync/tandem/sync/judge"
	"github.com/tandem-sync/tandem/sync/mapping"
	"github.com/tandem-sync/tandem/sync/pass"
)

// pair is a workbench whose connector goes both ways, with captured changes.
type pair struct {
	*workbench
	w      *writes
	policy judge.Policy
	tune   func(c *pass.Connector)
}

func newPair(b *workbench) *pair {
	p := &pair{workbench: b, w: newWrites(), policy: judge.Newest}
	for i := range b.spec.Fields {
		b.spec.Fields[i].Direction = mapping.Both
	}
	b.opts = p.outward
	b.write(func(ctx context.Context, tx *store.Tx) error {
		_, err := tx.PutConnectors(ctx, b.chID, []store.Connector{{Name: "contacts", Entity: "contacts", Outward: true}})
		if err != nil {
			return err
		}
		table, err := entities.Introspect(ctx, tx, entities.Spec{Name: "contacts", Table: "contacts", Key: []string{"id"}})
		if err != nil {
			return err
		}
		return table.CaptureInstall(ctx, tx, "contacts", []string{"email", "name", "score"})
	})
	return p
}

func (p *pair) outward(c *pass.Connector) {
	c.Remote = writing{getting{p.remote}, p.w}
	c.Entity = "contacts"
	c.TwoWay, c.CreateRemote, c.Captured, c.OnLocalDelete = true, true, true, pass.DeleteRow
	c.Rules = make(judge.Rules, c.Manual.Len())
	for i := range c.Rules {
		f := c.Manual.Fields()[i]
		c.Rules[i] = judge.Rule{Direction: f.Direction, Policy: p.policy, On: f.On, Required: f.Required, Equal: c.Manual.Same(i)}
	}
	if p.tune != nil {
		p.tune(c)
	}
}

// relay takes captured changes up.
func (p *pair) relay() {
	p.t.Helper()
	p.write(func(ctx context.Context, tx *store.Tx) error {
		_, err := tx.RelayChanges(ctx, 1000, func(string) []int64 { return []int64{p.connID} }, 0, 0)
		return err
	})
}

// beginPush makes a run that writes to the remote.
func (p *pair) beginPush(spec store.Spec) pass.Input {
	p.t.Helper()
	in := pass.Input{TTL: time.Minute}
	spec.Kind = store.KindReverseSync
	if spec.Mode == "" {
		spec.Mode = store.ModeIncremental
	}
	p.write(func(ctx context.Context, tx *store.Tx) error {
		run, _, _, err := tx.AddRequest(ctx, store.Request{ChannelID: p.chID, Trigger: store.TriggerChange, Spec: spec}, false)
		if err != nil {
			return err
		}
		if _, err := tx.StartRun(ctx, run.ID, []store.Slice{{ConnectorID: p.connID, Shard: "push"}}); err != nil {
			return err
		}
		if in.Run, err = tx.Run(ctx, run.ID); err != nil {
			return err
		}
		slices, err := tx.Slices(ctx, run.ID)
		if err != nil {
			return err
		}
		in.Slice = slices[0]
		if spec.Flags.DryRun {
			return nil
		}
		in.Lease, _, err = tx.AcquireLease(ctx, store.LeaseKey{ChannelID: p.chID, ConnectorID: p.connID, Direction: store.KindReverseSync}, "test", time.Minute)
		return err
	})
	return in
}

// push takes changes up and exports them.
func (p *pair) push(spec store.Spec) store.Counters {
	p.t.Helper()
	p.relay()
	in := p.beginPush(spec)
	r := &pass.Reverse{DB: p.db, C: p.connector(), Clock: clock.System{}, BatchRecords: 3}
	out, err := r.Run(p.t.Context(), in)
	must(p.t, err)
	if !out.Done {
		p.t.Fatal("the slice is not done")
	}
	in = p.again(in)
	p.end(in)
	return in.Slice.Counters
}

// there gives a field of a remote record.
func (p *pair) there(id, field string) string {
	p.remote.mu.Lock()
	defer p.remote.mu.Unlock()
	for _, r := range p.remote.recs {
		if r.id == id {
			if r.deleted {
				return "(deleted)"
			}
			return r.vals[field].Text
		}
	}
	return "(none)"
}

// quiet checks that a further cycle in both directions writes nothing.
func (p *pair) quiet() {
	p.t.Helper()
	sent := len(p.w.orders)
	touched := p.number("SELECT n FROM touched")
	for range 2 {
		p.sync(store.Spec{Mode: store.ModeFull})
		p.push(store.Spec{Mode: store.ModeFull})
	}
	if n := len(p.w.orders) - sent; n != 0 {
		p.t.Errorf("%d orders in a cycle without changes: %+v", n, p.w.orders[sent:])
	}
	if n := p.number("SELECT n FROM touched") - touched; n != 0 {
		p.t.Errorf("%d rows written in a cycle without changes", n)
	}
	if n := p.number("SELECT count(*) FROM tandem_dirty"); n != 0 {
		p.t.Errorf("%d rows still wait to go out", n)
	}
}

func eq[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

func TestBothWays(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, b *workbench) {
		p := newPair(b)
		p.remote.put("1", "email", "ann@x.org", "name", "Ann", "score", "1")
		p.remote.put("2", "email", "bob@x.org", "name", "Bob", "score", "2")
		p.exec("INSERT INTO contacts (email, name, score) VALUES ('cid@x.org', 'Cid', 3)")
		p.sync(store.Spec{})
		c := p.push(store.Spec{})
		eq(t, "pushed", c.Pushed, 1)
		eq(t, "created there", p.there("n1", "name"), "Cid")
		p.quiet()

		// One-sided edits of different fields of one record both stand.
		p.exec("UPDATE contacts SET name = 'Anne' WHERE email = 'ann@x.org'")
		p.remote.put("1", "score", "11")
		p.push(store.Spec{})
		p.sync(store.Spec{})
		name, score, _ := p.row("ann@x.org")
		eq(t, "local name", name, "Anne")
		eq(t, "local score", score, "11")
		eq(t, "remote name", p.there("1", "name"), "Anne")
		eq(t, "remote score", p.there("1", "score"), "11")
		p.quiet()

		// Only what changed is sent.
		last := p.w.orders[len(p.w.orders)-1]
		if last.Values[0].Has() || !last.Values[1].Has() || last.Values[2].Has() {
			t.Errorf("sent %v", last.Values)
		}
	})
}

func TestBothChanged(t *testing.T) {
	t.Parallel()
	for policy, winner := range map[judge.Policy]string{judge.Local: "local", judge.Remote: "remote"} {
		for _, first := range []string{"pull", "push"} {
			t.Run(string(policy)+"/"+first, func(t *testing.T) {
				onBoth(t, func(t *testing.T, b *workbench) {
					p := newPair(b)
					p.policy = policy
					p.remote.put("1", "email", "ann@x.org", "name", "Ann", "score", "1")
					p.sync(store.Spec{})
					p.push(store.Spec{})
					p.exec("UPDATE contacts SET name = 'local'")
					p.remote.put("1", "name", "remote")
					for range 3 {
						if first == "pull" {
							p.sync(store.Spec{})
							p.push(store.Spec{})
						} else {
							p.push(store.Spec{})
							p.sync(store.Spec{})
							p.exec("UPDATE tandem_dirty SET next_at = first_at")
						}
					}
					name, _, _ := p.row("ann@x.org")
					eq(t, "local", name, winner)
					eq(t, "remote", p.there("1", "name"), winner)
					if n := p.number("SELECT count(*) FROM tandem_change WHERE body LIKE '%\"" + map[string]string{"local": "remote", "remote": "local"}[winner] + "\"%'"); n == 0 {
						t.Error("the losing value was kept nowhere")
					}
					p.quiet()
				})
			})
		}
	}
}

func TestManualConflict(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, b *workbench) {
		p := newPair(b)
		p.policy = judge.Manual
		p.remote.put("1", "email", "ann@x.org", "name", "Ann", "score", "1")
		p.sync(store.Spec{})
		p.push(store.Spec{})
		p.exec("UPDATE contacts SET name = 'local', score = 5")
		p.remote.put("1", "name", "remote")
		p.push(store.Spec{})
		p.sync(store.Spec{})
		p.push(store.Spec{})
		name, _, _ := p.row("ann@x.org")
		eq(t, "local", name, "local")
		eq(t, "remote", p.there("1", "name"), "remote")
		eq(t, "the rest goes on", p.there("1", "score"), "5")
		eq(t, "conflicts", p.number("SELECT count(*) FROM tandem_conflict WHERE resolved = ''"), 1)
		p.quiet()
		eq(t, "conflicts", p.number("SELECT count(*) FROM tandem_conflict WHERE resolved = ''"), 1)
	})
}

func TestCreateLooksBeforeItLeaps(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, b *workbench) {
		p := newPair(b)
		p.exec("INSERT INTO contacts (email, name) VALUES (' Ann@X.org', 'Ann')")
		p.remote.put("7", "email", "ann@x.org", "name", "Ann")
		p.push(store.Spec{})
		eq(t, "orders to create", len(p.w.orders), 1) // the spelling of the address
		eq(t, "op", p.w.orders[0].Op, channels.OrderUpdate)
		eq(t, "links", p.number("SELECT count(*) FROM tandem_link"), 1)
		p.sync(store.Spec{})
		p.quiet()
		eq(t, "records", len(p.remote.recs), 1)
		eq(t, "rows", p.number("SELECT count(*) FROM contacts"), 1)
	})
}

func TestUnknownCreate(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, b *workbench) {
		p := newPair(b)
		p.exec("INSERT INTO contacts (email, name) VALUES ('ann@x.org', 'Ann')")
		p.w.after = lost
		p.push(store.Spec{})
		eq(t, "open creates", p.number("SELECT count(*) FROM tandem_intent"), 1)
		p.w.after = nil
		p.exec("UPDATE tandem_dirty SET next_at = first_at")
		p.push(store.Spec{})
		p.sync(store.Spec{})
		eq(t, "records", len(p.remote.recs), 1)
		eq(t, "rows", p.number("SELECT count(*) FROM contacts"), 1)
		eq(t, "open creates", p.number("SELECT count(*) FROM tandem_intent"), 0)
		p.quiet()
	})
}

func TestLocalDelete(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, b *workbench) {
		p := newPair(b)
		p.remote.put("1", "email", "ann@x.org", "name", "Ann")
		p.remote.put("2", "email", "bob@x.org", "name", "Bob")
		p.sync(store.Spec{})
		p.push(store.Spec{})
		p.exec("DELETE FROM contacts WHERE name = 'Bob'")
		c := p.push(store.Spec{})
		eq(t, "deleted", c.Deleted, 1)
		eq(t, "remote", p.there("2", "name"), "(deleted)")
		p.quiet()
		eq(t, "rows", p.number("SELECT count(*) FROM contacts"), 1)
	})
}

func TestRemoteThatNormalises(t *testing.T) {
	t.Parallel()
	for _, answers := range []bool{true, false} {
		onBoth(t, func(t *testing.T, b *workbench) {
			p := newPair(b)
			p.w.stored, p.w.caps.Answers = trimmed, answers
			p.exec("INSERT INTO contacts (email, name) VALUES ('ann@x.org', ' Ann ')")
			p.push(store.Spec{})
			p.sync(store.Spec{})
			p.push(store.Spec{})
			p.exec("UPDATE contacts SET name = ' ANNE '")
			p.push(store.Spec{})
			p.sync(store.Spec{})
			p.push(store.Spec{})
			eq(t, "remote", p.there("n1", "name"), "anne")
			p.quiet()
		})
	}
}
