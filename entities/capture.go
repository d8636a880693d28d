package entities

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"

	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/store"
)

// CaptureState is what CaptureStatus finds. The zero value is a table without
// capture.
type CaptureState struct {
	// Installed says that triggers of this entity are on the table, right or not.
	Installed bool
	// Drift lists, a sentence each, what differs from what CaptureInstall makes:
	// changes may go unseen until it is called again. Empty when all is as it
	// should be, and when nothing is installed.
	Drift []string
	// Problems lists what keeps CaptureInstall from working, or would let its
	// triggers refuse writes of others.
	Problems []string
	// SQL are the statements that CaptureInstall would run, in order; empty when
	// nothing is to do or when there are Problems.
	SQL []string
	// Dropped are mapped columns that the table does not have any more.
	Dropped []string
}

// Complete reports whether every change is seen.
func (s CaptureState) Complete() bool {
	return s.Installed && len(s.Drift) == 0 && len(s.Problems) == 0
}

// capturePrefix begins the name of every object that capture makes.
const capturePrefix = "tandem_capture_"

// captureName names an entity's triggers and function. Names are cut at 63 bytes
// by PostgreSQL, which would make two of them one.
func captureName(entity string) string {
	const most = 60 // leaves room for a suffix
	n := capturePrefix + entity
	if len(n) <= most {
		return n
	}
	sum := sha256.Sum256([]byte(entity))
	return strings.ToValidUTF8(n[:most-9], "") + "_" + hex.EncodeToString(sum[:4])
}

// watched are the columns whose change is a change of the row: cols, the
// deletion mark, and never the key, which is seen to apart. dropped are those the
// table does not have.
func (t *Table) watched(cols []string) (list []*column, dropped []string) {
	if t.Spec.Deleted != "" {
		cols = append(slices.Clone(cols), t.Spec.Deleted)
	}
	seen := map[int]bool{}
	for _, n := range cols {
		i := t.find(n)
		switch {
		case i < 0:
			dropped = append(dropped, n)
		case seen[i] || t.cols[i].Key:
		default:
			seen[i] = true
			list = append(list, &t.cols[i])
		}
	}
	// One set of columns makes one text, in whatever order it is given.
	slices.SortFunc(list, func(a, b *column) int { return strings.Compare(a.Name, b.Name) })
	slices.Sort(dropped)
	return list, slices.Compact(dropped)
}

// keyColumns gives the key's columns in order.
func (t *Table) keyColumns() []*column {
	out := make([]*column, len(t.Key))
	for i, k := range t.Key {
		out[i] = &t.cols[t.find(k)]
	}
	return out
}

// CaptureStatus compares the triggers on the table with those that capture the
// entity's changes. cols are the columns whose change matters: the mapped
// columns of all connectors that write to their remote. The entity's deletion
// mark and key always do. It changes nothing; the table may be a Declared one.
func (t *Table) CaptureStatus(ctx context.Context, tx *store.Tx, entity string, cols []string) (CaptureState, error) {
	var s CaptureState
	var err error
	if t.dialect == store.Postgres {
		s, err = t.capturePostgres(ctx, tx, entity, cols)
	} else {
		s, err = t.captureSQLite(ctx, tx, entity, cols)
	}
	if len(s.Problems) > 0 {
		s.SQL = nil
	}
	return s, wrap(t.Spec, err)
}

// CaptureInstall makes the change triggers of the entity, or brings them up to
// date: what is right already is left alone. On PostgreSQL making a trigger
// waits for the writers of the table and holds new ones back until the
// transaction ends; a change of cols only replaces a function, which locks no
// table. A table that cannot be captured is an error with code config.
//
// When triggers were missing or switched off, what happened meanwhile is
// unknown: then a change that asks to reconcile the whole entity is logged. At
// the first installation none is, for the first export finds every row anyway.
func (t *Table) CaptureInstall(ctx context.Context, tx *store.Tx, entity string, cols []string) error {
	if t.dialect == store.Postgres {
		// Two that install at the same time would meet in the catalog.
		if _, err := tx.ExecContext(ctx, "SELECT pg_advisory_xact_lock(hashtextextended('tandem capture', 0))"); err != nil {
			return wrap(t.Spec, err)
		}
	}
	s, err := t.CaptureStatus(ctx, tx, entity, cols)
	if err != nil {
		return err
	}
	if len(s.Problems) > 0 {
		return wrap(t.Spec, configError("changes of table %s cannot be captured by triggers: %s", t.full(), strings.Join(s.Problems, "; ")).
			WithHint("put that right, or set capture: modified or none"))
	}
	for _, q := range s.SQL {
		if _, err := tx.ExecContext(ctx, q); err != nil {
			return wrap(t.Spec, captureError(t, err))
		}
	}
	return nil
}

// captureError says what to do about a refused statement.
func captureError(t *Table, err error) error {
	if store.SQLState(err) == "42501" { // insufficient_privilege
		return fault.New(fault.Permanent, fault.CodeConfig, "", "install change triggers on %s: %w", t.full(), err).
			WithHint("GRANT TRIGGER on the table, or let its owner run `tandem capture install`")
	}
	return err
}

// CaptureRemove takes the entity's triggers away, from the table and from every
// partition and child. It does nothing when there are none.
func CaptureRemove(ctx context.Context, tx *store.Tx, entity string) (removed bool, err error) {
	spec := Spec{Name: entity}
	if tx.Dialect() == store.Postgres {
		removed, err = removePostgres(ctx, tx, entity)
	} else {
		removed, err = removeSQLite(ctx, tx, entity)
	}
	return removed, wrap(spec, err)
}

// CaptureRemove takes the entity's triggers away; see the function of that name.
func (t *Table) CaptureRemove(ctx context.Context, tx *store.Tx, entity string) error {
	_, err := CaptureRemove(ctx, tx, entity)
	return err
}
