package entities

import (
	"context"
	"database/sql"
	"strconv"
	"strings"

	"github.com/tandem-sync/tandem/store"
)

// insertPostgres makes the rows of a range. The plain way only counts what came
// in; when a row is missing, or a trigger may change one, the step is repeated
// in a way that names the rows.
func (a *apply) insertPostgres(ctx context.Context, lo, hi int) error {
	switch {
	case a.rowwise:
		return a.insertOneByOne(ctx, lo, hi)
	case a.slow:
		return a.insertNamed(ctx, lo, hi)
	}
	n, err := a.count(ctx, a.insertSQL()+a.b.onConflict(), lo, hi, nil)
	if err != nil {
		return err
	}
	if n != hi-lo {
		a.slow = true
		return errAgain
	}
	return nil
}

// onConflict lets a row that exists win. A table with a deferrable constraint
// refuses the clause; there the error names the constraint.
func (b *Binding) onConflict() string {
	for _, u := range b.t.Unique {
		if u.Deferrable {
			return ""
		}
	}
	return " ON CONFLICT DO NOTHING"
}

// insertSQL reads new rows from the stage. Fields that a change leaves out get
// the column's own default.
func (a *apply) insertSQL() string {
	cols, exprs, always := a.targets()
	q := "INSERT INTO " + a.b.t.sql() + " AS t (" + quoteAll(cols) + ")"
	if always {
		q += " OVERRIDING SYSTEM VALUE"
	}
	return q + " SELECT " + strings.Join(exprs, ", ") + " FROM " + a.from() + " WHERE " + inRange
}

// targets lists the columns of an insert with their expressions over the
// stage; always says that an identity column GENERATED ALWAYS is among them.
func (a *apply) targets() (cols, exprs []string, always bool) {
	for k, i := range a.b.keys {
		c := &a.b.t.cols[i]
		if by := a.b.makers[k]; by == Given || by == Trigger {
			continue
		}
		cols, exprs = append(cols, c.Name), append(exprs, c.as(a.keyColumn(k)))
		always = always || c.identity == 'a'
	}
	for f := range a.b.fields {
		if !a.b.inward[f] {
			continue
		}
		c := a.b.col(f)
		expr := c.staged("s.c" + strconv.Itoa(f))
		if a.absent[f] {
			expr = "CASE WHEN get_bit(s.m, " + strconv.Itoa(f) + ") = 1 THEN " + expr + " ELSE " + c.fallback() + " END"
		}
		cols, exprs = append(cols, c.Name), append(exprs, expr)
		always = always || c.identity == 'a'
	}
	for n, i := range a.b.set {
		c := &a.b.t.cols[i]
		cols, exprs = append(cols, c.Name), append(exprs, c.staged("s.s"+strconv.Itoa(n)))
		always = always || c.identity == 'a'
	}
	return cols, exprs, always
}

// insertNamed makes the rows and says which came in, and under which key the
// database shows them.
func (a *apply) insertNamed(ctx context.Context, lo, hi int) error {
	var ret, text []string
	for _, i := range a.b.keys {
		n := quote(a.b.t.cols[i].Name)
		ret, text = append(ret, "t."+n), append(text, "t."+n+"::text")
	}
	q := "WITH ins AS (" + a.insertSQL() + a.b.onConflict() + " RETURNING " + strings.Join(ret, ", ") + ") SELECT s.n, (SELECT count(*) FROM ins), " +
		strings.Join(text, ", ") + " FROM " + a.from() + " LEFT JOIN ins t ON " + a.insertedJoin() + " WHERE " + inRange
	// Both sides of this join are the whole batch, which the planner cannot know.
	if err := a.exec(ctx, "SET LOCAL enable_nestloop = off"); err != nil {
		return err
	}
	call, err := a.execute(ctx, q, lo, hi, nil)
	if err != nil {
		return err
	}
	came, found, err := a.takeInserted(ctx, call)
	if err != nil {
		return err
	}
	if err := a.exec(ctx, "SET LOCAL enable_nestloop TO DEFAULT"); err != nil {
		return err
	}
	if came != found { // a trigger gave rows another key
		a.rowwise = true
		return errAgain
	}
	return nil
}

// insertedJoin ties an inserted row to its line. A key given by a field is
// joined by the field, which has the column's own reading of the text.
func (a *apply) insertedJoin() string {
	var on []string
	for k, i := range a.b.keys {
		c := &a.b.t.cols[i]
		expr := c.as(a.keyColumn(k))
		if src := a.b.from[k]; a.b.makers[k] == Given && src.field >= 0 {
			expr = c.as("s.c" + strconv.Itoa(src.field))
		} else if a.b.makers[k] == Given {
			expr = c.as("s.s" + strconv.Itoa(src.set))
		}
		on = append(on, "t."+quote(c.Name)+" = "+expr)
	}
	return strings.Join(on, " AND ")
}

func (a *apply) takeInserted(ctx context.Context, call string) (came, found int, err error) {
	rows, err := a.tx.QueryContext(ctx, call)
	if err != nil {
		return 0, 0, err
	}
	defer func() { _ = rows.Close() }() // rows.Err says what went wrong
	key := make([]sql.NullString, len(a.b.keys))
	var p int
	dest := []any{&p, &came}
	for k := range key {
		dest = append(dest, &key[k])
	}
	kp := make([]string, len(key))
	for rows.Next() {
		if err := rows.Scan(dest...); err != nil {
			return 0, 0, err
		}
		p -= a.off
		_, r := a.at(p)
		if !key[0].Valid {
			r.Outcome = Collided
			continue
		}
		found++
		for k := range key {
			kp[k] = key[k].String
		}
		a.rekey(p, EncodeKey(kp))
	}
	if err := rows.Err(); err != nil {
		return 0, 0, err
	}
	return came, found, a.restageKeys(ctx)
}

// rekey takes over the key as the database shows it.
func (a *apply) rekey(p int, key string) {
	if a.keys[p] != key {
		a.keys[p] = key
		a.rekeyed = append(a.rekeyed, p)
	}
}

// restageKeys brings corrected keys into the stage, for the links.
func (a *apply) restageKeys(ctx context.Context) error {
	if len(a.rekeyed) == 0 {
		return nil
	}
	n, keys := make([]int64, len(a.rekeyed)), make([]string, len(a.rekeyed))
	for i, p := range a.rekeyed {
		n[i], keys[i] = int64(p+a.off), a.keys[p]
	}
	_, err := a.tx.ExecContext(ctx, "UPDATE pg_temp."+a.stage+" s SET key = v.key FROM unnest($1::int[], $2::text[]) v(n, key) WHERE s.n = v.n", intArray(n), textArrayParam(keys))
	return err
}

// insertOneByOne makes rows whose key only the inserted row tells.
func (a *apply) insertOneByOne(ctx context.Context, lo, hi int) error {
	var text []string
	for _, i := range a.b.keys {
		text = append(text, "t."+quote(a.b.t.cols[i].Name)+"::text")
	}
	q := a.insertSQL() + a.b.onConflict() + " RETURNING " + strings.Join(text, ", ")
	key := make([]string, len(a.b.keys))
	dest := make([]any, len(key))
	for k := range key {
		dest[k] = &key[k]
	}
	for p := lo; p < hi; p++ {
		_, r := a.at(p)
		call, err := a.execute(ctx, q, p, p+1, nil)
		if err != nil {
			return err
		}
		err = a.tx.QueryRowContext(ctx, call).Scan(dest...)
		if err == sql.ErrNoRows { //nolint:errorlint // Scan returns it bare
			r.Outcome = Collided
			continue
		}
		if err != nil {
			return err
		}
		a.keys[p] = EncodeKey(key)
		a.rekeyed = append(a.rekeyed, p)
	}
	return a.restageKeys(ctx)
}

// nameCollisions finds for every row that was not taken in the unique
// constraint that kept it out: in sets by what each constraint covers, and for
// the few that are left by inserting them alone.
func (a *apply) nameCollisions(ctx context.Context) error {
	var open []int
	for p := range a.order {
		if _, r := a.at(p); r.Outcome == Collided && r.Err == nil {
			open = append(open, p)
		}
	}
	if len(open) == 0 {
		return nil
	}
	if a.b.t.dialect == store.Postgres {
		for _, u := range a.b.t.Unique {
			var err error
			if open, err = a.nameBy(ctx, u, open); err != nil {
				return err
			}
		}
	}
	for n, p := range open {
		if n >= maxProbes {
			a.collide(p, "a unique constraint")
			continue
		}
		if err := a.probeInsert(ctx, p); err != nil {
			return err
		}
	}
	return nil
}

func (a *apply) collide(p int, what string) {
	_, r := a.at(p)
	r.Err = badRecord("", "the new row meets %s of table %s: a row with the same value exists", what, a.b.t.full())
}

// nameBy finds the rows that a constraint over plain columns kept out.
func (a *apply) nameBy(ctx context.Context, u Unique, open []int) ([]int, error) {
	cols, exprs, _ := a.targets()
	var on []string
	for _, c := range u.Columns {
		for i := range cols {
			if cols[i] == c {
				on = append(on, "t."+quote(c)+" = "+exprs[i])
			}
		}
	}
	if u.Partial || len(on) == 0 || len(on) != len(u.Columns) || len(open) == 0 {
		return open, nil
	}
	list := make([]int64, len(open))
	for i, p := range open {
		list[i] = int64(p + a.off)
	}
	var hit []int64
	q := "SELECT s.n FROM " + a.from() + " WHERE s.n = ANY($1) AND EXISTS (SELECT 1 FROM " + a.b.t.sql() + " t WHERE " + strings.Join(on, " AND ") + ")"
	if err := a.tx.SelectContext(ctx, &hit, q, intArray(list)); err != nil {
		return nil, err
	}
	named := map[int]bool{}
	for _, n := range hit {
		p := int(n) - a.off
		named[p] = true
		_, r := a.at(p)
		r.Err = badRecord(u.Columns[0], "the new row meets unique constraint %q of table %s: a row with the same %s exists", u.Name, a.b.t.full(), strings.Join(u.Columns, ", "))
	}
	rest := open[:0]
	for _, p := range open {
		if !named[p] {
			rest = append(rest, p)
		}
	}
	return rest, nil
}

// probeInsert inserts a row without letting an existing one win, to hear which
// constraint it meets, and takes it back.
func (a *apply) probeInsert(ctx context.Context, p int) error {
	if a.b.t.dialect == store.SQLite {
		a.collide(p, "a unique constraint")
		return nil
	}
	if err := a.exec(ctx, "SAVEPOINT tandem_probe"); err != nil {
		return err
	}
	n, err := a.count(ctx, a.insertSQL(), p, p+1, nil)
	if rerr := a.exec(ctx, "ROLLBACK TO SAVEPOINT tandem_probe; RELEASE SAVEPOINT tandem_probe"); rerr != nil {
		return rerr
	}
	_, r := a.at(p)
	switch {
	case err != nil && !ofRecord(err):
		return err
	case err != nil:
		r.Outcome, r.Err = a.verdict(ctx, p, err)
	case n == 0:
		r.Outcome, r.Err = Refused, badRecord("", "a trigger of table %s swallowed the new row", a.b.t.full())
	default:
		a.collide(p, "a unique constraint")
	}
	return nil
}
