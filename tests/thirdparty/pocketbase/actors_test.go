package pocketbase

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Numbers say who may do what with a contact, so that what must become of it
// can be told for certain. Everything else is edited by both sides.
//
//	n % 5 == 0  may be deleted here; edited on both sides
//	n % 5 == 1  may be deleted there; not edited here
//	n % 5 == 2  may be deleted on both sides, while the other one edits it
//	n % 5 == 3  may be deleted here and entered anew in the same transaction
//	n % 10 == 8 gets new e-mail addresses here, 9 there
//
// Contacts from firstBoth on are neither deleted nor renamed: until both sides
// know of each other's, they are two.
const (
	firstHere  = 10_000 // contacts that are created here
	firstThere = 20_000
	firstBoth  = 30_000 // created on both sides, each as if it were the only one
)

// actor is the people or programs that work on one side.
type actor struct {
	w    *world
	rng  *rand.Rand
	side side
	next int // contacts created by this side alone
	both int // contacts created by both
	n    int // makes values differ
}

func (w *world) actor(s side) *actor {
	a := &actor{w: w, side: s, rng: rand.New(rand.NewPCG(w.seed, uint64(s))), next: firstHere, both: firstBoth}
	if s == there {
		a.next = firstThere
	}
	return a
}

// act does one random thing after another until ctx ends.
func (a *actor) act(ctx context.Context, pause time.Duration) error {
	for ctx.Err() == nil {
		if err := a.once(ctx); err != nil && ctx.Err() == nil {
			return err
		}
		select {
		case <-ctx.Done():
		case <-time.After(time.Duration(a.rng.Int64N(int64(2 * pause)))):
		}
	}
	return nil
}

func (a *actor) once(ctx context.Context) error {
	switch p := a.rng.IntN(100); {
	case p < 8:
		a.next++
		return a.create(ctx, a.next)
	case p < 13:
		a.both++
		return a.create(ctx, a.both)
	case p < 20:
		return a.remove(ctx, a.pick())
	case p < 26 && a.side == here:
		return a.bulk(ctx)
	case p < 29 && a.side == here:
		return a.replace(ctx, a.pick())
	}
	n := a.pick()
	if a.side == here && n%5 == 1 {
		n++
	}
	return a.edit(ctx, n)
}

// pick gives the number of a contact that may exist.
func (a *actor) pick() int {
	switch a.rng.IntN(4) {
	case 0:
		return firstHere + 1 + a.rng.IntN(60)
	case 1:
		return firstBoth + 1 + a.rng.IntN(40)
	case 2:
		return firstThere + 1 + a.rng.IntN(60)
	}
	return a.rng.IntN(seeds)
}

func (a *actor) word(field string) string {
	a.n++
	return fmt.Sprintf("%s %d %s 'é\"", field, a.n, a.side)
}

// value gives a new value of a field; now and then the empty one.
func (a *actor) value(field string) string {
	if a.rng.IntN(8) == 0 {
		return ""
	}
	switch field {
	case "score":
		return strconv.FormatFloat(float64(1+a.rng.IntN(4_000_000))/4, 'f', -1, 64)
	case "active":
		return "true"
	case "birthday":
		return fmt.Sprintf("%04d-%02d-%02d", 1930+a.rng.IntN(80), 1+a.rng.IntN(12), 1+a.rng.IntN(28))
	case "tags":
		b, _ := json.Marshal([]string{a.word("tag"), strconv.Itoa(a.rng.IntN(9))})
		return string(b)
	}
	return a.word(field)
}

// fresh gives all fields of a new contact.
func (a *actor) fresh(n int) values {
	v := values{"email": email(n)}
	for _, f := range fieldNames[1:] {
		v[f] = a.value(f)
	}
	return v
}

func email(n int) string { return fmt.Sprintf("no.%d@example.com", n) }

// change gives one to three fields with new values. The last name is edited
// there only, the phone here only.
func (a *actor) change(n int) values {
	fields := []string{"first_name", "score", "active", "birthday", "tags", [...]string{"phone", "last_name"}[a.side]}
	a.rng.Shuffle(len(fields), func(i, j int) { fields[i], fields[j] = fields[j], fields[i] })
	v := values{}
	for _, f := range fields[:1+a.rng.IntN(3)] {
		v[f] = a.value(f)
	}
	if n%10 == 8+int(a.side) && n >= firstHere && n < firstBoth && a.rng.IntN(3) == 0 {
		a.n++
		v["email"] = fmt.Sprintf("no.%d.%d@example.com", n, a.n)
	}
	return v
}

func (a *actor) create(ctx context.Context, n int) error {
	v := a.fresh(n)
	if a.side == here {
		return a.w.insert(ctx, n, v)
	}
	_, err := a.w.s.Create(ctx, contactOf(n, v))
	switch {
	case err == nil || ctx.Err() != nil:
		a.w.m.created(there, n, v, err)
		return nil
	case strings.Contains(err.Error(), "validation_not_unique"):
		return nil // it came from the other side meanwhile
	}
	return err
}

func (a *actor) edit(ctx context.Context, n int) error {
	v := a.change(n)
	if a.side == here {
		return a.w.update(ctx, v, "company = "+a.w.mark(len(v)+1), company(n))
	}
	return a.onRecord(ctx, n, func(id string) error {
		err := a.w.s.Update(ctx, id, body(v))
		if err == nil || ctx.Err() != nil {
			a.w.m.edited(there, n, v, err)
		}
		return err
	})
}

// bulk is a program that changes many rows by one statement.
func (a *actor) bulk(ctx context.Context) error {
	field := [...]string{"first_name", "phone", "score", "active"}[a.rng.IntN(4)]
	return a.w.update(ctx, values{field: a.value(field)}, "id % 13 = "+strconv.Itoa(a.rng.IntN(13))+" AND company NOT LIKE '%1' AND company NOT LIKE '%6'")
}

func (a *actor) remove(ctx context.Context, n int) error {
	if n >= firstBoth {
		n %= seeds
	}
	n -= n % 5
	switch {
	case a.rng.IntN(3) == 0:
		n += 2
	case a.side == there:
		n++
	}
	if a.side == here {
		return a.w.delete(ctx, n)
	}
	return a.onRecord(ctx, n, func(id string) error {
		err := a.w.s.Delete(ctx, id)
		if err == nil || ctx.Err() != nil {
			a.w.m.removed(there, n, err)
		}
		return err
	})
}

// replace deletes a row and makes another one of the same contact, as programs
// do that know no update.
func (a *actor) replace(ctx context.Context, n int) error {
	if n >= firstBoth {
		n %= seeds
	}
	n += 3 - n%5
	return a.w.replace(ctx, n, a.fresh(n))
}

// onRecord calls do with the id of the record of contact n, if there is one.
func (a *actor) onRecord(ctx context.Context, n int, do func(id string) error) error {
	var answer struct{ Items []struct{ ID string } }
	path := records + "?perPage=1&filter=" + url.QueryEscape("(company='"+company(n)+"')")
	if err := a.w.s.Call(ctx, http.MethodGet, path, nil, &answer); err != nil || len(answer.Items) == 0 {
		return err
	}
	err := do(answer.Items[0].ID)
	if err != nil && strings.Contains(err.Error(), ": 404 ") {
		return nil // it was deleted meanwhile
	}
	return err
}

// body gives fields as PocketBase takes them.
func body(v values) map[string]any {
	out := map[string]any{}
	for f, x := range v {
		out[f] = x
		switch f {
		case "score":
			n, _ := strconv.ParseFloat(x, 64)
			out[f] = n
		case "active":
			out[f] = x != ""
		case "tags":
			out[f] = nil
			if x != "" {
				out[f] = json.RawMessage(x)
			}
		}
	}
	return out
}

func contactOf(n int, v values) Contact {
	c := Contact{
		Email: v["email"], FirstName: v["first_name"], LastName: v["last_name"], Phone: v["phone"], Company: company(n),
		Active: v["active"] != "", Birthday: v["birthday"],
	}
	c.Score, _ = strconv.ParseFloat(v["score"], 64)
	if v["tags"] != "" {
		_ = json.Unmarshal([]byte(v["tags"]), &c.Tags)
	}
	return c
}

// The local side: plain SQL, as an application that knows nothing of Tandem.

// mark is the placeholder of parameter i.
func (w *world) mark(i int) string {
	if w.d.driver == "postgres" {
		return "$" + strconv.Itoa(i)
	}
	return "?"
}

// param gives a field as the table takes it.
func param(field, x string) any {
	switch {
	case field == "active":
		return x != ""
	case x == "" && field != "first_name" && field != "phone":
		return nil
	}
	return x
}

// tx runs one transaction of the application. An error of which it is not known
// whether it was committed comes back as unsure; a server that is gone is waited
// for.
func (w *world) tx(ctx context.Context, fn func(tx *sql.Tx) error) (unsure, err error) {
	tx, err := w.app.BeginTx(ctx, nil)
	if err != nil {
		return nil, w.away(ctx, err)
	}
	if err := fn(tx); err != nil {
		_ = tx.Rollback()
		return nil, w.away(ctx, err)
	}
	if err := tx.Commit(); err != nil {
		return err, nil
	}
	return nil, nil
}

var errAway = errors.New("the database is away")

// away tells a server that is being killed from a statement that is wrong.
func (w *world) away(ctx context.Context, err error) error {
	var state interface{ SQLState() string }
	if errors.As(err, &state) && !strings.HasPrefix(state.SQLState(), "57P") && !strings.HasPrefix(state.SQLState(), "08") {
		return err
	}
	if w.servers == nil {
		return err
	}
	select {
	case <-ctx.Done():
	case <-time.After(200 * time.Millisecond):
	}
	return errAway
}

func (w *world) insert(ctx context.Context, n int, v values) error {
	q, params := w.insertion(n, v)
	made := int64(0)
	unsure, err := w.tx(ctx, func(tx *sql.Tx) error {
		res, err := tx.ExecContext(ctx, q, params...)
		if err == nil {
			made, err = res.RowsAffected()
		}
		return err
	})
	if err == nil && made > 0 {
		w.m.created(here, n, v, unsure)
	}
	return unlessAway(err)
}

func (w *world) replace(ctx context.Context, n int, v values) error {
	insert, params := w.insertion(n, v)
	made := int64(0)
	unsure, err := w.tx(ctx, func(tx *sql.Tx) error {
		res, err := tx.ExecContext(ctx, "DELETE FROM contacts WHERE company = "+w.mark(1), company(n))
		if err == nil {
			made, err = res.RowsAffected()
		}
		if err == nil && made > 0 {
			_, err = tx.ExecContext(ctx, insert, params...)
		}
		return err
	})
	if err == nil && made > 0 {
		w.m.replaced(n, v, unsure)
	}
	return unlessAway(err)
}

// insertion words the statement that makes the row of a contact.
func (w *world) insertion(n int, v values) (string, []any) {
	names, marks := []string{"company"}, []string{w.mark(1)}
	params := []any{company(n)}
	for i, f := range fieldNames {
		names, marks, params = append(names, f), append(marks, w.mark(i+2)), append(params, param(f, v[f]))
	}
	return "INSERT INTO contacts (" + strings.Join(names, ", ") + ") VALUES (" + strings.Join(marks, ", ") + ") ON CONFLICT DO NOTHING", params
}

func unlessAway(err error) error {
	if errors.Is(err, errAway) {
		return nil
	}
	return err
}

// update sets fields of the rows that the condition names.
func (w *world) update(ctx context.Context, v values, where string, more ...any) error {
	var sets []string
	var params []any
	for _, f := range fieldNames {
		if x, ok := v[f]; ok {
			params = append(params, param(f, x))
			sets = append(sets, f+" = "+w.mark(len(params)))
		}
	}
	return w.touch(ctx, "UPDATE contacts SET "+strings.Join(sets, ", ")+" WHERE "+where+" RETURNING company", append(params, more...),
		func(n int, unsure error) { w.m.edited(here, n, v, unsure) })
}

func (w *world) delete(ctx context.Context, n int) error {
	return w.touch(ctx, "DELETE FROM contacts WHERE company = "+w.mark(1)+" RETURNING company", []any{company(n)},
		func(n int, unsure error) { w.m.removed(here, n, unsure) })
}

// touch runs a statement that returns the companies of the rows it changed.
func (w *world) touch(ctx context.Context, q string, params []any, note func(n int, unsure error)) error {
	var names []string
	unsure, err := w.tx(ctx, func(tx *sql.Tx) error {
		rows, err := tx.QueryContext(ctx, q, params...)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var name string
			if err := rows.Scan(&name); err != nil {
				return err
			}
			names = append(names, name)
		}
		return rows.Err()
	})
	if err != nil {
		return unlessAway(err)
	}
	for _, name := range names {
		n, err := number(name)
		if err != nil {
			return err
		}
		note(n, unsure)
	}
	return nil
}
