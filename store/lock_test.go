package store_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/store"
)

func TestLockFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "a.db")
	if _, held, err := store.ReadLock(path); held || err != nil {
		t.Fatalf("no file: %v %v", held, err)
	}
	l, err := store.AcquireLock("sqlite:" + path)
	if err != nil {
		t.Fatal(err)
	}
	st, err := os.Stat(path + ".lock")
	if err != nil || st.Mode().Perm() != 0o600 {
		t.Fatalf("%v %v", st, err)
	}
	want := func(url, token string) {
		t.Helper()
		info, held, err := store.ReadLock(path)
		if err != nil || !held || info != (store.LockInfo{PID: os.Getpid(), URL: url, Token: token}) {
			t.Fatalf("%+v %v %v", info, held, err)
		}
	}
	want("", "")
	_, err = store.AcquireLock(path)
	if fault.CodeOf(err) != fault.CodeLocked || !strings.Contains(err.Error(), fmt.Sprint(os.Getpid())) {
		t.Fatalf("second: %v", err)
	}
	for _, c := range [][2]string{{"http://127.0.0.1:8080", "a long token"}, {"http://[::1]:1", "t"}, {"", ""}} {
		if err := l.Publish(c[0], c[1]); err != nil {
			t.Fatal(err)
		}
		want(c[0], c[1])
	}
	if err := l.Release(); err != nil {
		t.Fatal(err)
	}
	if _, held, err := store.ReadLock(path); held || err != nil {
		t.Fatalf("released: %v %v", held, err)
	}
	if text, err := os.ReadFile(path + ".lock"); err != nil || len(text) > 0 {
		t.Fatalf("released, and the file says %q %v", text, err)
	}
	// What a dead holder left does not mix with what the next one writes.
	if err := os.WriteFile(path+".lock", []byte(`{"pid":1,"url":"http://old","token":"`+strings.Repeat("x", 100)+`"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if l, err = store.AcquireLock(path); err != nil {
		t.Fatal(err)
	}
	want("", "")
	if err := l.Release(); err != nil {
		t.Fatal(err)
	}
}

func TestLockFileLink(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.Symlink(filepath.Join(dir, "elsewhere"), filepath.Join(dir, "a.db.lock")); err != nil {
		t.Fatal(err)
	}
	if _, err := store.AcquireLock(filepath.Join(dir, "a.db")); fault.CodeOf(err) != fault.CodeConfig {
		t.Fatalf("a symbolic link: %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "elsewhere")); err == nil {
		t.Fatal("the link was followed")
	}
}
