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
	origin  bool // SQLite: the origin is set
	slow    bool // inserts say which rows came in
	rowwise bool // inserts go one by one
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
	if err := a.clearOrigin(ctx); err != nil {
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
