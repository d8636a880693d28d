package pass

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"time"

	"github.com/tandem-sync/tandem/channels"
	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/store"
	"github.com/tandem-sync/tandem/sync/record"
)

// lookUp looks, before anything is created, for the records of rows that are
// not linked: by every alternative of the identity, in order. One match is
// linked, several are for a person to settle.
func (x *exporter) lookUp(ctx context.Context, b *outBatch) error {
	var open []*outItem
	for i := range b.items {
		if it := &b.items[i]; it.fate == fateOpen && it.link == nil {
			open = append(open, it)
		}
	}
	taken := map[string]string{} // identity -> local key, within this batch
	named := map[*outItem]bool{} // has an identity at all
	for alt := range x.C.Manual.Match() {
		if len(open) == 0 {
			return nil
		}
		asked := x.askable(open, alt, taken)
		for _, it := range asked.items {
			named[it] = true
		}
		found, err := x.find(ctx, alt, asked)
		if err != nil {
			return err
		}
		if err := x.adoptAll(ctx, alt, asked, found); err != nil {
			return err
		}
		rest := open[:0]
		for _, it := range open {
			if it.fate == fateOpen && it.link == nil {
				rest = append(rest, it)
			}
		}
		open = rest
	}
	now := x.now()
	for _, it := range open {
		x.repeatable(it, named[it], now)
	}
	return nil
}

// asked is the items of a batch that have an identity by one alternative.
type asked struct {
	items []*outItem
	ids   []string
}

func (x *exporter) askable(open []*outItem, alt int, taken map[string]string) asked {
	var a asked
	for _, it := range open {
		id, ok := x.C.Manual.RemoteIdentity(alt, it.asked)
		if !ok {
			continue
		}
		if other, dup := taken[strconv.Itoa(alt)+":"+id]; dup {
			x.duplicate(it, fmt.Sprintf("has the same %s as row %s", x.columns(alt), other))
			continue
		}
		taken[strconv.Itoa(alt)+":"+id] = it.key
		a.items, a.ids = append(a.items, it), append(a.ids, id)
	}
	return a
}

func (x *exporter) columns(alt int) string {
	names := ""
	for i, c := range x.C.Manual.Match()[alt] {
		if i > 0 {
			names += " and "
		}
		names += x.C.Manual.Fields()[c].Local
	}
	return names
}

func (x *exporter) duplicate(it *outItem, why string) {
	it.end(fateParked, "duplicate_identity", fault.New(fault.Permanent, "duplicate_identity", "export", "row %s %s", it.key, why))
}

// find gives the remote records of each identity: by the remote's own look-up
// where it has one, else by reading its listing.
func (x *exporter) find(ctx context.Context, alt int, a asked) (map[string][]record.Record, error) {
	if len(a.items) == 0 {
		return nil, nil
	}
	cols := x.C.Manual.Match()[alt]
	finder, ok := x.C.Remote.(channels.Finder)
	if !ok || !x.findable(finder, cols, a.items[0]) {
		return x.enumerate(ctx, alt, a)
	}
	identities := make([][]record.Value, len(a.items))
	for i, it := range a.items {
		identities[i] = pick(it.asked, cols)
	}
	lists, err := finder.Find(ctx, x.fields, cols, identities)
	if err != nil {
		return nil, err
	}
	out := map[string][]record.Record{}
	for i := range lists {
		for k := range lists[i] {
			// The remote's own comparison may be wider than ours.
			if id, same := x.identityOf(alt, &lists[i][k]); same && id == a.ids[i] {
				out[id] = append(out[id], lists[i][k])
			}
		}
	}
	return out, nil
}

// findable reports whether the remote can look for an alternative.
func (x *exporter) findable(f channels.Finder, cols []int, it *outItem) bool {
	paths := make([]string, len(cols))
	for i, c := range cols {
		if !it.asked[c].Has() {
			return false
		}
		paths[i] = x.fields[c]
	}
	by, ok := f.(channels.FindsBy)
	return !ok || by.FindsBy(paths)
}

// identityOf gives the identity of a remote record by one alternative; false
// where it has none or cannot be used.
func (x *exporter) identityOf(alt int, r *record.Record) (string, bool) {
	if r.Deleted || r.Err != nil || r.ID == "" {
		return "", false
	}
	if err := x.C.Manual.CanonRemote(r.Values); err != nil {
		return "", false
	}
	return x.C.Manual.RemoteIdentity(alt, r.Values)
}

// enumerate reads the remote's listing for the identities that are asked for.
// Where the direct sync creates rows, every record up to its watermark has been
// linked or parked already, so the rest of the listing is enough, unless some of
// them were left for later or made by a create that nobody heard of again.
func (x *exporter) enumerate(ctx context.Context, alt int, a asked) (map[string][]record.Record, error) {
	want := make(map[string]bool, len(a.ids))
	for _, id := range a.ids {
		want[id] = true
	}
	since, err := x.known(ctx, a)
	if err != nil {
		return nil, err
	}
	out, seen := map[string][]record.Record{}, map[string]bool{}
	for range maxListings {
		moved, err := x.listing(ctx, since, func(rec *record.Record) {
			if id, ok := x.identityOf(alt, rec); ok && want[id] && !seen[rec.ID] {
				seen[rec.ID] = true
				out[id] = append(out[id], *rec)
			}
		})
		if err != nil || !moved {
			return out, err
		}
	}
	return out, nil
}

// maxListings is how often a listing is read that changes while it is read.
const maxListings = 3

// listing reads a listing and tells whether records moved in it meanwhile, so
// that one of them may have slipped from a page into one that was read before.
func (x *exporter) listing(ctx context.Context, since time.Time, each func(*record.Record)) (moved bool, err error) {
	r, err := x.C.Remote.Reader(ctx, channels.ReadRequest{Fields: x.fields, Since: since})
	if err != nil {
		return false, err
	}
	defer func() { _ = r.Close() }() // read only
	drifts, total := x.C.Remote.Capabilities().Drifts, int64(-1)
	here := map[string]bool{}
	for {
		page, err := r.ReadPage(ctx)
		if errors.Is(err, io.EOF) {
			return moved, nil
		}
		if err != nil {
			return false, err
		}
		moved = moved || drifts && !page.Listed && total >= 0 && page.Total != total
		total = page.Total
		for i := range page.Records {
			rec := &page.Records[i]
			moved = moved || drifts && here[rec.ID] && !rec.Deleted
			here[rec.ID] = here[rec.ID] || drifts
			each(rec)
		}
	}
}

// known is the time up to which every record of the remote has been dealt with.
func (x *exporter) known(ctx context.Context, a asked) (since time.Time, err error) {
	if !x.C.Create || !x.C.TwoWay || !x.C.Remote.Capabilities().Incremental {
		return time.Time{}, nil
	}
	if slices.ContainsFunc(a.items, func(it *outItem) bool { return it.intent != nil }) {
		return time.Time{}, nil
	}
	err = x.DB.Read(ctx, func(ctx context.Context, tx *store.Tx) error {
		left, err := tx.UnreadRecords(ctx, x.C.ChannelID, x.C.ID)
		if err != nil || left {
			return err
		}
		at, _, ok, err := tx.Watermark(ctx, x.C.ID)
		if ok {
			since = at
		}
		return err
	})
	return since, err
}

// adoptAll links what was found.
func (x *exporter) adoptAll(ctx context.Context, alt int, a asked, found map[string][]record.Record) error {
	var ids []string
	for i, it := range a.items {
		switch recs := found[a.ids[i]]; len(recs) {
		case 0:
		case 1:
			ids = append(ids, recs[0].ID)
		default:
			it.end(fateParked, "ambiguous_match", fault.New(fault.Permanent, "ambiguous_match", "export",
				"%d remote records have the same %s as row %s", len(recs), x.columns(alt), it.key))
		}
	}
	if len(ids) == 0 {
		return nil
	}
	owners := map[string]store.Link{}
	err := x.DB.Read(ctx, func(ctx context.Context, tx *store.Tx) error {
		links, err := tx.Links(ctx, x.C.ID, ids)
		for _, l := range links {
			owners[l.RemoteID] = l
		}
		return err
	})
	if err != nil {
		return err
	}
	for i, it := range a.items {
		if recs := found[a.ids[i]]; len(recs) == 1 {
			x.adopt(it, alt, &recs[0], owners)
		}
	}
	return nil
}

// adopt links a row to the one record its identity names, unless that record is
// another row's.
func (x *exporter) adopt(it *outItem, alt int, r *record.Record, owners map[string]store.Link) {
	link, known := owners[r.ID]
	switch {
	case known && link.State == store.Linked && link.LocalKey != it.key:
		x.duplicate(it, fmt.Sprintf("has the same %s as remote record %s, which belongs to row %s", x.columns(alt), r.ID, link.LocalKey))
		return
	case !known:
		it.first = true
		link = store.Link{ConnectorID: x.C.ID}
		link.RemoteID = r.ID
	}
	link.LocalKey, link.State, link.Base, link.Version = it.key, store.Linked, "", r.Version
	it.link, it.rec, it.remote, it.base = &link, r, r.Values, sentBase(it.sent, r.Values)
}

// safety is the class of a create.
func (x *exporter) safety(it *outItem) string {
	if s, ok := x.C.Remote.(channels.SafetyOf); ok {
		return s.SafetyOf(x.fields, channels.Order{Op: channels.OrderCreate, Values: it.asked})
	}
	return x.caps.Safety
}

// repeatable decides whether a row that was looked for in vain is created now.
// After a create whose outcome is not known, that depends on what keeps the
// remote from making a second record.
func (x *exporter) repeatable(it *outItem, named bool, now time.Time) {
	if it.intent == nil {
		return
	}
	switch safety := x.safety(it); {
	case safety == channels.SafetyKey, safety == channels.SafetyUnique && named:
	case safety == channels.SafetyLookup && named:
		if visible := it.intent.CreatedAt.Add(x.caps.Settle); now.Before(visible) {
			it.end(fateLater, "create_settles", fault.New(fault.Retryable, "create_settles", "export",
				"row %s may have been created: it is looked for again when it must be visible", it.key).After(visible.Sub(now)))
		}
	default:
		it.end(fateParked, "create_unknown", fault.New(fault.Permanent, "create_unknown", "export",
			"it is not known whether a record was created for row %s, and nothing at the remote tells", it.key).
			WithHint("look at the remote, then `tandem parked retry` to create it or `tandem parked skip`"))
	}
}
