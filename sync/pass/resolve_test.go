package pass_test

import (
	"context"
	"testing"

	"github.com/tandem-sync/tandem/channels"
	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/store"
	"github.com/tandem-sync/tandem/sync/judge"
	"github.com/tandem-sync/tandem/sync/pass"
	"github.com/tandem-sync/tandem/sync/resolve"
)

// disputes gives the open conflicts by field.
func (p *pair) disputes() map[string]store.Conflict {
	p.t.Helper()
	out := map[string]store.Conflict{}
	must(p.t, p.db.Read(p.t.Context(), func(ctx context.Context, tx *store.Tx) error {
		list, err := tx.Conflicts(ctx, store.ConflictFilter{ConnectorID: p.connID, Open: true})
		for _, c := range list {
			out[c.Field] = c
		}
		return err
	}))
	return out
}

// settle decides a conflict and gives the runs that were asked for.
func (p *pair) settle(c store.Conflict, winner string) (runs []store.Run) {
	p.t.Helper()
	con := p.connector()
	p.write(func(ctx context.Context, tx *store.Tx) (err error) {
		r := &resolve.Resolver{C: con}
		if err := r.Settle(ctx, tx, c, winner); err != nil {
			return err
		}
		runs, _, err = r.Request(ctx, tx)
		return err
	})
	for _, r := range runs { // the tests make runs of their own
		p.write(func(ctx context.Context, tx *store.Tx) error {
			_, err := tx.FinishRun(ctx, r.ID, store.StatusCancelled, nil)
			return err
		})
	}
	return runs
}

// dispute makes ann's name a conflict: Anna here, Annika there.
func dispute(p *pair) store.Conflict {
	p.t.Helper()
	p.policy = judge.Manual
	p.remote.put("1", "email", "ann@x.org", "name", "Ann", "score", "1")
	p.sync(store.Spec{})
	p.exec("UPDATE contacts SET name = 'Anna' WHERE email = 'ann@x.org'")
	p.remote.put("1", "name", "Annika")
	p.relay()
	p.sync(store.Spec{})
	c, ok := p.disputes()["name"]
	if !ok {
		p.t.Fatalf("no conflict: %v", p.disputes())
	}
	eq(p.t, "the local value", string(c.Local), `"Anna"`)
	eq(p.t, "the remote value", string(c.Remote), `"Annika"`)
	return c
}

func (p *pair) names(here, there string) {
	p.t.Helper()
	name, _, _ := p.row("ann@x.org")
	eq(p.t, "name here", name, here)
	eq(p.t, "name there", p.there("1", "name"), there)
}

func TestResolvedLocally(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, b *workbench) {
		p := newPair(b)
		c := dispute(p)
		runs := p.settle(c, store.WinnerLocal)
		if len(runs) != 1 || runs[0].Spec.Kind != store.KindReverseSync || runs[0].Spec.LocalIDs[0] != c.LocalKey {
			t.Errorf("runs %+v", runs)
		}
		p.push(store.Spec{LocalIDs: []string{c.LocalKey}})
		p.names("Anna", "Anna")
		eq(t, "conflicts left", len(p.disputes()), 0)
		p.quiet()
	})
}

func TestResolvedRemotely(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, b *workbench) {
		p := newPair(b)
		c := dispute(p)
		runs := p.settle(c, store.WinnerRemote)
		if len(runs) != 1 || runs[0].Spec.Kind != store.KindSync || runs[0].Spec.RemoteIDs[0] != "1" || !runs[0].Spec.Flags.NoPush {
			t.Errorf("runs %+v", runs)
		}
		p.sync(store.Spec{RemoteIDs: []string{"1"}})
		p.names("Annika", "Annika")
		p.quiet()
		// It is decided once.
		err := p.db.Write(t.Context(), "again", func(ctx context.Context, tx *store.Tx) error {
			return (&resolve.Resolver{C: p.connector()}).Settle(ctx, tx, c, store.WinnerLocal)
		})
		eq(t, "a second decision", fault.CodeOf(err), fault.CodeConflict)
	})
}

// TestResolvedTwoOfOneRecord: fields of one record are decided one by one, in
// either way, and none undoes the other.
func TestResolvedTwoOfOneRecord(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, b *workbench) {
		p := newPair(b)
		p.policy = judge.Manual
		p.remote.put("1", "email", "ann@x.org", "name", "Ann", "score", "1")
		p.sync(store.Spec{})
		p.exec("UPDATE contacts SET name = 'Anna', score = 2 WHERE email = 'ann@x.org'")
		p.remote.put("1", "name", "Annika", "score", "3")
		p.relay()
		p.sync(store.Spec{})
		open := p.disputes()
		eq(t, "conflicts", len(open), 2)
		p.settle(open["name"], store.WinnerRemote)
		p.settle(open["score"], store.WinnerRemote)
		p.sync(store.Spec{RemoteIDs: []string{"1"}})
		p.names("Annika", "Annika")
		_, score, _ := p.row("ann@x.org")
		eq(t, "score", score, "3")
		p.quiet()
	})
}

// TestResolvedButChangedSince: what changes between the judgement and the run is
// judged anew, so that nobody's value is lost.
func TestResolvedButChangedSince(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		winner        string
		after         func(p *pair)
		here, there   string
		stillDisputed bool
	}{
		"local wins, remote changes": {store.WinnerLocal, func(p *pair) { p.remote.put("1", "name", "Annabel") }, "Anna", "Annabel", true},
		"local wins, local changes": {
			store.WinnerLocal, func(p *pair) { p.exec("UPDATE contacts SET name = 'Anja' WHERE email = 'ann@x.org'") }, "Anja", "Anja", false,
		},
		"remote wins, local changes": {
			store.WinnerRemote, func(p *pair) { p.exec("UPDATE contacts SET name = 'Anja' WHERE email = 'ann@x.org'") }, "Anja", "Annika", true,
		},
		"remote wins, remote changes": {store.WinnerRemote, func(p *pair) { p.remote.put("1", "name", "Annabel") }, "Annabel", "Annabel", false},
		"remote wins, both change": {store.WinnerRemote, func(p *pair) {
			p.exec("UPDATE contacts SET name = 'Anja' WHERE email = 'ann@x.org'")
			p.remote.put("1", "name", "Annabel")
		}, "Anja", "Annabel", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			onBoth(t, func(t *testing.T, b *workbench) {
				p := newPair(b)
				p.settle(dispute(p), c.winner)
				c.after(p)
				p.push(store.Spec{})
				p.sync(store.Spec{RemoteIDs: []string{"1"}})
				p.names(c.here, c.there)
				_, open := p.disputes()["name"]
				eq(t, "disputed", open, c.stillDisputed)
			})
		})
	}
}

// TestResolvedFirstLink: where there is no base yet, a person decides, too.
func TestResolvedFirstLink(t *testing.T) {
	t.Parallel()
	for winner, want := range map[string]string{store.WinnerLocal: "Anna", store.WinnerRemote: "Annika"} {
		t.Run(winner, func(t *testing.T) {
			t.Parallel()
			onBoth(t, func(_ *testing.T, b *workbench) {
				p := newPair(b)
				p.policy = judge.Manual
				p.exec("INSERT INTO contacts (email, name, score) VALUES ('ann@x.org', 'Anna', 1)")
				p.remote.put("1", "email", "ann@x.org", "name", "Annika", "score", "1")
				p.sync(store.Spec{})
				p.settle(p.disputes()["name"], winner)
				p.push(store.Spec{})
				p.sync(store.Spec{RemoteIDs: []string{"1"}})
				p.names(want, want)
				p.quiet()
			})
		})
	}
}

// TestResolvedWhileExporting: a decision during an export of the same row is not
// lost with what the export books.
func TestResolvedWhileExporting(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, b *workbench) {
		p := newPair(b)
		c := dispute(p)
		p.tune = func(con *pass.Connector) { con.OnLocalDelete = pass.DeleteIgnore }
		p.exec("UPDATE contacts SET score = 7 WHERE email = 'ann@x.org'")
		decided := false
		p.w.meddle = during(func() {
			if !decided {
				decided = true
				p.settle(c, store.WinnerLocal)
			}
		})
		p.push(store.Spec{})
		p.w.meddle = nil
		p.exec("UPDATE tandem_dirty SET next_at = first_at")
		p.push(store.Spec{})
		p.sync(store.Spec{RemoteIDs: []string{"1"}})
		p.names("Anna", "Anna")
		eq(t, "score there", p.there("1", "score"), "7")
		if !decided {
			t.Error("nothing was exported meanwhile")
		}
	})
}

// during calls fn before each order and lets it through.
func during(fn func()) func(o *channels.Order) (channels.Result, bool) {
	return func(*channels.Order) (channels.Result, bool) {
		fn()
		return channels.Result{}, false
	}
}
