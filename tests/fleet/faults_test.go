package fleet

import (
	"database/sql"
	"strings"
	"syscall"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/tandem-sync/tandem/internal/demo"
	"github.com/tandem-sync/tandem/messages"
	"github.com/tandem-sync/tandem/store"
)

// TestKilledWorker: kill -9 in the middle of a run. Another worker goes on at
// the last batch.
func TestKilledWorker(t *testing.T) {
	t.Parallel()
	w := newFleet(t, demo.Options{Contacts: 1000, Seed: 6})
	w.control()
	a, b := w.worker(), w.worker()
	w.remote.holdFrom(6)
	run := w.begin(`{}`)
	w.reached(run.ID, 500)
	w.holder(a, b).kill()
	began := time.Now()
	w.remote.letGo()
	r := w.finished(run.ID)
	t.Logf("done %v after the kill", time.Since(began).Round(time.Second))
	w.counted(r, 1000, 1000)
	for page := 1; page <= 5; page++ {
		if n := w.remote.asked(page); n != 1 {
			t.Errorf("page %d, which was committed, was asked for %d times", page, n)
		}
	}
	w.agree()
	w.settled()
}

// TestTerminatedWorker: SIGTERM while the remote takes a second for a page. What
// was read is committed, the message is not given back, and the next worker
// goes on from there.
func TestTerminatedWorker(t *testing.T) {
	t.Parallel()
	w := newFleet(t, demo.Options{Contacts: 1000, Seed: 7, Delay: time.Second})
	w.control()
	f := w.foreign()
	worker := w.worker()
	run := w.begin(`{}`)
	until(t, 30*time.Second, "some pages", func() bool { return w.show(run.ID).Read >= 300 })
	worker.signal(syscall.SIGTERM)
	began := time.Now()
	if code := worker.exit(60 * time.Second); code != 0 {
		t.Errorf("exit code %d after SIGTERM", code)
	}
	took := time.Since(began).Round(time.Millisecond)
	at := w.show(run.ID)
	if at.Read < 300 || at.Read%pageSize != 0 || at.Created != at.Read || at.Status.Ended() {
		t.Errorf("after the drain: %+v", at)
	}
	if n := w.number("SELECT count(*) FROM contacts"); n != at.Read {
		t.Errorf("%d rows, but %d records are counted as read", n, at.Read)
	}
	t.Logf("drained within %v at %d records", took, at.Read)

	// The message in work was acknowledged, and the slice handed on by another one.
	until(t, 20*time.Second, "the message that hands on", func() bool { return f.depth(messages.QueueSync) > 0 })
	if d := f.peek(messages.QueueSync); !strings.Contains(string(d.Body), `"slice"`) {
		t.Errorf("in %s: %s", messages.QueueSync, d.Body)
	}
	if n := f.depth(messages.QueueSyncNow); n != 0 {
		t.Errorf("%d messages came back", n)
	}
	w.remote.SetDelay(0)
	w.worker()
	w.counted(w.finished(run.ID), 1000, 1000)
	for page := 1; page <= int(at.Read)/pageSize; page++ {
		if n := w.remote.asked(page); n != 1 {
			t.Errorf("page %d, which was committed, was asked for %d times", page, n)
		}
	}
	w.agree()
	w.settled()
}

// peek looks at the only message of a queue and puts it back.
func (f *foreign) peek(queue string) amqp.Delivery {
	f.t.Helper()
	d, ok, err := f.ch.Get(queue, false)
	if err != nil || !ok || d.MessageCount != 0 {
		f.t.Fatalf("%s: %v, there: %v, more: %d", queue, err, ok, d.MessageCount)
	}
	if err := d.Nack(false, true); err != nil {
		f.t.Fatal(err)
	}
	return d
}

// TestTerminatedWhileThePageHangs: a page that does not come holds no drain up.
func TestTerminatedWhileThePageHangs(t *testing.T) {
	t.Parallel()
	w := newEmbedded(t, demo.Options{Contacts: 500, Seed: 8}, "timeout: 20s", "timeout: 55s")
	w.remote.holdFrom(4)
	p := w.service()
	run := w.begin(`{}`)
	w.reached(run.ID, 300)
	p.signal(syscall.SIGTERM)
	began := time.Now()
	if code := p.exit(60 * time.Second); code != 0 || time.Since(began) > 10*time.Second {
		t.Errorf("exit code %d after %v", code, time.Since(began))
	}
	w.remote.letGo()
	w.service()
	w.counted(w.finished(run.ID), 500, 500)
	w.agree()
}

// TestSecondSignal: what cannot drain, because somebody locks a table, ends at
// once at the second signal; another worker does the run.
func TestSecondSignal(t *testing.T) {
	t.Parallel()
	w := newFleet(t, demo.Options{Contacts: 300, Seed: 9})
	w.control()
	worker := w.worker()
	db, err := sql.Open("postgres", w.database)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close() //nolint:errcheck // the lock is all it held
	tx, err := db.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.ExecContext(t.Context(), "LOCK TABLE tandem_lease IN EXCLUSIVE MODE"); err != nil {
		t.Fatal(err)
	}
	run := w.begin(`{}`)
	until(t, 30*time.Second, "a worker that waits for the lock", func() bool {
		return w.number("SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'tandem_lease'::regclass") > 0
	})
	worker.signal(syscall.SIGTERM)
	time.Sleep(500 * time.Millisecond)
	worker.alive()
	worker.signal(syscall.SIGTERM)
	if code := worker.exit(3 * time.Second); code != 1 {
		t.Errorf("exit code %d after the second signal", code)
	}
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	w.worker()
	w.counted(w.finished(run.ID), 300, 300)
	w.agree()
	w.settled()
}

// TestZombie: a worker is frozen past its lease, another one takes over, and
// the first one wakes up with a page in its hands, or with a refusal that would
// end the run were it still its own.
func TestZombie(t *testing.T) {
	t.Parallel()
	for name, denied := range map[string]bool{"with a page": false, "with a refusal": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			zombie(t, denied)
		})
	}
}

func zombie(t *testing.T, denied bool) {
	w := newFleet(t, demo.Options{Contacts: 1000, Seed: 10}, "timeout: 20s", "timeout: 55s")
	w.control()
	a, b := w.worker(), w.worker()
	w.remote.holdFrom(4)
	run := w.begin(`{}`)
	w.reached(run.ID, 300)
	zombie := w.holder(a, b)
	zombie.signal(syscall.SIGSTOP)
	w.remote.holdLater(8, denied) // page 4 goes to the zombie's socket
	began := time.Now()
	until(t, 70*time.Second, "another worker to take over", func() bool { return w.show(run.ID).Read == 700 })
	t.Logf("taken over after %v", time.Since(began).Round(time.Second))
	zombie.signal(syscall.SIGCONT)
	until(t, 20*time.Second, "the zombie to notice", func() bool {
		return strings.Contains(zombie.log.String(), "another worker took the slice over")
	})
	zombie.alive()
	if r := w.show(run.ID); r.Read != 700 || r.Status != store.StatusExecution {
		t.Errorf("the zombie changed the run: %s, read %d, want 700", r.Status, r.Read)
	}
	w.remote.letGo()
	w.counted(w.finished(run.ID), 1000, 1000)
	w.agree()
	w.settled()
	zombie.signal(syscall.SIGTERM)
	if code := zombie.exit(20 * time.Second); code != 0 {
		t.Errorf("the former zombie ended with %d", code)
	}
}
