package workers

import (
	"context"
	"errors"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/tandem-sync/tandem/channels"
	"github.com/tandem-sync/tandem/config"
	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/store"
	"github.com/tandem-sync/tandem/store/seal"
)

// withToken gives crm an access token sealed with the world's key.
func (w *planWorld) withToken() {
	w.Helper()
	err := w.db.Write(w.Context(), "token", func(ctx context.Context, tx *store.Tx) error {
		c, err := tx.ChannelByName(ctx, "crm")
		if err != nil {
			return err
		}
		if _, err := tx.BeginToken(ctx, c.ID, 0, "me", time.Minute, false); err != nil {
			return err
		}
		text := w.keys.Seal("CANARY-token", SecretName("crm", tokenField))
		_, err = tx.EndToken(ctx, c.ID, 0, "me", store.TokenEnd{Sealed: &text})
		return err
	})
	if err != nil {
		w.Fatal(err)
	}
}

// opens fails unless the ring opens everything that is sealed, to what it was.
func (w *planWorld) opens(ring *seal.Keyring) {
	w.Helper()
	_, cs, err := ForExport(w.Context(), w.db, ring)
	if err != nil || len(cs) != 1 || !strings.Contains(string(cs[0].Transport), "CANARY-3") {
		w.Fatalf("channels: %v", err)
	}
	err = w.db.Read(w.Context(), func(ctx context.Context, tx *store.Tx) error {
		all, err := tx.Settings(ctx)
		if err != nil {
			return err
		}
		o := Opener{cfg: Config{Keys: ring}}
		for _, s := range all {
			if c, err := config.UnmarshalStored(s.Channel, s.Settings, o.unseal(s.Channel)); err != nil || !strings.Contains(string(c.Transport), `"CANARY-1"`) {
				w.Errorf("revision %d: %v", s.Revision, err)
			}
		}
		tokens, err := tx.TokenSeals(ctx)
		if err != nil {
			return err
		}
		for _, s := range tokens {
			if plain, err := ring.Open(s.Sealed, SecretName(s.Channel, tokenField)); err != nil || plain != "CANARY-token" {
				w.Errorf("token: %v", err)
			}
		}
		if len(all) != 3 || len(tokens) != 1 {
			w.Errorf("%d settings, %d tokens", len(all), len(tokens))
		}
		return nil
	})
	if err != nil {
		w.Fatal(err)
	}
}

func (w *planWorld) status(ring *seal.Keyring) map[string]KeyUse {
	w.Helper()
	list, err := KeyStatus(w.Context(), w.db, ring)
	if err != nil {
		w.Fatal(err)
	}
	out := map[string]KeyUse{}
	for _, k := range list {
		out[k.KeyID] = k
	}
	return out
}

func TestRotate(t *testing.T) {
	onBoth(t, func(w *planWorld) {
		w.apply(w.parse(planFile))
		f := w.parse(strings.Replace(planFile, "CANARY-2", "CANARY-3", 1))
		w.apply(f) // a second revision: three settings with two secrets each
		w.withToken()
		old, next := w.keys, newRing(w.T)
		before, rev := w.sealed()
		if got := w.status(old); len(got) != 1 || got[old.KeyID()] != (KeyUse{KeyID: old.KeyID(), Current: true, Known: true, Opens: true, Secrets: 7}) {
			w.Fatalf("%+v", got)
		}
		// A ring that opens nothing: refused, nothing changed.
		_, err := Rotate(w.Context(), w.db, next.With(newRing(w.T)))
		if fault.CodeOf(err) != fault.CodeConfig || fault.HintOf(err) == "" || strings.Contains(err.Error(), "CANARY") {
			w.Fatalf("with a wrong old key: %v", err)
		}
		if now, _ := w.sealed(); !maps.Equal(now, before) {
			w.Fatal("changed, though refused")
		}
		w.opens(old)
		done, err := Rotate(w.Context(), w.db, next.With(old))
		if err != nil || done != (Rotated{KeyID: next.KeyID(), Secrets: 7}) {
			w.Fatalf("%+v %v", done, err)
		}
		w.opens(next)
		after, again := w.sealed()
		for field, s := range after {
			if seal.KeyOf(s) != next.KeyID() || s == before[field] {
				w.Errorf("%s: %s", field, s)
			}
		}
		if again != rev {
			w.Errorf("revision %d after %d: nothing was configured", again, rev)
		}
		if got := w.status(old); len(got) != 1 || got[next.KeyID()] != (KeyUse{KeyID: next.KeyID(), Known: true, Secrets: 7}) {
			w.Errorf("seen with the old key: %+v", got)
		}
		if done, err = Rotate(w.Context(), w.db, next.With(old)); err != nil || done.Secrets != 0 {
			w.Errorf("again: %+v %v", done, err)
		}
		if now, _ := w.sealed(); !maps.Equal(now, after) {
			w.Error("again: sealed anew")
		}
		// The old key is done with: nothing starts and nothing is applied with it.
		if err := w.db.CheckKey(w.Context(), old); fault.CodeOf(err) != fault.CodeConfig {
			w.Errorf("the old key: %v", err)
		}
		if _, err := Apply(w.Context(), w.db, old, channels.Default, f); fault.CodeOf(err) != fault.CodeConfig {
			w.Errorf("applied with the old key: %v", err)
		}
		w.keys = next
		if got := withoutWanted(w.plan(f, PlanOptions{})); len(got) > 0 {
			w.Errorf("%q", got)
		}
	})
}

// TestRotateIsOneTransaction lets the last of the secrets be one that cannot be
// opened: the others stay as they were.
func TestRotateIsOneTransaction(t *testing.T) {
	onBoth(t, func(w *planWorld) {
		w.apply(w.parse(strings.Replace(planFile, "CANARY-2", "CANARY-3", 1)))
		right := w.keys
		w.keys = newRing(w.T)
		w.withToken() // sealed with a key that nobody has any more
		w.keys = right
		before, _ := w.sealed()
		_, err := Rotate(w.Context(), w.db, newRing(w.T).With(right))
		if fault.CodeOf(err) != fault.CodeConfig || !errors.Is(err, seal.ErrUnknownKey) {
			w.Fatalf("%v", err)
		}
		if now, _ := w.sealed(); !maps.Equal(now, before) {
			w.Error("a part of it was done")
		}
	})
}
