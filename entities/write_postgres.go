package entities

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/lib/pq"

	"github.com/tandem-sync/tandem/store"
)

// startPostgres does what comes once per batch: constraints speak at once, no
// trigger can be added any more, keys are drawn, the stage is filled.
func (a *apply) startPostgres(ctx context.Context) error {
	inserts := a.bounds[classes] > a.bounds[classInsertNew]
	updates := a.bounds[classUpdateNew+1] > a.bounds[classUpdateOld]
	q := "SET CONSTRAINTS ALL IMMEDIATE; " + planning
	if inserts || updates || a.bounds[classDelete+1] > 0 {
		q += "; LOCK TABLE ONLY " + a.b.t.sql() + " IN ROW EXCLUSIVE MODE"
	}
	if err := a.exec(ctx, q); err != nil {
		return err
	}
	if inserts || updates || a.bounds[classDelete+1] > 0 {
		var err error
		var captured bool
		if a.onIns, a.onUpd, captured, err = a.b.t.userTriggers(ctx, a.tx); err != nil {
			return err
		}
		if captured {
			if err := a.sayOrigin(ctx); err != nil {
				return err
			}
		}
	}
	if inserts {
		if err := a.drawKeys(ctx); err != nil {
			return err
		}
	}
	return a.copyAll(ctx)
}

// drawKeys asks the database for the keys of the new rows, all in one query.
func (a *apply) drawKeys(ctx context.Context) error {
	a.slow = a.slow || a.onIns.before
	var which []int
	for k, by := range a.b.makers {
		switch by {
		case GeneratedAlways, Sequence, DefaultExpr:
			which = append(which, k)
		case Trigger:
			a.rowwise = true
		case NoKey, Rowid, Given:
		}
	}
	if len(which) == 0 || a.rowwise {
		return nil
	}
	lo, hi := a.bounds[classInsertNew], a.bounds[classes]
	drawn, err := a.draw(ctx, which, hi-lo)
	if err != nil {
		return fmt.Errorf("draw keys: %w", err)
	}
	kp := make([]string, len(a.b.keys))
	for p := lo; p < hi; p++ {
		c, _ := a.at(p)
		for k, by := range a.b.makers {
			if by == Given {
				kp[k] = keyText(&a.b.t.cols[a.b.keys[k]], a.b.giver(k, c))
			}
		}
		for i, k := range which {
			kp[k] = drawn[i][p-lo]
		}
		a.keys[p] = EncodeKey(kp)
	}
	return nil
}

// draw gives n values of each of these key columns. Whole numbers come as one
// text, which the keys share.
func (a *apply) draw(ctx context.Context, which []int, n int) ([][]string, error) {
	exprs, dest := make([]string, len(which)), make([]any, len(which))
	lists, texts := make([]pq.StringArray, len(which)), make([]string, len(which))
	for i, k := range which {
		c := &a.b.t.cols[a.b.keys[k]]
		exprs[i], dest[i] = "array_agg(("+c.def+")::text)", &lists[i]
		if c.wholeNumber() {
			exprs[i], dest[i] = "string_agg(("+c.def+")::text, ' ')", &texts[i]
		}
	}
	q := "SELECT " + strings.Join(exprs, ", ") + " FROM generate_series(1, " + strconv.Itoa(n) + ")"
	if err := a.tx.QueryRowContext(ctx, q).Scan(dest...); err != nil {
		return nil, err
	}
	drawn := make([][]string, len(which))
	for i, k := range which {
		drawn[i] = lists[i]
		if a.b.t.cols[a.b.keys[k]].wholeNumber() {
			drawn[i] = strings.Split(texts[i], " ")
		}
		if len(drawn[i]) != n {
			return nil, fmt.Errorf("%d keys came, not %d", len(drawn[i]), n)
		}
	}
	return drawn, nil
}

func (c *column) wholeNumber() bool { return c.base == "int2" || c.base == "int4" || c.base == "int8" }

// stepPostgres writes the positions [lo, hi): rows, then links.
func (a *apply) stepPostgres(ctx context.Context, lo, hi int) error {
	if err := a.changeRows(ctx, lo, hi); err != nil {
		return err
	}
	if l, h := a.cut(lo, hi, classInsertNew, classInsertOld); l < h {
		if err := a.insertPostgres(ctx, l, h); err != nil {
			return err
		}
	}
	if err := a.readBack(ctx, lo, hi); err != nil {
		return err
	}
	return a.linksPostgres(ctx, lo, hi)
}

// join is the condition that ties the row t to the staged line s.
func (w *Writer) join() string {
	var on []string
	for k, i := range w.b.keys {
		on = append(on, "t."+quote(w.b.t.cols[i].Name)+" = "+w.b.t.cols[i].as(w.keyColumn(k)))
	}
	return strings.Join(on, " AND ")
}

func (w *Writer) keyColumn(k int) string {
	if len(w.b.keys) == 1 {
		return "s.key"
	}
	return "s.k" + strconv.Itoa(k)
}

func (w *Writer) from() string { return "pg_temp." + w.stage + " s" }

const inRange = "s.n >= $2 AND s.n < $3"

// maxPrepared bounds the prepared statements: an update has one for every set
// of columns that a batch sets.
const maxPrepared = 64

// forget drops all prepared statements when there are too many.
func (a *apply) forget(ctx context.Context) error {
	if len(a.stmts) < maxPrepared {
		return nil
	}
	for _, name := range a.stmts {
		if err := a.exec(ctx, "DEALLOCATE "+name); err != nil {
			return err
		}
	}
	clear(a.stmts)
	return nil
}

// execute gives the call of a prepared statement over a range; the connector is $1. Only
// numbers are passed, so they are written into the text: one round trip.
func (a *apply) execute(ctx context.Context, q string, lo, hi int, skip []int) (string, error) {
	name, ok := a.stmts[q]
	if !ok {
		if err := a.forget(ctx); err != nil {
			return "", err
		}
		name = a.stage + "_" + strconv.Itoa(len(a.stmts))
		if err := a.exec(ctx, "PREPARE "+name+" (bigint, int, int, int[]) AS "+q); err != nil {
			return "", err
		}
		a.stmts[q] = name
	}
	list := "NULL"
	if len(skip) > 0 {
		b := []byte("'{")
		for i, n := range skip {
			if i > 0 {
				b = append(b, ',')
			}
			b = strconv.AppendInt(b, int64(n+a.off), 10)
		}
		list = string(append(b, "}'"...))
	}
	return fmt.Sprintf("EXECUTE %s (%d, %d, %d, %s)", name, a.connector, lo+a.off, hi+a.off, list), nil
}

// count executes a statement and says how many rows it touched.
func (a *apply) count(ctx context.Context, q string, lo, hi int, skip []int) (int, error) {
	text, err := a.execute(ctx, q, lo, hi, skip)
	if err != nil {
		return 0, err
	}
	res, err := a.tx.ExecContext(ctx, text)
	if err != nil {
		return 0, err
	}
	n, err := res.RowsAffected()
	return int(n), err
}

// numbers executes a statement that returns positions.
func (a *apply) numbers(ctx context.Context, q string, lo, hi int, fn func(n int)) error {
	text, err := a.execute(ctx, q, lo, hi, nil)
	if err != nil {
		return err
	}
	rows, err := a.tx.QueryContext(ctx, text)
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }() // rows.Err says what went wrong
	var n int
	dest := []any{&n}
	for rows.Next() {
		if err := rows.Scan(dest...); err != nil {
			return err
		}
		fn(n - a.off)
	}
	return rows.Err()
}

// changeRows locks and writes the existing rows, deletions first.
func (a *apply) changeRows(ctx context.Context, lo, hi int) error {
	dl, dh := a.cut(lo, hi, classDelete, classDelete)
	ul, uh := a.cut(lo, hi, classUpdateOld, classUpdateNew)
	if dl >= dh && ul >= uh {
		return nil
	}
	if dl < dh {
		lock, q := " FOR UPDATE OF t", "DELETE FROM "+a.b.t.sql()+" AS t USING "+a.from()
		if a.b.deleted >= 0 {
			lock, q = noKeyLock, "UPDATE "+a.b.t.sql()+" AS t SET "+quote(a.b.t.cols[a.b.deleted].Name)+" = "+a.b.mark()+" FROM "+a.from()
		}
		if err := a.judged(ctx, lock, q, dl, dh); err != nil {
			return err
		}
	}
	if ul < uh {
		return a.judged(ctx, noKeyLock, a.updateSQL(), ul, uh)
	}
	return nil
}

// A temporary table has no statistics, so the planner takes a range of it for a
// few lines and looks rows up by key, as it should: but only while it plans
// anew each time, for a plan made when the table was empty would read the whole
// of it again and again while it grows. Compiling such short statements costs
// more than running them.
const (
	planning  = "SET LOCAL plan_cache_mode = force_custom_plan; SET LOCAL jit = off"
	noKeyLock = " FOR NO KEY UPDATE OF t"
)

// judged locks the rows of a range in key order and runs a statement on those
// whose mapped columns are still what was judged; the others are missed.
func (a *apply) judged(ctx context.Context, lock, q string, lo, hi int) error {
	if hi-lo > 1 {
		order := make([]string, len(a.b.keys))
		for k, i := range a.b.keys {
			order[k] = "t." + quote(a.b.t.cols[i].Name)
		}
		all := "SELECT count(*) FROM (SELECT 1 FROM " + a.from() + " JOIN " + a.b.t.sql() + " AS t ON " + a.join() + " WHERE " + inRange +
			" ORDER BY " + strings.Join(order, ", ") + lock + ") q"
		if err := a.numbers(ctx, all, lo, hi, func(int) {}); err != nil {
			return err
		}
	}
	for p := lo; p < hi; p++ {
		_, r := a.at(p)
		r.Outcome = Missed
	}
	var same strings.Builder
	for i := range a.b.fields {
		fmt.Fprintf(&same, " AND %s IS NOT DISTINCT FROM s.o%d", a.b.col(i).read(store.Postgres), i)
	}
	q += " WHERE " + inRange + " AND " + a.join() + same.String() + " RETURNING s.n"
	return a.numbers(ctx, q, lo, hi, func(p int) {
		_, r := a.at(p)
		r.Outcome = Done
	})
}

// updateSQL sets the columns that at least one change of the batch gives.
func (a *apply) updateSQL() string {
	var set []string
	for i := range a.b.fields {
		if !a.setting[i] || a.b.col(i).Key {
			continue
		}
		c := a.b.col(i)
		expr := c.staged("s.c" + strconv.Itoa(i))
		if a.leave[i] {
			expr = fmt.Sprintf("CASE WHEN get_bit(s.m, %d) = 1 THEN %s ELSE t.%s END", i, expr, quote(c.Name))
		}
		set = append(set, quote(c.Name)+" = "+expr)
	}
	if len(set) == 0 { // nothing to set: the row only has to be as judged
		k := quote(a.b.t.Key[0])
		set = append(set, k+" = t."+k)
	}
	return "UPDATE " + a.b.t.sql() + " AS t SET " + strings.Join(set, ", ") + " FROM " + a.from()
}

// staged casts a staged text for assignment to the column.
func (c *column) staged(expr string) string {
	if c.cast == "" {
		return expr
	}
	return expr + "::" + c.cast
}

// linksPostgres writes the links of what is done.
func (a *apply) linksPostgres(ctx context.Context, lo, hi int) error {
	l, h := a.cut(lo, hi, classDelete, classUpdateOld)
	if err := a.linkRange(ctx, false, l, h); err != nil {
		return err
	}
	l, h = a.cut(lo, hi, classInsertOld, classInsertOld)
	if err := a.linkRange(ctx, false, l, h); err != nil {
		return err
	}
	l, h = a.cut(lo, hi, classUpdateNew, classInsertNew)
	return a.linkRange(ctx, true, l, h)
}

func (a *apply) linkRange(ctx context.Context, fresh bool, lo, hi int) error {
	var skip []int
	for p := lo; p < hi; p++ {
		if _, r := a.at(p); r.Outcome != Done {
			skip = append(skip, p)
		}
	}
	want := hi - lo - len(skip)
	if want <= 0 {
		return nil
	}
	where := inRange
	if len(skip) > 0 {
		where += " AND s.n <> ALL ($4)"
	}
	if fresh {
		_, err := a.count(ctx, store.LinkInsertFromStage("pg_temp."+a.stage, where), lo, hi, skip)
		return err
	}
	n, err := a.count(ctx, store.LinkUpdateFromStage("pg_temp."+a.stage, where), lo, hi, skip)
	if err != nil {
		return err
	}
	if n != want {
		return errLinkGone
	}
	return nil
}
