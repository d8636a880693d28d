package fleet

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/tandem-sync/tandem/internal/demo"
)

// TestOneProcessPerFile: a second service on the same file is refused and told
// who has it; commands talk to the one that runs.
func TestOneProcessPerFile(t *testing.T) {
	t.Parallel()
	w := newEmbedded(t, demo.Options{Contacts: 300, Seed: 14})
	p := w.service()
	f := w.fails(3, "locked", "run")
	if !strings.Contains(f.Error.Message, fmt.Sprint(p.pid())) {
		t.Errorf("the error does not name process %d: %s", p.pid(), f.Error.Message)
	}
	// The service does the work: without --wait only the id comes back.
	w.remote.holdFrom(2)
	if out := strings.TrimSpace(w.must("sync", "crm")); out != "1" {
		t.Errorf("sync printed %q, want the id 1", out)
	}
	w.reached(1, 100)
	if out := w.must("runs", "list"); !strings.Contains(out, "execution") {
		t.Errorf("runs list beside the service: %s", out)
	}
	w.remote.letGo()
	if out := w.must("runs", "watch", "1"); !strings.Contains(out, "finished") {
		t.Errorf("runs watch: %s", out)
	}
	w.counted(w.show(1), 300, 300)
	w.agree()
	p.kill()
	// The lock went with the process.
	w.service()
	w.settled()
}

// TestKilledService: kill -9 of the only process in the middle of a run. The
// next start goes on at the last batch, at once.
func TestKilledService(t *testing.T) {
	t.Parallel()
	w := newEmbedded(t, demo.Options{Contacts: 1000, Seed: 15})
	p := w.service()
	w.remote.holdFrom(6)
	run := w.begin(`{}`)
	w.reached(run.ID, 500)
	p.kill()
	w.remote.letGo()
	w.service()
	began := time.Now()
	w.counted(w.finished(run.ID), 1000, 1000)
	t.Logf("done %v after the start", time.Since(began).Round(time.Millisecond))
	for page := 1; page <= 5; page++ {
		if n := w.remote.asked(page); n != 1 {
			t.Errorf("page %d, which was committed, was asked for %d times", page, n)
		}
	}
	w.agree()
	w.settled()
}

// TestKilledForeground: the same for a command that works in the foreground;
// the next command finishes the run and joins or follows it.
func TestKilledForeground(t *testing.T) {
	t.Parallel()
	w := newEmbedded(t, demo.Options{Contacts: 600, Seed: 16})
	w.remote.holdFrom(4)
	p := w.spawn(binary, "sync", "crm")
	until(t, 20*time.Second, "three pages in the table", func() bool {
		if _, err := os.Stat(w.dir + "/tandem.db"); err != nil {
			return false
		}
		return w.remote.held() && w.remote.asked(4) == 1
	})
	until(t, 20*time.Second, "three pages in the table", func() bool { return w.number("SELECT count(*) FROM contacts") == 300 })
	p.kill()
	w.remote.letGo()
	out := w.must("runs", "watch", "1", "-o", "json")
	if !strings.Contains(out, `"status":"finished"`) || !strings.Contains(out, `"read":600`) || !strings.Contains(out, `"created":600`) {
		t.Errorf("the killed run: %s", out)
	}
	for page := 1; page <= 3; page++ {
		if n := w.remote.asked(page); n != 1 {
			t.Errorf("page %d, which was committed, was asked for %d times", page, n)
		}
	}
	w.agree()
	w.settled()
}
