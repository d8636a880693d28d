package convergence

import (
	"context"
	"strconv"
	"strings"

	"github.com/tandem-sync/tandem/store"
)

// memory is what the oracles remember between steps.
type memory struct {
	batches, epochs map[int64]int64
	owners          map[[2]int64]string // of the epochs of leases
	marks           map[int64]int64
	rows            map[int64]row
}

func newMemory() memory {
	return memory{batches: map[int64]int64{}, epochs: map[int64]int64{}, owners: map[[2]int64]string{}, marks: map[int64]int64{}, rows: map[int64]row{}}
}

// invariants hold after every step.
func (w *world) invariants() {
	must(w.t, w.db.Read(context.Background(), func(ctx context.Context, tx *store.Tx) error {
		if err := w.never(ctx, tx, "slice %d goes back from batch %d to %d", "SELECT id, batch_no FROM tandem_slice", w.memory.batches); err != nil {
			return err
		}
		if err := w.never(ctx, tx, "the watermark of connector %d goes back from %d to %d", "SELECT connector_id, at FROM tandem_watermark", w.memory.marks); err != nil {
			return err
		}
		const leases = "SELECT connector_id * 4 + (direction = 'sync') * 2 + (shard = 'ids'), epoch FROM tandem_lease"
		if err := w.never(ctx, tx, "lease %d goes back from epoch %d to %d", leases, w.memory.epochs); err != nil {
			return err
		}
		return w.truthful(ctx, tx)
	}))
}

// never checks that numbers do not go back.
func (w *world) never(ctx context.Context, tx *store.Tx, what, query string, last map[int64]int64) error {
	rows, err := tx.QueryContext(ctx, query)
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }() // read to its end
	for rows.Next() {
		var id, n int64
		if err := rows.Scan(&id, &n); err != nil {
			return err
		}
		if n < last[id] {
			w.m.breaks(what, id, last[id], n)
		}
		last[id] = n
	}
	return rows.Err()
}

// truthful: no value comes back here that somebody replaced, and no row vanishes
// that nobody deleted.
func (w *world) truthful(ctx context.Context, tx *store.Tx) error {
	var rows []row
	if err := tx.SelectContext(ctx, &rows, selectRows); err != nil {
		return err
	}
	now := map[int64]row{}
	for _, r := range rows {
		now[r.ID] = r
		last, ok := w.memory.rows[r.ID]
		w.m.holds(key(r.ID), r.Email)
		if last != r {
			w.m.say("  here: row %+v", r)
		}
		for f := 1; ok && f < len(fields); f++ {
			if a, b := r.vals()[f], last.vals()[f]; a != b && w.m.older(a, b) && !w.m.isUnsure(a) {
				w.m.breaks("here: %s of %s goes back from %s to %s", fields[f], r.Email, b, a)
			}
		}
	}
	for id, last := range w.memory.rows {
		if _, ok := now[id]; !ok {
			w.m.say("  here: row %d (%s) is gone", id, last.Email)
		}
		if _, ok := now[id]; !ok && !w.m.isGone(last.Email) {
			w.m.breaks("here: row %d (%s) is gone, and nobody deleted it", id, last.Email)
		}
	}
	w.memory.rows = now
	return nil
}

// told: pairs that nobody took apart hold the same after incremental runs.
func (w *world) told() {
	var rows []row
	var links []link
	must(w.t, w.db.Read(context.Background(), func(ctx context.Context, tx *store.Tx) error {
		if err := tx.SelectContext(ctx, &rows, selectRows); err != nil {
			return err
		}
		return tx.SelectContext(ctx, &links, "SELECT connector_id, local_key, remote_id, state FROM tandem_link WHERE state = 0")
	}))
	here := map[string]row{}
	for _, r := range rows {
		here[key(r.ID)] = r
	}
	for _, r := range w.remotes {
		r.mu.Lock()
		for _, l := range links {
			c, have := r.all[l.Remote], here[l.Key]
			if l.Connector != w.conns[r.name] || c == nil || c.deleted || w.m.isGone(c.vals[0]) || w.m.isGone(have.Email) {
				continue
			}
			if !strings.EqualFold(strings.Join(c.vals[:], " "), joined(have)) {
				w.m.breaks("%s: after incremental runs record %s is %q and row %s is %q", r.name, c.id, c.vals, l.Key, joined(have))
			}
		}
		r.mu.Unlock()
	}
}

// check looks at everything when all is quiet.
func (w *world) check() {
	w.invariants()
	var rows []row
	var links []link
	var parked []item
	var said []string
	must(w.t, w.db.Read(context.Background(), func(ctx context.Context, tx *store.Tx) error {
		if err := tx.SelectContext(ctx, &rows, selectRows); err != nil {
			return err
		}
		if err := tx.SelectContext(ctx, &links, "SELECT connector_id, local_key, remote_id, state FROM tandem_link ORDER BY connector_id, remote_id"); err != nil {
			return err
		}
		if err := tx.SelectContext(ctx, &parked, "SELECT connector_id, kind, reason, message, local_id, remote_id FROM tandem_parked WHERE resolved = ''"); err != nil {
			return err
		}
		return tx.SelectContext(ctx, &said, `SELECT body FROM tandem_change UNION ALL SELECT coalesce(payload, '') FROM tandem_parked
			UNION ALL SELECT coalesce(local_value, '') || coalesce(remote_value, '') FROM tandem_conflict`)
	}))
	final := w.converged(rows, links, parked)
	w.waiting(parked)
	w.kept(final, said)
	w.lonely(rows)
	w.fixpoint()
	w.echo()
	w.accounted()
}

type link struct {
	Connector int64  `db:"connector_id"`
	Key       string `db:"local_key"`
	Remote    string `db:"remote_id"`
	State     int    `db:"state"`
}

type item struct {
	Connector int64  `db:"connector_id"`
	Kind      string `db:"kind"`
	Reason    string `db:"reason"`
	Message   string `db:"message"`
	Local     string `db:"local_id"`
	Remote    string `db:"remote_id"`
}

// converged: both sides of every pair hold the same, and nobody is without a
// partner whom nobody deleted. It gives the values that stand.
func (w *world) converged(rows []row, links []link, parked []item) map[string]bool {
	final := map[string]bool{}
	disputed := map[string]bool{}
	for _, p := range parked {
		disputed[p.Remote] = w.m.contested(p)
	}
	here := map[string]row{}
	for _, r := range rows {
		here[key(r.ID)] = r
		for _, v := range r.vals() {
			final[fold(v)] = true
		}
	}
	for _, r := range w.remotes {
		pairs, byKey := map[string]string{}, map[string]string{}
		for _, l := range links {
			if l.Connector != w.conns[r.name] || l.State != int(store.Linked) {
				continue
			}
			if other, ok := byKey[l.Key]; ok {
				w.m.breaks("%s: row %s is linked to %s and to %s", r.name, l.Key, other, l.Remote)
			}
			pairs[l.Remote], byKey[l.Key] = l.Key, l.Remote
		}
		w.compare(r, pairs, here, final, disputed)
		for k, have := range here {
			if byKey[k] == "" && !w.m.isGone(have.Email) {
				w.m.breaks("%s: row %s (%s) has no record there; its links: %v", r.name, k, have.Email, linksOf(links, w.conns[r.name], k))
			}
		}
	}
	return final
}

func linksOf(all []link, connector int64, key string) (out []link) {
	for _, l := range all {
		if l.Connector == connector && l.Key == key {
			out = append(out, l)
		}
	}
	return out
}

func (w *world) compare(r *remote, pairs map[string]string, here map[string]row, final, disputed map[string]bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	emails := map[string]string{}
	for _, c := range r.live() {
		for _, v := range c.vals {
			final[fold(v)] = true
		}
		if other, ok := emails[fold(c.vals[0])]; ok && (!w.m.reused || !w.m.isGone(c.vals[0])) {
			w.m.breaks("%s: %s and %s are both %s", r.name, other, c.id, c.vals[0])
		}
		emails[fold(c.vals[0])] = c.id
		k, linked := pairs[c.id]
		have, exists := here[k]
		switch {
		case !linked:
			if !w.m.isGone(c.vals[0]) {
				w.m.breaks("%s: record %s (%s) has no row here", r.name, c.id, c.vals[0])
			}
		case !exists:
			w.m.breaks("%s: record %s (%s) is linked to row %s, which does not exist", r.name, c.id, c.vals[0], k)
		case disputed[c.id]:
		case !strings.EqualFold(strings.Join(c.vals[:], " "), joined(have)):
			w.m.breaks("%s: record %s is %q and row %s is %q", r.name, c.id, c.vals, k, joined(have))
		}
		delete(pairs, c.id)
	}
	for id, k := range pairs {
		w.m.breaks("%s: row %s is linked to record %s, which does not exist", r.name, k, id)
	}
}

func joined(r row) string {
	v := r.vals()
	return strings.Join(v[:], " ")
}

func key(id int64) string { return strconv.FormatInt(id, 10) }

// waiting: what waits for a person says why, and has to do with a record that
// somebody deleted.
func (w *world) waiting(list []item) {
	for _, p := range list {
		if p.Reason == "" || p.Message == "" {
			w.m.breaks("an item waits for a person without a reason: %+v", p)
		}
		if w.m.contested(p) {
			continue
		}
		if p.Reason == "create_unknown" && w.m.isGone(w.m.lastAt(p.Local)) {
			continue // its row was removed while nobody knew whether its record had been made
		}
		w.m.breaks("an item waits for a person: %+v", p)
	}
}

// kept: every value that somebody wrote stands, or was replaced by somebody who
// could see it, or is told of in the history, or its record was deleted. What
// stands was not replaced by anybody.
func (w *world) kept(final map[string]bool, said []string) {
	w.m.mu.Lock()
	defer w.m.mu.Unlock()
	replaced := w.m.replaced()
	history := fold(strings.Join(said, "\n"))
	for token, e := range w.m.edits {
		switch gone := w.m.gone[e.email] != ""; {
		case gone, w.m.blind[token] && !final[token]:
		case final[token] && replaced[token] && !w.m.unsure[token]:
			w.m.breaksLocked("%s stands, and somebody replaced it", token)
		case final[token], replaced[token], strings.Contains(history, `"`+token+`"`):
		default:
			w.m.breaksLocked("%s, written at %s in step %d to %s, is lost", token, e.at, e.step, e.email)
		}
	}
}

// lonely: a record that was deleted at one place, with which nobody did
// anything else, is gone everywhere.
func (w *world) lonely(rows []row) {
	left := map[string]string{}
	for _, r := range rows {
		left[fold(r.Email)] += "L"
	}
	for _, r := range w.remotes {
		r.mu.Lock()
		for _, c := range r.live() {
			left[fold(c.vals[0])] += r.name
		}
		r.mu.Unlock()
	}
	for email, where := range w.m.gone {
		if w.m.acts[email] == 1 && len(where) == 1 && left[email] != "" {
			w.m.breaks("%s was deleted at %s and is still at %s", email, where, left[email])
		}
	}
}
