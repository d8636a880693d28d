package pass

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/google/uuid"

	"github.com/tandem-sync/tandem/channels"
	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/store"
	"github.com/tandem-sync/tandem/sync/record"
)

// announce stores what has to survive before the remote is written to: that
// records are about to be created, and the values that are about to be lost.
func (x *exporter) announce(ctx context.Context, items []*outItem) error {
	var intents []store.Intent
	var lines []store.Change
	for _, it := range items {
		if it.order == nil {
			continue
		}
		if it.order.Op == channels.OrderCreate && it.intent == nil {
			intents = append(intents, store.Intent{ConnectorID: x.C.ID, LocalKey: it.key, Key: uuid.NewString(), Body: sent(x.fields, it.order.Values)})
		}
		if len(it.lost) > 0 {
			lines = append(lines, x.line(it, "overwrite", it.lost))
		}
	}
	if len(intents)+len(lines) > 0 {
		err := x.DB.Write(ctx, "export.announce", func(ctx context.Context, tx *store.Tx) error {
			if err := tx.RenewLease(ctx, x.in.Lease, x.in.TTL); err != nil {
				return err
			}
			if err := tx.AddChanges(ctx, x.in.Run.ID, lines); err != nil {
				return err
			}
			_, err := tx.PutIntents(ctx, intents)
			return err
		})
		if err != nil {
			// An unknown commit, too: the rows are claimed again, and what was
			// stored is found then.
			return fault.Wrap(fault.Retryable, "", "announce", err)
		}
	}
	keys := map[string]string{}
	for _, n := range intents {
		keys[n.LocalKey] = n.Key
	}
	for _, it := range items {
		if it.order == nil || it.order.Op != channels.OrderCreate {
			continue
		}
		if it.intent != nil {
			it.order.Key = it.intent.Key
		} else {
			it.order.Key = keys[it.key]
		}
	}
	return nil
}

// sent is the body of a create as it is kept beside its intent.
func sent(paths []string, vals []record.Value) json.RawMessage {
	m := make(map[string]json.RawMessage, len(paths))
	for f, p := range paths {
		if vals[f].Has() {
			m[p] = jsonOf(vals[f])
		}
	}
	b, err := json.Marshal(m)
	if err != nil {
		return nil
	}
	return b
}

// outcome decides what the answer to an order means for its row.
func (x *exporter) outcome(it *outItem, trouble error) {
	r := it.result
	if r == nil {
		r = &channels.Result{Outcome: channels.NotSent, Err: trouble}
		it.result = r
	}
	switch r.Outcome {
	case channels.Written:
		x.written(it)
	case channels.Gone:
		x.doubted(it)
	case channels.Exists:
		x.exists(it)
	case channels.Refused:
		it.end(fateParked, "write_refused", orUnexplained(r.Err))
	case channels.Changed:
		it.end(fateLater, "changed", fault.New(fault.Retryable, "changed", "export", "the remote record changed while it was being written"))
	case channels.Unknown:
		it.end(fateLater, "unknown_outcome", orUnexplained(r.Err))
	case channels.NotSent:
		it.end(fateLater, "not_sent", orUnexplained(r.Err))
	}
}

var errUnexplained = errors.New("the remote did not say why")

func orUnexplained(err error) error {
	if err == nil {
		return errUnexplained
	}
	return err
}

// written settles a row whose order was carried out: the local half of the base
// is what was sent, the remote half what came back.
func (x *exporter) written(it *outItem) {
	r, o := it.result, it.order
	if o.Op == channels.OrderCreate {
		if r.ID == "" {
			it.end(fateLater, "unknown_outcome", fault.New(fault.Retryable, "unknown_outcome", "export", "the remote took the new record and did not say its id"))
			return
		}
		it.link = &store.Link{ConnectorID: x.C.ID}
		it.link.RemoteID, it.link.LocalKey = r.ID, it.key
		it.first = true
		it.dec.Local, it.dec.Remote = createdLocal(it.createdFrom(), o.Values), append([]record.Value(nil), o.Values...)
	}
	answered := r.Record != nil && len(r.Record.Values) == len(o.Values) && x.C.Manual.CanonRemote(r.Record.Values) == nil
	for f := range o.Values {
		switch {
		case !o.Values[f].Has() || o.Op == channels.OrderUpdate && !it.dec.Verdicts[f].WriteRemote:
		case answered && r.Record.Values[f].Has():
			it.dec.Remote[f] = r.Record.Values[f]
		default:
			it.dec.Remote[f] = o.Values[f]
		}
	}
	it.fate, it.why = fateSettled, o.Op.String()
	it.link.State = store.Linked
	if r.Version != "" {
		it.link.Version = r.Version
	}
	if r.Customs != "" {
		it.link.Customs = r.Customs
	}
}

// createdLocal is the local half of the base after a create: what was sent is
// agreed, the rest is not known at the remote yet.
func createdLocal(local, sent []record.Value) []record.Value {
	out := make([]record.Value, len(local))
	for f := range local {
		if sent[f].Has() {
			out[f] = local[f]
		}
	}
	return out
}

// exists links a row to the record that the remote says has its identity. The
// pair is judged, as a first link, when the row is claimed again.
func (x *exporter) exists(it *outItem) {
	id := it.result.ID
	if id == "" {
		x.duplicate(it, "has the identity of a record at the remote, which did not say which one")
		return
	}
	it.link = &store.Link{ConnectorID: x.C.ID}
	it.link.RemoteID, it.link.LocalKey, it.link.State = id, it.key, store.Linked
	it.first = true
	n := x.C.Manual.Len()
	it.dec.Local, it.dec.Remote = make([]record.Value, n), make([]record.Value, n)
	it.end(fateLater, "exists", fault.New(fault.Retryable, "exists", "export", "the remote has the record already: %s", id).After(time.Millisecond))
}
