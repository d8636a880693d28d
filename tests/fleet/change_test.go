package fleet

import (
	"io"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tandem-sync/tandem/internal/demo"
	"github.com/tandem-sync/tandem/store"
)

// TestTableChangedMidRun: the user's table gets columns, another type and an
// index while a run writes to it, and is locked for longer than a batch waits.
func TestTableChangedMidRun(t *testing.T) {
	t.Parallel()
	w := newFleet(t, demo.Options{Contacts: 800, Seed: 41})
	w.control()
	worker := w.worker()
	w.remote.holdFrom(4)
	run := w.begin(`{}`)
	w.reached(run.ID, 300)
	onServer(t, w.database,
		"ALTER TABLE contacts ADD COLUMN extra text, ADD COLUMN at timestamptz DEFAULT now()",
		"ALTER TABLE contacts ALTER COLUMN phone TYPE varchar(200)",
		"CREATE INDEX ON contacts (lower(email))")
	locked := make(chan struct{})
	go func() {
		defer close(locked)
		onServer(t, w.database, "BEGIN; LOCK TABLE contacts IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep(7); COMMIT")
	}()
	until(t, 10*time.Second, "the lock", func() bool {
		return w.number("SELECT count(*) FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND granted AND relation = 'contacts'::regclass") > 0
	})
	w.remote.letGo()
	<-locked
	w.counted(w.finished(run.ID), 800, 800)
	w.agree()
	w.settled()
	worker.alive()
}

// TestChannelEditedMidRun: a run goes on with the mapping it began with; the
// next one has the new one.
func TestChannelEditedMidRun(t *testing.T) {
	t.Parallel()
	w := newFleet(t, demo.Options{Contacts: 800, Seed: 42})
	w.control()
	w.worker()
	w.remote.holdFrom(4)
	run := w.begin(`{}`)
	w.reached(run.ID, 300)
	name := filepath.Join(w.dir, "tandem.yaml")
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	const city = "          - {local: city, remote: address.city}\n"
	if !strings.Contains(string(text), city) {
		t.Fatal("the configuration has no city")
	}
	w.configure(strings.Replace(string(text), city, "", 1))
	w.must("apply")
	w.remote.letGo()
	w.counted(w.finished(run.ID), 800, 800)
	w.agree() // the city of every contact, too
	onServer(t, w.database, "UPDATE contacts SET city = 'elsewhere'")
	w.remote.Edit(demo.Edits{Edited: 50})
	next := w.finished(w.begin(`{"mode":"full"}`).ID)
	if n := w.number("SELECT count(*) FROM contacts WHERE city = 'elsewhere'"); n != 800 || next.Read != 800 {
		t.Errorf("%d cities are untouched, want 800: the run read %d", n, next.Read)
	}
}

// TestChannelDisabledMidRun: the run ends within seconds, and leaves whole pages
// and nobody's lease.
func TestChannelDisabledMidRun(t *testing.T) {
	t.Parallel()
	w := newFleet(t, demo.Options{Contacts: 800, Seed: 43})
	w.control()
	worker := w.worker()
	w.remote.holdFrom(4)
	run := w.begin(`{}`)
	w.reached(run.ID, 300)
	w.must("channels", "disable", "crm")
	w.remote.SetDelay(2 * time.Second)
	w.remote.letGo()
	until(t, 60*time.Second, "the run to end", func() bool { return w.show(run.ID).Status.Ended() })
	r := w.show(run.ID)
	rows := w.number("SELECT count(*) FROM contacts")
	if r.Status == store.StatusFinished || rows >= 800 || rows%pageSize != 0 || rows != w.number("SELECT count(*) FROM tandem_link") || r.Created != rows {
		t.Errorf("%s with %d rows: %+v", r.Status, rows, r)
	}
	until(t, 20*time.Second, "the lease to be free", func() bool {
		return w.number("SELECT count(*) FROM tandem_lease WHERE owner <> '' AND expires_at > now()") == 0
	})
	worker.alive()
	w.remote.SetDelay(0)
	w.must("channels", "enable", "crm")
	w.finished(w.begin(`{"mode":"full"}`).ID)
	w.agree()
	w.settled()
}

// wire carries connections to a server until it is cut; then it answers nobody,
// or not one process.
type wire struct {
	l       net.Listener
	to      string
	mu      sync.Mutex
	cut     bool
	without int // the process that is cut off; 0 none
	open    []net.Conn
	wg      sync.WaitGroup
}

func newWire(t *testing.T, to string) *wire {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{l: l, to: to}
	w.wg.Go(w.accept)
	t.Cleanup(func() {
		w.sever()
		_ = l.Close()
		w.wg.Wait()
	})
	return w
}

func (w *wire) accept() {
	for {
		c, err := w.l.Accept()
		if err != nil {
			return
		}
		s, err := net.Dial("tcp", w.to) //nolint:noctx // this machine
		w.mu.Lock()
		if err != nil || w.cut || w.without != 0 && belongs(c, w.without) {
			w.mu.Unlock()
			_ = c.Close()
			if err == nil {
				_ = s.Close()
			}
			continue
		}
		w.open = append(w.open, c, s)
		w.mu.Unlock()
		for _, pair := range [][2]net.Conn{{c, s}, {s, c}} {
			w.wg.Go(func() {
				_, _ = io.Copy(pair[0], pair[1]) // ends when either side does
				_ = pair[0].Close()
				_ = pair[1].Close()
			})
		}
	}
}

// sever ends all connections and lets none come up again.
func (w *wire) sever() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut = true
	for _, c := range w.open {
		_ = c.Close()
	}
}

// TestWorkerCutFromDatabase: one worker loses PostgreSQL and nothing else, with
// a page on its way. Another one takes the run over; the first neither commits
// anything nor goes on asking the remote.
func TestWorkerCutFromDatabase(t *testing.T) {
	t.Parallel()
	w := newFleet(t, demo.Options{Contacts: 800, Seed: 44})
	w.control()
	u, err := url.Parse(w.database)
	if err != nil {
		t.Fatal(err)
	}
	line := newWire(t, u.Host)
	direct := u.Host
	u.Host = line.l.Addr().String()
	name := filepath.Join(w.dir, "tandem.yaml")
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(text), direct) {
		t.Fatalf("the configuration does not name %s", direct)
	}
	w.configure(strings.Replace(string(text), direct, u.Host, 1))
	lonely := w.worker() // has read its configuration when it is ready
	w.configure(string(text))
	w.remote.holdFrom(4)
	run := w.begin(`{}`)
	w.reached(run.ID, 300)
	line.sever()
	w.worker()
	w.remote.holdLater(7, false) // page 4 goes to the worker that is cut off
	until(t, 70*time.Second, "the other worker to take over", func() bool { return w.show(run.ID).Read == 600 })
	for page := 1; page <= 3; page++ {
		if n := w.remote.asked(page); n != 1 {
			t.Errorf("page %d, which was committed, was asked for %d times", page, n)
		}
	}
	w.remote.letGo()
	w.counted(w.finished(run.ID), 800, 800)
	w.agree()
	w.settled()
	lonely.alive()
}
