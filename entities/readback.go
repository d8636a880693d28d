package entities

import (
	"context"

	"github.com/lib/pq"

	"github.com/tandem-sync/tandem/store"
	"github.com/tandem-sync/tandem/sync/record"
)

// readBack reads the rows whose stored values may differ from what was written,
// tells the caller, and corrects the staged links.
func (a *apply) readBack(ctx context.Context, lo, hi int) error {
	var keys []string
	at := map[string]int{}
	for _, op := range [...]struct {
		first, last int
		all         bool
	}{{classUpdateOld, classUpdateNew, a.onUpd.any}, {classInsertNew, classInsertOld, a.onIns.any}} {
		l, h := a.cut(lo, hi, op.first, op.last)
		for p := l; p < h; p++ {
			if _, r := a.at(p); r.Outcome == Done && (op.all || a.check[p]) {
				keys = append(keys, a.keys[p])
				at[a.keys[p]] = p
			}
		}
	}
	if len(keys) == 0 {
		return nil
	}
	rows, err := a.b.Load(ctx, a.tx, keys)
	if err != nil {
		return err
	}
	changed := rows[:0]
	canon := make([]record.Value, len(a.b.fields))
	for _, row := range rows {
		p := at[row.Key]
		c, r := a.at(p)
		if err := a.b.m.CanonLocal(row.Values, canon); err != nil {
			return err
		}
		if same(c, canon) {
			continue
		}
		r.Stored = row.Values
		a.rebase(c, row.Values)
		changed = append(changed, row)
	}
	if len(changed) == 0 || a.b.t.dialect == store.SQLite {
		return nil
	}
	return a.restage(ctx, changed, at)
}

// same reports whether what is stored means what was written.
func same(c *Change, stored []record.Value) bool {
	for i := range stored {
		if c.New[i].Kind == record.Absent {
			if c.Op == OpInsert {
				return false
			}
			continue
		}
		if c.New[i] != stored[i] {
			return false
		}
	}
	return true
}

// restage brings corrected links into the stage.
func (a *apply) restage(ctx context.Context, rows []Row, at map[string]int) error {
	n, hash, base := make([]int64, len(rows)), make([]int64, len(rows)), make([]string, len(rows))
	for i := range rows {
		p := at[rows[i].Key]
		c, _ := a.at(p)
		n[i], hash[i], base[i] = int64(p+a.off), c.Link.Hash, c.Link.Base
	}
	_, err := a.tx.ExecContext(ctx, "UPDATE pg_temp."+a.stage+" s SET hash = v.hash, base = v.base FROM unnest($1::int[], $2::bigint[], $3::text[]) v(n, hash, base) WHERE s.n = v.n",
		pq.Int64Array(n), pq.Int64Array(hash), pq.StringArray(base))
	return err
}
