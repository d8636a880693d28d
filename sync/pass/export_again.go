package pass

import (
	"context"

	"github.com/tandem-sync/tandem/channels"
	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/store"
	"github.com/tandem-sync/tandem/sync/judge"
	"github.com/tandem-sync/tandem/sync/record"
)

// maxAgain is how often a record that changes while it is written is read and
// judged again within one batch. What changes more often is put off.
const maxAgain = 3

// unversioned says that a record cannot be changed under a precondition.
func unversioned(id string) error {
	return fault.New(fault.Permanent, fault.CodeBadAnswer, "export", "the remote does not tell the version of record %s, without which it must not be changed", id).
		WithHint("check if_match: the answer to a read of the record has no such header or field")
}

// sendAgain deals with the orders of a chunk that met a record which had changed
// since it was read: it is read and judged again, and what is left to tell is
// sent. Nothing of such an order was carried out.
func (f *flow) sendAgain(ctx context.Context, c chunk) (trouble, err error) {
	if f.getter == nil {
		return nil, nil
	}
	for range maxAgain {
		changed := changedOnes(c.items)
		if len(changed) == 0 || f.halted() != nil {
			return nil, nil
		}
		// What became of an item stands until more is known.
		list := make([]outItem, len(changed))
		sub := chunk{items: make([]*outItem, len(changed))}
		for i, it := range changed {
			list[i], sub.items[i] = *it, &list[i]
			list[i].anew()
		}
		if err := f.decideLate(ctx, sub); err != nil {
			return err, nil //nolint:nilerr // it is the trouble
		}
		trouble, err := f.send(ctx, sub.items)
		if err != nil {
			return nil, err
		}
		for i, it := range changed {
			*it = list[i]
		}
		if trouble != nil {
			return trouble, nil
		}
	}
	return nil, nil
}

// changedOnes gives the items whose record was not as it had been read.
func changedOnes(items []*outItem) []*outItem {
	var out []*outItem
	for _, it := range items {
		if it.result != nil && it.result.Outcome == channels.Changed && it.link != nil && !it.first {
			out = append(out, it)
		}
	}
	return out
}

// anew makes an item one that is not decided yet.
func (it *outItem) anew() {
	it.fate, it.why, it.err, it.again = fateOpen, "", nil, true
	it.order, it.result, it.rec, it.remote = nil, nil, nil, nil
	it.fields, it.lost, it.disputed, it.reread = nil, nil, nil, false
	it.dec = judge.Decision{}
	link := *it.link
	link.Version = ""
	it.link = &link
}

// sendRemoval carries deletions out. Where the remote keeps preconditions, each
// record is read first, so that what is lost with it is known, and once more when
// it changes in between.
func (x *exporter) sendRemoval(ctx context.Context, items []*outItem) (trouble, err error) {
	if !x.caps.Precondition {
		return x.send(ctx, items)
	}
	for range maxAgain {
		if err := x.readRemoval(ctx, items); err != nil {
			for _, it := range items {
				if it.order != nil {
					it.result = &channels.Result{Outcome: channels.NotSent, Err: err}
				}
			}
			return err, nil //nolint:nilerr // it is the trouble; what was removed is booked
		}
		if trouble, err = x.send(ctx, items); trouble != nil || err != nil {
			return trouble, err
		}
		for _, it := range items {
			if it.order = nil; it.result != nil && it.result.Outcome == channels.Changed {
				it.order = x.removal(it)
			}
		}
		if len(changedOnes(items)) == 0 {
			break
		}
	}
	return nil, nil
}

// readRemoval reads the records that are about to be removed.
func (x *exporter) readRemoval(ctx context.Context, items []*outItem) error {
	at := map[string]*outItem{}
	var ids []string
	for _, it := range items {
		if it.order != nil {
			at[it.link.RemoteID] = it
			ids = append(ids, it.link.RemoteID)
		}
	}
	if x.getter == nil || len(ids) == 0 {
		return nil
	}
	recs, err := x.getter.Get(ctx, x.fields, ids)
	if err != nil {
		return err
	}
	for i := range recs {
		it := at[recs[i].ID]
		if it == nil {
			continue
		}
		it.result = nil
		switch r := &recs[i]; {
		case r.Deleted:
			it.result = &channels.Result{Outcome: channels.Gone}
			it.order = nil
		case r.Err != nil:
			it.result = &channels.Result{Outcome: channels.Refused, Err: r.Err}
			it.order = nil
		case r.Version == "":
			it.result = &channels.Result{Outcome: channels.Refused, Err: unversioned(r.ID)}
			it.order = nil
		default:
			it.order.Version = r.Version
			it.fields = x.lostWith(it, r)
		}
	}
	return nil
}

// lostWith gives the values of a record that is about to be removed which are not
// those that both sides agreed on.
func (x *exporter) lostWith(it *outItem, r *record.Record) []store.FieldChange {
	base := baseOf(it.link, x.C.Manual.Len())
	if base.remote == nil || x.C.Manual.CanonRemote(r.Values) != nil {
		return nil
	}
	var out []store.FieldChange
	for f := range r.Values {
		if r.Values[f].Has() && r.Values[f] != base.remote[f] {
			out = append(out, store.FieldChange{Field: x.C.Manual.Fields()[f].Remote, Old: jsonOf(r.Values[f]), Reason: "local_deleted"})
		}
	}
	return out
}
