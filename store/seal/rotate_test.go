package seal_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/tandem-sync/tandem/store/seal"
)

func TestWith(t *testing.T) {
	t.Parallel()
	one, two := ring(t, seal.NewKey()), ring(t, seal.NewKey())
	sealed := one.Seal("secret", place)
	both := two.With(one)
	if got, err := both.Open(sealed, place); err != nil || got != "secret" || both.KeyID() != two.KeyID() {
		t.Fatalf("%q %v", got, err)
	}
	if two.Has(one.KeyID()) || one.Has(two.KeyID()) {
		t.Fatal("the rings themselves changed")
	}
	if back := both.Prefer(one.KeyID()); back.KeyID() != one.KeyID() || !back.Has(two.KeyID()) || both.KeyID() != two.KeyID() {
		t.Fatal("another of its keys first")
	}
	if one.Prefer(two.KeyID()).KeyID() != one.KeyID() {
		t.Fatal("a key that it lacks")
	}
	if seal.KeyOf(sealed) != one.KeyID() || seal.KeyOf("plain") != "" || seal.KeyOf("") != "" {
		t.Fatal("key of a sealed text")
	}
}

// TestReplaceKeyFile plays a rotation of a key file, with an interruption after
// every step: the next attempt goes on with the same key.
func TestReplaceKeyFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "a.db.key")
	old, err := seal.KeyFile(path)
	if err != nil {
		t.Fatal(err)
	}
	next, err := seal.NextKey(path, "")
	if err != nil || next.KeyID() == old.KeyID() {
		t.Fatal(next, err)
	}
	again, err := seal.NextKey(path, "") // interrupted here
	if err != nil || again.KeyID() != next.KeyID() {
		t.Fatal("another key after an interruption", err)
	}
	if still, err := seal.KeyFile(path); err != nil || still.KeyID() != old.KeyID() {
		t.Fatal("the key changed too early", err)
	}
	if _, err := seal.NextKey(path, seal.NewKey()); err == nil {
		t.Fatal("a second new key was taken")
	}
	if st, err := os.Stat(seal.NextKeyFile(path)); err != nil || st.Mode().Perm() != 0o600 {
		t.Fatal(st, err)
	}
	if err := seal.ReplaceKeyFile(path); err != nil {
		t.Fatal(err)
	}
	if now, err := seal.KeyFile(path); err != nil || now.KeyID() != next.KeyID() {
		t.Fatal("not replaced", err)
	}
	if left, err := filepath.Glob(path + "?*"); err != nil || len(left) > 0 {
		t.Fatalf("left over: %v %v", left, err)
	}
	given := seal.NewKey()
	if next, err = seal.NextKey(path, given); err != nil || next.KeyID() != ring(t, given).KeyID() {
		t.Fatal("not the given key", err)
	}
	if next, err = seal.NextKey(path, given); err != nil || next.KeyID() != ring(t, given).KeyID() {
		t.Fatal("given again", err)
	}
	if _, err := seal.NextKey(filepath.Join(t.TempDir(), "b.key"), "short"); !errors.Is(err, seal.ErrKey) {
		t.Fatalf("a bad key: %v", err)
	}
	if err := seal.ReplaceKeyFile(filepath.Join(t.TempDir(), "none")); err == nil {
		t.Fatal("nothing to replace with")
	}
}
