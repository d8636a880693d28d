package pass

import (
	"time"

	"github.com/tandem-sync/tandem/channels"
	"github.com/tandem-sync/tandem/store"
	"github.com/tandem-sync/tandem/sync/mapping"
)

// bookLink books what the link must be afterwards.
func (x *exporter) bookLink(r *results, it *outItem, now time.Time) {
	if it.link == nil {
		return
	}
	l := *it.link
	if it.fate == fateSettled && it.why == "" && len(it.dec.Local) > 0 {
		l.State = store.Linked // judged, though there may have been nothing to send
	}
	if len(it.dec.Local) > 0 && l.State == store.Linked {
		l.Base = mapping.EncodeBase(it.dec.Local, it.dec.Remote)
		l.Hash = x.C.Manual.Hash(it.dec.Remote)
	}
	if it.order != nil {
		l.WrittenAt = now.UnixMilli()
		l.ReadAt = l.WrittenAt // a page that was read before is stale
	}
	if id := it.movedTo(); id != "" {
		r.moved = append(r.moved, rowMove{rename{l.RemoteID, id}, it.key})
		l.RemoteID = id
	}
	switch {
	case it.first:
		r.insert = append(r.insert, l)
	case it.fate == fateSettled && (it.order != nil || it.dec.Moved || it.link.State != store.Linked) || it.fate == fateSkipped && l.State != store.Linked:
		r.update = append(r.update, l)
	}
}

// movedTo is the id under which the remote goes on with the record, where that
// is another one.
func (it *outItem) movedTo() string {
	if it.result == nil || it.order == nil || it.order.Op != channels.OrderUpdate || it.result.ID == it.order.ID {
		return ""
	}
	return it.result.ID
}
