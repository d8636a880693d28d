package sim

import (
	"context"
	"database/sql"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/tandem-sync/tandem/store"
	"github.com/tandem-sync/tandem/tests/internal/bubble"
)

// playSteps is how many effects are scheduled before the faults end.
const playSteps = 700

// run plays the faulty part of the history.
func (w *world) run(interfere func(*world, string)) {
	w.request(store.ModeIncremental)
	for w.steps = 0; w.steps < playSteps; w.steps++ {
		w.users()
		x := w.sched.Next(w.steps)
		if x == nil {
			w.nap()
			continue
		}
		if interfere != nil {
			interfere(w, x.Point)
		}
		w.decide(x)
		if w.steps%3 == 0 {
			w.invariants()
		}
	}
}

// nap lets fake time pass while everybody sleeps.
func (w *world) nap() {
	d := time.Duration(20+w.sched.Rng.IntN(200)) * time.Millisecond
	if w.sched.Chance(10) {
		d = time.Duration(1+w.sched.Rng.IntN(40)) * time.Second
	}
	w.sched.Note("nap %v", d)
	time.Sleep(d)
}

// decide says what happens at a point.
func (w *world) decide(x *bubble.Waiter) {
	if x.Worker == people {
		w.sched.Note("people %s", x.Point)
		x.Go(nil)
		return
	}
	k := w.workers[x.Worker]
	switch {
	case x.Life != k.life:
		x.Go(bubble.ErrDead)
	case w.sched.Chance(70):
		w.fault("crash", x)
		x.Go(bubble.ErrDead)
		w.crash(k)
	case x.Point == "tx.after_commit" && w.sched.Chance(12):
		w.fault("lost answer", x)
		x.Go(bubble.ErrLost)
	case w.sched.Chance(90):
		w.fault("pause", x)
		time.Sleep(time.Duration(15+w.sched.Rng.IntN(15)) * time.Second) // past the lease
		x.Go(nil)
	case !x.InTx() && w.sched.Chance(60):
		w.fault("frozen", x)
		w.sched.Freeze(x.Worker, w.steps+30+w.sched.Rng.IntN(100))
		time.Sleep(time.Duration(15+w.sched.Rng.IntN(15)) * time.Second) // its lease may run out
		x.Go(nil)
	case w.sched.Chance(150):
		w.fault("queues lost", x)
		w.net.Lose()
		x.Go(nil)
	default:
		w.sched.Note("w%d %s", x.Worker, x.Point)
		x.Go(nil)
	}
}

func (w *world) fault(kind string, x *bubble.Waiter) {
	w.faults[kind]++
	w.sched.Note("w%d %s: %s", x.Worker, x.Point, kind)
}

// users are the people on the remote, and the ones who ask for runs.
func (w *world) users() {
	switch w.rng.IntN(24) {
	case 0, 1:
		w.remote.edit(w.rng, w.steps)
	case 2:
		w.remote.create()
	case 3:
		if w.rng.IntN(3) == 0 {
			w.remote.remove(w.rng)
		}
	case 4:
		w.request(store.ModeIncremental)
	case 5:
		if w.rng.IntN(3) == 0 {
			w.request(store.ModeFull)
		}
	case 7:
		w.remote.hide(w.rng, w.last)
	case 6:
		if w.rng.IntN(2) == 0 {
			w.remote.mu.Lock()
			id := w.remote.pick(w.rng).id
			w.remote.mu.Unlock()
			w.request(store.ModeIncremental, id)
		}
	}
}

// heal ends the faults, asks for a last complete run and waits for it.
func (w *world) heal() {
	w.remote.mu.Lock()
	w.remote.faulty, w.remote.hidden = false, ""
	w.remote.mu.Unlock()
	w.net.Calm()
	w.sched.Release()
	w.asking.Wait()
	w.settle()
	w.editWhileReading()
	w.stopAndTakeOver()
	w.stopAndOvertake()
	w.hideOne()
	w.request(store.ModeIncremental)
	w.asking.Wait()
	w.settle()
	w.agree("incremental", w.remote.tomb)
	w.request(store.ModeFull)
	w.asking.Wait()
	w.settle()
	w.agree("full", true)
	for _, k := range w.workers {
		k.cancel()
	}
	w.lives.Wait()
}

// editWhileReading lets people go on editing while a slow remote is read, with
// nothing failing: what they change behind the reader's back must be in the
// next incremental run.
func (w *world) editWhileReading() {
	w.remote.slow(400 * time.Millisecond)
	for n := range 2 {
		w.request(store.ModeIncremental)
		w.asking.Wait()
		for k := range 20 {
			time.Sleep(250 * time.Millisecond)
			w.remote.edit(w.rng, 1000+100*n+k)
			if k%7 == 0 {
				w.remote.create()
			}
		}
		w.settle()
	}
	w.remote.slow(5 * time.Millisecond)
}

// settle waits until no run is under way, an hour of fake time at most.
func (w *world) settle() {
	for range 3600 {
		time.Sleep(time.Second)
		open := 1
		must(w.t, w.db.Read(context.Background(), func(ctx context.Context, tx *store.Tx) error {
			return tx.GetContext(ctx, &open, "SELECT count(*) FROM tandem_run WHERE status IN ('planned', 'preparing', 'execution')")
		}))
		if open == 0 {
			return
		}
	}
	w.breaks("a run has not ended an hour after the last fault")
}

func (w *world) breaks(format string, args ...any) {
	w.broken = append(w.broken, fmt.Sprintf(format, args...))
}

// invariants hold after every step: rows and links appear together, and no
// slice and no watermark ever goes back.
func (w *world) invariants() {
	err := w.db.Read(context.Background(), func(ctx context.Context, tx *store.Tx) error {
		var loose, links, pairs int
		q := `SELECT (SELECT count(*) FROM contacts c WHERE note IS NOT 'before'
				AND NOT EXISTS (SELECT 1 FROM tandem_link l WHERE l.local_key = CAST(c.id AS text) AND l.state = 0)),
			(SELECT count(*) FROM tandem_link WHERE state = 0),
			(SELECT count(*) FROM contacts c JOIN tandem_link l ON l.local_key = CAST(c.id AS text) AND l.state = 0)`
		if err := tx.QueryRowContext(ctx, q).Scan(&loose, &links, &pairs); err != nil {
			return err
		}
		if loose != 0 || links != pairs {
			w.breaks("step %d: %d rows without a link, %d links, %d pairs: a batch was not atomic", w.steps, loose, links, pairs)
		}
		if err := w.monotone(ctx, tx); err != nil {
			return err
		}
		return w.truthful(ctx, tx)
	})
	must(w.t, err)
}

// truthful: nothing is taken for deleted that the remote has, and no value that
// was replaced on the remote comes back here. The remote's users count their
// edits upwards.
func (w *world) truthful(ctx context.Context, tx *store.Tx) error {
	rows, err := tx.QueryContext(ctx, `SELECT l.remote_id, l.state, coalesce(c.name, ''), coalesce(c.phone, '')
		FROM tandem_link l LEFT JOIN contacts c ON CAST(c.id AS text) = l.local_key`)
	if err != nil {
		return err
	}
	defer rows.Close()
	w.remote.mu.Lock()
	defer w.remote.mu.Unlock()
	for rows.Next() {
		var id, name, phone string
		var state int
		if err := rows.Scan(&id, &state, &name, &phone); err != nil {
			return err
		}
		if state == int(store.RemoteDeleted) && !w.remote.all[id].deleted {
			w.breaks("step %d: remote %s lives and was taken for deleted", w.steps, id)
		}
		if state != int(store.Linked) {
			continue
		}
		for field, v := range map[string]string{"name": name, "phone": phone} {
			n, err := strconv.Atoi(strings.TrimLeft(v, "np"))
			if err != nil {
				return err
			}
			if last := w.last[id+field]; n < last {
				w.breaks("step %d: the %s of remote %s went back from %d to %d", w.steps, field, id, last, n)
			}
			w.last[id+field] = n
		}
	}
	return rows.Err()
}

func (w *world) monotone(ctx context.Context, tx *store.Tx) error {
	rows, err := tx.QueryContext(ctx, "SELECT id, batch_no FROM tandem_slice")
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var id, no int64
		if err := rows.Scan(&id, &no); err != nil {
			return err
		}
		if no < w.batches[id] {
			w.breaks("step %d: slice %d went back from batch %d to %d", w.steps, id, w.batches[id], no)
		}
		w.batches[id] = no
	}
	var mark sql.NullInt64
	if err := tx.QueryRowContext(ctx, "SELECT max(at) FROM tandem_watermark").Scan(&mark); err != nil {
		return err
	}
	if at := time.UnixMicro(mark.Int64); mark.Valid {
		if at.Before(w.mark) {
			w.breaks("step %d: the watermark went back from %v to %v", w.steps, w.mark, at)
		}
		w.mark = at
	}
	return rows.Err()
}

// agree compares the two sides when everything is quiet. Without gone, records
// that the remote deleted may still be here: an incremental listing without
// tombstones cannot tell.
func (w *world) agree(after string, gone bool) {
	want := map[string]string{}
	for _, c := range w.remote.live() {
		want[c.id] = c.email + " " + c.name + " " + c.phone
	}
	type row struct {
		Remote string         `db:"remote_id"`
		Email  sql.NullString `db:"email"`
		Name   sql.NullString `db:"name"`
		Phone  sql.NullString `db:"phone"`
		Note   sql.NullString `db:"note"`
	}
	var got []row
	must(w.t, w.db.Read(context.Background(), func(ctx context.Context, tx *store.Tx) error {
		return tx.SelectContext(ctx, &got, `SELECT l.remote_id, c.email, c.name, c.phone, c.note
			FROM tandem_link l JOIN contacts c ON CAST(c.id AS text) = l.local_key WHERE l.state = 0`)
	}))
	for _, r := range got {
		have := r.Email.String + " " + r.Name.String + " " + r.Phone.String
		v, live := want[r.Remote]
		if live && v != have || !live && gone {
			w.breaks("after the last %s run: remote %s is %q and local %q", after, r.Remote, v, have)
		}
		if r.Note.Valid && r.Note.String != "before" {
			w.breaks("remote %s: an unmapped column was written", r.Remote)
		}
		delete(want, r.Remote)
	}
	for id, v := range want {
		w.breaks("after the last %s run: remote %s (%s) is missing locally", after, id, v)
	}
}

// check looks at the books when everything is quiet.
func (w *world) check() {
	w.invariants()
	w.ticks()
	var created, deleted, adopted, rows, before int64
	must(w.t, w.db.Read(context.Background(), func(ctx context.Context, tx *store.Tx) error {
		return tx.QueryRowContext(ctx, `SELECT coalesce(sum(n_created), 0), coalesce(sum(n_deleted), 0),
			(SELECT count(*) FROM contacts), (SELECT count(*) FROM contacts WHERE note = 'before') FROM tandem_slice`).
			Scan(&created, &deleted, &rows, &before)
	}))
	adopted = 4 - before // those of the rows from before that were linked and then deleted
	if created-(deleted-adopted) != rows-before {
		w.breaks("counted %d created and %d deleted (%d of them were not ours), and there are %d rows of ours: a batch counted twice or not at all",
			created, deleted, adopted, rows-before)
	}
	must(w.t, w.db.Close())
}
