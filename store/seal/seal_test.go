package seal_test

import (
	"encoding/base64"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/tandem-sync/tandem/store/seal"
)

const place = "channel/crm/transport.token"

func ring(t *testing.T, keys ...string) *seal.Keyring {
	t.Helper()
	k, err := seal.New(keys[0], keys[1:]...)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestSealAndOpen(t *testing.T) {
	t.Parallel()
	k := ring(t, seal.NewKey())
	for _, plain := range []string{"", "secret", strings.Repeat("é\x00", 5000), "tandem:v1:x:y"} {
		sealed := k.Seal(plain, place)
		if !seal.IsSealed(sealed) || !strings.HasPrefix(sealed, "tandem:v1:"+k.KeyID()+":") || plain != "" && strings.Contains(sealed, plain) {
			t.Fatalf("sealed: %s", sealed)
		}
		if again := k.Seal(plain, place); again == sealed {
			t.Fatal("sealing twice gives the same text")
		}
		if got, err := k.Open(sealed, place); err != nil || got != plain {
			t.Fatalf("%q %v", got, err)
		}
	}
	if seal.IsSealed("secret") || seal.IsSealed("") {
		t.Fatal("clear text looks sealed")
	}
}

func TestTampered(t *testing.T) {
	t.Parallel()
	one, two := seal.NewKey(), seal.NewKey()
	k := ring(t, one)
	sealed := k.Seal("secret", place)
	body := sealed[strings.LastIndex(sealed, ":")+1:]
	for i := range len(body) {
		flipped := []byte(sealed)
		at := len(sealed) - len(body) + i
		flipped[at] = 'A'
		if sealed[at] == 'A' {
			flipped[at] = 'B'
		}
		if got, err := k.Open(string(flipped), place); err == nil && got != "secret" || err != nil && !errors.Is(err, seal.ErrTampered) {
			t.Fatalf("letter %d changed: %q %v", i, got, err)
		}
	}
	for what, c := range map[string]struct {
		text, place string
		want        error
	}{
		"another place":   {sealed, "channel/crm/transport.password", seal.ErrTampered},
		"another channel": {sealed, "channel/crn/transport.token", seal.ErrTampered},
		"cut":             {sealed[:len(sealed)-1], place, seal.ErrTampered},
		"too short":       {"tandem:v1:" + k.KeyID() + ":AAAA", place, seal.ErrTampered},
		"no base64":       {"tandem:v1:" + k.KeyID() + ":***", place, seal.ErrTampered},
		"no key":          {"tandem:v1:", place, seal.ErrTampered},
		"clear":           {"secret", place, seal.ErrTampered},
		"clear, colons":   {k.KeyID() + ":" + body, place, seal.ErrTampered},
		"unknown key":     {"tandem:v1:00000000:" + body, place, seal.ErrUnknownKey},
		"another ring":    {ring(t, two).Seal("secret", place), place, seal.ErrUnknownKey},
	} {
		if got, err := k.Open(c.text, c.place); !errors.Is(err, c.want) || got != "" {
			t.Errorf("%s: %q %v", what, got, err)
		}
	}
}

func TestRotation(t *testing.T) {
	t.Parallel()
	one, two := seal.NewKey(), seal.NewKey()
	old := ring(t, one)
	sealed := old.Seal("secret", place)
	both := ring(t, two, one)
	if got, err := both.Open(sealed, place); err != nil || got != "secret" {
		t.Fatalf("%q %v", got, err)
	}
	if both.KeyID() == old.KeyID() || !both.Has(old.KeyID()) || old.Has(both.KeyID()) {
		t.Fatal("key ids")
	}
	if _, err := old.Open(both.Seal("x", place), place); !errors.Is(err, seal.ErrUnknownKey) {
		t.Fatal(err)
	}
}

func TestKeys(t *testing.T) {
	t.Parallel()
	raw := []byte(strings.Repeat("\xfb\xff", 16))
	want := ring(t, base64.StdEncoding.EncodeToString(raw)).KeyID()
	for _, text := range []string{base64.RawStdEncoding.EncodeToString(raw), base64.URLEncoding.EncodeToString(raw), " " + base64.RawURLEncoding.EncodeToString(raw) + "\n"} {
		if got := ring(t, text).KeyID(); got != want {
			t.Errorf("%q: another key", text)
		}
	}
	for _, bad := range []string{"", "short", "canary-" + seal.NewKey(), base64.StdEncoding.EncodeToString(raw[:31]), base64.StdEncoding.EncodeToString(append(raw, 1)), strings.Repeat("?", 44)} {
		_, err := seal.New(bad)
		if !errors.Is(err, seal.ErrKey) || bad != "" && strings.Contains(err.Error(), bad) {
			t.Errorf("%q: %v", bad, err)
		}
		if _, err := seal.New(seal.NewKey(), bad); !errors.Is(err, seal.ErrKey) {
			t.Errorf("as an older key %q: %v", bad, err)
		}
	}
}

func TestKeyFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "a.db.key")
	ids := make([]string, 8)
	var wg sync.WaitGroup
	for i := range ids { // made by several at once
		wg.Go(func() {
			k, err := seal.KeyFile(path)
			if err != nil {
				t.Error(err)
				return
			}
			ids[i] = k.KeyID()
		})
	}
	wg.Wait()
	for _, id := range ids {
		if id == "" || id != ids[0] {
			t.Fatalf("different keys: %v", ids)
		}
	}
	st, err := os.Stat(path)
	if err != nil || st.Mode().Perm() != 0o600 {
		t.Fatalf("%v %v", st, err)
	}
	if left, err := filepath.Glob(filepath.Join(dir, ".*")); err != nil || len(left) > 0 {
		t.Fatalf("left over: %v %v", left, err)
	}
	if err := os.Chmod(path, 0o644); err != nil { // #nosec G302 -- that is the point
		t.Fatal(err)
	}
	if _, err := seal.KeyFile(path); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Fatalf("readable by others: %v", err)
	}
	if err := os.Symlink(path, filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	if _, err := seal.KeyFile(filepath.Join(dir, "link")); err == nil {
		t.Fatal("a symbolic link was followed")
	}
	if err := os.WriteFile(filepath.Join(dir, "bad"), []byte("canary"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := seal.KeyFile(filepath.Join(dir, "bad")); !errors.Is(err, seal.ErrKey) || strings.Contains(err.Error(), "canary") {
		t.Fatalf("a bad key: %v", err)
	}
	if _, err := seal.KeyFile(filepath.Join(dir, "none", "x")); err == nil {
		t.Fatal("no folder")
	}
}
