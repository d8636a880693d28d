package hubspot

import (
	"cmp"
	"slices"
	"time"
)

// index is what searches see: contacts as they were some time ago, without the
// archived ones.
type index struct {
	docs    map[int64]view
	pending []pending // in order of due
	sorted  []view    // by time of change; nil when docs has changed since
}

type pending struct {
	due time.Time
	doc view
}

func newIndex() index { return index{docs: map[int64]view{}} }

// put makes the contact's present state visible at due.
func (x *index) put(c *contact, due time.Time) {
	at := len(x.pending)
	for at > 0 && x.pending[at-1].due.After(due) {
		at-- // a shorter lag overtakes
	}
	x.pending = slices.Insert(x.pending, at, pending{due, c.view()})
}

// catchUp applies what is visible by now.
func (x *index) catchUp(now time.Time) {
	n := 0
	for n < len(x.pending) && !x.pending[n].due.After(now) {
		doc := x.pending[n].doc
		switch old, ok := x.docs[doc.id]; {
		case ok && old.modified.After(doc.modified):
		case doc.archived:
			delete(x.docs, doc.id)
		default:
			x.docs[doc.id] = doc
		}
		n++
	}
	if n > 0 {
		x.pending, x.sorted = x.pending[n:], nil
	}
}

// byModified gives all documents by time of change. Those of one time are in an
// order that has nothing to do with their ids, because HubSpot promises none.
func (x *index) byModified() []view {
	if x.sorted == nil {
		x.sorted = make([]view, 0, len(x.docs))
		for _, d := range x.docs {
			x.sorted = append(x.sorted, d)
		}
		slices.SortFunc(x.sorted, func(a, b view) int {
			if c := a.modified.Compare(b.modified); c != 0 {
				return c
			}
			return cmp.Compare(scramble(a.id), scramble(b.id))
		})
	}
	return x.sorted
}

func scramble(id int64) uint64 {
	h := uint64(id) * 0x9e3779b97f4a7c15
	return h ^ h>>29
}
