package pass

import (
	"context"

	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/store"
	"github.com/tandem-sync/tandem/sync/record"
)

// toRead reports whether the judge has to see what the remote holds of an item.
func (x *exporter) toRead(it *outItem) bool {
	return it.fate == fateOpen && it.link != nil && it.rec == nil && x.getter != nil &&
		(x.C.TwoWay || x.caps.Whole || x.caps.Precondition || it.again || it.base.local == nil || it.dirty.Reason == whyGone)
}

// readRemote fetches the remote records of items that toRead names.
func (x *exporter) readRemote(ctx context.Context, items []*outItem) error {
	if len(items) == 0 {
		return nil
	}
	at := make(map[string]*outItem, len(items))
	ids := make([]string, len(items))
	for i, it := range items {
		ids[i], at[it.link.RemoteID] = it.link.RemoteID, it
	}
	recs, err := x.getter.Get(ctx, x.fields, ids)
	if err != nil {
		return err
	}
	for i := range recs {
		if it := at[recs[i].ID]; it != nil {
			x.met(it, &recs[i])
		}
	}
	return nil
}

// met gives an item the remote record that was just read.
func (x *exporter) met(it *outItem, r *record.Record) {
	switch {
	case r.Deleted && it.link.State == store.LocalDeleted:
		// It was deleted with its row, and the row has come back: a new record.
		it.link, it.rec, it.base = nil, nil, halves{}
		x.compare(it)
		return
	case r.Deleted && r.Renamed != nil && r.Renamed.To != "" && it.link.State == store.Linked && !x.dry():
		x.renamed(it, r.Renamed.To)
		return
	case r.Deleted:
		x.recordGone(it)
		return
	case r.Err != nil:
		it.end(fateParked, reasonOf(r.Err), r.Err)
		return
	}
	if err := x.C.Manual.CanonRemote(r.Values); err != nil {
		it.end(fateParked, reasonOf(err), err)
		return
	}
	it.rec, it.remote = r, r.Values
	if r.Version != "" || x.caps.Precondition {
		it.link.Version = r.Version
	}
	if x.caps.Precondition && r.Version == "" {
		it.end(fateParked, fault.CodeBadAnswer, unversioned(r.ID))
		return
	}
	if it.base.local == nil && it.link.State == store.Linked {
		it.base = sentBase(it.sent, it.remote)
	}
}

// whyGone says that the remote did not know a record when it was to be changed.
const whyGone = "gone"

// doubted deals with a record that the remote did not know when it was to be
// changed: a wrong path would say so of every record. It is asked for by id,
// where that can be done, before it counts as gone.
func (x *exporter) doubted(it *outItem) {
	if x.getter == nil {
		x.recordGone(it)
		return
	}
	it.end(fateLater, whyGone, fault.New(fault.Retryable, whyGone, "export", "the remote does not know record %s, or not by this path", it.remoteID()))
}

// recordGone settles a pair whose remote record does not exist any more although
// its row was changed: the row stays. Where deletions at the remote delete rows,
// that is left to a complete direct sync, which is guarded against mistakes.
func (x *exporter) recordGone(it *outItem) {
	if x.C.OnRemoteDelete != DeleteRow {
		it.link.State = store.RemoteDeleted
	}
	it.end(fateSkipped, "remote_deleted", nil)
}
