// Package sim runs the real workers, the real pass and the real SQL on SQLite
// inside a bubble of fake time, with every effect waiting for a seeded
// scheduler: workers crash, messages are doubled, lost and reordered, answers
// to commits are lost, time jumps past leases. Afterwards everything must have
// come right.
package sim

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/tandem-sync/tandem/channels"
	"github.com/tandem-sync/tandem/config"
	"github.com/tandem-sync/tandem/internal/clock"
	"github.com/tandem-sync/tandem/internal/jitter"
	"github.com/tandem-sync/tandem/internal/yield"
	"github.com/tandem-sync/tandem/store"
	"github.com/tandem-sync/tandem/tests/internal/bubble"
	"github.com/tandem-sync/tandem/workers"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// seeds is how many histories a plain test run plays; TANDEM_SIM_SEEDS plays
// more, TANDEM_SIM_SEED one.
const seeds = 50

func TestDirectSync(t *testing.T) {
	first, n := uint64(1), uint64(seeds)
	if v, err := strconv.ParseUint(os.Getenv("TANDEM_SIM_SEEDS"), 10, 64); err == nil && v > 0 {
		n = v
	}
	if v, err := strconv.ParseUint(os.Getenv("TANDEM_SIM_SEED"), 10, 64); err == nil && v > 0 {
		first, n = v, 1
	}
	faults := map[string]int{}
	for seed := first; seed < first+n; seed++ {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			for k, v := range play(t, seed, nil).faults {
				faults[k] += v
			}
		})
	}
	t.Logf("%d seeds, faults played: %v", n, faults)
}

// TestSameSeedSameHistory is what makes a failing seed worth anything.
func TestSameSeedSameHistory(t *testing.T) {
	for seed := uint64(1); seed <= 3; seed++ {
		a, b := play(t, seed, nil), play(t, seed, nil)
		if a.hash != b.hash || a.steps != b.steps {
			t.Errorf("seed %d played two histories (%d steps %x, %d steps %x)", seed, a.steps, a.hash, b.steps, b.hash)
		}
	}
}

const file = `
entities:
  contacts: {table: contacts, key: id, create: {id: "integer primary key", email: "text unique", name: text, phone: text, note: text}}
channels:
  - name: crm
    type: sim
    schedule: "@every 20s"
    connectors:
      - name: contacts
        entity: contacts
        delete: {local: delete}
        match: [[email]]
        overlap: 2s
        mapping:
          - {local: email, remote: email}
          - {local: name, remote: name}
          - {local: phone, remote: phone}
`

// world is one simulated deployment.
type world struct {
	t       *testing.T
	seed    uint64
	rng     *rand.Rand
	sched   *bubble.Scheduler
	net     *bubble.Net
	remote  *remote
	db      *store.DB
	reg     *channels.Registry
	workers []*worker
	clocks  [2]time.Duration // how far the workers' clocks are off
	channel int64
	asking  sync.WaitGroup
	lives   sync.WaitGroup

	// What the oracles remember between steps.
	batches map[int64]int64
	last    map[string]int
	tokens  int
	mark    time.Time
	faults  map[string]int
	steps   int
	broken  []string
}

// people is the scheduler's number for those who ask for runs; they never crash.
const people = 99

// worker is one simulated process.
type worker struct {
	n, life int
	dead    chan struct{}
	cancel  context.CancelFunc
}

type history struct {
	hash   uint64
	steps  int
	faults map[string]int
}

// play runs one seed; interfere, when given, sees every step before it happens.
func play(t *testing.T, seed uint64, interfere func(w *world, point string)) (h history) {
	t.Helper()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, seed, dir)
		w.run(interfere)
		w.heal()
		w.check()
		h = history{w.sched.Hash(), w.steps, w.faults}
		if len(w.broken) > 0 {
			t.Errorf("seed %d (play it alone with TANDEM_SIM_SEED=%d):\n%s\nthe last steps:\n%s",
				seed, seed, strings.Join(w.broken, "\n"), strings.Join(w.sched.Trace(), "\n"))
		}
	})
	return h
}

func newWorld(t *testing.T, seed uint64, dir string) *world {
	ctx := t.Context()
	w := &world{
		t: t, seed: seed, rng: rand.New(rand.NewPCG(seed, 11)), sched: bubble.NewScheduler(seed), net: bubble.NewNet(seed, nil), remote: newRemote(seed),
		reg: &channels.Registry{}, batches: map[int64]int64{}, last: map[string]int{}, faults: map[string]int{},
	}
	for n := range w.clocks { // by a generator of its own: the histories stay what they are
		w.clocks[n] = time.Duration(rand.New(rand.NewPCG(seed, uint64(20+n))).IntN(1200)-600) * time.Second
	}
	must(t, w.reg.Register(w.remote))
	db, err := store.Open(ctx, store.Config{URL: "sqlite:" + dir + "/sim.db"})
	must(t, err)
	w.db = db
	must(t, db.Migrate(ctx))
	f, problems := config.Parse("sim.yaml", []byte(file), func(string) (string, bool) { return "", false })
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	_, err = workers.Apply(ctx, db, nil, w.reg, f)
	must(t, err)
	for range 10 + w.rng.IntN(20) {
		w.remote.create()
	}
	must(t, db.Write(ctx, "rows from before", func(ctx context.Context, tx *store.Tx) error {
		for n := 1; n <= 4; n++ { // the remote has the first three of them as well
			email := fmt.Sprintf("c%d@example.org", n*n*n)
			if _, err := tx.ExecContext(ctx, "INSERT INTO contacts (email, note) VALUES (?, 'before')", email); err != nil {
				return err
			}
		}
		return nil
	}))
	for n := range 2 {
		w.workers = append(w.workers, &worker{n: n})
		w.start(w.workers[n])
	}
	must(t, db.Read(ctx, func(ctx context.Context, tx *store.Tx) error {
		ch, err := tx.ChannelByName(ctx, "crm")
		w.channel = ch.ID
		return err
	}))
	return w
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// start begins a new life of a worker.
func (w *world) start(k *worker) {
	k.life++
	k.dead = make(chan struct{})
	ctx, cancel := context.WithCancel(context.Background())
	k.cancel = cancel
	ctx = yield.With(ctx, w.sched.Hook(k.n, k.life, k.dead))
	ctx = jitter.With(ctx, func(n int64) int64 { return n / 2 })
	f, err := workers.NewFleet(workers.Config{
		DB: w.db, Broker: w.net.Line(k.dead), Registry: w.reg, Owner: fmt.Sprintf("w%d.%d", k.n, k.life),
		Roles: workers.Roles{Worker: true, Scheduler: true, Relay: true}, SyncSlots: 1, ReverseSlots: 1, BatchRecords: 8, Lease: 20 * time.Second,
		Clock: clock.Offset{Clock: clock.System{}, By: w.clocks[k.n]},
	})
	must(w.t, err)
	w.lives.Go(func() {
		if err := f.Run(ctx); err != nil && ctx.Err() == nil {
			w.t.Errorf("fleet: %v", err)
		}
	})
}

// crash ends a worker without a last word: nothing it had not committed
// happened. Its goroutines may still wait for the database; whenever their
// turn comes, they find that they are dead.
func (w *world) crash(k *worker) {
	close(k.dead)
	k.cancel()
	w.start(k)
}

// request asks for a run, as a person would: beside the workers, for the one
// writer of the database may be with a worker that waits for its turn.
func (w *world) request(mode store.Mode, ids ...string) {
	ctx := yield.With(context.Background(), w.sched.Hook(people, 0, nil))
	w.asking.Go(func() {
		err := w.db.Write(ctx, "request", func(ctx context.Context, tx *store.Tx) error {
			_, _, _, err := tx.AddRequest(ctx, store.Request{
				ChannelID: w.channel, Trigger: store.TriggerManual, Spec: store.Spec{Kind: store.KindSync, Mode: mode, RemoteIDs: ids},
			}, true)
			return err
		})
		if err != nil {
			w.t.Errorf("request: %v", err)
		}
	})
}
