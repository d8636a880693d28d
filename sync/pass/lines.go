package pass

import (
	"encoding/json"
	"slices"

	"github.com/tandem-sync/tandem/entities"
	"github.com/tandem-sync/tandem/store"
	"github.com/tandem-sync/tandem/sync/mapping"
	"github.com/tandem-sync/tandem/sync/record"
)

// expect makes room for so many changes.
func (pl *planner) expect(n int) {
	pl.p.items, pl.p.changes = slices.Grow(pl.p.items, n), slices.Grow(pl.p.changes, n)
}

// change adds a change to the plan and remembers the item behind it.
func (pl *planner) change(it *item, c entities.Change) {
	p := pl.p
	c.N = len(p.items)
	p.items = append(p.items, *it)
	p.changes = append(p.changes, c)
	if it.head != nil {
		p.heads = append(p.heads, *it.head)
		p.seen = append(p.seen, uint64(it.head.ID))
		p.locals = append(p.locals, it.head.LocalKey)
	}
}

// encodeBase writes a base pair; those of a batch lie together.
func (pl *planner) encodeBase(local, remote []record.Value) string {
	pl.scratch = mapping.AppendBase(pl.scratch[:0], local, remote)
	return pl.bases.Text(pl.scratch)
}

// line notes for a dry run what happens to a record that is not written.
func (pl *planner) line(it *item, op, local string, fields []store.FieldChange) {
	if !pl.s.dry() {
		return
	}
	pl.p.lines = append(pl.p.lines, store.Change{
		Connector: pl.s.C.Name, Side: "local", Op: op, LocalID: local, RemoteID: it.rec.ID, Fields: fields,
	})
}

// opName is the word of a change line.
func opName(c *entities.Change) string {
	switch c.Op {
	case entities.OpInsert:
		return "create"
	case entities.OpUpdate:
		return "update"
	case entities.OpDelete:
		return "delete"
	case entities.OpLink:
		if c.Link.State != store.Linked {
			return "unlink"
		}
	}
	return "link"
}

// lineFor makes the line of a planned change. A real run keeps it where a value
// is replaced or a row goes away; created and unchanged records leave none: it
// would say nothing that the row does not.
func (s *slice) lineFor(c *entities.Change, it *item) store.Change {
	fields := it.fields
	if c.Op == entities.OpInsert && s.dry() {
		fields = make([]store.FieldChange, 0, len(c.New))
		for f, v := range c.New {
			if v.Has() {
				fields = append(fields, store.FieldChange{
					Field: s.C.Manual.Fields()[f].Local, Old: nil, New: jsonOf(v), Winner: "remote", Reason: "created",
				})
			}
		}
	}
	if fields == nil {
		fields = []store.FieldChange{}
	}
	return store.Change{
		Connector: s.C.Name, Side: "local", Op: opName(c), LocalID: c.Key, RemoteID: c.Link.RemoteID, Fields: fields,
	}
}

// jsonOf is a value as JSON; nil (null in a line) for null and absent.
func jsonOf(v record.Value) json.RawMessage {
	switch v.Kind {
	case record.Number, record.Bool, record.JSON:
		if json.Valid([]byte(v.Text)) {
			return json.RawMessage(v.Text)
		}
	case record.Text:
	case record.Absent, record.Null:
		return json.RawMessage("null")
	}
	b, err := json.Marshal(v.Text)
	if err != nil {
		return json.RawMessage(`""`)
	}
	return b
}

// maxPayload keeps a parked record readable and the table small.
const maxPayload = 64 << 10

// payload is a record as received, for a person to look at. What is not JSON or
// too large is kept as the beginning of its text.
func payload(raw []byte) json.RawMessage {
	switch {
	case len(raw) == 0:
		return nil
	case len(raw) <= maxPayload && json.Valid(raw):
		return append(json.RawMessage(nil), raw...)
	}
	b, err := json.Marshal(map[string]any{"truncated": string(raw[:min(len(raw), maxPayload/4)]), "bytes": len(raw)})
	if err != nil {
		return nil
	}
	return b
}
