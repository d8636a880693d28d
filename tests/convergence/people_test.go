package convergence

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tandem-sync/tandem/store"
)

// settlers makes the records that are there before anything is connected.
func (w *world) settlers() {
	shared := [2]string{}
	for i, name := range []string{"A", "B"} {
		if w.sc.Shape.Chain && name == "B" {
			continue
		}
		for n := range w.sc.Shape.Records {
			email := fmt.Sprintf("%s%d@old", strings.ToLower(name), n)
			w.createThere(w.remotes[name], email)
			shared[i] = email
		}
	}
	must(w.t, w.db.Write(context.Background(), "rows from before", func(ctx context.Context, tx *store.Tx) error {
		for n := range w.sc.Shape.Rows {
			email := fmt.Sprintf("l%d@old", n)
			if n < len(shared) && shared[n] != "" {
				email = shared[n]
			} else if w.sc.Shape.Chain {
				continue
			}
			if err := w.insert(ctx, tx, 0, email, ""); err != nil {
				return err
			}
		}
		return nil
	}))
}

// row is a row of the application's table.
type row struct {
	ID    int64  `db:"id"`
	Email string `db:"email"`
	Name  string `db:"name"`
	Phone string `db:"phone"`
	City  string `db:"city"`
}

func (r row) vals() [len(fields)]string { return [len(fields)]string{r.Email, r.Name, r.Phone, r.City} }

const selectRows = `SELECT id, coalesce(email, '') AS email, coalesce(name, '') AS name, coalesce(phone, '') AS phone, coalesce(city, '') AS city
	FROM contacts ORDER BY id`

// insert makes a row; parents, where the key is another row's, are its values.
func (w *world) insert(ctx context.Context, tx *store.Tx, id int64, email string, old string) error {
	key := any(id)
	if id == 0 {
		key = nil
	}
	name, phone, city := w.m.token("L"), w.m.token("L"), w.m.token("L")
	var now int64
	err := tx.GetContext(ctx, &now, "INSERT INTO contacts (id, email, name, phone, city) VALUES (?, ?, ?, ?, ?) RETURNING id", key, email, name, phone, city)
	if err != nil {
		return err
	}
	if now <= w.highest {
		w.m.reused = true // SQLite gave the key of the last row, which is gone
		w.m.dropped(email, "L", false)
	}
	w.highest = max(w.highest, now)
	for _, v := range []string{name, phone, city} {
		w.m.wrote(v, old, "L", email)
	}
	return nil
}

// do does what people do.
func (w *world) do(a act) {
	w.note("people: %s %s %d %d", a.What, a.At, a.Row, a.Also)
	chain := w.sc.Shape.Chain
	switch {
	case a.What == actSync:
		w.request(a.At, store.KindSync, store.ModeIncremental)
	case a.What == actFull:
		w.request(a.At, store.KindSync, store.ModeFull)
	case a.What == actPush:
		w.request(a.At, store.KindReverseSync, store.ModeIncremental)
	case chain && (a.What == actEdits || a.What == actReuse || a.What == actTwin || a.What == actClash):
	case a.What == actClash:
		w.clash(a)
	case a.At == "L" && !chain:
		w.local(a)
	case chain:
		w.there(w.remotes["A"], a)
	default:
		w.there(w.remotes[a.At], a)
	}
}

// local is what the application does, each time in one transaction.
func (w *world) local(a act) {
	email := w.m.token("L") + "@new"
	w.ask("application", func(ctx context.Context, tx *store.Tx) error {
		var rows []row
		if err := tx.SelectContext(ctx, &rows, selectRows); err != nil {
			return err
		}
		if a.What == actCreate {
			return w.insert(ctx, tx, 0, email, "")
		}
		if len(rows) == 0 {
			return nil
		}
		r, also := rows[a.Row%len(rows)], rows[a.Also%len(rows)]
		if a.who != "" {
			i := slices.IndexFunc(rows, func(r row) bool { return fold(r.Email) == fold(a.who) })
			if i < 0 {
				return nil
			}
			r = rows[i]
		}
		switch a.What {
		case actEdit:
			return w.editRow(ctx, tx, r, 1+a.Also%3)
		case actEdits:
			if err := w.editRow(ctx, tx, r, 1); err != nil {
				return err
			}
			if err := w.editRow(ctx, tx, r, 3); err != nil || also.ID == r.ID {
				return err
			}
			return w.editRow(ctx, tx, also, 2)
		case actDelete, actReuse:
			if _, err := tx.ExecContext(ctx, "DELETE FROM contacts WHERE id = ?", r.ID); err != nil {
				return err
			}
			paired, err := w.paired(ctx, tx, key(r.ID))
			if err != nil {
				return err
			}
			w.m.dropped(r.Email, "L", paired)
			if a.What == actReuse {
				w.m.reused = true
				w.m.dropped(email, "L", false)
				return w.insert(ctx, tx, r.ID, email, "")
			}
		}
		return nil
	})
}

func (w *world) editRow(ctx context.Context, tx *store.Tx, r row, f int) error {
	v := w.m.token("L")
	if _, err := tx.ExecContext(ctx, "UPDATE contacts SET "+fields[f]+" = ? WHERE id = ?", v, r.ID); err != nil { //nolint:gosec // one of our own names
		return err
	}
	w.m.wrote(v, r.vals()[f], "L", r.Email)
	return nil
}

// there is what a remote's own users do.
func (w *world) there(r *remote, a act) {
	email := w.m.token(r.name) + "@new"
	switch a.What {
	case actTwin:
		// Only a remote that refuses a second one can take part in that race.
		if r.Safety == "B" {
			w.createThere(r, email)
			w.ask("application", func(ctx context.Context, tx *store.Tx) error { return w.insert(ctx, tx, 0, email, "") })
		}
		return
	case actCreate:
		w.createThere(r, email)
		return
	}
	r.mu.Lock()
	list := r.live()
	if len(list) == 0 {
		r.mu.Unlock()
		return
	}
	c := list[a.Row%len(list)]
	if a.who != "" {
		if c = r.named(a.who); c == nil {
			r.mu.Unlock()
			return
		}
	}
	id, f := c.id, 1+a.Also%3
	old := c.vals[f]
	r.mu.Unlock()
	if a.What == actDelete {
		w.m.dropped(c.vals[0], r.name, w.pairedThere(r, id))
		r.mu.Lock()
		defer r.mu.Unlock()
		c.deleted, c.updated = true, r.now()
		return
	}
	// What Tandem wrote there and does not know yet to have written is nothing
	// that could count as replaced.
	if w.m.by(old) != r.name && !w.knows(r, id, old) {
		old = ""
	}
	v := w.m.token(r.name)
	w.m.wrote(v, old, r.name, c.vals[0])
	r.mu.Lock()
	defer r.mu.Unlock()
	c.vals[f], c.updated = r.spelled(v), r.now()
	c.late = time.Now().Add(time.Duration(r.Late) * time.Second)
	c.version++
}

// paired reports whether a row has its partners at every remote.
func (w *world) paired(ctx context.Context, tx *store.Tx, key string) (bool, error) {
	for _, id := range w.conns {
		links, err := tx.LinksByLocal(ctx, id, []string{key})
		if err != nil || len(links) != 1 || links[0].State != store.Linked {
			return false, err
		}
	}
	return true, nil
}

func (w *world) pairedThere(r *remote, id string) (paired bool) {
	must(w.t, w.db.Read(context.Background(), func(ctx context.Context, tx *store.Tx) error {
		links, err := tx.Links(ctx, w.conns[r.name], []string{id})
		if err != nil || len(links) != 1 {
			return err
		}
		paired, err = w.paired(ctx, tx, links[0].LocalKey)
		return err
	}))
	return paired
}

// knows reports whether a link's base has a value.
func (w *world) knows(r *remote, id, value string) bool {
	var links []store.Link
	must(w.t, w.db.Read(context.Background(), func(ctx context.Context, tx *store.Tx) (err error) {
		links, err = tx.Links(ctx, w.conns[r.name], []string{id})
		return err
	}))
	return len(links) == 1 && strings.Contains(fold(links[0].Base), `"`+fold(value)+`"`)
}

func (w *world) createThere(r *remote, email string) {
	vals := [len(fields)]string{email}
	for f := 1; f < len(fields); f++ {
		vals[f] = w.m.token(r.name)
		w.m.wrote(vals[f], "", r.name, email)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.add(vals)
}
