package fleet

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tandem-sync/tandem/api"
	"github.com/tandem-sync/tandem/internal/demo"
)

// onSmallDisk starts tandem with the folder disk on a file system of its own, of
// which 3 MiB are free and 24 MiB are taken by a file named ballast. It lives in
// a mount namespace of that process and vanishes with it. Root or a user
// namespace is needed to mount it.
func (w *world) onSmallDisk(disk string, args ...string) *process {
	w.t.Helper()
	unshare := []string{"unshare", "-m"}
	if os.Getuid() != 0 {
		unshare = []string{"unshare", "-r", "-m"}
	}
	if err := exec.Command(unshare[0], append(unshare[1:], "mount", "-t", "tmpfs", "none", disk)...).Run(); err != nil { //nolint:noctx // ends at once
		w.t.Fatalf("a full disk needs a file system of its own: run the tests as root or where user namespaces may mount a tmpfs (%v)", err)
	}
	const script = `mount -t tmpfs -o size=27m none "$0" && head -c 25165824 /dev/zero >"$0/ballast" && exec "$@"`
	return w.spawn(unshare[0], append(unshare[1:], append([]string{"sh", "-c", script, disk, binary}, args...)...)...)
}

// TestDiskFull: SQLite's disk is full in the middle of a run. The run waits and
// says why, everything can still be read, and it goes on by itself when there is
// room.
func TestDiskFull(t *testing.T) {
	t.Parallel()
	r := newRemote(t, demo.Options{Contacts: 12000, Seed: 17, Delay: 10 * time.Millisecond})
	w := newWorld(t, "", "embedded", r, "database:", "# database:")
	w.database = ""
	disk := filepath.Join(w.dir, "disk")
	if err := os.Mkdir(disk, 0o700); err != nil {
		t.Fatal(err)
	}
	w.env = append(w.env, "TANDEM_DATABASE=sqlite:"+filepath.Join(disk, "tandem.db"))
	p := w.onSmallDisk(disk, "run")
	w.ready(p, w.listen)
	inside := func(name string) string { return fmt.Sprintf("/proc/%d/root%s/%s", p.pid(), disk, name) }
	run := w.begin(`{}`)
	var at api.Run
	until(t, 60*time.Second, "the run to wait for room", func() bool {
		p.alive()
		at = w.show(run.ID)
		return at.Waiting != nil && strings.Contains(at.Waiting.Reason, "disk_full") || at.Status.Ended()
	})
	if at.Status.Ended() || at.Read == 0 || at.Read%pageSize != 0 {
		t.Fatalf("with a full disk: %+v, %+v", at, at.Error)
	}
	t.Logf("waits at %d records: %s", at.Read, at.Waiting.Reason)
	var st syscall.Statfs_t
	if err := syscall.Statfs(inside(""), &st); err != nil || st.Bavail*uint64(st.Bsize) > 1<<20 { //nolint:unconvert // differs by platform
		t.Errorf("%d blocks are free: that disk is not full (%v)", st.Bavail, err)
	}
	for _, path := range []string{"channels/crm", "runs", fmt.Sprintf("runs/%d", run.ID), "parked"} {
		if code := w.ask(http.MethodGet, path, "", nil); code != http.StatusOK {
			t.Errorf("GET %s with a full disk: status %d", path, code)
		}
	}
	// What is small may still find room; what does not is no fault of ours.
	if code := w.ask(http.MethodPost, "channels/crm/sync", `{"mode":"full"}`, nil); code != http.StatusAccepted && code != http.StatusServiceUnavailable {
		t.Errorf("a new run with a full disk: status %d", code)
	}
	if err := os.Remove(inside("ballast")); err != nil {
		t.Fatal(err)
	}
	w.counted(w.finished(run.ID), 12000, 12000)
	until(t, 60*time.Second, "the later runs", func() bool { return w.runs()[0].Status.Ended() })

	// SQLite resolves the way into the other namespace, so it looks at a copy.
	for _, suffix := range []string{"", "-wal"} {
		b, err := os.ReadFile(inside("tandem.db" + suffix))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(w.dir, "copy.db"+suffix), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	w.database = "sqlite:" + filepath.Join(w.dir, "copy.db")
	w.agree()
	w.settled()
	p.signal(syscall.SIGTERM)
	if code := p.exit(20 * time.Second); code != 0 {
		t.Errorf("exit code %d", code)
	}
}
