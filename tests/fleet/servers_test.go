package fleet

import (
	"syscall"
	"testing"
	"time"

	"github.com/tandem-sync/tandem/internal/demo"
	"github.com/tandem-sync/tandem/internal/testenv"
)

// TestBrokerKilled: the broker dies in the middle of a run. The run goes on
// without it, a new one is accepted meanwhile and done when it is back, and no
// process has to be started again.
func TestBrokerKilled(t *testing.T) {
	t.Parallel()
	broker := testenv.OwnRabbitMQ(t)
	w := newWorld(t, testenv.Postgres(t), broker.URL(), newRemote(t, demo.Options{Contacts: 600, Seed: 11}))
	w.must("migrate")
	w.must("apply")
	processes := []*process{w.control(), w.worker()}
	w.remote.holdFrom(4)
	run := w.begin(`{}`)
	w.reached(run.ID, 300)
	broker.Kill(syscall.SIGKILL)
	w.remote.letGo()
	w.counted(w.finished(run.ID), 600, 600)
	w.remote.Edit(demo.Edits{Edited: 5})
	next := w.begin(`{}`)
	if r := w.show(next.ID); r.Status.Ended() {
		t.Errorf("a run without a broker: %+v", r)
	}
	broker.Start()
	if r := w.finished(next.ID); r.Updated != 5 {
		t.Errorf("the run accepted without a broker: %+v", r)
	}
	for _, p := range processes {
		p.alive()
	}
	w.agree()
	w.settled()
}

// TestDatabaseKilled: PostgreSQL is ended without warning in the middle of a
// run, with a batch to come, and started again.
func TestDatabaseKilled(t *testing.T) {
	t.Parallel()
	database := testenv.OwnPostgres(t)
	w := newWorld(t, database.URL(), testenv.RabbitMQ(t), newRemote(t, demo.Options{Contacts: 600, Seed: 12}))
	w.must("migrate")
	w.must("apply")
	processes := []*process{w.control(), w.worker()}
	w.remote.holdFrom(4)
	run := w.begin(`{}`)
	w.reached(run.ID, 300)
	database.Kill(syscall.SIGQUIT)
	w.remote.letGo()
	time.Sleep(2 * time.Second) // the batch meets a database that is gone
	for _, p := range processes {
		p.alive()
	}
	database.Start()
	w.counted(w.finished(run.ID), 600, 600)
	for _, p := range processes {
		p.alive()
	}
	w.agree()
	w.settled()
}
