package pass_test

import (
	"context"
	"testing"
	"time"

	"github.com/tandem-sync/tandem/entities"
	"github.com/tandem-sync/tandem/store"
	"github.com/tandem-sync/tandem/sync/judge"
	"github.com/tandem-sync/tandem/sync/mapping"
	"github.com/tandem-sync/tandem/sync/pass"
)

// due makes everything that was put off due.
func (p *pair) due() { p.exec("UPDATE tandem_dirty SET next_at = first_at") }

func TestLimitOfBothSteps(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, b *workbench) {
		p := newPair(b)
		p.tune = func(c *pass.Connector) { c.Limit = 2 }
		for _, id := range []string{"1", "2", "3", "4", "5"} {
			p.remote.put(id, "email", id+"@there.org", "name", id)
			p.exec("INSERT INTO contacts (email, name) VALUES (?, ?)", id+"@here.org", id)
		}
		for run := range 3 {
			c := p.sync(store.Spec{})
			want := []int64{2, 2, 1}[run]
			eq(t, "created in a run", c.Created, want)
		}
		for run := range 3 {
			c := p.push(store.Spec{})
			want := []int64{2, 2, 1}[run]
			eq(t, "pushed in a run", c.Pushed, want)
		}
		eq(t, "rows", p.number("SELECT count(*) FROM contacts"), 10)
		eq(t, "records", len(p.remote.recs), 10)
		p.tune = nil
		p.quiet()
	})
}

func TestScopes(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, b *workbench) {
		b.spec.ScopeRemote = `kind == "person"`
		b.spec.ScopeLocal = `note != "private"`
		p := newPair(b)
		p.remote.put("1", "email", "ann@x.org", "name", "Ann", "kind", "person")
		p.remote.put("2", "email", "acme@x.org", "name", "Acme", "kind", "company")
		p.exec("INSERT INTO contacts (email, name, note) VALUES ('cid@x.org', 'Cid', 'private'), ('dan@x.org', 'Dan', 'mine')")
		c := p.sync(store.Spec{})
		eq(t, "created", c.Created, 1)
		eq(t, "skipped", c.Skipped, 1)
		c = p.push(store.Spec{Mode: store.ModeFull})
		eq(t, "pushed", c.Pushed, 1)
		eq(t, "in scope", p.there("n1", "name"), "Dan")

		// Leaving the scope takes a pair apart and touches neither side.
		p.remote.put("1", "kind", "company", "name", "changed")
		p.sync(store.Spec{})
		name, _, _ := p.row("ann@x.org")
		eq(t, "name of what left the scope there", name, "Ann")
		p.exec("UPDATE contacts SET note = 'private', name = 'changed' WHERE email = 'dan@x.org'")
		p.push(store.Spec{})
		eq(t, "name of what left the scope here", p.there("n1", "name"), "Dan")
		eq(t, "live pairs", p.number("SELECT count(*) FROM tandem_link WHERE state = 0"), 0)
		p.quiet()

		// Whichever side comes back, both must hold for the pair to be one again.
		p.exec("UPDATE contacts SET note = 'mine', name = 'Daniel' WHERE email = 'dan@x.org'")
		p.push(store.Spec{})
		eq(t, "back on one side only", p.number("SELECT count(*) FROM tandem_link WHERE state = 0"), 0)
		p.remote.put("n1", "kind", "person")
		p.remote.put("1", "kind", "person", "name", "Anne")
		p.sync(store.Spec{})
		p.push(store.Spec{})
		p.due()
		p.sync(store.Spec{RemoteIDs: []string{"1"}})
		p.push(store.Spec{})
		eq(t, "live pairs", p.number("SELECT count(*) FROM tandem_link WHERE state = 0"), 2)
		eq(t, "rows", p.number("SELECT count(*) FROM contacts"), 3)
		eq(t, "records", len(p.remote.recs), 3)
		p.exec("UPDATE contacts SET score = 7 WHERE email = 'ann@x.org'")
		p.push(store.Spec{})
		eq(t, "in step again", p.there("1", "score"), "7")
	})
}

// TestScopeIsTakenAway: without a scope nothing keeps a pair apart.
func TestScopeIsTakenAway(t *testing.T) {
	t.Parallel()
	for _, side := range []string{"local", "remote"} {
		t.Run(side, func(t *testing.T) {
			t.Parallel()
			onBoth(t, func(t *testing.T, b *workbench) {
				p := newPair(b)
				p.remote.put("1", "email", "ann@x.org", "name", "Ann", "kind", "person")
				p.spec.ScopeLocal, p.spec.ScopeRemote = `note != "private"`, `kind == "person"`
				p.sync(store.Spec{})
				p.push(store.Spec{})
				p.exec("UPDATE contacts SET note = 'private'")
				p.remote.put("1", "kind", "company")
				p.sync(store.Spec{})
				p.push(store.Spec{Mode: store.ModeFull})
				eq(t, "live pairs", p.number("SELECT count(*) FROM tandem_link WHERE state = 0"), 0)
				p.spec.ScopeLocal, p.spec.ScopeRemote = "", ""
				if side == "local" {
					p.exec("UPDATE contacts SET name = 'here'")
					p.push(store.Spec{})
				} else {
					p.sync(store.Spec{Mode: store.ModeFull})
				}
				eq(t, "live pairs", p.number("SELECT count(*) FROM tandem_link WHERE state = 0"), 1)
				eq(t, "rows", p.number("SELECT count(*) FROM contacts"), 1)
				eq(t, "records", len(p.remote.recs), 1)
			})
		})
	}
}

func TestReferences(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, b *workbench) {
		// score refers to a row of another connector, whose links are made by hand.
		b.spec.Fields[2].Ref = "companies"
		p := newPair(b)
		var companies int64
		p.write(func(ctx context.Context, tx *store.Tx) error {
			list, err := tx.PutConnectors(ctx, p.chID, []store.Connector{
				{Name: "contacts", Entity: "contacts", Outward: true}, {Name: "companies", Entity: "companies"},
			})
			if err != nil {
				return err
			}
			companies = list[1].ID
			return tx.PutLinks(ctx, []store.Link{{LinkHead: store.LinkHead{ID: 900, RemoteID: "c-7", LocalKey: "7"}, ConnectorID: companies, Base: "[]"}})
		})
		p.tune = func(c *pass.Connector) { c.RefConnectors = []int64{companies} }
		p.remote.put("1", "email", "ann@x.org", "name", "Ann", "score", "c-7")
		p.exec("INSERT INTO contacts (email, name, score) VALUES ('bob@x.org', 'Bob', 7), ('cid@x.org', 'Cid', 8)")
		p.sync(store.Spec{})
		p.push(store.Spec{})
		_, score, _ := p.row("ann@x.org")
		eq(t, "reference here", score, "7")
		eq(t, "reference there", p.there("n1", "score"), "c-7")
		eq(t, "a reference that cannot be told yet", p.there("n2", "score"), "")
		eq(t, "the rest of the record goes on", p.there("n2", "name"), "Cid")

		// Once the other record is linked, the field follows.
		p.write(func(ctx context.Context, tx *store.Tx) error {
			return tx.PutLinks(ctx, []store.Link{{LinkHead: store.LinkHead{ID: 901, RemoteID: "c-8", LocalKey: "8"}, ConnectorID: companies, Base: "[]"}})
		})
		p.due()
		p.push(store.Spec{})
		eq(t, "reference there", p.there("n2", "score"), "c-8")
		p.quiet()
	})
}

func TestNewestByCapturedTimes(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, b *workbench) {
		p := newPair(b)
		p.remote.put("1", "email", "ann@x.org", "name", "Ann")
		p.remote.put("2", "email", "bob@x.org", "name", "Bob")
		p.sync(store.Spec{})
		p.push(store.Spec{})
		p.exec("UPDATE contacts SET name = 'old here' WHERE email = 'ann@x.org'")
		p.remote.put("2", "name", "old there")
		p.relay()
		time.Sleep(1200 * time.Millisecond) // a gap below a second is a tie
		p.remote.put("1", "name", "new there")
		p.exec("UPDATE contacts SET name = 'new here' WHERE email = 'bob@x.org'")
		p.relay()
		for range 2 {
			p.sync(store.Spec{})
			p.push(store.Spec{})
		}
		ann, _, _ := p.row("ann@x.org")
		bob, _, _ := p.row("bob@x.org")
		eq(t, "newer there", ann, "new there")
		eq(t, "newer there", p.there("1", "name"), "new there")
		eq(t, "newer here", bob, "new here")
		eq(t, "newer here", p.there("2", "name"), "new here")
		p.quiet()
	})
}

func TestFieldsThatOnlyGoOut(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, b *workbench) {
		b.exec("ALTER TABLE contacts ADD COLUMN shout text GENERATED ALWAYS AS (upper(name)) " + map[store.Dialect]string{store.SQLite: "VIRTUAL", store.Postgres: "STORED"}[b.db.Dialect()])
		p := newPair(b)
		b.spec.Fields = append(
			b.spec.Fields,
			mapping.Field{Local: "id", Remote: "ext", Direction: mapping.ToRemote},
			mapping.Field{Local: "shout", Remote: "shout", Direction: mapping.ToRemote},
		)
		p.remote.put("1", "email", "ann@x.org", "name", "Ann", "shout", "kept until told")
		p.sync(store.Spec{})
		p.exec("INSERT INTO contacts (email, name) VALUES ('bob@x.org', 'Bob')")
		p.push(store.Spec{Mode: store.ModeFull})
		p.sync(store.Spec{})
		eq(t, "generated column there", p.there("n1", "shout"), "BOB")
		eq(t, "key there", p.there("n1", "ext"), "2")
		p.exec("UPDATE contacts SET name = 'Anne' WHERE email = 'ann@x.org'")
		p.push(store.Spec{Mode: store.ModeFull})
		eq(t, "generated column there", p.there("1", "shout"), "ANNE")
		p.quiet()
	})
}

func TestRefusedWriteIsParkedAndTriedAgainWithNewData(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, b *workbench) {
		p := newPair(b)
		p.w.meddle = refuse("bad")
		p.exec("INSERT INTO contacts (email, name) VALUES ('ann@x.org', 'bad'), ('bob@x.org', 'Bob')")
		c := p.push(store.Spec{})
		eq(t, "pushed", c.Pushed, 1)
		eq(t, "parked", c.Parked, 1)
		eq(t, "open items", p.number("SELECT count(*) FROM tandem_parked WHERE resolved = '' AND outward"), 1)
		p.exec("UPDATE contacts SET name = 'good' WHERE name = 'bad'")
		p.push(store.Spec{})
		eq(t, "open items", p.number("SELECT count(*) FROM tandem_parked WHERE resolved = ''"), 0)
		eq(t, "records", len(p.remote.recs), 2)
		p.sync(store.Spec{})
		p.quiet()
	})
}

func TestDryExport(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, b *workbench) {
		p := newPair(b)
		p.remote.put("1", "email", "ann@x.org", "name", "Ann")
		p.sync(store.Spec{})
		p.push(store.Spec{})
		p.exec("UPDATE contacts SET name = 'Anne'")
		p.exec("INSERT INTO contacts (email, name) VALUES ('bob@x.org', 'Bob')")
		c := p.push(store.Spec{Flags: store.Flags{DryRun: true}})
		eq(t, "would create", c.Created, 1)
		eq(t, "would update", c.Updated, 1)
		eq(t, "orders", len(p.w.orders), 0)
		eq(t, "rows that wait", p.number("SELECT count(*) FROM tandem_dirty"), 2)
		eq(t, "lines", p.number("SELECT count(*) FROM tandem_change WHERE body LIKE '%\"remote\"%'"), 2)
		c = p.push(store.Spec{})
		eq(t, "pushed", c.Pushed, 2)
		p.sync(store.Spec{})
		p.quiet()
	})
}

func TestManyDeletionsWaitForAPerson(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, b *workbench) {
		p := newPair(b)
		p.remote.page = 50
		for i := range 25 {
			id := string(rune('a' + i))
			p.remote.put(id, "email", id+"@x.org", "name", id)
		}
		p.sync(store.Spec{})
		p.push(store.Spec{})
		p.exec("DELETE FROM contacts")
		c := p.push(store.Spec{})
		eq(t, "deleted", c.Deleted, 0)
		eq(t, "orders", len(p.w.orders), 0)
		item := p.number("SELECT id FROM tandem_parked WHERE kind = 'mass_delete' AND resolved = ''")
		c = p.push(store.Spec{ApproveParked: item})
		eq(t, "deleted after approval", c.Deleted, 25)
		eq(t, "open items", p.number("SELECT count(*) FROM tandem_parked WHERE resolved = ''"), 0)
		p.quiet()
	})
}

func TestSidesThatWriteOverEachOtherForEver(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, b *workbench) {
		p := newPair(b)
		p.remote.put("1", "email", "ann@x.org", "name", "Ann")
		p.sync(store.Spec{})
		for range 12 {
			// Something here and something there each insist on their own form.
			p.exec("UPDATE contacts SET name = ?", "ANN")
			p.push(store.Spec{})
			p.remote.put("1", "name", "Ann")
			p.sync(store.Spec{})
		}
		eq(t, "parked", p.number("SELECT count(*) FROM tandem_parked WHERE reason = 'ping_pong' AND resolved = ''"), 1)
		if n := len(p.w.orders); n > 5 {
			t.Errorf("%d writes before it was parked", n)
		}
	})
}

// People who edit one record on both sides again and again, the same field or
// another one, are no such programs.
func TestPeopleWhoEditTheSameRecordOnBothSides(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, b *workbench) {
		p := newPair(b)
		p.remote.put("1", "email", "ann@x.org", "name", "Ann")
		p.sync(store.Spec{})
		for i := range 12 {
			p.exec("UPDATE contacts SET name = ?", "here "+string(rune('a'+i)))
			p.push(store.Spec{})
			p.remote.put("1", "name", "there "+string(rune('a'+i)))
			p.sync(store.Spec{})
		}
		eq(t, "parked", p.number("SELECT count(*) FROM tandem_parked WHERE resolved = ''"), 0)
		eq(t, "writes", len(p.w.orders), 12)
		p.quiet()
	})
}

func TestCaptureByTimeOfChange(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, b *workbench) {
		b.modified = "changed"
		b.exec("ALTER TABLE contacts ADD COLUMN changed timestamp")
		p := newPair(b)
		p.write(func(ctx context.Context, tx *store.Tx) error {
			_, err := entities.CaptureRemove(ctx, tx, "contacts")
			return err
		})
		p.tune = func(c *pass.Connector) { c.Captured, c.ByModified, c.Overlap = false, true, time.Second }
		now := func() string { return time.Now().UTC().Format("2006-01-02 15:04:05.000") }
		p.remote.put("1", "email", "ann@x.org", "name", "Ann")
		p.exec("INSERT INTO contacts (email, name, changed) VALUES ('bob@x.org', 'Bob', ?)", now())
		p.sync(store.Spec{})
		c := p.push(store.Spec{})
		eq(t, "pushed by the first round", c.Pushed, 1)
		p.exec("UPDATE contacts SET name = 'Anne', changed = ? WHERE email = 'ann@x.org'", now())
		p.exec("INSERT INTO contacts (email, name, changed) VALUES ('cid@x.org', 'Cid', ?)", now())
		c = p.push(store.Spec{})
		eq(t, "pushed by time of change", c.Pushed, 2)
		eq(t, "name there", p.there("1", "name"), "Anne")
		p.exec("UPDATE contacts SET name = 'unseen' WHERE email = 'cid@x.org'")
		c = p.push(store.Spec{})
		eq(t, "pushed although the time is the same", c.Pushed, 1) // within the overlap it is looked at again
		p.exec("DELETE FROM contacts WHERE email = 'cid@x.org'")
		p.push(store.Spec{})
		eq(t, "a deletion waits for the round", p.there("n2", "name"), "unseen")
		p.push(store.Spec{Mode: store.ModeFull})
		eq(t, "a deletion found by the round", p.there("n2", "name"), "(deleted)")
		p.quiet()
	})
}

func TestTimeOfAChangeThatNobodyHasTakenYet(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, b *workbench) {
		p := newPair(b)
		p.remote.put("1", "email", "ann@x.org", "name", "Ann")
		p.sync(store.Spec{})
		p.push(store.Spec{})
		p.exec("UPDATE contacts SET name = 'here, older'")
		time.Sleep(1500 * time.Millisecond) // a gap below a second is a tie
		p.remote.put("1", "name", "there, newer")
		p.sync(store.Spec{})
		p.push(store.Spec{})
		name, _, _ := p.row("ann@x.org")
		eq(t, "here", name, "there, newer")
		eq(t, "there", p.there("1", "name"), "there, newer")
		p.quiet()
	})
}

// TestPairIsRevivedWithNothingToSend: a pair that comes together again is one also
// where both sides agree already, or where a person has to decide first.
func TestPairIsRevivedWithNothingToSend(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, b *workbench) {
		b.spec.ScopeLocal, b.spec.ScopeRemote = `note != "private"`, `kind == "person"`
		p := newPair(b)
		p.policy = judge.Manual
		live := func() int64 { return p.number("SELECT count(*) FROM tandem_link WHERE state = 0") }
		p.remote.put("1", "email", "ann@x.org", "name", "Ann", "kind", "person")
		p.sync(store.Spec{})
		for _, name := range []string{"Ann", "Anna"} {
			p.exec("UPDATE contacts SET note = 'private', score = 1")
			p.push(store.Spec{})
			eq(t, "live pairs", live(), 0)
			p.exec("UPDATE contacts SET note = 'mine', score = NULL, name = ?", name)
			p.push(store.Spec{})
			eq(t, "live pairs of "+name, live(), 1)
		}
		eq(t, "name there", p.there("1", "name"), "Ann")
		eq(t, "fields that wait for a person", len(p.disputes()), 1)
		p.exec("UPDATE contacts SET score = 7")
		p.push(store.Spec{})
		eq(t, "score there", p.there("1", "score"), "7")
		p.quiet()
	})
}
