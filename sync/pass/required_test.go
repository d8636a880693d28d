package pass_test

import (
	"testing"

	"github.com/tandem-sync/tandem/store"
	"github.com/tandem-sync/tandem/sync/undo"
)

// TestRequiredIsToldBothWays: clearing a required field on one side leaves it on
// the other one, and the run says so.
func TestRequiredIsToldBothWays(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, b *workbench) {
		p := newPair(b)
		p.spec.Fields[1].Required = true
		p.remote.put("1", "email", "ann@x.org", "name", "Ann", "score", "1")
		p.remote.put("2", "email", "bob@x.org", "name", "Bob", "score", "2")
		p.sync(store.Spec{})
		p.push(store.Spec{})
		notices := func() int64 {
			return p.number("SELECT count(*) FROM tandem_change WHERE CAST(body AS text) LIKE '%\"reason\":\"required\"%'")
		}

		p.exec("UPDATE contacts SET name = NULL, score = 5 WHERE email = 'ann@x.org'")
		p.exec("UPDATE contacts SET name = '' WHERE email = 'bob@x.org'")
		p.push(store.Spec{Flags: store.Flags{DryRun: true}})
		eq(t, "notices of a dry run", notices(), 2)
		c := p.push(store.Spec{})
		run := p.latest()
		eq(t, "notices", notices(), 4)
		eq(t, "pushed", c.Pushed, 1)
		eq(t, "unchanged", c.Unchanged, 1)
		eq(t, "name there", p.there("1", "name"), "Ann")
		eq(t, "the other name there", p.there("2", "name"), "Bob")
		eq(t, "the rest goes out", p.there("1", "score"), "5")
		p.quiet()
		// A notice is nothing that could be undone.
		done := p.undo(run, undo.Options{Pushed: true})
		eq(t, "undone", done.Counts, undo.Counts{Fields: 1, Rows: 1})

		told := notices()
		p.remote.put("1", "name", "")
		p.sync(store.Spec{})
		eq(t, "notices of the way in", notices(), told+1)
	})
}
