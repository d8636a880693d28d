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

// sendAgain deals with the orders of a batch that met a record which had changed
// since it was read: it is read and judged again, and what is left to tell is
// sent. Nothing of such an order was carried out.
func (x *exporter) sendAgain(ctx context.Context, b *outBatch) (trouble, err error) {
	if _, ok := x.C.Remote.(channels.Getter); !ok {
		return nil, nil
	}
	for range maxAgain {
		at := changedOnes(b)
		if len(at) == 0 {
			return nil, nil
		}
		sub := &outBatch{readAt: b.readAt, items: make([]outItem, len(at))}
		for i, n := range at {
			sub.items[i] = b.items[n]
			sub.items[i].anew()
		}
		if err := x.readRemote(ctx, sub); err != nil {
			// What became of the rest of the batch is to be booked all the same.
			return err, nil //nolint:nilerr // it is the trouble
		}
		for i := range sub.items {
			if it := &sub.items[i]; it.fate == fateOpen {
				x.decide(it, i)
			}
		}
		if err := x.announce(ctx, sub); err != nil {
			return nil, err
		}
		trouble, err := x.send(ctx, sub)
		if err != nil {
			return nil, err
		}
		for i, n := range at {
			b.items[n] = sub.items[i]
		}
		if trouble != nil {
			return trouble, nil
		}
	}
	return nil, nil
}

// changedOnes gives the places of items whose record was not as it had been read.
func changedOnes(b *outBatch) []int {
	var out []int
	for i := range b.items {
		it := &b.items[i]
		if it.result != nil && it.result.Outcome == channels.Changed && it.link != nil && !it.first {
			out = append(out, i)
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
func (x *exporter) sendRemoval(ctx context.Context, b *outBatch) (trouble, err error) {
	if !x.caps.Precondition {
		return x.send(ctx, b)
	}
	for range maxAgain {
		if err := x.readRemoval(ctx, b); err != nil {
			for i := range b.items {
				if it := &b.items[i]; it.order != nil {
					it.result = &channels.Result{N: i, Outcome: channels.NotSent, Err: err}
				}
			}
			return err, nil //nolint:nilerr // it is the trouble; what was removed is booked
		}
		if trouble, err = x.send(ctx, b); trouble != nil || err != nil {
			return trouble, err
		}
		for i := range b.items {
			it := &b.items[i]
			if it.order = nil; it.result != nil && it.result.Outcome == channels.Changed {
				it.order = x.removal(it, i)
			}
		}
		if len(changedOnes(b)) == 0 {
			break
		}
	}
	return nil, nil
}

// readRemoval reads the records that are about to be removed.
func (x *exporter) readRemoval(ctx context.Context, b *outBatch) error {
	getter, ok := x.C.Remote.(channels.Getter)
	at := map[string]*outItem{}
	var ids []string
	for i := range b.items {
		if it := &b.items[i]; it.order != nil {
			at[it.link.RemoteID] = it
			ids = append(ids, it.link.RemoteID)
		}
	}
	if !ok || len(ids) == 0 {
		return nil
	}
	recs, err := getter.Get(ctx, x.fields, ids)
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
			it.result = &channels.Result{N: it.order.N, Outcome: channels.Gone}
			it.order = nil
		case r.Err != nil:
			it.result = &channels.Result{N: it.order.N, Outcome: channels.Refused, Err: r.Err}
			it.order = nil
		case r.Version == "":
			it.result = &channels.Result{N: it.order.N, Outcome: channels.Refused, Err: unversioned(r.ID)}
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
