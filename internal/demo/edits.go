package demo

import (
	"fmt"
	"maps"
	"slices"
	"time"
)

// Edits are what happened on the remote in one go.
type Edits struct{ Edited, Created, Deleted, Purged, Repaired int }

// Edit changes the remote as a day's work would: it edits, creates and deletes
// good contacts, and repairs broken ones. Purged contacts vanish without a
// tombstone: only a complete listing can find that out. Asking for more than
// there is does what there is; the answer says how much that was.
func (r *Remote) Edit(want Edits) Edits {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.now().UTC().Truncate(time.Millisecond)
	var did Edits
	good := r.goodIDs()
	// Contact 1 lends its address to a broken one and therefore stays.
	good = slices.DeleteFunc(good, func(id string) bool { return id == contactID(1) })
	r.rnd.Shuffle(len(good), func(i, j int) { good[i], good[j] = good[j], good[i] })
	take := func(n int) []string {
		n = min(n, len(good))
		ids := good[:n]
		good = good[n:]
		return ids
	}
	for _, id := range take(want.Edited) {
		r.touch(r.contacts[id], now)
		did.Edited++
	}
	for _, id := range take(want.Deleted) {
		delete(r.contacts, id)
		r.deleted = append(r.deleted, tombstone{ID: id, At: now})
		did.Deleted++
	}
	for _, id := range take(want.Purged) {
		delete(r.contacts, id)
		did.Purged++
	}
	for range want.Created {
		c := person(r.next, r.rnd, now)
		r.contacts[c.ID] = &c
		r.next++
		did.Created++
	}
	broken := slices.Sorted(maps.Keys(r.broken))
	for _, id := range broken[:min(want.Repaired, len(broken))] {
		var n int
		if _, err := fmt.Sscanf(id, "c%d", &n); err != nil {
			continue
		}
		c := person(n, r.rnd, now)
		r.contacts[id] = &c
		delete(r.broken, id)
		did.Repaired++
	}
	return did
}

// touch edits one or two fields.
func (r *Remote) touch(c *Contact, now time.Time) {
	switch r.rnd.IntN(3) {
	case 0:
		c.Phone = fmt.Sprintf("+33 1 %08d", r.rnd.IntN(100_000_000))
	case 1:
		for old := c.City.City; c.City.City == old; {
			c.City.City = cities[r.rnd.IntN(len(cities))] + " (moved)"
		}
	default:
		c.Name += " Jr."
		c.Phone = ""
	}
	c.Updated = now
}

func (r *Remote) goodIDs() []string {
	ids := make([]string, 0, len(r.contacts))
	for id := range r.contacts {
		if _, bad := r.broken[id]; !bad {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

// Good gives the good contacts by id as the local side must hold them.
func (r *Remote) Good() map[string]Fields {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make(map[string]Fields, len(r.contacts))
	for _, id := range r.goodIDs() {
		out[id] = r.contacts[id].Fields()
	}
	return out
}

// Broken gives the broken contacts by id with what is wrong with each.
func (r *Remote) Broken() map[string]string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.broken)
}

// SetDelay changes how long an answer takes from now on.
func (r *Remote) SetDelay(d time.Duration) { r.delay.Store(int64(d)) }

// Calls says how many calls were answered and how many of them with 429.
func (r *Remote) Calls() (calls, refused int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.calls, r.refused
}
