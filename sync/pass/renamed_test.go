package pass_test

import (
	"context"
	"testing"

	"github.com/tandem-sync/tandem/store"
)

// linkOf gives the remote id that the row with the email is linked to.
func (p *pair) linkOf(email string) (id string) {
	must(p.t, p.db.Read(p.t.Context(), func(ctx context.Context, tx *store.Tx) error {
		return tx.GetContext(ctx, &id, tx.Rebind(`SELECT COALESCE(max(l.remote_id), '') FROM tandem_link l JOIN contacts c ON CAST(c.id AS text) = l.local_key
			WHERE c.email = ? AND l.state = 0`), email)
	}))
	return id
}

// asked does the targeted run that an earlier one has asked for.
func (p *pair) asked(id string) {
	p.t.Helper()
	eq(p.t, "asked for", p.number("SELECT count(*) FROM tandem_run WHERE status = 'planned' AND spec LIKE ?", `%"remote_ids":["`+id+`"]%`) > 0, true)
	p.exec("UPDATE tandem_run SET status = 'cancelled' WHERE status = 'planned'")
	p.sync(store.Spec{RemoteIDs: []string{id}})
}

// merged is a pair of which record 1 was linked and is now a part of record 2.
func merged(b *workbench) *pair {
	p := newPair(b)
	p.remote.put("0", "email", "zed@x.org", "name", "Zed")
	p.remote.put("1", "email", "ann@x.org", "name", "Ann")
	p.sync(store.Spec{})
	p.push(store.Spec{})
	p.remote.put("2", "email", "ann@x.org", "name", "Anne")
	p.remote.merge("2", "1")
	return p
}

// oneRow checks that the row of record 1 goes on with record 2.
func (p *pair) oneRow(name string) {
	p.t.Helper()
	eq(p.t, "link", p.linkOf("ann@x.org"), "2")
	got, _, _ := p.row("ann@x.org")
	eq(p.t, "name", got, name)
	eq(p.t, "rows", p.number("SELECT count(*) FROM contacts"), 2)
	eq(p.t, "links", p.number("SELECT count(*) FROM tandem_link"), 2)
	eq(p.t, "aliases", p.number("SELECT count(*) FROM tandem_alias WHERE old_id = '1' AND remote_id = '2'"), 1)
	eq(p.t, "parked", p.number("SELECT count(*) FROM tandem_parked WHERE resolved = ''"), 0)
	p.quiet()
}

// TestMergeThatAListingNames: the record that is left names the one that went.
func TestMergeThatAListingNames(t *testing.T) {
	t.Parallel()
	for _, mode := range []store.Mode{store.ModeIncremental, store.ModeFull} {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel()
			onBoth(t, func(t *testing.T, b *workbench) {
				p := merged(b)
				p.sync(store.Spec{Mode: mode, Flags: store.Flags{DryRun: true}})
				eq(t, "link after a dry run", p.linkOf("ann@x.org"), "1")
				c := p.sync(store.Spec{Mode: mode})
				eq(t, "created", c.Created, 0)
				eq(t, "updated", c.Updated, 1)
				eq(t, "deleted", c.Deleted, 0)
				p.oneRow("Anne")
			})
		})
	}
}

// TestMergeThatAReadTells: the old id is answered by the record that is left.
func TestMergeThatAReadTells(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, b *workbench) {
		p := merged(b)
		p.remote.mute = true
		c := p.sync(store.Spec{Mode: store.ModeFull})
		eq(t, "created", c.Created, 0)
		eq(t, "deleted", c.Deleted, 0)
		eq(t, "link", p.linkOf("ann@x.org"), "2")
		p.asked("2")
		p.oneRow("Anne")
		// The old id leads there, too.
		p.remote.put("2", "name", "Anna")
		c = p.sync(store.Spec{RemoteIDs: []string{"1"}})
		eq(t, "updated by the old id", c.Updated, 1)
		p.exec("UPDATE contacts SET name = 'Annie' WHERE email = 'ann@x.org'")
		p.push(store.Spec{RemoteIDs: []string{"1"}})
		eq(t, "exported by the old id", p.there("2", "name"), "Annie")
	})
}

// TestMergeMetOnTheWayOut: an edit of the row reaches the record that is left, in
// the same run.
func TestMergeMetOnTheWayOut(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, b *workbench) {
		p := merged(b)
		p.exec("UPDATE contacts SET name = 'here' WHERE email = 'ann@x.org'")
		p.remote.set("2", "name", p.remote.recs[1].vals["name"])
		p.push(store.Spec{})
		p.due()
		p.push(store.Spec{})
		eq(t, "link", p.linkOf("ann@x.org"), "2")
		eq(t, "orders", len(p.w.orders) > 0, true)
		for _, o := range p.w.orders {
			eq(t, "sent to", o.ID, "2")
		}
		p.sync(store.Spec{})
		p.oneRow("here")
	})
}

// TestMergeOfTwoRows: both records had a row. The one that went takes its row with
// it, as a deletion does; nothing of the other one is touched.
func TestMergeOfTwoRows(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, b *workbench) {
		p := newPair(b)
		p.remote.put("1", "email", "ann@x.org", "name", "Ann")
		p.remote.put("2", "email", "bob@x.org", "name", "Bob")
		p.sync(store.Spec{})
		p.push(store.Spec{})
		p.remote.merge("2", "1")
		p.exec("UPDATE contacts SET name = 'here' WHERE email = 'ann@x.org'")
		c := p.push(store.Spec{})
		eq(t, "parked", c.Parked, 1)
		eq(t, "duplicate", p.number("SELECT count(*) FROM tandem_parked WHERE resolved = '' AND kind = 'duplicate_identity' AND local_id = '1'"), 1)
		eq(t, "waits", p.number("SELECT count(*) FROM tandem_dirty"), 0)
		eq(t, "there", p.there("2", "name"), "Bob")
		eq(t, "link", p.linkOf("ann@x.org"), "1")
		p.exec("UPDATE contacts SET name = 'Ann' WHERE email = 'ann@x.org'") // edited rows are not removed
		c = p.sync(store.Spec{Mode: store.ModeFull})
		eq(t, "deleted", c.Deleted, 1)
		eq(t, "rows", p.number("SELECT count(*) FROM contacts"), 1)
		name, _, _ := p.row("bob@x.org")
		eq(t, "the other row", name, "Bob")
	})
}
