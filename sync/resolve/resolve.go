// Package resolve carries out what a person decided about a conflict: it moves
// the base of the pair so that only the winner's side counts as changed, and asks
// for the run that tells the other side. The value itself is written by that run,
// which judges what both sides hold then: what changed in the meantime is judged
// anew and nothing is lost.
package resolve

import (
	"context"
	"fmt"
	"slices"

	"github.com/tandem-sync/tandem/channels"
	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/store"
	"github.com/tandem-sync/tandem/sync/mapping"
	"github.com/tandem-sync/tandem/sync/pass"
	"github.com/tandem-sync/tandem/sync/record"
)

// Reason is why a row waits whose conflict a person decided.
const Reason = "resolved"

// Settled is what became of conflicts that were decided.
type Settled struct {
	Done    []int64         // by id
	Refused map[int64]error // why others could not be decided
	Runs    []store.Run     // tell the losing sides
	Notes   []string        // what a person should know
}

// Resolver settles conflicts of one connector within one transaction.
type Resolver struct {
	C pass.Connector

	out []string // local keys to export
	in  []string // remote ids to read
}

// Settle ends an open conflict in favour of a side. A conflict that has ended, or
// whose pair is no more, is an error with code conflict; the latter is closed by
// the next run that meets it.
func (r *Resolver) Settle(ctx context.Context, tx *store.Tx, f store.Conflict, winner string) error {
	m := r.C.Manual
	at := slices.Index(m.LocalColumns(), f.Field)
	if at < 0 {
		return refuse("field %s of conflict %d is not mapped any more", f.Field, f.ID).WithHint("the next run that meets the record closes it")
	}
	links, err := tx.LockLinksByLocal(ctx, r.C.ID, []string{f.LocalKey})
	if err != nil {
		return err
	}
	if len(links) == 0 {
		return refuse("row %s of conflict %d is not linked any more", f.LocalKey, f.ID)
	}
	seenLocal, seenRemote, err := mapping.DecodeBase(f.Seen, 1)
	if err != nil {
		return refuse("conflict %d does not say what was judged", f.ID).WithHint("`tandem sync --force` judges the record again")
	}
	if err := tx.ResolveConflict(ctx, f.ID, winner); err != nil {
		return err
	}
	local, remote := baseOf(&links[0], m.Len())
	fld := &m.Fields()[at]
	// The loser's value counts as seen; the winner's differs from its half.
	switch winner {
	case store.WinnerLocal:
		remote[at] = seenRemote[0]
		if same(local[at], seenLocal[0]) {
			local[at] = record.Value{}
		}
		if fld.ToRemote() {
			r.out = append(r.out, f.LocalKey)
		}
	case store.WinnerRemote:
		local[at] = seenLocal[0]
		if same(remote[at], seenRemote[0]) {
			remote[at] = record.Value{}
		}
		if fld.ToLocal() {
			r.in = append(r.in, links[0].RemoteID)
		}
	}
	return r.move(ctx, tx, links[0], local, remote)
}

// move stores the base. A write that was planned before it is too old now.
func (r *Resolver) move(ctx context.Context, tx *store.Tx, l store.Link, local, remote []record.Value) error {
	now, err := tx.Now(ctx)
	if err != nil {
		return err
	}
	l.Base = mapping.EncodeBase(local, remote)
	l.Hash = r.C.Manual.Hash(remote)
	l.ReadAt = max(l.ReadAt, now.UnixMilli())
	n, err := tx.UpdateLinks(ctx, []store.Link{l})
	if err == nil && n != 1 {
		err = fault.New(fault.Retryable, fault.CodeFailed, "resolve", "the link of row %s moved at the same moment", l.LocalKey)
	}
	return err
}

// Request asks for the runs that tell the losing sides and gives them, with what
// a person should know.
func (r *Resolver) Request(ctx context.Context, tx *store.Tx) (runs []store.Run, notes []string, err error) {
	if len(r.out) > 0 {
		k := store.Connector{ID: r.C.ID, ChannelID: r.C.ChannelID, Name: r.C.Name}
		if runs, err = tx.RequestExport(ctx, k, store.TriggerManual, Reason, r.out); err != nil {
			return nil, nil, err
		}
	}
	if len(r.in) == 0 {
		return runs, nil, nil
	}
	spec := store.Spec{Kind: store.KindSync, Mode: store.ModeIncremental, Connectors: []string{r.C.Name}, Flags: store.Flags{NoPush: true}}
	if _, ok := r.C.Remote.(channels.Getter); ok {
		slices.Sort(r.in)
		spec.RemoteIDs = slices.Compact(r.in)
	} else {
		spec.Mode = store.ModeFull
		notes = append(notes, fmt.Sprintf("connector %s of %s cannot read single records, so a full run was asked for", r.C.Name, r.C.Channel))
	}
	run, _, _, err := tx.AddRequest(ctx, store.Request{ChannelID: r.C.ChannelID, Trigger: store.TriggerManual, Spec: spec}, true)
	return append(runs, run), notes, err
}

// baseOf is a link's base in two halves, empty ones where there is none to go by.
func baseOf(l *store.Link, n int) (local, remote []record.Value) {
	if l.Base != "" {
		if local, remote, err := mapping.DecodeBase(l.Base, n); err == nil {
			return local, remote
		}
	}
	return make([]record.Value, n), make([]record.Value, n)
}

func same(a, b record.Value) bool { return a == b && a.Has() }

func refuse(format string, args ...any) *fault.Error {
	return fault.New(fault.Permanent, fault.CodeConflict, "", format, args...)
}
