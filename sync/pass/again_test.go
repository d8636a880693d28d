package pass_test

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/tandem-sync/tandem/channels"
	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/store"
	"github.com/tandem-sync/tandem/sync/judge"
	"github.com/tandem-sync/tandem/sync/mapping"
	"github.com/tandem-sync/tandem/sync/pass"
	"github.com/tandem-sync/tandem/sync/record"
)

// guarded is a writing memory that keeps preconditions: what a record holds is
// its version.
type guarded struct {
	writing
	mute bool // it does not tell versions
}

func (g guarded) versions() map[string]string {
	g.mu.Lock()
	defer g.mu.Unlock()
	out := map[string]string{}
	for _, r := range g.recs {
		out[r.id] = fmt.Sprint(r.vals)
	}
	return out
}

func (g guarded) Get(ctx context.Context, fields, ids []string) ([]record.Record, error) {
	recs, err := g.writing.Get(ctx, fields, ids)
	for i := range recs {
		if !g.mute && !recs[i].Deleted {
			recs[i].Version = g.versions()[recs[i].ID]
		}
	}
	return recs, err
}

func (g guarded) WriteCapabilities() channels.WriteCapabilities {
	caps := g.w.caps
	caps.Precondition = true
	return caps
}

func (g guarded) Write(ctx context.Context, fields []string, orders []channels.Order) ([]channels.Result, error) {
	var out []channels.Result
	for i := range orders {
		o := orders[i]
		if g.w.before != nil {
			g.w.before(&o)
		}
		if o.Op != channels.OrderCreate && o.Version != g.versions()[o.ID] {
			out = append(out, channels.Result{N: o.N, Outcome: channels.Changed, ID: o.ID})
			continue
		}
		r, err := g.writing.Write(ctx, fields, []channels.Order{o})
		if err != nil {
			return out, err
		}
		out = append(out, r...)
	}
	return out, nil
}

// guard puts the guarded memory in the place of the pair's.
func (p *pair) guard(mute bool) {
	p.tune = func(c *pass.Connector) { c.Remote = guarded{writing{getting{p.remote}, p.w}, mute} }
}

// inject edits a field at the remote right before each of the first n writes of
// the record.
func (p *pair) inject(n int, id, field, value string) {
	p.w.before = func(o *channels.Order) {
		if o.ID == id && n > 0 {
			n--
			p.remote.put(id, field, fmt.Sprintf("%s%d", value, n))
		}
	}
}

// TestEditBetweenReadAndWrite: what is edited at the remote after it was read and
// before it is written is not overwritten unseen. It is judged.
func TestEditBetweenReadAndWrite(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		policy      judge.Policy
		field       string
		here, there string
	}{
		{judge.Remote, "name", "edit0", "edit0"},
		{judge.Local, "name", "here", "here"},
		{judge.Local, "score", "here", "here"}, // of another field: both stand
	} {
		t.Run(string(c.policy)+"/"+c.field, func(t *testing.T) {
			t.Parallel()
			onBoth(t, func(t *testing.T, b *workbench) {
				p := newPair(b)
				p.policy = c.policy
				p.guard(false)
				for i := range 5 {
					p.remote.put(fmt.Sprint(i), "email", fmt.Sprintf("%d@x.org", i), "name", "Ann", "score", "1")
				}
				p.sync(store.Spec{})
				p.push(store.Spec{})
				p.exec("UPDATE contacts SET name = 'here'")
				edit := "edit"
				if c.field == "score" {
					edit = "7"
				}
				p.inject(1, "2", c.field, edit)
				n := p.push(store.Spec{})
				eq(t, "parked", n.Parked, 0)
				p.w.before = nil
				p.sync(store.Spec{})
				p.due()
				p.push(store.Spec{})
				name, score, _ := p.row("2@x.org")
				eq(t, "here", name, c.here)
				eq(t, "there", p.there("2", "name"), c.there)
				eq(t, "another record", p.there("3", "name"), "here")
				if c.field == "score" {
					eq(t, "the other field here", score, "70")
					eq(t, "the other field there", p.there("2", "score"), "70")
				} else {
					// The loser is kept, whoever it is.
					eq(t, "fields both changed", p.number("SELECT count(*) FROM tandem_change WHERE CAST(body AS text) LIKE '%\"policy\"%'") > 0, true)
				}
				p.quiet()
			})
		})
	}
}

// TestEditThatDoesNotStop: a record that changes at every try is put off, and goes
// out once it stands still.
func TestEditThatDoesNotStop(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, b *workbench) {
		p := newPair(b)
		p.policy = judge.Local
		p.guard(false)
		p.remote.put("1", "email", "ann@x.org", "name", "Ann")
		p.remote.put("2", "email", "bob@x.org", "name", "Bob")
		p.sync(store.Spec{})
		p.push(store.Spec{})
		p.exec("UPDATE contacts SET name = 'here'")
		p.inject(1000, "1", "name", "edit")
		tries := 0
		inject := p.w.before
		p.w.before = func(o *channels.Order) {
			inject(o)
			if o.ID == "1" {
				tries++
			}
		}
		c := p.push(store.Spec{})
		eq(t, "pushed", c.Pushed, 1)
		eq(t, "tries in one batch", tries, 4)
		eq(t, "waits", p.number("SELECT count(*) FROM tandem_dirty WHERE reason = 'changed' AND attempts = 1"), 1)
		p.w.before = nil
		p.due()
		p.push(store.Spec{})
		eq(t, "there", p.there("1", "name"), "here")
		p.quiet()
	})
}

// TestOneWayUnderPrecondition: also a connector that only writes reads a record
// before it changes it, and keeps what it replaces.
func TestOneWayUnderPrecondition(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, b *workbench) {
		p := newPair(b)
		for i := range b.spec.Fields {
			b.spec.Fields[i].Direction = mapping.ToRemote
		}
		p.guard(false)
		tune := p.tune
		p.tune = func(c *pass.Connector) { tune(c); c.TwoWay = false }
		p.exec("INSERT INTO contacts (email, name) VALUES ('ann@x.org', 'Ann')")
		p.push(store.Spec{})
		p.remote.put("n1", "name", "theirs")
		p.exec("UPDATE contacts SET name = 'Anne'")
		p.inject(1, "n1", "name", "edit")
		p.push(store.Spec{})
		eq(t, "there", p.there("n1", "name"), "Anne")
		eq(t, "the value that was replaced is kept", p.number("SELECT count(*) FROM tandem_change WHERE CAST(body AS text) LIKE '%edit0%'") > 0, true)
	})
}

func TestVersionIsNotTold(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, b *workbench) {
		p := newPair(b)
		p.guard(true)
		p.remote.put("1", "email", "ann@x.org", "name", "Ann")
		p.remote.put("2", "email", "bob@x.org", "name", "Bob")
		p.sync(store.Spec{})
		p.push(store.Spec{})
		p.exec("UPDATE contacts SET name = 'here' WHERE email = 'ann@x.org'")
		p.exec("DELETE FROM contacts WHERE email = 'bob@x.org'")
		c := p.push(store.Spec{})
		eq(t, "parked", c.Parked, 2)
		eq(t, "orders", len(p.w.orders), 0)
		eq(t, "changed", p.there("1", "name"), "Ann")
		eq(t, "removed", p.there("2", "name"), "Bob")
		eq(t, "told", p.number("SELECT count(*) FROM tandem_parked WHERE resolved = '' AND message LIKE '%if_match%' OR reason = 'bad_answer' OR reason = 'write_refused'"), 2)
	})
}

// TestRemovalUnderPrecondition: a record that is edited while it is removed is
// read again, and what was lost with it is told.
func TestRemovalUnderPrecondition(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, b *workbench) {
		p := newPair(b)
		p.guard(false)
		p.remote.put("1", "email", "ann@x.org", "name", "Ann")
		p.remote.put("2", "email", "bob@x.org", "name", "Bob")
		p.sync(store.Spec{})
		p.push(store.Spec{})
		p.exec("DELETE FROM contacts")
		p.inject(1, "1", "name", "edit")
		c := p.push(store.Spec{})
		eq(t, "deleted", c.Deleted, 2)
		eq(t, "gone", p.there("1", "name"), "(deleted)")
		eq(t, "orders", len(p.w.orders), 2)
		eq(t, "told", p.number("SELECT count(*) FROM tandem_change WHERE CAST(body AS text) LIKE '%edit0%'"), 1)
		p.quiet()
	})
}

// TestRefusedRemoval: a deletion that the remote refuses waits for a person.
func TestRefusedRemoval(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, b *workbench) {
		p := newPair(b)
		p.remote.put("1", "email", "ann@x.org", "name", "Ann")
		p.sync(store.Spec{})
		p.push(store.Spec{})
		p.exec("DELETE FROM contacts")
		p.w.meddle = func(*channels.Order) (channels.Result, bool) {
			return channels.Result{Outcome: channels.Refused, Err: fault.New(fault.Permanent, "refused", "delete", "not this one")}, true
		}
		c := p.push(store.Spec{})
		eq(t, "parked", c.Parked, 1)
		eq(t, "waits to go out", p.number("SELECT count(*) FROM tandem_dirty"), 0)
		eq(t, "parked item", p.number("SELECT count(*) FROM tandem_parked WHERE resolved = '' AND kind = 'write_refused' AND message LIKE '%not this one%'"), 1)
		p.w.meddle = nil
		keys := p.keys()
		p.push(store.Spec{LocalIDs: keys})
		eq(t, "removed when it is tried again", p.there("1", "name"), "(deleted)")
		eq(t, "parked item", p.number("SELECT count(*) FROM tandem_parked WHERE resolved = ''"), 0)
	})
}

// keys gives the local keys of all links.
func (p *pair) keys() (keys []string) {
	must(p.t, p.db.Read(p.t.Context(), func(ctx context.Context, tx *store.Tx) error {
		return tx.SelectContext(ctx, &keys, "SELECT local_key FROM tandem_link")
	}))
	slices.Sort(keys)
	return keys
}
