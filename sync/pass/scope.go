package pass

import (
	"slices"
	"time"

	"github.com/tandem-sync/tandem/channels"
	"github.com/tandem-sync/tandem/entities"
	"github.com/tandem-sync/tandem/store"
	"github.com/tandem-sync/tandem/sync/mapping"
	"github.com/tandem-sync/tandem/sync/record"
)

// scopePaths is what has to be read of a remote record: the mapped fields, and
// behind them what else the scope looks at.
func scopePaths(m *mapping.Manual) []string {
	paths := slices.Clone(m.RemotePaths())
	for _, name := range m.ScopeRemote().Names() {
		if !slices.Contains(paths, name) {
			paths = append(paths, name)
		}
	}
	return paths
}

// scope finds out which records the connector's scope does not hold for, and
// leaves the mapped fields.
func (s *slice) scope(recs []record.Record) {
	scope := s.C.Manual.ScopeRemote()
	if scope == nil {
		return
	}
	n := s.C.Manual.Len()
	for i := range recs {
		r := &recs[i]
		if r.Err != nil || r.Deleted || len(r.Values) < len(s.paths) {
			continue
		}
		vals := make(map[string]record.Value, len(s.paths))
		for k, path := range s.paths {
			vals[path] = r.Values[k]
		}
		r.Values = r.Values[:n:n]
		ok, err := scope.Holds(vals)
		r.OutOfScope, r.Err = err == nil && !ok, err
	}
}

// measure notes how far the remote's clock is from the database's. Its Date
// header has whole seconds, so that much is no difference.
func (s *slice) measure(page channels.Page) {
	if page.RemoteNow.IsZero() {
		return
	}
	gap := page.RemoteNow.Sub(s.now()).Abs() - time.Second
	s.remoteSkew.Store(int64(max(gap, 0)))
}

// leftScope takes a pair apart whose record the scope does not hold for any
// more. The row stays.
func (pl *planner) leftScope(it *item, link *store.Link) {
	next := *link
	next.State, next.ReadAt = store.Unlinked, pl.readAt
	it.fields = []store.FieldChange{{Reason: "out_of_scope"}}
	pl.change(it, entities.Change{Op: entities.OpLink, Key: link.LocalKey, Link: next})
}
