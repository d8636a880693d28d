package pass

import (
	"context"
	"encoding/json"

	"github.com/tandem-sync/tandem/entities"
	"github.com/tandem-sync/tandem/store"
	"github.com/tandem-sync/tandem/sync/judge"
	"github.com/tandem-sync/tandem/sync/mapping"
	"github.com/tandem-sync/tandem/sync/record"
)

// Look is a pair of records laid side by side, and what the judge would say of it
// now. Its slices have one slot per mapped field; nil where a side is not known.
type Look struct {
	Local, Remote         []record.Value // canonical
	BaseLocal, BaseRemote []record.Value // nil: no base
	// Verdicts is empty unless both sides are known.
	Verdicts []judge.Verdict
	Problem  error // why a value cannot be read under this mapping; nil none
}

// LookAt judges a pair as a pass would now, without changing anything. row and
// rec may be nil: then nothing is judged. rec's values are canonical afterwards.
func LookAt(ctx context.Context, tx *store.Tx, c Connector, link *store.Link, row *entities.Row, rec *record.Record) (Look, error) {
	var l Look
	m := c.Manual
	if link != nil {
		base := baseOf(link, m.Len())
		l.BaseLocal, l.BaseRemote = base.local, base.remote
	}
	if row != nil {
		local := make([]record.Value, m.Len())
		if l.Problem = m.CanonLocal(row.Values, local); l.Problem == nil {
			l.Local = local
		}
	}
	if rec != nil && rec.Err == nil && !rec.Deleted && l.Problem == nil {
		if l.Problem = m.CanonRemote(rec.Values); l.Problem == nil {
			l.Remote = rec.Values
		}
	}
	if l.Local == nil || l.Remote == nil {
		return l, nil
	}
	return l, l.judge(ctx, tx, c, row, rec)
}

func (l *Look) judge(ctx context.Context, tx *store.Tx, c Connector, row *entities.Row, rec *record.Record) error {
	m := c.Manual
	want, there := make([]record.Value, m.Len()), make([]record.Value, m.Len())
	if l.Problem = m.ToLocal(rec, want); l.Problem != nil {
		return nil
	}
	out := append([]record.Value(nil), l.Local...)
	if len(m.Refs()) > 0 && len(c.RefConnectors) == len(m.Refs()) {
		refs := newReferences(c.RefConnectors)
		if err := refs.loadIn(ctx, tx, m, [][]record.Value{want}); err != nil {
			return err
		}
		if err := refs.loadOut(ctx, tx, m, [][]record.Value{out}); err != nil {
			return err
		}
		refs.toLocal(m, want)
		refs.toRemote(m, out)
	}
	if l.Problem = m.ToRemote(out, there); l.Problem != nil {
		return nil
	}
	var dirty store.Dirty
	waiting, err := tx.DirtyOf(ctx, c.ID, []string{row.Key})
	if err != nil {
		return err
	}
	if len(waiting) > 0 {
		dirty = waiting[0]
	}
	rules := c.Rules
	if rules == nil {
		rules = oneWayRules(c)
	}
	var dec judge.Decision
	rules.Record(&judge.Sheet{
		Local: l.Local, LocalThere: there, Remote: l.Remote, RemoteThere: want, BaseLocal: l.BaseLocal, BaseRemote: l.BaseRemote,
		LocalAt: later(row.Modified, dirty.At), LocalFieldAt: fieldTimes(m, &dirty), RemoteAt: rec.Modified, RemoteFieldAt: rec.ChangedAt,
	}, &dec)
	l.Verdicts = dec.Verdicts
	return nil
}

// oneWayRules are the rules of a connector whose values all travel to the local
// side.
func oneWayRules(c Connector) judge.Rules {
	policy := c.Conflict
	switch policy {
	case judge.EvidenceHard, judge.EvidenceBest, judge.EvidenceFuzzy:
		policy = judge.Newest // as judge.ToLocal has it
	default:
	}
	rules := make(judge.Rules, c.Manual.Len())
	for i, f := range c.Manual.Fields() {
		rules[i] = judge.Rule{Direction: mapping.ToLocal, Policy: policy, On: f.On, Required: f.Required}
	}
	return rules
}

// JSON is a value as change lines have it; null for null and absent.
func JSON(v record.Value) json.RawMessage { return jsonOf(v) }
