package fleet

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tandem-sync/tandem/internal/demo"
)

// severFrom ends one process's connections and lets it make none.
func (w *wire) severFrom(p *process) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.without = p.pid()
	for _, c := range w.open {
		if belongs(c, w.without) {
			_ = c.Close()
		}
	}
}

// belongs reports whether the other end of a connection over loopback is a
// socket of the process.
func belongs(c net.Conn, pid int) bool {
	other, ok := c.RemoteAddr().(*net.TCPAddr)
	if !ok {
		return false
	}
	table, err := os.ReadFile("/proc/net/tcp")
	if err != nil {
		return false
	}
	inode := ""
	for line := range strings.Lines(string(table)) {
		f := strings.Fields(line)
		if len(f) > 9 && strings.HasSuffix(f[1], fmt.Sprintf(":%04X", other.Port)) {
			inode = f[9]
			break
		}
	}
	links, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	if err != nil || inode == "" {
		return false
	}
	for _, link := range links {
		if to, err := os.Readlink(link); err == nil && to == "socket:["+inode+"]" {
			return true
		}
	}
	return false
}

// TestWorkerCutFromRemote: one worker loses the remote and nothing else, in the
// middle of a run. It gives the run up to another one, which goes on at the last
// batch; later runs are done, too, and the first worker stays.
func TestWorkerCutFromRemote(t *testing.T) {
	t.Parallel()
	r := newRemote(t, demo.Options{Contacts: 800, Seed: 52})
	line := newWire(t, strings.TrimPrefix(r.url, "http://"))
	r.url = "http://" + line.l.Addr().String()
	w := newFleetOn(t, r)
	w.control()
	a, b := w.worker(), w.worker()
	w.remote.holdFrom(4)
	run := w.begin(`{}`)
	w.reached(run.ID, 300)
	lonely := w.holder(a, b)
	line.severFrom(lonely)
	w.remote.letGo()
	w.counted(w.finished(run.ID), 800, 800)
	for page := 1; page <= 3; page++ {
		if n := w.remote.asked(page); n != 1 {
			t.Errorf("page %d, which was committed, was asked for %d times", page, n)
		}
	}
	if !strings.Contains(lonely.log.String(), "a slice failed and will be tried again") {
		t.Error("the worker that is cut off noticed nothing: this test proves nothing")
	}
	w.remote.Edit(demo.Edits{Edited: 7})
	if next := w.finished(w.begin(`{}`).ID); next.Updated != 7 {
		t.Errorf("the run after it: %+v", next)
	}
	w.agree()
	w.settled()
	a.alive()
	b.alive()
}
