package pass

import (
	"context"
	"time"

	"github.com/tandem-sync/tandem/channels"
	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/store"
	"github.com/tandem-sync/tandem/sync/judge"
)

// How long a row waits before it is tried again: twice as long each time.
const (
	laterBase = 2 * time.Second
	laterMost = 10 * time.Minute
	// pullPause is how long a row waits at first for the direct sync of its record.
	pullPause = 3 * time.Second
	// refPause is how long a row waits for the record that it refers to.
	refPause = time.Minute
	// maxTries is how often a row is tried before it waits for a person.
	maxTries = 8
)

// results is what a batch's last transaction books.
type results struct {
	update, insert []store.Link
	moved          []rowMove
	done           []store.DirtyDone
	later          []store.DirtyDefer
	park           []store.Parked
	unpark         []string // local keys
	unskip         []string // rows that are no longer as they were when a person skipped them
	close          []string // creates that are settled
	unknown        []string // creates whose outcome is not known
	lines          []store.Change
	conflicts      []store.Conflict
	resolved       []store.ConflictKey
	cands          []store.Candidate
	reread         []string
	add            store.Counters
	now            time.Time
}

// settle books the batch: links and base, what is done and what is tried again,
// and the position, in one transaction. What happened at the remote has
// happened, so a failure for a passing reason is done again, not given up.
func (x *exporter) settle(ctx context.Context, b *outBatch) error {
	var r results
	next := x.pos
	if b.next.Stage != "" {
		next = b.next
	}
	for i := range b.items {
		if it := &b.items[i]; it.order != nil || it.result != nil || it.fate == fateParked {
			next.Count++ // what says nothing new is no use of the limit
		}
	}
	err := x.move(ctx, "export.settle", &next, &r.add, func(ctx context.Context, tx *store.Tx) error {
		r = results{}
		now, err := tx.Now(ctx)
		if err != nil {
			return err
		}
		moved, err := x.movedLinks(ctx, tx, b)
		if err != nil {
			return err
		}
		r.now = now
		for i := range b.items {
			x.book(&r, &b.items[i], now, moved[b.items[i].key])
		}
		return x.store(ctx, tx, &r)
	})
	if err == nil {
		x.pos = next
	}
	return err
}

// movedLinks tells which rows' links are not as they were when the rows were
// claimed. A claim keeps direct syncs away, but not a person who takes a link
// apart.
func (x *exporter) movedLinks(ctx context.Context, tx *store.Tx, b *outBatch) (map[string]bool, error) {
	seen := make([]store.LinkSeen, 0, len(b.items))
	for i := range b.items {
		if it := &b.items[i]; it.link != nil && !it.first {
			seen = append(seen, store.LinkSeen{LocalKey: it.key, RemoteID: it.link.RemoteID, ReadAt: it.link.ReadAt})
		}
	}
	others, err := tx.LockSeenLinks(ctx, x.C.ID, seen)
	if err != nil || len(others) == 0 {
		return nil, err
	}
	// Some of them were no live links to begin with.
	links, err := x.links(ctx, tx, others)
	now := make(map[string]store.Link, len(links))
	for _, l := range links {
		now[l.LocalKey] = l
	}
	moved := make(map[string]bool, len(links))
	for _, s := range seen {
		l, ok := now[s.LocalKey]
		moved[s.LocalKey] = ok && (l.RemoteID != s.RemoteID || l.ReadAt > s.ReadAt)
	}
	return moved, err
}

// book decides what is stored of one item.
func (x *exporter) book(r *results, it *outItem, now time.Time, moved bool) {
	if moved {
		it.result = nil
		it.fate, it.why, it.err = fateLater, "changed", fault.New(fault.Retryable, "changed", "export", "the link changed while the row was exported")
	}
	switch it.fate {
	case fateLater:
		x.bookLater(r, it, now)
	case fateParked:
		x.bookParked(r, it)
	case fateCandidate:
		r.cands = append(r.cands, store.Candidate{RemoteID: it.link.RemoteID, LocalKey: it.key})
		r.done = append(r.done, it.version())
	case fateWaits:
		r.add.Skipped++
		r.done = append(r.done, it.version())
	case fateSkipped:
		r.add.Skipped++
		r.done = append(r.done, it.version())
		x.bookLink(r, it, now)
	case fateOpen, fateSettled:
		x.bookSettled(r, it, now)
	}
	if it.unskip {
		r.unskip = append(r.unskip, it.key)
	}
	if it.reread {
		r.reread = append(r.reread, it.link.RemoteID)
	}
	r.conflicts = append(r.conflicts, it.disputed...)
	r.add.Conflicts += int64(len(it.lost) + len(it.disputed))
}

func (it *outItem) version() store.DirtyDone {
	return store.DirtyDone{LocalKey: it.key, Version: it.dirty.Version}
}

// bookSettled books a row that both sides agree on now.
func (x *exporter) bookSettled(r *results, it *outItem, now time.Time) {
	x.bookLink(r, it, now)
	pulls := it.reread && it.dec.Conflicts > 0
	if pulls && it.order == nil && it.dirty.Attempts+1 >= maxTries {
		it.end(fateParked, "not_pulled", fault.New(fault.Permanent, "not_pulled", "export",
			"the remote's values win in row %s, and could not be written here in %d tries", it.key, maxTries).
			WithHint("look for the record among what is parked on its way here, and retry that"))
		x.bookParked(r, it)
		return
	}
	r.unpark = append(r.unpark, it.key)
	if it.link != nil && len(it.dec.Verdicts) > 0 {
		r.resolved = append(r.resolved, x.agreed(it)...)
	}
	switch {
	case it.order == nil:
		if it.why == "local_deleted" || it.why == "out_of_scope" {
			r.add.Deleted++
			r.lines = append(r.lines, x.line(it, "unlink", []store.FieldChange{{Reason: it.why}}))
		} else {
			r.add.Unchanged++
			if len(it.fields) > 0 {
				r.lines = append(r.lines, x.line(it, "skip", it.fields))
			}
		}
	case it.order.Op == channels.OrderCreate:
		x.told(it)
		r.add.Created++
		r.add.Pushed++
		r.lines = append(r.lines, x.line(it, "create", it.fields))
	default:
		x.told(it)
		r.add.Updated++
		r.add.Pushed++
		r.lines = append(r.lines, x.line(it, "update", it.fields))
	}
	if it.intent != nil || it.order != nil && it.order.Op == channels.OrderCreate {
		r.close = append(r.close, it.key)
	}
	if x.changedSince(it) {
		r.later = append(r.later, store.DirtyDefer{LocalKey: it.key, Version: it.dirty.Version, Until: now, Reason: "changed_since"})
		return
	}
	if it.waits {
		r.later = append(r.later, store.DirtyDefer{LocalKey: it.key, Version: it.dirty.Version, Until: now.Add(refPause), Reason: "ref"})
		return
	}
	if pulls {
		// The remote's value wins a field that was changed here, too. The row
		// stays on the list until the direct sync has written it.
		wait := min(pullPause<<min(it.dirty.Attempts, 16), laterMost)
		r.later = append(r.later, store.DirtyDefer{LocalKey: it.key, Version: it.dirty.Version, Until: now.Add(wait), Reason: "pull_first", CountAttempt: true})
		return
	}
	r.done = append(r.done, it.version())
}

// agreed gives the fields of a judged row that nobody has to decide any more.
func (x *exporter) agreed(it *outItem) []store.ConflictKey {
	if len(it.disputed) == 0 {
		return []store.ConflictKey{{LocalKey: it.key}}
	}
	var out []store.ConflictKey
	for f := range it.dec.Verdicts {
		if it.dec.Verdicts[f].Winner != judge.WinUnresolved {
			out = append(out, store.ConflictKey{LocalKey: it.key, Field: x.C.Manual.Fields()[f].Local})
		}
	}
	return out
}

// bookLater books a row that is tried again.
func (x *exporter) bookLater(r *results, it *outItem, now time.Time) {
	if it.dirty.Attempts+1 >= maxTries && it.why != "not_sent" && it.why != whyStopped && it.why != "ref" {
		x.bookParked(r, it)
		return
	}
	if it.why == "exists" {
		x.bookLink(r, it, now)
		if it.intent == nil { // else the record may be the one that an earlier try made
			r.close = append(r.close, it.key)
		}
	}
	if it.result != nil && it.result.Outcome == channels.Changed && it.link != nil && !it.first {
		// The precondition is out of date. A read tells the next one; without any,
		// the next try has none.
		it.link.Version = ""
		r.update = append(r.update, *it.link)
	}
	if it.newID != "" {
		r.moved = append(r.moved, rowMove{rename{it.link.RemoteID, it.newID}, it.key})
	}
	wait := fault.RetryAfterOf(it.err)
	if wait <= 0 {
		wait = min(laterBase<<min(it.dirty.Attempts, 16), laterMost)
	}
	if it.why == "unknown_outcome" && it.create() {
		r.unknown = append(r.unknown, it.key)
		wait = max(wait, x.caps.Settle)
	} else if it.why == "not_sent" && it.create() && it.intent == nil {
		r.close = append(r.close, it.key) // nothing was sent: there is nothing to look for
	}
	r.later = append(r.later, store.DirtyDefer{LocalKey: it.key, Version: it.dirty.Version, Until: now.Add(wait), Reason: it.why, CountAttempt: it.why != "not_sent" && it.why != "exists" && it.why != whyStopped && it.why != "ref"})
}

// create reports whether the item's order was to make a record.
func (it *outItem) create() bool { return it.link == nil || it.first }

// bookParked books a row that waits for a person or for other data.
func (x *exporter) bookParked(r *results, it *outItem) {
	kind := store.ParkedRecord
	switch it.why {
	case "duplicate_identity", "ambiguous_match":
		kind = store.ParkedDuplicate
	case "create_unknown":
		kind = store.ParkedUnknown
	case "write_refused", "unknown_outcome", "changed", "ping_pong":
		kind = store.ParkedRefused
	}
	r.add.Parked++
	r.park = append(r.park, store.Parked{
		Kind: kind, ChannelID: x.C.ChannelID, ConnectorID: x.C.ID, RunID: x.in.Run.ID, LocalID: it.key, RemoteID: it.remoteID(),
		Reason: it.why, Message: x.clean(it.err.Error()), Payload: x.outgoing(it), Answer: x.said(it.err), Print: x.print(it), Outward: true,
	})
	r.close = append(r.close, it.key)
	r.done = append(r.done, it.version())
}

// line is a line about what was done at the remote.
func (x *exporter) line(it *outItem, op string, fields []store.FieldChange) store.Change {
	if fields == nil {
		fields = []store.FieldChange{}
	}
	return store.Change{Connector: x.C.Name, Side: "remote", Op: op, LocalID: it.key, RemoteID: it.remoteID(), Fields: fields}
}

// store writes what was booked.
func (x *exporter) store(ctx context.Context, tx *store.Tx, r *results) error {
	if err := x.storeMoves(ctx, tx, r); err != nil {
		return err
	}
	if _, err := tx.UpdateLinks(ctx, r.update); err != nil {
		return err
	}
	if err := x.insertLinks(ctx, tx, r); err != nil {
		return err
	}
	if err := x.storeLedger(ctx, tx, r); err != nil {
		return err
	}
	if err := tx.AddChanges(ctx, x.in.Run.ID, r.lines); err != nil {
		return err
	}
	if err := tx.AddCandidates(ctx, x.owner(), r.cands); err != nil {
		return err
	}
	if err := requestAgain(ctx, tx, &x.delivery, r.reread); err != nil {
		return err
	}
	if _, err := tx.DoneDirty(ctx, x.in.Lease, r.done); err != nil {
		return err
	}
	x.total(&r.add)
	return tx.DeferDirty(ctx, x.in.Lease, r.later)
}

// insertLinks makes the new links. One that meets another link, of the same
// record or the same row, is for a person to settle.
func (x *exporter) insertLinks(ctx context.Context, tx *store.Tx, r *results) error {
	if len(r.insert) == 0 {
		return nil
	}
	id, err := x.ids.take(ctx, tx, int64(len(r.insert)))
	if err != nil {
		return err
	}
	for i := range r.insert {
		r.insert[i].ID = id + int64(i)
	}
	collided, err := tx.InsertLinks(ctx, r.insert)
	for _, l := range collided {
		r.add.Parked++
		r.park = append(r.park, store.Parked{
			Kind: store.ParkedDuplicate, ChannelID: x.C.ChannelID, ConnectorID: x.C.ID, RunID: x.in.Run.ID, LocalID: l.LocalKey, RemoteID: l.RemoteID,
			Reason: "duplicate_identity", Outward: true,
			Message: "remote record " + l.RemoteID + " belongs to another row already",
		})
	}
	return err
}

// storeLedger writes what waits and what waits no longer.
func (x *exporter) storeLedger(ctx context.Context, tx *store.Tx, r *results) error {
	if err := tx.CloseIntents(ctx, x.C.ID, r.close); err != nil {
		return err
	}
	if err := tx.MarkIntentsUnknown(ctx, x.C.ID, r.unknown, r.now.Add(x.caps.Settle)); err != nil {
		return err
	}
	if _, err := tx.AddConflicts(ctx, r.conflicts); err != nil {
		return err
	}
	// Nearly always nothing is open.
	conflicts, parked, err := tx.OpenOutward(ctx, x.C.ID)
	if err != nil {
		return err
	}
	if conflicts {
		if _, err := tx.SettleConflicts(ctx, x.C.ID, r.resolved); err != nil {
			return err
		}
	}
	if err := tx.EndSkipsOut(ctx, x.C.ID, r.unskip); err != nil {
		return err
	}
	if _, err := tx.Park(ctx, r.park); err != nil || !parked {
		return err
	}
	return tx.ResolveOutward(ctx, x.C.ID, r.unpark, store.ResolvedRetried)
}

// total makes the counters of a batch. Within a sync, whose records are those
// that were read, only what was pushed counts, and what has to be dealt with.
func (x *exporter) total(c *store.Counters) {
	if x.in.Run.Spec.Kind == store.KindSync {
		*c = store.Counters{Read: c.Parked, Parked: c.Parked, Pushed: c.Pushed, Conflicts: c.Conflicts}
		return
	}
	c.Read = c.Created + c.Updated + c.Unchanged + c.Skipped + c.Parked
}
