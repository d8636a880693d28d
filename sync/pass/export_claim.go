package pass

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/tandem-sync/tandem/channels"
	"github.com/tandem-sync/tandem/entities"
	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/internal/yield"
	"github.com/tandem-sync/tandem/store"
	"github.com/tandem-sync/tandem/sync/judge"
	"github.com/tandem-sync/tandem/sync/record"
)

// A row whose sides have written over each other more than maxTurns times within
// an hour, with the same two values each time, is parked: two systems that each
// put a value into their own form would go on for ever.
const (
	maxTurns    = 5
	turnsWithin = time.Hour
)

// outBatch is a block of local rows on their way out, with the position after them.
type outBatch struct {
	items []outItem
	next  position // without a stage: the one before it
	// readAt is when the rows were read, by the database's clock in Unix ms.
	readAt int64
	began  time.Time // when it was claimed, by our clock

	// open and skipped say whether the connector had any parked and any skipped items.
	open, skipped bool

	left    atomic.Int64  // chunks that are not through
	sent    chan struct{} // closed when none is left
	settled chan struct{} // closed when the block is booked
}

// all gives the items of a block.
func (b *outBatch) all() []*outItem {
	items := make([]*outItem, len(b.items))
	for i := range b.items {
		items[i] = &b.items[i]
	}
	return items
}

// outItem is one local row on its way out.
type outItem struct {
	key    string
	dirty  store.Dirty
	row    *entities.Row // nil: it does not exist
	link   *store.Link   // nil: not linked
	intent *store.Intent // a create whose outcome is not known

	local  []record.Value // what the row holds, canonical
	out    []record.Value // the same with references to other rows as remote ids
	there  []record.Value // the same as the remote would hold it
	asked  []record.Value // what a create sends, and what its record is looked for by
	sent   halves         // what an earlier create of the row sent; nil halves where there was none
	remote []record.Value // what the remote holds, canonical
	rec    *record.Record // the remote's record as it was just read; nil: not read
	first  bool           // the link does not exist yet
	waits  bool           // a reference cannot be told yet
	refs   *references    // of its block
	turns  int            // how often the sides wrote over each other lately

	base     halves
	dec      judge.Decision
	order    *channels.Order
	result   *channels.Result
	fields   []store.FieldChange // what the order writes
	lost     []store.FieldChange // values of the remote that the order replaces
	disputed []store.Conflict    // fields that wait for a person

	fate    fate
	why     string // the stable word for fate
	err     error  // why it is parked or put off
	reread  bool   // the direct sync shall have a look at the remote record
	inScope bool   // its pair was taken apart, and the remote's scope holds for its record
	newID   string // the remote id that its link moves to
	again   bool   // its record has changed while it was written, and is read once more
	unskip  bool   // it is not as it was when a person skipped it
}

// fate is what becomes of a row in this batch.
type fate uint8

const (
	// fateOpen: not decided yet.
	fateOpen fate = iota
	// fateSettled: both sides agree, or were told.
	fateSettled
	// fateSkipped: the rules keep it from going out.
	fateSkipped
	// fateParked: it waits for a person or for other data.
	fateParked
	// fateLater: it is tried again.
	fateLater
	// fateWaits: it is parked already, and as it was then.
	fateWaits
	// fateCandidate: its remote record is to be deleted, if the guard agrees.
	fateCandidate
)

func (it *outItem) end(f fate, why string, err error) {
	it.fate, it.why, it.err, it.order = f, why, err, nil
}

// remoteID is the item's remote id, "" without a link.
func (it *outItem) remoteID() string {
	if it.link == nil {
		return ""
	}
	return it.link.RemoteID
}

// claim takes the next rows for this delivery. While they are claimed, no
// direct sync touches them; nil says that nothing is due.
func (x *exporter) claim(ctx context.Context) (*outBatch, error) {
	if x.windowed() {
		return x.claimWithin(ctx)
	}
	if x.only == nil {
		b, err := x.claimKeys(ctx, nil, x.room())
		if err != nil || len(b.items) == 0 {
			return nil, err
		}
		return b, nil
	}
	for {
		next := x.pos
		next.Index = min(x.pos.Index+x.room(), len(x.only))
		keys := x.only[x.pos.Index:next.Index]
		if len(keys) == 0 {
			return nil, nil //nolint:nilnil // nothing is due
		}
		b, err := x.claimKeys(ctx, keys, len(keys))
		if err != nil {
			return nil, err
		}
		if len(b.items) > 0 {
			b.next = next
			return b, nil
		}
		x.pos = next
	}
}

// claimKeys claims rows and reads them in the same transaction: after the
// version that is going to be marked as done, and with their links locked, so
// that a direct sync of the same records is either over or meets the claim.
//
// A claim that a crash of the database takes back has done no harm: the rows are
// due, or the changes are in the log, as before, and go out once more. So nobody
// waits for the disk here; what the remote was told is stored in transactions that
// do, and that take this one with them.
func (x *exporter) claimKeys(ctx context.Context, keys []string, most int) (*outBatch, error) {
	if err := yield.Point(ctx, "export.before_claim"); err != nil {
		return nil, err
	}
	var b *outBatch
	var taken func()
	err := x.DB.Write(ctx, "export.claim", func(ctx context.Context, tx *store.Tx) error {
		b = &outBatch{}
		if err := tx.CommitLazily(ctx); err != nil {
			return err
		}
		if err := tx.CheckLease(ctx, x.in.Lease); err != nil {
			return err
		}
		var err error
		if taken, err = x.fetch(ctx, tx, keys); err != nil {
			return err
		}
		rows, err := tx.ClaimDirty(ctx, x.in.Lease, most, keys)
		if err != nil || len(rows) == 0 {
			return err
		}
		b.items = make([]outItem, len(rows))
		for i := range rows {
			b.items[i] = outItem{key: rows[i].LocalKey, dirty: rows[i]}
		}
		return x.fill(ctx, tx, b)
	})
	if errors.Is(err, store.ErrCommitUnknown) {
		// Perhaps claimed; the claim ends with the lease.
		err = fault.Wrap(fault.Retryable, "", "claim", err)
	}
	if err == nil && taken != nil {
		taken()
	}
	return b, err
}

// fetch lets changes that have just been made become due.
func (x *exporter) fetch(ctx context.Context, tx *store.Tx, keys []string) (taken func(), err error) {
	if x.in.Fetch == nil || keys != nil {
		return nil, nil //nolint:nilnil // there is nothing to call
	}
	return x.in.Fetch(ctx, tx)
}

// claimDry gives the next rows that are due without claiming them.
func (x *exporter) claimDry(ctx context.Context) (*outBatch, error) {
	for {
		next := x.pos
		var keys []string
		var err error
		if x.only != nil {
			next.Index = min(x.pos.Index+x.room(), len(x.only))
			keys = x.only[x.pos.Index:next.Index]
		} else if keys, err = x.dueAfter(ctx, &next); err != nil {
			return nil, err
		}
		if len(keys) > 0 {
			b, err := x.preview(ctx, keys)
			if err == nil {
				b.next = next
			}
			return b, err
		}
		if next.After == x.pos.After && next.Index == x.pos.Index {
			return nil, nil //nolint:nilnil // nothing is due
		}
		x.pos = next
	}
}

// preview reads rows for a dry run.
func (x *exporter) preview(ctx context.Context, keys []string) (*outBatch, error) {
	b := &outBatch{items: make([]outItem, len(keys))}
	for i, k := range keys {
		b.items[i].key = k
	}
	err := x.DB.Read(ctx, func(ctx context.Context, tx *store.Tx) error { return x.fill(ctx, tx, b) })
	return b, err
}

// fill reads what the database knows of a batch: rows, links, open creates, and
// whether anything is parked.
func (x *exporter) fill(ctx context.Context, tx *store.Tx, b *outBatch) error {
	now, err := tx.Now(ctx)
	if err != nil {
		return err
	}
	b.readAt = now.UnixMilli()
	keys := make([]string, len(b.items))
	at := make(map[string]*outItem, len(b.items))
	for i := range b.items {
		keys[i] = b.items[i].key
		at[keys[i]] = &b.items[i]
	}
	links, err := x.links(ctx, tx, keys)
	if err != nil {
		return err
	}
	for i := range links {
		at[links[i].LocalKey].link = &links[i]
	}
	intents, err := tx.Intents(ctx, x.C.ID, keys)
	if err != nil {
		return err
	}
	for i := range intents {
		at[intents[i].LocalKey].intent = &intents[i]
	}
	if err := x.takeTurns(ctx, tx, at, now); err != nil {
		return err
	}
	untaken, err := tx.UntakenTimes(ctx, x.C.Entity, x.C.ID, keys)
	if err != nil {
		return err
	}
	for key, times := range untaken {
		changedAlso(&at[key].dirty, times)
	}
	if b.open, b.skipped, err = tx.OpenOrSkipped(ctx, x.C.ID); err != nil {
		return err
	}
	rows, err := x.C.Local.Load(ctx, tx, keys)
	for i := range rows {
		if it := at[rows[i].Key]; it != nil && !rows[i].Deleted {
			it.row = &rows[i]
		}
	}
	return err
}

// takeTurns finds out which of the rows that were exported within the last hour
// go back and forth.
func (x *exporter) takeTurns(ctx context.Context, tx *store.Tx, items map[string]*outItem, now time.Time) error {
	since := now.Add(-turnsWithin)
	var keys []string
	for key, it := range items {
		if it.link != nil && it.link.WrittenAt >= since.UnixMilli() {
			keys = append(keys, key)
		}
	}
	columns := make(map[string]string, len(x.fields))
	for f, path := range x.fields {
		columns[path] = x.C.Manual.Fields()[f].Local
	}
	turns, err := tx.TurnsOf(ctx, x.C.ID, keys, since, maxTurns, columns)
	for key, n := range turns {
		items[key].turns = n
	}
	return err
}

// links gives the links of local keys, tombstones included, and locks the live
// ones unless nothing is going to be written.
func (x *exporter) links(ctx context.Context, tx *store.Tx, keys []string) ([]store.Link, error) {
	live := tx.LockLinksByLocal
	if x.dry() {
		live = tx.LinksByLocal
	}
	links, err := live(ctx, x.C.ID, keys)
	if err != nil {
		return nil, err
	}
	if len(links) == len(keys) {
		return links, nil
	}
	has := make(map[string]bool, len(links))
	for _, l := range links {
		has[l.LocalKey] = true
	}
	var without []string
	for _, k := range keys {
		if !has[k] {
			without = append(without, k)
		}
	}
	buried, err := tx.LinksApart(ctx, x.C.ID, without)
	for _, l := range buried {
		if !has[l.LocalKey] {
			has[l.LocalKey] = true
			links = append(links, l)
		}
	}
	return links, err
}
