package convergence

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-sync/tandem/channels"
	"github.com/tandem-sync/tandem/config"
	"github.com/tandem-sync/tandem/internal/clock"
	"github.com/tandem-sync/tandem/internal/jitter"
	"github.com/tandem-sync/tandem/internal/yield"
	"github.com/tandem-sync/tandem/store"
	"github.com/tandem-sync/tandem/tests/internal/bubble"
	"github.com/tandem-sync/tandem/workers"
)

const entities = `
entities:
  contacts: {table: contacts, key: id, capture: triggers, create: {id: "integer primary key%s", email: "text%s unique", name: text, phone: text, city: text, note: text}}
channels:
`

const channel = `
  - name: %[1]s
    type: sim-%[1]s
    schedule: "off"
    conflict: %[2]s
    connectors:
      - name: contacts
        entity: contacts
        direction: %[3]s
        delete: {local: delete, remote: delete}
        match: [[email]]
        overlap: 10s
        mapping:
          - {local: email, remote: email}
          - {local: name, remote: name}
          - {local: phone, remote: phone}
          - {local: city, remote: city}
`

func (s *shape) file() string {
	ways := [2]string{"both", "both"}
	if s.Chain {
		ways = [2]string{"to_local", "to_remote"}
	}
	auto, fold := "", ""
	if s.Auto {
		auto = " autoincrement"
	}
	if s.Remotes[0].Upper || s.Remotes[1].Upper {
		fold = " collate nocase" // what spells one record in two ways may not make two rows of it
	}
	return fmt.Sprintf(entities, auto, fold) + fmt.Sprintf(channel, "a", s.Conflict, ways[0]) + fmt.Sprintf(channel, "b", s.Conflict, ways[1])
}

// world is one simulated deployment.
type world struct {
	t       *testing.T
	sc      scenario
	m       *model
	sched   *bubble.Scheduler
	net     *bubble.Net
	remotes map[string]*remote
	db      *store.DB
	reg     *channels.Registry
	workers []*worker
	ids     map[string]int64 // of channels
	conns   map[string]int64 // of connectors
	asks    atomic.Int64     // things that people are about to do
	highest int64            // the highest key that there has ever been
	dozed   bool             // time has passed in the transaction that is open
	asked   int              // how often somebody asked for something
	asking  sync.WaitGroup
	lives   sync.WaitGroup

	ambushes []act          // what people wait for the moment to do
	armed    []mess         // faults whose step has come
	faults   map[string]int // those that happened
	copies   []int          // of the next messages
	memory   memory
	steps    int
	healed   time.Time
	settled  time.Duration
	// restless says that it did not come to rest in time: nothing more is waited for.
	restless bool
}

// people is the scheduler's number for the application and those who ask for
// runs; they never crash.
const people = 99

// worker is one simulated process.
type worker struct {
	n, life int
	dead    chan struct{}
	cancel  context.CancelFunc
	clock   *wrist
}

// owner names the life of a worker.
func (k *worker) owner() string { return fmt.Sprintf("w%d.%d", k.n, k.life) }

// wrist is a worker's clock. It jumps when it is told to, and its short sleeps
// take longer: a poll that is late changes nothing but the number of steps.
type wrist struct {
	clock.System
	mu sync.Mutex
	by time.Duration
}

func (c *wrist) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.System.Now().Add(c.by)
}

func (c *wrist) Sleep(ctx context.Context, d time.Duration) error {
	if d == 50*time.Millisecond {
		d = 700 * time.Millisecond
	}
	return c.System.Sleep(ctx, d)
}

func (c *wrist) jump(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.by += d
}

// history is what a scenario came to.
type history struct {
	hash    uint64
	steps   int
	faults  map[string]int
	settled time.Duration
	broken  []string
	story   []string
}

// play plays a scenario.
func play(t *testing.T, sc scenario, blank []byte) (h history) {
	t.Helper()
	dir, err := os.MkdirTemp(scratch(), "tandem-convergence-") //nolint:usetesting // in memory, not where the machine has its temporary files
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = os.RemoveAll(dir) }() // a temporary folder
	file := filepath.Join(dir, "sim.db")
	if err := os.WriteFile(file, blank, 0o600); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, sc, file)
		w.run()
		w.heal()
		w.check()
		w.close()
		h = history{w.sched.Hash(), w.steps, w.faults, w.settled, w.m.broken, w.m.story}
	})
	return h
}

// scratch is memory where the machine has some for files: SQLite's every commit
// would wait for the disk otherwise.
func scratch() string {
	if st, err := os.Stat("/dev/shm"); err == nil && st.IsDir() {
		return "/dev/shm"
	}
	return os.TempDir()
}

// blank makes an empty database, once for all histories.
func blank(t *testing.T) (image []byte) {
	t.Helper()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		db, err := store.Open(t.Context(), store.Config{URL: "sqlite:" + dir + "/blank.db"})
		must(t, err)
		must(t, db.Migrate(t.Context()))
		must(t, db.Close())
	})
	image, err := os.ReadFile(filepath.Join(dir, "blank.db"))
	must(t, err)
	return image
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func newWorld(t *testing.T, sc scenario, file string) *world {
	ctx := t.Context()
	m := newModel()
	w := &world{
		t: t, sc: sc, m: m, sched: bubble.NewScheduler(sc.Seed), reg: &channels.Registry{}, remotes: map[string]*remote{},
		ids: map[string]int64{}, conns: map[string]int64{}, faults: map[string]int{}, memory: newMemory(),
	}
	w.net = bubble.NewNet(sc.Seed, w.copiesOf)
	for i, name := range []string{"A", "B"} {
		w.remotes[name] = newRemote(name, sc.Shape.Remotes[i], m)
		must(t, w.reg.Register(w.remotes[name]))
	}
	db, err := store.Open(ctx, store.Config{URL: "sqlite:" + file})
	must(t, err)
	w.db = db
	f, problems := config.Parse("sim.yaml", []byte(sc.Shape.file()), func(string) (string, bool) { return "", false })
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	_, err = workers.Apply(ctx, db, nil, w.reg, f)
	must(t, err)
	must(t, db.Read(ctx, w.look))
	must(t, db.Write(ctx, "fake time", stopClock))
	w.settlers()
	for n := range 2 {
		k := &worker{n: n, clock: &wrist{by: time.Duration(sc.Shape.Clocks[n]) * time.Second}}
		w.workers = append(w.workers, k)
		w.start(k)
	}
	return w
}

// stopClock gives captured changes a time of the bubble: SQLite's own clock is the
// machine's. What Tandem writes is dated by the latest run; people's transactions
// date their own (see ask).
func stopClock(ctx context.Context, tx *store.Tx) error {
	_, err := tx.ExecContext(ctx, `CREATE TRIGGER fake_time AFTER INSERT ON tandem_change_log BEGIN
		UPDATE tandem_change_log SET at = coalesce((SELECT max(created_at) FROM tandem_run), 946684800000000) WHERE seq = NEW.seq; END`)
	return err
}

// look reads the numbers of channels and connectors.
func (w *world) look(ctx context.Context, tx *store.Tx) error {
	for _, name := range []string{"A", "B"} {
		ch, err := tx.ChannelByName(ctx, strings.ToLower(name))
		if err != nil {
			return err
		}
		conns, err := tx.Connectors(ctx, ch.ID)
		if err != nil {
			return err
		}
		w.ids[name], w.conns[name] = ch.ID, conns[0].ID
	}
	return nil
}

// start begins a new life of a worker.
func (w *world) start(k *worker) {
	k.life++
	k.dead = make(chan struct{})
	ctx, cancel := context.WithCancel(context.Background())
	k.cancel = cancel
	ctx = yield.With(ctx, w.sched.Hook(k.n, k.life, k.dead))
	ctx = context.WithValue(ctx, ownerKey{}, k.owner())
	ctx = jitter.With(ctx, func(n int64) int64 { return n / 2 })
	f, err := workers.NewFleet(workers.Config{
		DB: w.db, Broker: w.net.Line(k.dead), Registry: w.reg, Owner: k.owner(), Clock: k.clock,
		Roles: workers.Roles{Worker: true, Scheduler: true, Relay: true}, SyncSlots: 1, ReverseSlots: 1,
		BatchRecords: w.sc.Shape.Batch, Lease: lease,
	})
	must(w.t, err)
	w.lives.Go(func() {
		if err := f.Run(ctx); err != nil && ctx.Err() == nil {
			w.t.Errorf("fleet: %v", err)
		}
	})
}

const lease = 20 * time.Second

// ownerKey is where a context holds the life of the worker that it belongs to.
type ownerKey struct{}

// reader names who asks a remote: a slot of a worker does one thing at a time.
func reader(ctx context.Context) string {
	return ownerOf(ctx) + " " + bubble.SlotOf(ctx)
}

// ownerOf names the life of a worker that a context belongs to.
func ownerOf(ctx context.Context) string {
	owner, _ := ctx.Value(ownerKey{}).(string)
	return owner
}

// crash ends a worker without a last word: nothing it had not committed
// happened. Its goroutines may still wait for the database; whenever their
// turn comes, they find that they are dead.
func (w *world) crash(k *worker) {
	w.invariants() // what it has committed, with its last breath
	close(k.dead)
	k.cancel()
	w.start(k)
}

// close ends the workers.
func (w *world) close() {
	w.sched.Release()
	w.asking.Wait()
	for _, k := range w.workers {
		k.cancel()
	}
	w.lives.Wait()
	must(w.t, w.db.Close())
}

// ask does something to the database beside the workers, whose turn it may be.
func (w *world) ask(what string, fn func(ctx context.Context, tx *store.Tx) error) {
	ctx := yield.With(context.Background(), w.sched.Hook(people, 0, nil))
	w.asked++
	ctx = bubble.InSlot(ctx, fmt.Sprintf("%06d", w.asked))
	w.asks.Add(1)
	w.asking.Go(func() {
		defer w.asks.Add(-1)
		err := w.db.Write(ctx, what, func(ctx context.Context, tx *store.Tx) error {
			var before int64
			if err := tx.GetContext(ctx, &before, "SELECT coalesce(max(seq), 0) FROM tandem_change_log"); err != nil {
				return err
			}
			if err := fn(ctx, tx); err != nil {
				return err
			}
			_, err := tx.ExecContext(ctx, "UPDATE tandem_change_log SET at = ? WHERE seq > ?", time.Now().UnixMicro(), before)
			return err
		})
		if err != nil {
			w.t.Errorf("%s: %v", what, err)
		}
	})
}

// request asks for a run, as a person would.
func (w *world) request(at string, kind store.Kind, mode store.Mode) {
	w.ask("request", func(ctx context.Context, tx *store.Tx) error {
		_, _, _, err := tx.AddRequest(ctx, store.Request{
			ChannelID: w.ids[at], Trigger: store.TriggerManual, Spec: store.Spec{Kind: kind, Mode: mode},
		}, true)
		return err
	})
}
