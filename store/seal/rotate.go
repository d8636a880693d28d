package seal

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
)

// With gives a ring that seals with k's key and also opens what older opens.
func (k *Keyring) With(older *Keyring) *Keyring {
	both := &Keyring{primary: k.primary, keys: maps.Clone(older.keys)}
	maps.Copy(both.keys, k.keys)
	return both
}

// Prefer gives a ring that seals with another of its keys; a key it lacks is left
// alone.
func (k *Keyring) Prefer(keyID string) *Keyring {
	if !k.Has(keyID) {
		return k
	}
	return &Keyring{primary: keyID, keys: k.keys}
}

// KeyOf gives the id of the key that a sealed text was sealed with; "" when the
// text is not sealed.
func KeyOf(sealed string) string {
	if !IsSealed(sealed) {
		return ""
	}
	id, _, _ := strings.Cut(strings.TrimPrefix(sealed, prefix), ":")
	return id
}

// NextKeyFile names the file that holds the key of a rotation until everything
// is sealed with it.
func NextKeyFile(path string) string { return path + ".new" }

// NextKey gives the key that a key file is to be replaced with: the one that an
// earlier call left in the file NextKeyFile, else text, else a new one, which is
// durable there before this returns. A text that differs from a key left behind
// is an error: something may be sealed with that one already.
func NextKey(path, text string) (*Keyring, error) {
	next, key := NextKeyFile(path), text
	if key == "" {
		key = NewKey()
	}
	want, err := New(key)
	if err != nil {
		return nil, err
	}
	if err := writeKeyFile(next, key); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("make the key file: %w", err)
	}
	ring, err := readKeyFile(next)
	if err == nil && text != "" && want.KeyID() != ring.KeyID() {
		return nil, fmt.Errorf("%s holds another key, left by a rotation that was interrupted: finish that one first, without a new key", next)
	}
	return ring, err
}

// ReplaceKeyFile puts the key that NextKey made in the place of the key file, in
// one step. The key before it is gone.
func ReplaceKeyFile(path string) error {
	if err := os.Rename(NextKeyFile(path), path); err != nil {
		return fmt.Errorf("replace the key file: %w", err)
	}
	return syncFolder(filepath.Dir(path))
}

// syncFolder makes new names in a folder durable.
func syncFolder(dir string) error {
	d, err := os.Open(dir) // #nosec G304 -- the folder of the operator's own key file
	if err == nil {
		err = errors.Join(d.Sync(), d.Close())
	}
	if err != nil {
		return fmt.Errorf("key file: %w", err)
	}
	return nil
}
