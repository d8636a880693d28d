package pass

import (
	"bytes"
	"context"
	"encoding/json"

	"github.com/tandem-sync/tandem/store"
	"github.com/tandem-sync/tandem/sync/mapping"
	"github.com/tandem-sync/tandem/sync/record"
)

// What a create sends is kept with its intent, and a repeat sends the same, even
// if the row has changed since: a remote that knows the create again answers with
// the record that it made the first time. When that record is met, what was sent
// is the base of the pair, so that an edit made since, on whichever side, counts
// as one.

// sentValues reads what a create sent, in canonical remote form; nil when it
// cannot be told.
func sentValues(m *mapping.Manual, in *store.Intent) []record.Value {
	var body map[string]json.RawMessage
	if in == nil || json.Unmarshal(in.Body, &body) != nil {
		return nil
	}
	out := make([]record.Value, m.Len())
	for f, path := range m.RemotePaths() {
		if raw, ok := body[path]; ok {
			out[f] = valueOf(raw)
		}
	}
	if m.CanonRemote(out) != nil {
		return nil // made under another mapping
	}
	return out
}

// valueOf is jsonOf backwards.
func valueOf(raw json.RawMessage) record.Value {
	raw = bytes.TrimSpace(raw)
	var text string
	switch {
	case len(raw) == 0 || bytes.Equal(raw, []byte("null")):
		return record.NullValue
	case json.Unmarshal(raw, &text) == nil:
		return record.T(text)
	case raw[0] == 't' || raw[0] == 'f':
		return record.B(raw[0] == 't')
	case raw[0] == '{' || raw[0] == '[':
		return record.J(string(raw))
	}
	return record.N(string(raw))
}

// sentBase is the base of a pair whose record may be the one that a create made:
// what was sent, in the fields in which the record still holds it.
func sentBase(sent halves, remote []record.Value) halves {
	if sent.local == nil {
		return halves{}
	}
	base := halves{make([]record.Value, len(remote)), make([]record.Value, len(remote))}
	known := false
	for f := range remote {
		if sent.remote[f].Has() && sent.local[f].Has() && remote[f] == sent.remote[f] {
			base.local[f], base.remote[f] = sent.local[f], remote[f]
			known = true
		}
	}
	if !known {
		return halves{}
	}
	return base
}

// sentBefore looks at what an earlier create of a row sent.
func (x *exporter) sentBefore(it *outItem) {
	sent := sentValues(x.C.Manual, it.intent)
	if sent == nil {
		return
	}
	local := make([]record.Value, len(sent))
	if x.C.Manual.ToLocal(&record.Record{Values: sent}, local) != nil {
		return
	}
	it.refs.toLocal(x.C.Manual, local)
	oneWay(local, sent, it.local, it.there)
	it.sent = halves{local, sent}
}

// oneWay fills in what a row held in fields that travel to the remote only: no
// mapping leads back from what was sent. It is what the row holds where that
// would be sent again, else anything but that.
func oneWay(local, sent, now, there []record.Value) {
	for f := range sent {
		switch {
		case local[f].Has() || !sent[f].Has():
		case there[f] == sent[f]:
			local[f] = now[f]
		case now[f] != sent[f]:
			local[f] = sent[f]
		default:
			local[f] = record.NullValue
		}
	}
}

// createdFrom is the local side of what a create sends.
func (it *outItem) createdFrom() []record.Value {
	if it.sent.local != nil {
		return it.sent.local
	}
	return it.local
}

// changedSince reports whether a row that has just been created at the remote
// holds something else by now than what was sent.
func (x *exporter) changedSince(it *outItem) bool {
	if !it.first || it.sent.local == nil || it.order == nil {
		return false
	}
	for f := range it.local {
		if x.C.Manual.Fields()[f].ToRemote() && it.local[f] != it.sent.local[f] {
			return true
		}
	}
	return false
}

// loadIntents looks up the creates of rows whose outcome is not known.
func (pl *planner) loadIntents(ctx context.Context, keys []string) error {
	list, err := pl.tx.Intents(ctx, pl.s.C.ID, keys)
	for i := range list {
		if pl.intents == nil {
			pl.intents = map[string]*store.Intent{}
		}
		pl.intents[list[i].LocalKey] = &list[i]
	}
	return err
}

// sentBase is the base of a pair that is new, where the row was sent before and
// nobody heard what became of it.
func (pl *planner) sentBase(key string, remote, now, there []record.Value) halves {
	sent := sentValues(pl.s.C.Manual, pl.intents[key])
	if sent == nil {
		return halves{}
	}
	local := make([]record.Value, len(sent))
	if _, err := pl.toLocal(&record.Record{Values: sent}, local); err != nil {
		return halves{}
	}
	oneWay(local, sent, now, there)
	return sentBase(halves{local, sent}, remote)
}
