package storetest

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/tandem-sync/tandem/store"
)

func testIntents(t *testing.T, db *store.DB) {
	h := newHouse(t, db)
	has := func() (yes bool) {
		read(t, db, func(ctx context.Context, tx *store.Tx) (err error) {
			yes, err = tx.HasOpenIntents(ctx, h.contacts)
			return err
		})
		return yes
	}
	put := func(list ...store.Intent) (out []store.Intent) {
		write(t, db, func(ctx context.Context, tx *store.Tx) (err error) {
			out, err = tx.PutIntents(ctx, list)
			return err
		})
		return out
	}
	equal(t, "none", has(), false)
	equal(t, "nothing put", len(put()), 0)
	body := json.RawMessage(`{"email":"ada@example.com", "n":1.50}`)
	got := put(store.Intent{ConnectorID: h.contacts, LocalKey: "2", Key: "k2"}, store.Intent{ConnectorID: h.contacts, LocalKey: "1", Key: "k1", Body: body})
	if len(got) != 2 || got[0].Key != "k1" || string(got[0].Body) != string(body) || got[0].State != store.IntentOpen || got[1].Body != nil || got[1].LocalKey != "2" {
		t.Fatalf("%+v", got)
	}
	until := time.Now().Add(time.Hour).Truncate(time.Microsecond).UTC()
	write(t, db, func(ctx context.Context, tx *store.Tx) error {
		return tx.MarkIntentsUnknown(ctx, h.contacts, []string{"1", "9"}, until)
	})
	// The key and the body of the first try stay.
	got = put(store.Intent{ConnectorID: h.contacts, LocalKey: "1", Key: "other", Body: json.RawMessage(`{}`)}, store.Intent{ConnectorID: h.contacts, LocalKey: "3", Key: "k3"})
	if len(got) != 2 || got[0].Key != "k1" || string(got[0].Body) != string(body) || got[0].State != store.IntentUnknown || got[0].Attempts != 1 ||
		got[0].NextAt != until || got[1].Key != "k3" || time.Since(got[1].CreatedAt) > time.Hour {
		t.Fatalf("%+v", got)
	}
	equal(t, "some", has(), true)
	write(t, db, func(ctx context.Context, tx *store.Tx) error {
		open, err := tx.OpenIntents(ctx, h.contacts, []string{"1", "3", "7"})
		equal(t, "open", keysOf(open), "[1 3]")
		if err != nil {
			return err
		}
		open, err = tx.OpenIntents(ctx, h.companies, []string{"1"})
		equal(t, "of another connector", len(open), 0)
		if err != nil {
			return err
		}
		return tx.CloseIntents(ctx, h.contacts, []string{"1", "2", "3"})
	})
	equal(t, "closed", has(), false)
}
