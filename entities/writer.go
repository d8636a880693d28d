package entities

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"

	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/store"
	"github.com/tandem-sync/tandem/sync/record"
)

// Writer writes batches of changes on one session. It is not safe for
// concurrent use; two Writers on two sessions are.
type Writer struct {
	b          *Binding
	sess       *store.Session
	connector  int64
	stage      string            // PostgreSQL: name of the temporary table
	generation int64             // of the session the stage was made on; 0 none
	stmts      map[string]string // PostgreSQL: statement -> name it is prepared under
	line       []byte
	last       *store.Tx // of the last Apply
	used       int       // PostgreSQL: lines staged in that transaction
}

// Writer makes a writer for the connector's links. Prepare must be called
// before the first Apply. There may be one writer per connector and session.
func (b *Binding) Writer(sess *store.Session, connectorID int64) *Writer {
	return &Writer{
		b: b, sess: sess, connector: connectorID,
		stage: "tandem_stage_" + strconv.FormatInt(connectorID, 10),
	}
}

// Prepare makes the temporary stage table in a transaction of its own, so that
// it outlives a batch that is rolled back. It does nothing when the session
// still has it, and nothing on SQLite, which needs none.
func (w *Writer) Prepare(ctx context.Context) error {
	if w.b.t.dialect == store.SQLite || w.generation == w.sess.Generation() {
		return nil
	}
	err := w.sess.Write(ctx, "prepare the stage of "+w.b.t.Spec.Name, func(ctx context.Context, tx *store.Tx) error {
		return w.makeStage(ctx, tx)
	})
	if err == nil {
		w.generation = w.sess.Generation()
	}
	return err
}

// errAgain asks for the step to be repeated from its savepoint in a slower way
// that says more.
var errAgain = errors.New("repeat the step")

// apply is one call of Apply.
type apply struct {
	*Writer
	tx      *store.Tx
	changes []Change
	rebase  func(*Change, []record.Value)
	results []Result
	order   []int32          // position -> change
	bounds  [classes + 1]int // first position of each class
	keys    []string         // position -> key text
	check   []bool           // position -> read back what is stored
	absent  []bool           // field -> some insert leaves it to its default
	leave   []bool           // field -> some update leaves it alone
	setting []bool           // field -> some update sets it
	onIns   firing
	onUpd   firing
	slow    bool // inserts say which rows came in
	rowwise bool // inserts go one by one
	odd     bool // a text holds the stage's own marks
	probes  int
	off     int                  // PostgreSQL: staged number of position 0
	foreign []int                // refused for a foreign key
	rekeyed []int                // their key is not the staged one
	cache   map[string]*sql.Stmt // SQLite
	args    []any
}

// Apply writes the changes, rows and links, inside the caller's transaction. It
// returns one Result per change, in the order of changes. A record that the
// database refuses costs that record only. rebase is called for a change whose
// Stored differs, to correct its Link (Base, Hash) before the link is written;
// it may be called more than once for a change. nil does nothing. Apply may be
// called again in the same transaction, for records that were missed.
//
// An error means that the whole transaction must be given up: a lost
// connection, a deadlock, a changed table. It never says anything about one
// record.
func (w *Writer) Apply(ctx context.Context, tx *store.Tx, changes []Change, rebase func(c *Change, stored []record.Value)) ([]Result, error) {
	if w.last != tx {
		w.last, w.used = tx, 0
	}
	a := &apply{Writer: w, tx: tx, changes: changes, rebase: rebase, results: make([]Result, len(changes)), off: w.used}
	w.used += len(changes)
	if rebase == nil {
		a.rebase = func(*Change, []record.Value) {}
	}
	err := a.all(ctx)
	if err != nil {
		if store.SQLState(err) == "0A000" {
			w.generation = 0 // the table changed under a prepared statement
		}
		return nil, wrap(w.b.t.Spec, err)
	}
	return a.results, nil
}

func (a *apply) all(ctx context.Context) error {
	for i := range a.changes {
		a.results[i].N = a.changes[i].N
		if err := a.shape(&a.changes[i]); err != nil {
			return err
		}
	}
	a.arrange()
	if len(a.order) == 0 {
		return nil
	}
	postgres := a.b.t.dialect == store.Postgres
	if postgres && a.generation != a.sess.Generation() {
		return fault.New(fault.Retryable, fault.CodeFailed, "", "the session has no stage table: Prepare was not called or the connection was replaced")
	}
	var err error
	if postgres {
		err = a.startPostgres(ctx)
	} else {
		err = a.startSQLite(ctx)
	}
	if err != nil {
		return err
	}
	if err := a.run(ctx, 0, len(a.order)); err != nil {
		return err
	}
	if err := a.secondChance(ctx); err != nil {
		return err
	}
	if err := a.nameCollisions(ctx); err != nil {
		return err
	}
	for p, i := range a.order {
		if r := &a.results[i]; r.Outcome == Done {
			r.Key = a.keys[p]
		} else {
			r.Stored = nil
		}
	}
	return nil
}

// shape refuses a change that the caller put together wrongly.
func (a *apply) shape(c *Change) error {
	n := len(a.b.fields)
	bad := ""
	switch c.Op {
	case OpInsert:
		if len(c.New) != n || len(c.Set) != len(a.b.set) {
			bad = "an insert needs a value per field and per create-only column"
		}
	case OpUpdate:
		if len(c.New) != n || len(c.Old) != n {
			bad = "an update needs a new and an old value per field"
		}
	case OpDelete:
		if len(c.Old) != n {
			bad = "a delete needs an old value per field"
		}
	case OpLink:
	}
	if bad != "" {
		return fault.New(fault.Permanent, fault.CodeFailed, "", "change %d: %s", c.N, bad)
	}
	return nil
}

// arrange refuses what cannot be sent and sorts the rest by class, keeping the
// caller's order inside each.
func (a *apply) arrange() {
	n := len(a.b.fields)
	flags := make([]bool, 3*n)
	a.absent, a.leave, a.setting = flags[:n], flags[n:2*n], flags[2*n:]
	var count [classes]int
	class := make([]uint8, len(a.changes))
	keys := make([]string, len(a.changes))
	for i := range a.changes {
		c := &a.changes[i]
		k, err := a.admit(c)
		if err != nil {
			a.results[i].Outcome, a.results[i].Err = Refused, err
			class[i] = classes
			continue
		}
		keys[i] = k
		class[i] = uint8(c.class()) //nolint:gosec // seven classes
		count[class[i]]++
	}
	for c := range classes {
		a.bounds[c+1] = a.bounds[c] + count[c]
	}
	at := a.bounds
	total := a.bounds[classes]
	a.order, a.keys, a.check = make([]int32, total), make([]string, total), make([]bool, total)
	for i, c := range class {
		if c < classes {
			p := at[c]
			at[c]++
			a.order[p], a.keys[p] = int32(i), keys[i] //nolint:gosec // batches are small
			a.check[p] = a.inexact(&a.changes[i])
		}
	}
}

// admit checks the texts of a change and gives its key, "" for an insert whose
// key is made by the database.
func (a *apply) admit(c *Change) (string, error) {
	if err := a.texts(c); err != nil {
		return "", err
	}
	if c.Op == OpInsert {
		for i := range c.New {
			a.absent[i] = a.absent[i] || c.New[i].Kind == record.Absent
		}
		return a.givenKey(c)
	}
	key := c.Key
	if key == "" {
		key = c.Link.LocalKey
	}
	parts, err := DecodeKey(key, len(a.b.keys))
	if err != nil {
		return "", err
	}
	if c.Op == OpLink || !a.b.fits(parts) {
		return key, a.impossible(c, parts)
	}
	if c.Op == OpUpdate {
		for i := range c.New {
			a.leave[i] = a.leave[i] || c.New[i].Kind == record.Absent
			a.setting[i] = a.setting[i] || c.New[i].Kind != record.Absent
		}
		return key, a.keyStays(c, parts)
	}
	return key, nil
}

// impossible refuses keys that no row can have, which would fail in a cast.
func (a *apply) impossible(c *Change, parts []string) error {
	if c.Op == OpLink || a.b.fits(parts) {
		return nil
	}
	return badRecord("", "key %q cannot be a key of table %s", shorten(c.Key), a.b.t.full())
}

// keyStays refuses an update that would change the key: the link would lose
// its row.
func (a *apply) keyStays(c *Change, parts []string) error {
	for k, src := range a.b.from {
		if src.field < 0 || !c.New[src.field].Has() {
			continue
		}
		if keyText(&a.b.t.cols[a.b.keys[k]], c.New[src.field]) == parts[k] {
			continue
		}
		canon := make([]record.Value, len(c.Old)) // another spelling of the same key?
		if err := a.b.m.CanonLocal(c.Old, canon); err != nil || canon[src.field] != c.New[src.field] {
			return badRecord(a.b.t.Key[k], "column %s: the key of a linked row cannot change", a.b.t.Key[k])
		}
	}
	return nil
}

// givenKey is the key of a new row as far as the change itself gives it.
func (a *apply) givenKey(c *Change) (string, error) {
	if a.b.creates != nil {
		return "", badRecord("", "%w", a.b.creates)
	}
	parts := make([]string, len(a.b.keys))
	all := true
	for k, by := range a.b.makers {
		if by != Given {
			all = false
			continue
		}
		v := a.b.giver(k, c)
		if v.Kind <= record.Null || v.Text == "" {
			return "", badRecord(a.b.t.Key[k], "column %s: the key is empty", a.b.t.Key[k])
		}
		parts[k] = keyText(&a.b.t.cols[a.b.keys[k]], v)
		if a.b.t.dialect == store.Postgres && !exactKey(&a.b.t.cols[a.b.keys[k]]) {
			a.slow = true
		}
	}
	if !all {
		return "", nil
	}
	return EncodeKey(parts), nil
}

// giver is the value that gives key part k of a new row.
func (b *Binding) giver(k int, c *Change) record.Value {
	if f := b.from[k].field; f >= 0 {
		return c.New[f]
	}
	return c.Set[b.from[k].set]
}

// texts refuses texts that the database cannot keep.
func (a *apply) texts(c *Change) error {
	for i := range c.New {
		if why := a.text(c.New[i].Text); why != "" {
			return badRecord(a.b.col(i).Name, "column %s: the value %s", a.b.col(i).Name, why)
		}
	}
	for i := range c.Set {
		if why := a.text(c.Set[i].Text); why != "" {
			return badRecord(a.b.t.cols[a.b.set[i]].Name, "column %s: the value %s", a.b.t.cols[a.b.set[i]].Name, why)
		}
	}
	for _, s := range [...]string{c.Link.RemoteID, c.Key, c.Link.LocalKey, c.Link.Base} {
		if why := a.text(s); why != "" {
			return badRecord("", "remote id, key or base %s", why)
		}
	}
	if a.b.t.dialect == store.Postgres {
		for i := range c.Old {
			a.odd = a.odd || marked(c.Old[i].Text)
		}
	}
	return nil
}

func (a *apply) text(s string) string {
	if why := badText(s); why != "" {
		return why
	}
	a.odd = a.odd || marked(s)
	return ""
}

// cut gives the positions of [lo, hi) whose class is in [first, last].
func (a *apply) cut(lo, hi, first, last int) (int, int) {
	return max(lo, a.bounds[first]), min(hi, a.bounds[last+1])
}

// at is the change and the result at a position.
func (a *apply) at(p int) (*Change, *Result) {
	i := a.order[p]
	return &a.changes[i], &a.results[i]
}

func badRecord(column, format string, args ...any) *fault.Error {
	return fault.New(fault.Permanent, fault.CodeBadRecord, "", format, args...).WithWhere(column)
}

// run applies the positions [lo, hi) under a savepoint. When the data of one of
// them is refused, both halves are tried apart, until it is alone.
func (a *apply) run(ctx context.Context, lo, hi int) error {
	if err := a.exec(ctx, "SAVEPOINT tandem_apply"); err != nil {
		return err
	}
	for p := lo; p < hi; p++ {
		_, r := a.at(p)
		*r = Result{N: r.N}
	}
	var err error
	if a.b.t.dialect == store.Postgres {
		err = a.stepPostgres(ctx, lo, hi)
	} else {
		err = a.stepSQLite(ctx, lo, hi)
	}
	if err == nil {
		return a.exec(ctx, "RELEASE SAVEPOINT tandem_apply")
	}
	again := errors.Is(err, errAgain)
	if !again && !ofRecord(err) {
		return err
	}
	if rerr := a.exec(ctx, "ROLLBACK TO SAVEPOINT tandem_apply; RELEASE SAVEPOINT tandem_apply"); rerr != nil {
		return fmt.Errorf("%w (after: %w)", rerr, err)
	}
	switch mid := lo + (hi-lo)/2; {
	case again:
		return a.run(ctx, lo, hi)
	case hi-lo == 1:
		return a.alone(ctx, lo, err)
	default:
		if err := a.run(ctx, lo, mid); err != nil {
			return err
		}
		return a.run(ctx, mid, hi)
	}
}

// secondChance tries records again that were refused for a foreign key while
// the record they point to was in the other half.
func (a *apply) secondChance(ctx context.Context) error {
	const most = 64
	for progress := true; progress && len(a.foreign) > 0 && len(a.foreign) <= most && len(a.order) > 1; {
		progress = false
		for _, p := range append([]int(nil), a.foreign...) {
			_, r := a.at(p)
			if r.Outcome != Refused {
				continue
			}
			before := len(a.foreign)
			if err := a.run(ctx, p, p+1); err != nil {
				return err
			}
			a.foreign = a.foreign[:before]
			progress = progress || r.Outcome == Done
		}
	}
	return nil
}

func (a *apply) exec(ctx context.Context, q string) error {
	_, err := a.tx.ExecContext(ctx, q)
	return err
}
