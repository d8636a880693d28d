package storetest

import (
	"context"
	"encoding/json"
	"testing"

	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/store"
)

func testChannels(t *testing.T, db *store.DB) {
	put := func(c store.Channel) (id, revision int64, changed bool) {
		write(t, db, func(ctx context.Context, tx *store.Tx) (err error) {
			id, revision, changed, err = tx.PutChannel(ctx, c)
			return err
		})
		return id, revision, changed
	}
	c := store.Channel{Name: "crm", Type: "rest", Enabled: true, Managed: "file", Settings: json.RawMessage(`{"b":1, "a":"é"}`)}
	id, rev, changed := put(c)
	if id == 0 || rev != 1 || !changed {
		t.Fatalf("new: %d %d %v", id, rev, changed)
	}
	again, rev, changed := put(c)
	if again != id || rev != 1 || changed {
		t.Fatalf("same: %d %d %v", again, rev, changed)
	}
	c.Settings = json.RawMessage(`{"b":2}`)
	again, rev, changed = put(c)
	if again != id || rev != 2 || !changed {
		t.Fatalf("changed: %d %d %v", again, rev, changed)
	}
	put(store.Channel{Name: "app", Type: "rest", Settings: json.RawMessage(`{}`)})
	write(t, db, func(ctx context.Context, tx *store.Tx) error { return tx.SetChannelEnabled(ctx, id, false) })
	read(t, db, func(ctx context.Context, tx *store.Tx) error {
		got, err := tx.ChannelByName(ctx, "crm")
		if err != nil {
			return err
		}
		if got.ID != id || got.Enabled || got.Managed != "file" || got.Revision != 2 || string(got.Settings) != `{"b":2}` ||
			got.CreatedAt.IsZero() || got.UpdatedAt.Before(got.CreatedAt) {
			t.Fatalf("channel: %+v", got)
		}
		all, err := tx.Channels(ctx)
		if err != nil || len(all) != 2 || all[0].Name != "app" || all[1].Name != "crm" {
			t.Fatalf("channels: %+v %v", all, err)
		}
		old, err := tx.ChannelRevision(ctx, id, 1)
		if err != nil || string(old) != `{"b":1, "a":"é"}` {
			t.Fatalf("revision 1: %s %v", old, err)
		}
		_, err = tx.ChannelRevision(ctx, id, 3)
		wantCode(t, "revision 3", err, fault.CodeNotFound)
		_, err = tx.Channel(ctx, id+100)
		wantCode(t, "unknown id", err, fault.CodeNotFound)
		_, err = tx.ChannelByName(ctx, "nope")
		wantCode(t, "unknown name", err, fault.CodeNotFound)
		return nil
	})
	err := db.Write(t.Context(), "lock", func(ctx context.Context, tx *store.Tx) error { return tx.LockChannel(ctx, id+100) })
	wantCode(t, "lock unknown", err, fault.CodeNotFound)
	err = db.Write(t.Context(), "enable", func(ctx context.Context, tx *store.Tx) error { return tx.SetChannelEnabled(ctx, id+100, true) })
	wantCode(t, "enable unknown", err, fault.CodeNotFound)
}

func testConnectors(t *testing.T, db *store.DB) {
	h := newHouse(t, db)
	var list []store.Connector
	put := func(in ...store.Connector) (out []store.Connector) {
		write(t, db, func(ctx context.Context, tx *store.Tx) (err error) {
			if out, err = tx.PutConnectors(ctx, h.channel, in); err != nil {
				return err
			}
			list, err = tx.Connectors(ctx, h.channel)
			return err
		})
		return out
	}
	got := put(store.Connector{Name: "notes", Ord: 2}, store.Connector{Name: "contacts"})
	equal(t, "contacts keeps its id", got[1].ID, h.contacts)
	want := []store.Connector{
		{ID: h.companies, ChannelID: h.channel, Name: "companies", Retired: true},
		{ID: h.contacts, ChannelID: h.channel, Name: "contacts"},
		{ID: got[0].ID, ChannelID: h.channel, Name: "notes", Ord: 2},
	}
	if len(list) != len(want) || list[0] != want[0] || list[1] != want[1] || list[2] != want[2] {
		t.Fatalf("got %+v, want %+v", list, want)
	}
	got = put(store.Connector{Name: "companies", Ord: 5})
	if got[0].ID != h.companies || got[0].Retired || got[0].Ord != 5 {
		t.Fatalf("back again: %+v", got[0])
	}
	put()
	for _, c := range list {
		if !c.Retired {
			t.Fatalf("none named: %+v is not retired", c)
		}
	}
}

func testEntities(t *testing.T, db *store.DB) {
	put := func(spec string) (changed bool) {
		write(t, db, func(ctx context.Context, tx *store.Tx) (err error) {
			changed, err = tx.PutEntity(ctx, store.Entity{Name: "contacts", Spec: json.RawMessage(spec)})
			return err
		})
		return changed
	}
	equal(t, "new", put(`{"table":"c"}`), true)
	equal(t, "same", put(`{"table":"c"}`), false)
	equal(t, "other", put(`{"table":"d"}`), true)
	read(t, db, func(ctx context.Context, tx *store.Tx) error {
		e, err := tx.Entity(ctx, "contacts")
		if err != nil || string(e.Spec) != `{"table":"d"}` {
			t.Fatalf("%+v %v", e, err)
		}
		all, err := tx.Entities(ctx)
		if err != nil || len(all) != 1 || all[0].Name != "contacts" {
			t.Fatalf("%+v %v", all, err)
		}
		_, err = tx.Entity(ctx, "nope")
		wantCode(t, "unknown", err, fault.CodeNotFound)
		return nil
	})
}
