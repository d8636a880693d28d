package workers

import (
	"context"
	"fmt"
	"strings"

	"github.com/tandem-sync/tandem/config"
	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/store"
	"github.com/tandem-sync/tandem/store/seal"
)

// KeyUse is a key that a database knows or that a secret in it is sealed with.
type KeyUse struct {
	KeyID string `json:"key_id"`
	// Current says that new secrets are sealed with it by this process.
	Current bool `json:"current"`
	// Known says that the database has noted it; a secret under an unknown key
	// came from a process that did not see a rotation.
	Known bool `json:"known"`
	// Opens says that this process has the key.
	Opens bool `json:"opens"`
	// Secrets counts what is sealed with it, in channels, in their kept revisions
	// and in stored access tokens.
	Secrets int `json:"secrets"`
}

// KeyStatus says which keys a database knows and how much is sealed with each.
// It opens no secret.
func KeyStatus(ctx context.Context, db *store.DB, ring *seal.Keyring) ([]KeyUse, error) {
	var out []KeyUse
	err := db.Read(ctx, func(ctx context.Context, tx *store.Tx) error {
		out = nil
		notes, err := tx.KeyNotes(ctx)
		if err != nil {
			return err
		}
		for _, n := range notes {
			out = append(out, KeyUse{KeyID: n.KeyID, Known: true})
		}
		all, err := sealedIn(ctx, tx)
		if err != nil {
			return err
		}
		for _, s := range all {
			count(&out, seal.KeyOf(s))
		}
		return nil
	})
	for i := range out {
		out[i].Opens, out[i].Current = ring.Has(out[i].KeyID), ring.KeyID() == out[i].KeyID
	}
	return out, err
}

func count(list *[]KeyUse, id string) {
	for i := range *list {
		if (*list)[i].KeyID == id {
			(*list)[i].Secrets++
			return
		}
	}
	*list = append(*list, KeyUse{KeyID: id, Secrets: 1})
}

// sealedIn gives every sealed text of the database.
func sealedIn(ctx context.Context, tx *store.Tx) ([]string, error) {
	settings, err := tx.Settings(ctx)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, s := range settings {
		fields, err := config.SealedFields(s.Settings)
		if err != nil {
			return nil, fmt.Errorf("channel %s: %w", s.Channel, err)
		}
		for _, text := range fields {
			if seal.IsSealed(text) {
				out = append(out, text)
			}
		}
	}
	tokens, err := tx.TokenSeals(ctx)
	for _, t := range tokens {
		out = append(out, t.Sealed)
	}
	return out, err
}

// Rotated is what a rotation did.
type Rotated struct {
	KeyID string `json:"key_id"`
	// Secrets counts what was sealed anew; 0 when everything was sealed with the
	// key already.
	Secrets int `json:"secrets"`
}

// Rotate seals every secret of the database with the ring's first key: of
// channels, of their kept revisions and of stored access tokens. It is one
// transaction: all or nothing, and done again it finds nothing to do. The ring
// must open what is there; a secret that it does not open is an error, and then
// nothing is changed. No channel gets a new revision.
func Rotate(ctx context.Context, db *store.DB, ring *seal.Keyring) (Rotated, error) {
	var out Rotated
	err := db.Write(ctx, "rotate the secret key", func(ctx context.Context, tx *store.Tx) error {
		out = Rotated{KeyID: ring.KeyID()}
		settings, err := tx.AllSettings(ctx)
		if err != nil {
			return err
		}
		done := map[string]string{} // a channel and its revision keep the same text
		for _, s := range settings {
			n, err := resealSettings(&s, ring, done)
			if err != nil {
				return err
			}
			if n == 0 {
				continue
			}
			out.Secrets += n
			if err := tx.Reseal(ctx, s); err != nil {
				return err
			}
		}
		n, err := resealTokens(ctx, tx, ring)
		out.Secrets += n
		if err != nil {
			return err
		}
		return tx.ReplaceKeys(ctx, ring)
	})
	return out, err
}

// resealSettings seals the secrets of settings anew. Everything else stays as it
// is, byte by byte.
func resealSettings(s *store.StoredSettings, ring *seal.Keyring, done map[string]string) (int, error) {
	fields, err := config.SealedFields(s.Settings)
	if err != nil {
		return 0, fmt.Errorf("channel %s: %w", s.Channel, err)
	}
	n, text := 0, string(s.Settings)
	for field, old := range fields {
		if !seal.IsSealed(old) || seal.KeyOf(old) == ring.KeyID() {
			continue
		}
		now, err := resealed(ring, old, SecretName(s.Channel, field))
		if err != nil {
			return 0, fmt.Errorf("channel %s: %s: %w", s.Channel, field, err)
		}
		if done[old] == "" {
			done[old] = now
		}
		now = done[old]
		text = strings.Replace(text, `"`+old+`"`, `"`+now+`"`, 1)
		n++
	}
	s.Settings = []byte(text)
	return n, nil
}

func resealTokens(ctx context.Context, tx *store.Tx, ring *seal.Keyring) (int, error) {
	tokens, err := tx.TokenSeals(ctx)
	if err != nil {
		return 0, err
	}
	n := 0
	for _, t := range tokens {
		if seal.KeyOf(t.Sealed) == ring.KeyID() {
			continue
		}
		now, err := resealed(ring, t.Sealed, SecretName(t.Channel, tokenField))
		if err != nil {
			return n, fmt.Errorf("access token of channel %s: %w", t.Channel, err)
		}
		ok, err := tx.ResealToken(ctx, t.ChannelID, t.Sealed, now)
		if err != nil {
			return n, err
		}
		if !ok {
			// A worker renewed it meanwhile, with the key that goes away.
			return n, fault.New(fault.Retryable, "", "rotate the secret key", "the access token of channel %s was renewed meanwhile: try again", t.Channel)
		}
		n++
	}
	return n, nil
}

func resealed(ring *seal.Keyring, old, name string) (string, error) {
	plain, err := ring.Open(old, name)
	if err != nil {
		return "", fault.New(fault.Permanent, fault.CodeConfig, "", "cannot be opened: %w", err).
			WithHint("set TANDEM_SECRET_KEY to the key that the secrets are sealed with now")
	}
	return ring.Seal(plain, name), nil
}
