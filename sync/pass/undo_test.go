package pass_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/tandem-sync/tandem/channels"
	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/internal/yield"
	"github.com/tandem-sync/tandem/store"
	"github.com/tandem-sync/tandem/sync/explain"
	"github.com/tandem-sync/tandem/sync/mapping"
	"github.com/tandem-sync/tandem/sync/pass"
	"github.com/tandem-sync/tandem/sync/record"
	"github.com/tandem-sync/tandem/sync/undo"
)

// latest gives the latest run.
func (b *workbench) latest() (run store.Run) {
	b.t.Helper()
	must(b.t, b.db.Read(b.t.Context(), func(ctx context.Context, tx *store.Tx) error {
		list, err := tx.Runs(ctx, store.RunFilter{Limit: 1})
		run = list[0]
		return err
	}))
	return run
}

// undo takes a run back, page by page.
func (b *workbench) undo(run store.Run, o undo.Options) undo.Result {
	b.t.Helper()
	u := &undo.Undoer{DB: b.db, Run: run, Open: func(context.Context, string) (pass.Connector, error) { return b.connector(), nil }}
	var all undo.Result
	for {
		r, err := u.Undo(b.t.Context(), o)
		must(b.t, err)
		all.Add(r.Counts)
		all.Lines = append(all.Lines, r.Lines...)
		all.Connectors = append(all.Connectors, r.Connectors...)
		if o.After = r.Next; r.Next == "" {
			return all
		}
	}
}

// reasons gives why things were kept, in order.
func reasons(r undo.Result) (out []string) {
	for _, l := range r.Lines {
		if l.Op == undo.OpKeep {
			out = append(out, l.Fields[0].Reason)
		}
	}
	slices.Sort(out)
	return out
}

func TestUndoPutsValuesBackAndTellsTheRemote(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, b *workbench) {
		p := newPair(b)
		p.remote.put("1", "email", "ann@x.org", "name", "Ann", "score", "1")
		p.remote.put("2", "email", "bob@x.org", "name", "Bob", "score", "2")
		p.remote.put("3", "email", "cid@x.org", "name", "Cid", "score", "3")
		p.sync(store.Spec{})
		p.remote.put("1", "name", "Anna", "score", "11")
		p.remote.put("2", "name", "Bobby")
		p.remote.put("3", "name", "Cyd")
		p.sync(store.Spec{})
		run := p.latest()
		// Since then: bob's name was edited again, cid's row is gone.
		p.exec("UPDATE contacts SET name = 'Robert' WHERE email = 'bob@x.org'")
		p.push(store.Spec{})
		p.tune = func(c *pass.Connector) { c.OnLocalDelete = pass.DeleteUnlink }
		p.exec("DELETE FROM contacts WHERE email = 'cid@x.org'")

		dry := p.undo(run, undo.Options{DryRun: true})
		name, _, _ := p.row("ann@x.org")
		eq(t, "after a dry run", name, "Anna")
		done := p.undo(run, undo.Options{})
		eq(t, "what a dry run says", dry.Counts, done.Counts)
		eq(t, "undone", done.Counts, undo.Counts{Fields: 2, Rows: 1, Kept: 2})
		eq(t, "kept", len(reasons(done)), 2)
		if got := reasons(done); got[0] != undo.KeepChanged || got[1] != undo.KeepGone {
			t.Errorf("kept for %q", got)
		}
		name, score, _ := p.row("ann@x.org")
		eq(t, "name", name, "Ann")
		eq(t, "score", score, "1")
		name, _, _ = p.row("bob@x.org")
		eq(t, "an edit since then", name, "Robert")

		p.push(store.Spec{})
		eq(t, "name there", p.there("1", "name"), "Ann")
		eq(t, "score there", p.there("1", "score"), "1")
		p.sync(store.Spec{})
		name, _, _ = p.row("ann@x.org")
		eq(t, "it does not come back", name, "Ann")
		p.quiet()
		// Again: nothing is left to undo.
		again := p.undo(run, undo.Options{})
		eq(t, "fields of a second undo", again.Fields, 0)
	})
}

// TestUndoHoldsOneWayFields: a value that cannot be told to the remote is put
// back here and stands until the remote's own changes.
func TestUndoHoldsOneWayFields(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, b *workbench) {
		b.remote.put("1", "email", "ann@x.org", "name", "Ann", "score", "1")
		b.sync(store.Spec{})
		b.remote.put("1", "name", "Anna")
		b.sync(store.Spec{})
		done := b.undo(b.latest(), undo.Options{})
		eq(t, "undone", done.Counts, undo.Counts{Fields: 1, Rows: 1})
		eq(t, "remotes to tell", len(done.Connectors), 0)
		for range 2 {
			b.sync(store.Spec{Mode: store.ModeFull, Flags: store.Flags{Force: true}})
			name, _, _ := b.row("ann@x.org")
			eq(t, "held", name, "Ann")
		}
		b.remote.put("1", "name", "Annabel")
		b.sync(store.Spec{})
		name, _, _ := b.row("ann@x.org")
		eq(t, "a new value", name, "Annabel")
	})
}

func TestUndoDeletesUntouchedRowsHereOnly(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, b *workbench) {
		p := newPair(b)
		p.exec("INSERT INTO contacts (email, name, score) VALUES ('old@x.org', 'Old', 9)")
		p.remote.put("0", "email", "old@x.org", "name", "Old", "score", "9")
		p.remote.put("1", "email", "ann@x.org", "name", "Ann", "score", "1")
		p.remote.put("2", "email", "bob@x.org", "name", "Bob", "score", "2")
		p.remote.put("3", "email", "cid@x.org", "name", "Cid", "score", "3")
		p.sync(store.Spec{})
		run := p.latest()
		p.exec("UPDATE contacts SET name = 'Robert' WHERE email = 'bob@x.org'")
		p.exec("UPDATE contacts SET note = 'call him' WHERE email = 'cid@x.org'")
		dry := p.undo(run, undo.Options{DryRun: true})
		done := p.undo(run, undo.Options{})
		eq(t, "what a dry run says", dry.Counts, done.Counts)
		eq(t, "undone", done.Counts, undo.Counts{Deleted: 1, Kept: 2})
		if got := reasons(done); !slices.Equal(got, []string{undo.KeepTouched, undo.KeepTouched}) {
			t.Errorf("kept for %q", got)
		}
		eq(t, "rows", p.number("SELECT count(*) FROM contacts"), 3)
		eq(t, "a row that was only linked", p.number("SELECT count(*) FROM contacts WHERE email = 'old@x.org'"), 1)
		p.push(store.Spec{})
		p.push(store.Spec{Mode: store.ModeFull})
		p.sync(store.Spec{Mode: store.ModeFull})
		eq(t, "the record there", p.there("1", "name"), "Ann")
		eq(t, "rows after a full run", p.number("SELECT count(*) FROM contacts"), 3)
		p.quiet()
	})
}

// TestUndoOfAnExport: what somebody edited here and was sent is no edit of the
// run's; it is put back on both sides only when that is asked for, and what was
// created there stays.
func TestUndoOfAnExport(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, b *workbench) {
		p := newPair(b)
		p.remote.put("1", "email", "ann@x.org", "name", "Ann", "score", "1")
		p.sync(store.Spec{})
		p.exec("UPDATE contacts SET name = 'Anna' WHERE email = 'ann@x.org'")
		p.exec("INSERT INTO contacts (email, name, score) VALUES ('new@x.org', 'New', 5)")
		p.push(store.Spec{})
		eq(t, "name there", p.there("1", "name"), "Anna")
		run := p.latest()
		asked := p.undo(run, undo.Options{})
		if got := reasons(asked); !slices.Equal(got, []string{undo.KeepCreated, undo.KeepPushed}) {
			t.Errorf("kept for %q", got)
		}
		done := p.undo(run, undo.Options{Pushed: true})
		eq(t, "fields", done.Fields, 1)
		name, _, _ := p.row("ann@x.org")
		eq(t, "name here", name, "Ann")
		p.push(store.Spec{})
		eq(t, "name there", p.there("1", "name"), "Ann")
		eq(t, "what was created stays", p.there("n1", "name"), "New")
		p.quiet()
	})
}

func TestUndoRefusesWhatIsNotOver(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, b *workbench) {
		for _, run := range []store.Run{{Status: store.StatusExecution}, {Status: store.StatusFinished, Spec: store.Spec{Flags: store.Flags{DryRun: true}}}} {
			_, err := (&undo.Undoer{DB: b.db, Run: run}).Undo(t.Context(), undo.Options{})
			eq(t, "code", fault.CodeOf(err), fault.CodeConflict)
		}
		_, err := (&undo.Undoer{DB: b.db, Run: store.Run{Status: store.StatusFinished}}).Undo(t.Context(), undo.Options{After: "nowhere"})
		eq(t, "code", fault.CodeOf(err), fault.CodeUsage)
	})
}

// unreachable is a remote that does not answer when asked for a record.
type unreachable struct{ writing }

func (unreachable) Get(context.Context, []string, []string) ([]record.Record, error) {
	return nil, fault.Wrap(fault.Retryable, fault.CodeUnreachable, "get", errors.New("connection refused"))
}

func TestExplain(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, b *workbench) {
		p := newPair(b)
		c := dispute(p)
		p.remote.put("1", "score", "5")
		p.exec("UPDATE contacts SET email = 'ann@y.org' WHERE email = 'ann@x.org'")
		p.relay()
		con := p.connector()
		r, err := explain.Explain(t.Context(), p.db, con, explain.Query{LocalID: c.LocalKey})
		must(t, err)
		back, err := explain.Explain(t.Context(), p.db, con, explain.Query{RemoteID: "1"})
		must(t, err)
		eq(t, "by the other id", asJSON(t, back), asJSON(t, r))
		if r.Link == nil || r.Link.State != "linked" || r.RemoteID != "1" || !r.Local.Exists || !r.Remote.Exists || r.Waits == nil || r.Create != nil {
			t.Errorf("%s", asJSON(t, r))
		}
		for i, want := range []explain.Verdict{
			{Winner: "local", Reason: "local_changed", Writes: "remote"}, {Winner: "unresolved", Reason: "manual"}, {Winner: "remote", Reason: "remote_changed", Writes: "local"},
		} {
			if f := r.Fields[i]; f.Now == nil || *f.Now != want {
				t.Errorf("field %s: %s", f.Local, asJSON(t, f))
			}
		}
		name := r.Fields[1]
		eq(t, "local", string(name.LocalValue), `"Anna"`)
		eq(t, "remote", string(name.RemoteValue), `"Annika"`)
		eq(t, "base", string(name.BaseLocal)+string(name.BaseRemote), `"Ann""Ann"`)
		if name.Conflict == nil || *name.Conflict != c.ID || len(r.Conflicts) != 1 || name.Last == nil || name.Last.Reason != "manual" || name.Last.Run == 0 || len(r.History) == 0 {
			t.Errorf("%s", asJSON(t, r))
		}
		// Without the remote, everything else is told all the same.
		con.Remote = unreachable{con.Remote.(writing)}
		r, err = explain.Explain(t.Context(), p.db, con, explain.Query{RemoteID: "1"})
		must(t, err)
		if r.Remote.Problem == "" || r.Remote.Exists || r.Fields[1].Now != nil || r.Link == nil || string(r.Fields[0].LocalValue) != `"ann@y.org"` {
			t.Errorf("%s", asJSON(t, r))
		}
		_, err = explain.Explain(t.Context(), p.db, p.connector(), explain.Query{LocalID: "777"})
		eq(t, "an unknown row", fault.CodeOf(err), fault.CodeNotFound)
		_, err = explain.Explain(t.Context(), p.db, p.connector(), explain.Query{LocalID: "1", RemoteID: "1"})
		eq(t, "two ids", fault.CodeOf(err), fault.CodeUsage)
	})
}

func asJSON(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	must(t, err)
	return string(b)
}

// TestSkippedOut: a row that a person skipped stays out until it or the mapping
// changes.
func TestSkippedOut(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, b *workbench) {
		p := newPair(b)
		p.w.meddle = refuse("Dan")
		p.exec("INSERT INTO contacts (email, name, score) VALUES ('dan@x.org', 'Dan', 5)")
		c := p.push(store.Spec{})
		eq(t, "parked", c.Parked, 1)
		p.write(func(ctx context.Context, tx *store.Tx) error {
			list, err := tx.ListParked(ctx, store.ParkedFilter{Open: true})
			if err != nil {
				return err
			}
			return tx.ResolveParked(ctx, list[0].ID, store.ResolvedSkipped)
		})
		sent := len(p.w.orders)
		c = p.push(store.Spec{Mode: store.ModeFull})
		eq(t, "skipped", c.Skipped, 1)
		eq(t, "orders", len(p.w.orders)-sent, 0)
		p.exec("UPDATE contacts SET score = 6 WHERE email = 'dan@x.org'")
		c = p.push(store.Spec{})
		eq(t, "parked with other data", c.Parked, 1)
		p.write(func(ctx context.Context, tx *store.Tx) error {
			list, err := tx.ListParked(ctx, store.ParkedFilter{Open: true})
			if err != nil {
				return err
			}
			return tx.ResolveParked(ctx, list[0].ID, store.ResolvedSkipped)
		})
		p.w.meddle = nil
		p.spec.Fields[2].On = mapping.OnCreate // another mapping
		c = p.push(store.Spec{Mode: store.ModeFull})
		eq(t, "created under another mapping", c.Created, 1)
	})
}

var _ channels.Getter = unreachable{}

// undone tells how far a run has been undone.
func (b *workbench) undone(run store.Run) (u store.Undone) {
	b.t.Helper()
	must(b.t, b.db.Read(b.t.Context(), func(ctx context.Context, tx *store.Tx) (err error) {
		u, err = tx.UndoneOf(ctx, run.ID)
		return err
	}))
	return u
}

// TestUndoThatIsKilled: a run of several pages whose undoing is killed at every
// effect in turn says that it is undone partly, and asking again brings it to its
// end: everything is put back once, and what was edited meanwhile stands.
func TestUndoThatIsKilled(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, b *workbench) {
		const n = 1203
		p := newPair(b)
		for i := range n {
			p.remote.put(fmt.Sprint(i), "email", fmt.Sprintf("%d@x.org", i), "name", "old")
		}
		p.remote.page = 400
		p.sync(store.Spec{})
		for i := range n {
			p.remote.put(fmt.Sprint(i), "name", "new")
		}
		p.remote.put("made", "email", "made@x.org", "name", "made")
		p.sync(store.Spec{})
		run := p.latest()
		eq(t, "state before", p.undone(run).State, "")
		p.exec("UPDATE contacts SET name = 'mine' WHERE email = '7@x.org'")

		// It is told before it is done.
		told := p.undo(run, undo.Options{DryRun: true})
		eq(t, "told", told.Counts, undo.Counts{Fields: n - 1, Rows: n - 1, Deleted: 1, Kept: 1})
		eq(t, "state after a dry run", p.undone(run).State, "")

		boom := errors.New("killed")
		u := &undo.Undoer{DB: p.db, Run: run, Open: func(context.Context, string) (pass.Connector, error) { return p.connector(), nil }}
		partly, target := 0, 1
		for killed := true; killed; target++ {
			at := 0
			ctx := yield.With(t.Context(), func(context.Context, string) error {
				if at++; at == target {
					return boom
				}
				return nil
			})
			killed = false
			var o undo.Options
			for {
				r, err := u.Undo(ctx, o)
				if err != nil {
					killed = true
					break
				}
				if o.After = r.Next; r.Next == "" {
					break
				}
			}
			if s := p.undone(run); killed && s.State == store.UndonePartly {
				partly++
				eq(t, "ended", s.EndedAt == nil, true)
			}
		}
		if partly < 3 {
			t.Errorf("it was undone partly at %d of %d points only", partly, target)
		}
		s := p.undone(run)
		eq(t, "state", s.State, store.UndoneWhole)
		eq(t, "fields in all", s.Fields, n-1)
		eq(t, "rows in all", s.Rows, n-1)
		eq(t, "deleted in all", s.Deleted, 1)
		eq(t, "put back", p.number("SELECT count(*) FROM contacts WHERE name = 'old'"), n-1)
		eq(t, "an edit since then", p.number("SELECT count(*) FROM contacts WHERE name = 'mine'"), 1)
		eq(t, "made by the run", p.number("SELECT count(*) FROM contacts WHERE name = 'made'"), 0)
		again := p.undo(run, undo.Options{})
		eq(t, "undone once more", again.Counts, undo.Counts{Kept: 1})
		// The remote hears of all of it, whenever the kill came.
		p.push(store.Spec{})
		for i := range n {
			want := "old"
			if i == 7 {
				want = "mine"
			}
			if got := p.there(fmt.Sprint(i), "name"); got != want {
				t.Fatalf("record %d there: %s, want %s", i, got, want)
			}
		}
		eq(t, "the record that the run brought", p.there("made", "name"), "made")
	})
}
