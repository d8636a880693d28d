package storetest

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/store"
)

func testPasses(t *testing.T, db *store.DB) {
	h := newHouse(t, db)
	var a, b int64
	total := int64(7)
	write(t, db, func(ctx context.Context, tx *store.Tx) (err error) {
		if a, err = tx.StartPass(ctx, h.channel, h.contacts, nil); err != nil {
			return err
		}
		if b, err = tx.StartPass(ctx, h.channel, h.companies, &total); err != nil {
			return err
		}
		if err = tx.AdvancePass(ctx, store.PassStep{ID: a, Done: 1, Created: 2, Updated: 3, Skipped: 4, Failed: 5, Position: json.RawMessage(`{"p":1}`)}); err != nil {
			return err
		}
		return tx.AdvancePass(ctx, store.PassStep{ID: a, Done: 10, Created: 20, Updated: 30, Skipped: 40, Failed: 50, Position: json.RawMessage(`{"p":2}`), Finished: true})
	})
	err := db.Write(t.Context(), "advance", func(ctx context.Context, tx *store.Tx) error { return tx.AdvancePass(ctx, store.PassStep{ID: a}) })
	wantFenced(t, "after its end", err)
	read(t, db, func(ctx context.Context, tx *store.Tx) error {
		p, err := tx.Pass(ctx, a)
		if err != nil || p.Done != 11 || p.Created != 22 || p.Updated != 33 || p.Skipped != 44 || p.Failed != 55 || string(p.Position) != `{"p":2}` ||
			p.FinishedAt == nil || p.Total != nil || p.ConnectorID != h.contacts || time.Since(p.StartedAt) > time.Hour {
			t.Fatalf("%+v %v", p, err)
		}
		list, err := tx.Passes(ctx, h.channel, 0)
		if err != nil || len(list) != 2 || list[0].ID != b || list[0].FinishedAt != nil || *list[0].Total != 7 || list[0].Position != nil {
			t.Fatalf("%+v %v", list, err)
		}
		list, err = tx.Passes(ctx, h.channel, 1)
		equal(t, "limit", len(list), 1)
		if err != nil {
			return err
		}
		_, err = tx.Pass(ctx, 1<<40)
		wantCode(t, "an unknown one", err, fault.CodeNotFound)
		return nil
	})
}

func testEcho(t *testing.T, db *store.DB) {
	h := newHouse(t, db)
	echo := func() (got [2]int64) {
		read(t, db, func(ctx context.Context, tx *store.Tx) (err error) {
			got[0], got[1], err = tx.Echo(ctx, h.contacts)
			return err
		})
		return got
	}
	equal(t, "none", echo(), [2]int64{})
	for _, n := range [][2]int64{{0, 0}, {3, 0}, {4, 1}} {
		write(t, db, func(ctx context.Context, tx *store.Tx) error { return tx.AddEcho(ctx, h.contacts, n[0], n[1]) })
	}
	equal(t, "counted", echo(), [2]int64{7, 1})
}

// testHistory reads what happened to one record, over runs.
func testHistory(t *testing.T, db *store.DB) {
	h := newHouse(t, db)
	line := func(connector, local, remote, op string) store.Change {
		return store.Change{Connector: connector, Side: "local", Op: op, LocalID: local, RemoteID: remote}
	}
	a := h.plan(t, store.Spec{})
	dry := h.plan(t, store.Spec{Flags: store.Flags{DryRun: true}})
	b := h.plan(t, store.Spec{})
	long := fmt.Sprintf("%01000dé%d", 0, 1)
	write(t, db, func(ctx context.Context, tx *store.Tx) error {
		for _, s := range []struct {
			run  store.Run
			list []store.Change
		}{
			{a, []store.Change{line("contacts", "", "r1", "skip"), line("contacts", "l1", "r1", "create"), line("companies", "l1", "r1", "other")}},
			{dry, []store.Change{line("contacts", "l1", "r1", "dry")}},
			{b, []store.Change{
				line("contacts", "l2", "r2", "update"), line("contacts", "l1", "r1", "update"), line("contacts", "l1", "r9", "moved"),
				line("nobody", "l1", "r1", "lost"), line("contacts", long, "", "long"),
			}},
		} {
			if err := tx.AddChanges(ctx, s.run.ID, s.list); err != nil {
				return err
			}
		}
		return nil
	})
	read(t, db, func(ctx context.Context, tx *store.Tx) error {
		for _, c := range []struct {
			local, remote string
			limit         int
			want          string
		}{
			{"l1", "r1", 10, "[moved update create skip]"},
			{"l1", "", 10, "[moved update create]"},
			{"l1", "r1", 2, "[moved update]"},
			{"", "r1", 10, "[skip]"},
			{"", "", 10, "[]"},
			{"l3", "r3", 10, "[]"},
			{long, "", 10, "[long]"},
		} {
			list, err := tx.ChangesOf(ctx, h.contacts, c.local, c.remote, c.limit)
			if err != nil {
				return err
			}
			ops := []string{}
			for _, l := range list {
				ops = append(ops, l.Op)
				if time.Since(l.At) > time.Hour || l.RunID != a.ID && l.RunID != b.ID {
					t.Fatalf("%+v", l)
				}
			}
			equal(t, "history of "+c.local+" "+c.remote, fmt.Sprint(ops), c.want)
		}
		lines, _, err := tx.Changes(ctx, dry.ID, 0, 10)
		equal(t, "lines of the dry run", len(lines), 1)
		return err
	})
}

// count counts the rows of a table.
func count(t *testing.T, db *store.DB, table string) (n int) {
	t.Helper()
	read(t, db, func(ctx context.Context, tx *store.Tx) error {
		return tx.GetContext(ctx, &n, "SELECT count(*) FROM "+table) //nolint:gosec // names from tests
	})
	return n
}

// fillOutward puts one of everything that the way out keeps into a channel.
func (h house) fillOutward(t *testing.T) {
	t.Helper()
	h.mark(t, h.contacts, "all", "1", "2", "3")
	h.addConflicts(t, h.conflict("1", "email", `1`, `2`), h.conflict("2", "email", `1`, `2`))
	write(t, h.db, func(ctx context.Context, tx *store.Tx) error {
		if _, err := tx.PutIntents(ctx, []store.Intent{{ConnectorID: h.contacts, LocalKey: "1", Key: "k"}}); err != nil {
			return err
		}
		if err := tx.AddAlias(ctx, h.contacts, "a", "b"); err != nil {
			return err
		}
		if err := tx.AddEcho(ctx, h.contacts, 1, 1); err != nil {
			return err
		}
		if _, err := tx.SettleConflicts(ctx, h.contacts, []store.ConflictKey{{LocalKey: "2"}}); err != nil {
			return err
		}
		_, err := tx.StartPass(ctx, h.channel, h.contacts, nil)
		return err
	})
}

var outwardTables = []string{"tandem_dirty", "tandem_intent", "tandem_conflict", "tandem_alias", "tandem_pass", "tandem_echo"}

func testDeleteOutward(t *testing.T, db *store.DB) {
	h := newHouse(t, db)
	var other house
	write(t, db, func(ctx context.Context, tx *store.Tx) (err error) {
		other, err = addHouse(ctx, tx, db, "shop")
		return err
	})
	h.fillOutward(t)
	other.fillOutward(t)
	before := map[string]int{}
	for _, table := range outwardTables {
		before[table] = count(t, db, table)
	}
	put(t, db, link(h.contacts, 1, "r1", "l1"))
	var steps []int64
	write(t, db, func(ctx context.Context, tx *store.Tx) error {
		steps = nil
		if err := tx.RetireChannel(ctx, h.channel); err != nil {
			return err
		}
		for range 3 {
			n, err := tx.DropLinks(ctx, h.channel, 2)
			if err != nil {
				return err
			}
			steps = append(steps, n)
		}
		return nil
	})
	equal(t, "links and waiting rows in steps", fmt.Sprint(steps), "[2 2 0]")
	h.mark(t, h.contacts, "late", "9")
	write(t, db, func(ctx context.Context, tx *store.Tx) error { return tx.DeleteChannel(ctx, h.channel) })
	for _, table := range outwardTables {
		equal(t, "rows left in "+table, count(t, db, table), before[table]/2)
	}
}

func testPurgeOutward(t *testing.T, db *store.DB) {
	h := newHouse(t, db)
	h.fillOutward(t)
	h.mark(t, h.companies, "all", "1")
	purge := func(before time.Time) {
		write(t, db, func(ctx context.Context, tx *store.Tx) error { return tx.Purge(ctx, before) })
	}
	purge(time.Now().Add(-time.Hour))
	for table, want := range map[string]int{"tandem_dirty": 4, "tandem_conflict": 2, "tandem_pass": 1} {
		equal(t, "rows in "+table, count(t, db, table), want)
	}
	write(t, db, func(ctx context.Context, tx *store.Tx) error {
		_, err := tx.PutConnectors(ctx, h.channel, []store.Connector{{Name: "contacts"}})
		return err
	})
	purge(time.Now().Add(time.Hour))
	for table, want := range map[string]int{"tandem_dirty": 3, "tandem_conflict": 1, "tandem_pass": 0, "tandem_intent": 1, "tandem_alias": 1, "tandem_echo": 1} {
		equal(t, "rows in "+table, count(t, db, table), want)
	}
	_, names := h.conflicts(t, store.ConflictFilter{})
	equal(t, "the open one stays", names, "[1.email]")
}
