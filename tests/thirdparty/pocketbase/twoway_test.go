package pocketbase

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// Environment variables of the two-way tests.
const (
	envSeed    = "TANDEM_TWOWAY_SEED" // repeats what the people on both sides do
	envMinutes = "PROVE_MINUTES"      // how long they do it; then servers are killed, too
)

// quiet is how long both sides may take to come to rest.
const quiet = 4 * time.Minute

// faster makes the example pull often, so that seconds are enough for a test,
// and take over from killed workers soon.
var faster = []string{`schedule: "@every 5s"`, `schedule: "@every 2s"`, "\nentities:", "\nworkers: {lease: 4s}\nentities:"}

// Both sides are edited while the one process of Tandem's is killed again and
// again; then both hold the same, and what everybody wrote is there.
func TestTwoWayEmbedded(t *testing.T) {
	t.Parallel()
	w := newWorld(t, false)
	w.storm()
}

// The same with RabbitMQ, PostgreSQL and two workers.
func TestTwoWayFleet(t *testing.T) {
	t.Parallel()
	w := newWorld(t, true)
	w.storm()
}

// A change in the table reaches PocketBase although nobody asks for a sync.
func TestLocalChangesGoOutByThemselves(t *testing.T) {
	t.Parallel()
	for name, fleet := range map[string]bool{"embedded": false, "fleet": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, fleet, `schedule: "@every 5s"`, `schedule: "off"`)
			w.goesOut()
		})
	}
}

// seedOf is the seed of this run.
func seedOf(t *testing.T) uint64 {
	t.Helper()
	text := os.Getenv(envSeed)
	if text == "" {
		return rand.Uint64N(1_000_000)
	}
	seed, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("%s: %v", envSeed, err)
	}
	return seed
}

// proof is how long to go on by the environment; 0 is the short form.
func proof(t *testing.T) time.Duration {
	t.Helper()
	text := os.Getenv(envMinutes)
	if text == "" {
		return 0
	}
	minutes, err := strconv.ParseFloat(text, 64)
	if err != nil || minutes <= 0 {
		t.Fatalf("%s=%q: want a number of minutes", envMinutes, text)
	}
	return time.Duration(minutes * float64(time.Minute))
}

// newWorld starts everything: an empty PocketBase, the example's two-way.yaml
// with edits made to it, and the processes.
func newWorld(t *testing.T, inFleet bool, edits ...string) *world {
	t.Helper()
	w := &world{T: t, seed: seedOf(t), m: newModel(), s: emptyRemote(t)}
	t.Logf("seed %d; %s=%d repeats what is done on both sides", w.seed, envSeed, w.seed)
	if len(edits) == 0 {
		edits = faster
	}
	if inFleet {
		w.servers = startServers(t, proof(t) > 0)
		w.d = fleetOn(t, w.s, "two-way.yaml", w.servers.postgres, w.servers.amqp, edits...)
		w.jobs = []*job{{args: []string{"--roles", "worker"}}, {args: []string{"--roles", "worker"}}, {args: []string{"--roles", "scheduler,relay,web"}}}
		w.open(w.d.dsn)
	} else {
		w.d = embeddedFrom(t, w.s, "two-way.yaml", edits...)
		w.jobs = []*job{{}}
		w.open(strings.Replace(w.d.dsn, "mode=ro", "_txlock=immediate", 1))
	}
	for _, j := range w.jobs {
		j.p = w.d.serve(t, j.args...)
	}
	w.d.ready(t)
	return w
}

func (w *world) open(dsn string) {
	w.Helper()
	db, err := sql.Open(w.d.driver, dsn)
	if err != nil {
		w.Fatal(err)
	}
	w.app = db
	w.Cleanup(func() { db.Close() })
}

// populate makes contacts on both sides, some on one side only, some that are
// the same person on both, and waits until they have been put together.
func (w *world) populate() {
	w.Helper()
	ctx := w.Context()
	h, t := w.actor(here), w.actor(there)
	for n := range seeds {
		var err error
		if n%3 != 1 {
			err = h.create(ctx, n)
		}
		if n%3 != 0 && err == nil {
			err = t.create(ctx, n)
		}
		if err != nil {
			w.Fatal(err)
		}
	}
	w.quiesce(quiet)
}

// storm edits on both sides and kills processes meanwhile, waits for rest, and
// proves that it is one.
func (w *world) storm() {
	begun := time.Now()
	w.populate()
	w.Logf("the contacts of the beginning are on both sides after %v", time.Since(begun).Round(time.Millisecond))
	length := proof(w.T)
	pause, calm := 60*time.Millisecond, 1500*time.Millisecond
	if length == 0 {
		length = 6 * time.Second
	} else {
		pause, calm = 100*time.Millisecond, 5*time.Second
	}
	ctx, stop := context.WithTimeout(w.Context(), length)
	defer stop()
	var wg sync.WaitGroup
	errs := make([]error, 2)
	for _, s := range []side{here, there} {
		wg.Go(func() {
			if errs[s] = w.actor(s).act(ctx, pause); errs[s] != nil {
				stop()
			}
		})
	}
	w.killing(ctx, calm)
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		w.Fatalf("seed %d: %v", w.seed, err)
	}
	w.d.ready(w.T)
	v, took := w.quiesce(quiet)
	h, t, err := w.snapshot()
	if err != nil {
		w.Fatal(err)
	}
	wrong, err := w.unlinked(h, t, v.held)
	if err != nil || len(wrong) > 0 {
		w.Fatalf("seed %d: links that are not one to one: %v %s", w.seed, err, lines(wrong))
	}
	w.rests()
	w.report(h, t, v, took)
}

// report says what was proven.
func (w *world) report(h, t map[int][]found, v *verdict, took time.Duration) {
	w.Helper()
	pushed, conflicts := w.tally()
	kind := "embedded, SQLite"
	servers := ""
	if w.servers != nil {
		kind = "RabbitMQ and PostgreSQL, two workers"
		servers = fmt.Sprintf(", %d of RabbitMQ, %d of PostgreSQL", w.servers.brokerKills, w.servers.postgresKills)
	}
	w.Logf("%s: seed %d: here %d edits, %d creates, %d deletes; there %d edits, %d creates, %d deletes; kills: %d of Tandem%s; "+
		"remote writes %d, conflicts %d; rest after %v: %d rows, %d records, %d held; lost 0, duplicates 0, further writes 0",
		kind, w.seed, w.m.edits[here], w.m.creates[here], w.m.deletes[here], w.m.edits[there], w.m.creates[there], w.m.deletes[there],
		w.kills, servers, pushed, conflicts, took.Round(time.Millisecond), len(h), len(t), v.held)
}

// killing kills one process after another, and starts it again, until ctx ends.
func (w *world) killing(ctx context.Context, calm time.Duration) {
	w.Helper()
	rng := rand.New(rand.NewPCG(w.seed, 7))
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(calm/2 + time.Duration(rng.Int64N(int64(calm)))):
		}
		if w.servers != nil && w.servers.kill(w.T, rng) {
			continue
		}
		j := w.jobs[rng.IntN(len(w.jobs))]
		j.p.kill(w.T)
		w.kills++
		time.Sleep(time.Duration(rng.Int64N(int64(500 * time.Millisecond))))
		j.p = w.d.serve(w.T, j.args...)
	}
}

// goesOut edits the table and waits for PocketBase to hold it.
func (w *world) goesOut() {
	w.Helper()
	ctx := w.Context()
	wait := func(what string, since time.Time, ok func(c []Contact) bool) {
		w.Helper()
		eventually(w.T, time.Minute, what, func() bool {
			var answer struct{ Items []Contact }
			path := records + "?filter=" + url.QueryEscape("(company='"+company(1)+"')")
			if err := w.s.Call(ctx, http.MethodGet, path, nil, &answer); err != nil {
				w.Fatal(err)
			}
			return ok(answer.Items)
		})
		w.Logf("%s %v after the commit", what, time.Since(since).Round(time.Millisecond))
	}
	step := func(err error) time.Time {
		w.Helper()
		if err != nil {
			w.Fatal(err)
		}
		return time.Now()
	}
	since := step(w.insert(ctx, 1, values{"email": email(1), "first_name": "Ada", "score": "2.5"}))
	wait("an INSERT reached PocketBase", since, func(c []Contact) bool { return len(c) == 1 && c[0].FirstName == "Ada" && c[0].Score == 2.5 })
	for _, name := range []string{"Grace", "Barbara", "Frances"} {
		since = step(w.update(ctx, values{"first_name": name}, "company = "+w.mark(2), company(1)))
		wait("an UPDATE reached PocketBase", since, func(c []Contact) bool { return len(c) == 1 && c[0].FirstName == name })
		time.Sleep(2500 * time.Millisecond) // so that the next one is not put together with it
	}
	since = step(w.delete(ctx, 1))
	wait("a DELETE reached PocketBase", since, func(c []Contact) bool { return len(c) == 0 })
}
