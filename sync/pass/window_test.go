package pass_test

import (
	"context"
	"testing"
	"time"

	"github.com/tandem-sync/tandem/entities"
	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/internal/clock"
	"github.com/tandem-sync/tandem/store"
	"github.com/tandem-sync/tandem/sync/judge"
	"github.com/tandem-sync/tandem/sync/pass"
)

// noon is a time that all changes of these tests are told from.
var noon = time.Now().UTC().Add(-6 * time.Hour).Truncate(time.Second)

// happened dates what the log has of a row, as if it had been captured then.
func (p *pair) happened(email string, at time.Time) {
	p.t.Helper()
	p.write(func(ctx context.Context, tx *store.Tx) error {
		var then any = at
		if tx.Dialect() == store.SQLite {
			then = at.UnixMicro()
		}
		_, err := tx.ExecContext(ctx, tx.Rebind(
			"UPDATE tandem_change_log SET at = ? WHERE local_key IN (SELECT CAST(id AS text) FROM contacts WHERE email = ?)"), then, email)
		return err
	})
}

func window(from, to time.Duration) store.Spec {
	start, end := noon.Add(from), noon.Add(to)
	return store.Spec{Start: &start, End: &end}
}

func TestWindowOfCapturedChanges(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, b *workbench) {
		p := newPair(b)
		p.remote.put("1", "email", "ann@x.org", "name", "Ann")
		p.remote.put("2", "email", "bob@x.org", "name", "Bob")
		p.remote.put("3", "email", "cid@x.org", "name", "Cid")
		p.sync(store.Spec{})
		p.push(store.Spec{})
		for email, at := range map[string]time.Duration{"ann@x.org": -time.Minute, "bob@x.org": 0, "cid@x.org": time.Hour, "dan@x.org": 59 * time.Minute} {
			p.exec("INSERT INTO contacts (email, name) VALUES (?, '-') ON CONFLICT (email) DO UPDATE SET name = 'edited'", email)
			p.happened(email, noon.Add(at))
		}
		p.exec("INSERT INTO contacts (email, name) VALUES ('eve@x.org', 'Eve')") // now

		shown := window(0, time.Hour)
		shown.Flags.DryRun = true
		p.push(shown)
		eq(t, "lines of the dry run", p.number("SELECT count(*) FROM tandem_change"), 2)
		eq(t, "sent by the dry run", len(p.w.orders), 0)

		c := p.push(window(0, time.Hour))
		eq(t, "pushed", c.Pushed, 2)
		eq(t, "before the window", p.there("1", "name"), "Ann")
		eq(t, "at its start", p.there("2", "name"), "edited")
		eq(t, "at its end", p.there("3", "name"), "Cid")
		eq(t, "made within it", p.there("n1", "email"), "dan@x.org")
		eq(t, "made after it", p.there("n2", "email"), "(none)")
		eq(t, "left for other runs", p.number("SELECT count(*) FROM tandem_dirty"), 3)

		full := window(-time.Hour, 0)
		full.Mode = store.ModeFull
		c = p.push(full)
		eq(t, "pushed by a full run with a window", c.Pushed, 1)
		eq(t, "before noon", p.there("1", "name"), "edited")

		from := noon.Add(2 * time.Hour)
		p.push(store.Spec{Start: &from})
		eq(t, "a window without an end", p.there("n2", "email"), "eve@x.org")
		eq(t, "still outside", p.there("3", "name"), "Cid")
		p.push(store.Spec{})
		eq(t, "without a window", p.there("3", "name"), "edited")
		p.quiet()
	})
}

// TestWindowIsNoRound: a run with a window does not count as a look at every row.
func TestWindowIsNoRound(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, b *workbench) {
		p := newPair(b)
		p.exec("INSERT INTO contacts (email, name) VALUES ('ann@x.org', 'Ann')")
		p.exec("DELETE FROM tandem_change_log") // from before changes were captured
		c := p.push(window(-time.Hour, time.Hour))
		eq(t, "pushed", c.Pushed, 0)
		eq(t, "rounds", p.number("SELECT count(*) FROM tandem_pass"), 0)
		c = p.push(store.Spec{})
		eq(t, "pushed by the first round", c.Pushed, 1)
	})
}

// TestWindowCarriesItsOwnVerdict: what reading the window decides for the local
// side goes out in the same run, whenever the row was edited.
func TestWindowCarriesItsOwnVerdict(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, b *workbench) {
		p := newPair(b)
		p.policy = judge.Local
		p.remote.put("1", "email", "ann@x.org", "name", "Ann")
		p.sync(store.Spec{})
		p.push(store.Spec{})
		p.exec("UPDATE contacts SET name = 'here'")
		p.happened("ann@x.org", noon.Add(-48*time.Hour))
		p.relay()
		p.remote.put("1", "name", "there")
		from := noon
		p.sync(store.Spec{Start: &from})
		p.push(store.Spec{Start: &from})
		eq(t, "there", p.there("1", "name"), "here")
		p.quiet()
	})
}

func TestWindowByTimeOfChange(t *testing.T) {
	t.Parallel()
	for _, capture := range []string{"modified", "none"} {
		t.Run(capture, func(t *testing.T) {
			t.Parallel()
			onBoth(t, func(t *testing.T, b *workbench) {
				b.modified = "changed"
				b.exec("ALTER TABLE contacts ADD COLUMN changed timestamp")
				p := newPair(b)
				p.write(func(ctx context.Context, tx *store.Tx) error {
					_, err := entities.CaptureRemove(ctx, tx, "contacts")
					return err
				})
				p.tune = func(c *pass.Connector) { c.Captured, c.ByModified = false, capture == "modified" }
				at := func(d time.Duration) string { return noon.Add(d).Format("2006-01-02 15:04:05.000") }
				p.remote.put("1", "email", "ann@x.org", "name", "Ann")
				p.remote.put("2", "email", "bob@x.org", "name", "Bob")
				p.sync(store.Spec{})
				p.push(store.Spec{})
				p.exec("UPDATE contacts SET name = 'edited', changed = ? WHERE email = 'ann@x.org'", at(0))
				p.exec("UPDATE contacts SET name = 'edited', changed = ? WHERE email = 'bob@x.org'", at(time.Hour))
				p.exec("INSERT INTO contacts (email, changed) VALUES ('cid@x.org', ?), ('dan@x.org', ?), ('eve@x.org', NULL)", at(-time.Second), at(time.Minute))
				c := p.push(window(0, time.Hour))
				eq(t, "pushed", c.Pushed, 2)
				eq(t, "at the start", p.there("1", "name"), "edited")
				eq(t, "at the end", p.there("2", "name"), "Bob")
				eq(t, "made within", p.there("n1", "email"), "dan@x.org")
				p.push(store.Spec{Mode: store.ModeFull})
				eq(t, "without a window", p.there("2", "name"), "edited")
				p.quiet()
			})
		})
	}
}

// TestWindowWithoutTimes: where nothing tells when a row changed, a window cannot
// be kept, and exporting everything would be the wrong answer.
func TestWindowWithoutTimes(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, b *workbench) {
		p := newPair(b)
		p.tune = func(c *pass.Connector) { c.Captured = false }
		p.exec("INSERT INTO contacts (email, name) VALUES ('ann@x.org', 'Ann')")
		in := p.beginPush(window(-time.Hour, time.Hour))
		r := &pass.Reverse{DB: p.db, C: p.connector(), Clock: clock.System{}}
		_, err := r.Run(t.Context(), in)
		eq(t, "code", fault.CodeOf(err), fault.CodeConfig)
		eq(t, "orders", len(p.w.orders), 0)
	})
}
