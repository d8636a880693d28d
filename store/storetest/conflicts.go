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

func (h house) conflict(key, field, local, remote string) store.Conflict {
	return store.Conflict{
		ChannelID: h.channel, ConnectorID: h.contacts, Connector: "contacts", LocalKey: key, RemoteID: "r" + key, Field: field,
		Local: json.RawMessage(local), Remote: json.RawMessage(remote), LocalAt: at("2026-11-24T10:00:00Z"), RunID: 5,
	}
}

func (h house) addConflicts(t *testing.T, list ...store.Conflict) (n int) {
	t.Helper()
	write(t, h.db, func(ctx context.Context, tx *store.Tx) (err error) {
		n, err = tx.AddConflicts(ctx, list)
		return err
	})
	return n
}

func (h house) conflicts(t *testing.T, f store.ConflictFilter) (list []store.Conflict, names string) {
	t.Helper()
	read(t, h.db, func(ctx context.Context, tx *store.Tx) (err error) {
		list, err = tx.Conflicts(ctx, f)
		return err
	})
	var got []string
	for _, c := range list {
		got = append(got, c.LocalKey+"."+c.Field)
	}
	return list, fmt.Sprint(got)
}

func testConflicts(t *testing.T, db *store.DB) {
	h := newHouse(t, db)
	equal(t, "none", h.addConflicts(t), 0)
	first := h.conflict("1", "email", `"a@x"`, `null`)
	first.Base = json.RawMessage(`{"k": [1, "é"]}`)
	equal(t, "new", h.addConflicts(t, h.conflict("2", "email", `1`, `2`), first, h.conflict("1", "phone", `1`, `2`)), 3)
	other := h.conflict("1", "email", `"o"`, `"p"`)
	other.ConnectorID, other.Connector = h.companies, "companies"
	equal(t, "of another connector", h.addConflicts(t, other), 1)

	again := h.conflict("1", "email", `"b@x"`, `"c@x"`)
	again.Local, again.LocalAt, again.RemoteAt, again.RunID, again.RemoteID = nil, nil, at("2026-11-24T11:00:00.5Z"), 6, "moved"
	equal(t, "met again", h.addConflicts(t, again, h.conflict("3", "email", `1`, `2`)), 1)
	list, names := h.conflicts(t, store.ConflictFilter{Connector: "contacts", LocalKey: "1", Open: true})
	equal(t, "open", names, "[1.phone 1.email]")
	c := list[1]
	if c.Channel != "crm" || c.Connector != "contacts" || c.RemoteID != "moved" || c.Local != nil || string(c.Remote) != `"c@x"` || c.Base != nil ||
		c.LocalAt != nil || !c.RemoteAt.Equal(*again.RemoteAt) || c.RunID != 6 || c.Resolved != "" || c.ResolvedAt != nil || time.Since(c.CreatedAt) > time.Hour {
		t.Fatalf("%+v", c)
	}
	equal(t, "value", string(list[0].Local), "1")

	resolve := func(id int64, winner string) error {
		return db.Write(t.Context(), "resolve", func(ctx context.Context, tx *store.Tx) error { return tx.ResolveConflict(ctx, id, winner) })
	}
	if err := resolve(c.ID, "nobody"); err == nil {
		t.Fatal("an unknown winner was taken")
	}
	if err := resolve(c.ID, store.WinnerRemote); err != nil {
		t.Fatal(err)
	}
	wantCode(t, "resolved twice", resolve(c.ID, store.WinnerLocal), fault.CodeConflict)
	wantCode(t, "an unknown one", resolve(1<<40, store.WinnerLocal), fault.CodeNotFound)
	read(t, db, func(ctx context.Context, tx *store.Tx) error {
		got, err := tx.Conflict(ctx, c.ID)
		if err != nil || got.Resolved != store.WinnerRemote || got.ResolvedAt == nil {
			t.Fatalf("%+v %v", got, err)
		}
		open, err := tx.OpenConflicts(ctx, h.contacts, []string{"3", "1", "7"})
		if err != nil || len(open) != 2 || open[0].Field != "phone" || open[1].LocalKey != "3" {
			t.Fatalf("%+v %v", open, err)
		}
		return nil
	})
	equal(t, "a new one of the same field", h.addConflicts(t, first), 1)
	for _, f := range []struct {
		filter store.ConflictFilter
		want   string
	}{
		{store.ConflictFilter{}, "[1.email 3.email 1.email 2.email 1.phone 1.email]"},
		{store.ConflictFilter{Limit: 2}, "[1.email 3.email]"},
		{store.ConflictFilter{Before: c.ID}, "[]"},
		{store.ConflictFilter{ConnectorID: h.companies}, "[1.email]"},
		{store.ConflictFilter{ChannelID: h.channel, RunID: 6}, "[1.email]"},
		{store.ConflictFilter{ChannelID: h.channel + 1}, "[]"},
	} {
		if f.filter.Before != 0 {
			all, _ := h.conflicts(t, store.ConflictFilter{})
			f.filter.Before, f.want = all[4].ID, "[1.email]"
			if all[4].ID < all[5].ID {
				t.Fatalf("not the newest first: %+v", all)
			}
		}
		_, names := h.conflicts(t, f.filter)
		equal(t, fmt.Sprintf("%+v", f.filter), names, f.want)
	}
}

func testConflictsSettle(t *testing.T, db *store.DB) {
	h := newHouse(t, db)
	other := h.conflict("1", "a", `1`, `2`)
	other.ConnectorID = h.companies
	h.addConflicts(t, h.conflict("1", "a", `1`, `2`), h.conflict("1", "b", `1`, `2`), h.conflict("2", "a", `1`, `2`), h.conflict("2", "b", `1`, `2`),
		h.conflict("3", "a", `1`, `2`), other)
	settle := func(list ...store.ConflictKey) (n int64) {
		write(t, db, func(ctx context.Context, tx *store.Tx) (err error) {
			n, err = tx.SettleConflicts(ctx, h.contacts, list)
			return err
		})
		return n
	}
	equal(t, "none", settle(), 0)
	equal(t, "settled", settle(store.ConflictKey{LocalKey: "1"}, store.ConflictKey{LocalKey: "2", Field: "b"}, store.ConflictKey{LocalKey: "3", Field: "z"}), 3)
	_, names := h.conflicts(t, store.ConflictFilter{ConnectorID: h.contacts, Open: true})
	equal(t, "open", names, "[3.a 2.a]")
	_, names = h.conflicts(t, store.ConflictFilter{ConnectorID: h.companies, Open: true})
	equal(t, "of the other connector", names, "[1.a]")
	list, _ := h.conflicts(t, store.ConflictFilter{ConnectorID: h.contacts, LocalKey: "1"})
	equal(t, "how", list[0].Resolved, store.ConflictGone)
}
