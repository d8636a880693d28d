package main

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/tandem-sync/tandem/store"
)

// A demo that is killed itself takes its service with it.
func TestDemoKilled(t *testing.T) {
	t.Parallel()
	d, _ := startDemo(t)
	folder := d.folder(t)
	if err := d.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = d.cmd.Wait()
	free(t, folder)
}

// free waits until nobody holds the database of the folder.
func free(t *testing.T, folder string) {
	t.Helper()
	for end := time.Now().Add(90 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if _, held, err := store.ReadLock(filepath.Join(folder, "tandem.db")); err == nil && !held {
			return
		}
	}
	t.Error("the service outlives the demo")
}
