package convergence

import (
	"context"
	"os"
	"strings"
	"testing/synctest"
	"time"

	"github.com/tandem-sync/tandem/store"
	"github.com/tandem-sync/tandem/tests/internal/bubble"
)

// run plays the part of the history in which things go wrong.
func (w *world) run() {
	w.request("A", store.KindSync, store.ModeIncremental)
	w.request("B", store.KindSync, store.ModeIncremental)
	acts, faults := w.sc.Actions, w.sc.Faults
	for w.steps = 1; w.steps <= w.sc.Steps; w.steps++ {
		synctest.Wait() // nobody is on the way any more when people and faults come
		w.m.step = w.steps
		for len(acts) > 0 && acts[0].Step < w.steps {
			if acts[0].On == "" {
				w.do(acts[0])
			} else {
				w.ambushes = append(w.ambushes, acts[0])
			}
			acts = acts[1:]
		}
		for len(faults) > 0 && faults[0].Step < w.steps {
			w.arm(faults[0])
			faults = faults[1:]
		}
		x := w.sched.Next(w.steps)
		if x == nil {
			w.nap()
			continue
		}
		w.decide(x)
		if w.steps%3 == 0 {
			w.invariants()
		}
	}
}

// loud tells of every step also when nothing fails any more.
func loud() bool { return os.Getenv("TANDEM_SIM_SEED") != "" }

// note adds a step to the history.
func (w *world) note(format string, args ...any) {
	w.sched.Note(format, args...)
	w.m.say(format, args...)
}

// nap lets time pass while everybody sleeps.
func (w *world) nap() {
	d := time.Duration(200+w.sched.Rng.IntN(1500)) * time.Millisecond
	if w.sched.Chance(40) {
		d = time.Duration(1+w.sched.Rng.IntN(30)) * time.Second
	}
	w.note("nap %v", d)
	time.Sleep(d)
}

// arm puts a fault where it is going to happen.
func (w *world) arm(f mess) {
	switch f.What {
	case faultDouble:
		w.copies = append(w.copies, 2)
	case faultDrop:
		w.copies = append(w.copies, 0)
	case faultBusy, faultBroken, faultBefore, faultAfter, faultChanged:
		r := w.remotes[f.At]
		r.mu.Lock()
		defer r.mu.Unlock()
		r.trouble = append(r.trouble, f)
	case faultClock:
		w.workers[f.Arg%2].clock.jump(time.Duration(f.Arg%200-100) * time.Second)
	case faultQueues:
		w.net.Lose()
	default:
		w.armed = append(w.armed, f)
		return
	}
	w.happens(f.What, f.At)
}

// copiesOf says how many copies of the next message arrive.
func (w *world) copiesOf() int {
	if len(w.copies) == 0 {
		return 1
	}
	n := w.copies[0]
	w.copies = w.copies[1:]
	return n
}

func (w *world) happens(what, where string) {
	w.faults[what]++
	w.note("! %s %s", what, where)
}

// fits reports whether a fault can happen at a point.
func (f *mess) fits(x *bubble.Waiter) bool {
	switch f.What {
	case faultLost:
		return x.Point == "tx.after_commit"
	case faultFreeze:
		return !x.InTx() && working(x.Point)
	case faultWorker:
		return strings.HasPrefix(x.Point, "remote.written")
	}
	return true
}

// decide says what happens at a point.
func (w *world) decide(x *bubble.Waiter) {
	w.note("w%d %s", x.Worker, x.Point)
	if x.Worker == people {
		x.Go(nil)
		return
	}
	k := w.workers[x.Worker]
	if x.Life != k.life {
		x.Go(bubble.ErrDead)
		return
	}
	if x.Point == "tx.after_commit" {
		w.committed(k)
	}
	if w.ambush(x) {
		w.sched.Back(x)
		return
	}
	for i := range w.armed {
		if f := w.armed[i]; f.fits(x) {
			w.armed = append(w.armed[:i:i], w.armed[i+1:]...)
			w.happens(f.What, x.Point)
			w.strike(k, x, f)
			return
		}
	}
	x.Go(nil)
}

// strike lets a fault happen.
func (w *world) strike(k *worker, x *bubble.Waiter, f mess) {
	past := time.Duration(15+f.Arg%15) * time.Second // about as long as a lease
	switch f.What {
	case faultCrash, faultWorker:
		x.Go(bubble.ErrDead)
		w.crash(k)
	case faultLost:
		x.Go(bubble.ErrLost)
	case faultPause:
		w.dozed = w.dozed || x.InTx()
		time.Sleep(past)
		x.Go(nil)
	case faultFreeze:
		// Half of them are stopped for so long that another one takes over.
		w.sched.Freeze(x.Worker, w.steps+20+f.Arg%160)
		time.Sleep(past + time.Duration(f.Arg%2)*lease)
		w.sched.Back(x)
	}
}

// heal ends the faults, asks for complete runs and waits for them.
func (w *world) heal() {
	for _, r := range w.remotes {
		r.mu.Lock()
		r.trouble = nil
		r.mu.Unlock()
	}
	w.copies, w.armed = nil, nil
	w.net.Calm()
	w.sched.Thaw()
	w.healed = time.Now()
	w.ambushes = nil
	w.serve(10 * time.Second) // all that was changed shows by now
	w.settle()
	// What was told of as a change must arrive without anybody looking at
	// everything.
	for range 2 {
		w.cycle(store.ModeIncremental)
	}
	w.told()
	for range 2 {
		w.cycle(store.ModeFull)
	}
	w.settled = time.Since(w.healed)
}

// cycle is one run of every channel.
func (w *world) cycle(mode store.Mode) {
	for _, at := range []string{"A", "B"} {
		w.request(at, store.KindSync, mode)
	}
	w.settle()
}

// serve lets everybody go on for a while, one at a time as before.
func (w *world) serve(d time.Duration) {
	for until := time.Now().Add(d); time.Now().Before(until); {
		x := w.sched.Next(w.steps)
		if x == nil {
			w.sched.Idle(time.Until(until))
			continue
		}
		w.sched.Note("w%d %s", x.Worker, x.Point)
		if loud() {
			w.m.say("w%d %s", x.Worker, x.Point)
		}
		if x.Worker != people && x.Life != w.workers[x.Worker].life {
			x.Go(bubble.ErrDead)
			continue
		}
		x.Go(nil)
	}
}

const quiet = `SELECT (SELECT count(*) FROM tandem_change_log) AS log, (SELECT count(*) FROM tandem_dirty) AS dirty,
	(SELECT count(*) FROM tandem_intent) AS intents, (SELECT count(*) FROM tandem_run WHERE status IN ('planned', 'preparing', 'execution')) AS runs`

// bound is how long everything may take to come to rest once nothing fails any
// more. The longest single wait is that of a row that was tried eight times.
const bound = 20 * time.Minute

// settle waits until nothing is under way.
func (w *world) settle() {
	var open struct {
		Log     int `db:"log"`
		Dirty   int `db:"dirty"`
		Intents int `db:"intents"`
		Runs    int `db:"runs"`
	}
	if w.restless {
		return
	}
	for began := time.Now(); time.Since(began) < bound; {
		w.serve(time.Second)
		if w.asks.Load() > 0 {
			continue
		}
		must(w.t, w.db.Read(context.Background(), func(ctx context.Context, tx *store.Tx) error { return tx.GetContext(ctx, &open, quiet) }))
		if open.Log+open.Dirty+open.Intents+open.Runs == 0 {
			return
		}
	}
	w.restless = true
	w.m.breaks("not at rest after %v: %+v", bound, open)
}
