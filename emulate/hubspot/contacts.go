package hubspot

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The properties that the portal keeps itself.
const (
	propID       = "hs_object_id"
	propCreated  = "createdate"
	propModified = "lastmodifieddate"
	propMerged   = "hs_merged_object_ids"
)

// Ids begin above firstID and are not dense.
const (
	firstID = 100_000
	idStep  = 51
)

// contact is one contact. props and history are replaced, never changed, so that
// the index can share them.
type contact struct {
	id         int64
	props      map[string]string
	history    map[string][]entry // newest first
	created    time.Time
	modified   time.Time
	archived   bool
	archivedAt time.Time
}

// entry is one value that a property had.
type entry struct {
	value  string
	at     time.Time
	source string
}

// Sources of changes, as the history names them.
const (
	SourceUser        = "CRM_UI"
	SourceIntegration = "INTEGRATION"
)

// Contact is a contact as a test sees it.
type Contact struct {
	ID         string
	Properties map[string]string
	Created    time.Time
	Modified   time.Time
	Archived   bool
	ArchivedAt time.Time
}

// AddProperty makes properties known.
func (p *Portal) AddProperty(names ...string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, n := range names {
		p.known[n] = true
	}
}

// Create makes a contact as a person in HubSpot would, and gives its id. Names
// that are not known become properties.
func (p *Portal) Create(props map[string]string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strconv.FormatInt(p.create(props, p.now(), SourceUser).id, 10)
}

// Seed makes n contacts, all at the same time, and gives their ids.
func (p *Portal) Seed(n int) []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.now()
	ids := make([]string, n)
	for i := range n {
		ids[i] = strconv.FormatInt(p.create(map[string]string{
			"email": fmt.Sprintf("person%d@example.com", i), "firstname": "Ada", "lastname": fmt.Sprintf("Lovelace %d", i),
			"phone": fmt.Sprintf("+44 20 7946 %04d", i%10000), "city": "London", "company": "Analytical Engines Ltd",
		}, now, SourceUser).id, 10)
	}
	return ids
}

// Edit changes properties of contacts, all at the same time; "" clears one. An
// id that is unknown or archived panics: the test is wrong.
func (p *Portal) Edit(props map[string]string, ids ...string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.now()
	for _, id := range ids {
		p.edit(p.must(id), props, now, SourceUser)
	}
}

// Archive puts contacts into the recycle bin.
func (p *Portal) Archive(ids ...string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.now()
	for _, id := range ids {
		p.archive(p.must(id), now)
	}
}

// Restore takes contacts out of the recycle bin.
func (p *Portal) Restore(ids ...string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.now()
	for _, id := range ids {
		c := p.contacts[number(id)]
		if c == nil || !c.archived {
			panic("emulate/hubspot: contact " + id + " is not archived")
		}
		c.archived, c.archivedAt, c.modified = false, time.Time{}, now
		if e := c.props["email"]; e != "" {
			p.emails[strings.ToLower(e)] = c.id
		}
		p.changed(c, now)
	}
}

// Purge removes contacts without a trace, as HubSpot does with archived ones
// after 90 days and on a request for privacy.
func (p *Portal) Purge(ids ...string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.now()
	for _, id := range ids {
		c := p.contacts[number(id)]
		if c == nil {
			panic("emulate/hubspot: no contact " + id)
		}
		if !c.archived {
			p.archive(c, now)
		}
		delete(p.contacts, c.id)
		p.order = slices.DeleteFunc(p.order, func(x int64) bool { return x == c.id })
	}
}

// Merge merges the contact loser into winner: from then on the loser's id answers
// with the winner.
func (p *Portal) Merge(winner, loser string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.merge(p.must(winner), p.must(loser), p.now())
}

// Contact gives a contact; false when there is none of that id.
func (p *Portal) Contact(id string) (Contact, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.contacts[number(id)]
	if c == nil {
		return Contact{}, false
	}
	return Contact{ID: id, Properties: maps.Clone(c.props), Created: c.created, Modified: c.modified, Archived: c.archived, ArchivedAt: c.archivedAt}, true
}

// IDs gives the ids of the contacts that are not archived, in order.
func (p *Portal) IDs() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []string
	for _, id := range p.order {
		if !p.contacts[id].archived {
			out = append(out, strconv.FormatInt(id, 10))
		}
	}
	return out
}

func number(id string) int64 {
	n, err := strconv.ParseInt(id, 10, 64)
	if err != nil {
		return -1
	}
	return n
}

func (p *Portal) must(id string) *contact {
	c := p.contacts[number(id)]
	if c == nil || c.archived {
		panic("emulate/hubspot: no contact " + id)
	}
	return c
}

func (p *Portal) create(props map[string]string, now time.Time, source string) *contact {
	p.lastID += idStep
	c := &contact{id: p.lastID, created: now, props: map[string]string{}, history: map[string][]entry{}}
	p.contacts[c.id] = c
	p.order = append(p.order, c.id)
	p.edit(c, props, now, source)
	return c
}

func (p *Portal) edit(c *contact, props map[string]string, now time.Time, source string) {
	next, past := maps.Clone(c.props), maps.Clone(c.history)
	for name, value := range props {
		p.known[name] = true
		old, had := next[name]
		if had && old == value {
			continue // HubSpot keeps no entry for a value that stays
		}
		if name == "email" {
			delete(p.emails, strings.ToLower(old))
			if value != "" {
				p.emails[strings.ToLower(value)] = c.id
			}
		}
		next[name] = value
		past[name] = append([]entry{{value, now, source}}, past[name]...)
	}
	c.props, c.history, c.modified = next, past, now
	p.changed(c, now)
}

// archive does not touch the time of change, as HubSpot's does not.
func (p *Portal) archive(c *contact, now time.Time) {
	c.archived, c.archivedAt = true, now
	delete(p.emails, strings.ToLower(c.props["email"]))
	p.changed(c, now)
}

func (p *Portal) merge(winner, loser *contact, now time.Time) {
	for from, to := range p.merged {
		if to == loser.id {
			p.merged[from] = winner.id
		}
	}
	p.merged[loser.id] = winner.id
	p.archive(loser, now)
	delete(p.contacts, loser.id)
	p.order = slices.DeleteFunc(p.order, func(x int64) bool { return x == loser.id })
	merged := strconv.FormatInt(loser.id, 10)
	if old := winner.props[propMerged]; old != "" {
		merged = old + ";" + merged
	}
	p.edit(winner, map[string]string{propMerged: merged}, now, SourceUser)
}

func (p *Portal) changed(c *contact, now time.Time) { p.index.put(c, now.Add(p.lag)) }

func sortedNames(m map[string]bool) []string { return slices.Sorted(maps.Keys(m)) }

func sortedKeys(m map[string]string) []string { return slices.Sorted(maps.Keys(m)) }
