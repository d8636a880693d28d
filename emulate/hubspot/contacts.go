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

	// propMoreEmails can be written.
	propMoreEmails = "hs_additional_emails"
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
		p.claims.take(c)
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

// Merge merges the contact loser into winner and gives the id of what is left, to
// which both ids lead from then on. It is the winner's unless Config.MergeAnew.
func (p *Portal) Merge(winner, loser string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strconv.FormatInt(p.merge(p.must(winner), p.must(loser), p.now()).id, 10)
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
	if _, changes := props[propMoreEmails]; changes {
		p.claims.free(c)
		defer p.claims.take(c)
	}
	for name, value := range props {
		p.known[name] = true
		value = normal(name, value)
		old, had := next[name]
		if had && old == value {
			continue // HubSpot keeps no entry for a value that stays
		}
		p.claims.set(name, c.id, old, value)
		next[name] = value
		past[name] = append([]entry{{value, now, source}}, past[name]...)
	}
	c.props, c.history, c.modified = next, past, now
	p.changed(c, now)
}

// archive does not touch the time of change, as HubSpot's does not.
func (p *Portal) archive(c *contact, now time.Time) {
	c.archived, c.archivedAt = true, now
	p.claims.free(c)
	p.changed(c, now)
}

// merge gives what is left: the winner, or a new contact with its values. Gaps are
// filled from the loser, whose e-mail address leads to it from then on.
func (p *Portal) merge(winner, loser *contact, now time.Time) *contact {
	values := map[string]string{}
	for name, v := range loser.props {
		if winner.props[name] == "" && v != "" && name != propMerged && name != propMoreEmails {
			values[name] = v
		}
	}
	more := slices.Concat(winner.moreEmails(), loser.moreEmails())
	if e := loser.props[propEmail]; e != "" && winner.props[propEmail] != "" {
		more = append(more, e)
	}
	gone := []string{winner.props[propMerged], loser.props[propMerged], strconv.FormatInt(loser.id, 10)}
	left := winner
	p.remove(loser, now)
	if p.anew {
		gone = append(gone, strconv.FormatInt(winner.id, 10))
		for name, v := range winner.props {
			values[name] = v
		}
		p.remove(winner, now)
		left = p.create(nil, now, SourceUser)
		p.leadTo(left, winner)
	}
	p.leadTo(left, loser)
	values[propMerged] = joined(gone)
	if len(more) > 0 {
		values[propMoreEmails] = joined(more)
	}
	p.edit(left, values, now, SourceUser)
	p.claims.take(left)
	return left
}

func joined(list []string) string {
	return strings.Join(slices.DeleteFunc(list, func(s string) bool { return s == "" }), ";")
}

// leadTo makes the id of gone, and those that led to it, lead to left.
func (p *Portal) leadTo(left, gone *contact) {
	for from, to := range p.merged {
		if to == gone.id {
			p.merged[from] = left.id
		}
	}
	p.merged[gone.id] = left.id
}

// remove takes a contact out of lists and searches.
func (p *Portal) remove(c *contact, now time.Time) {
	p.archive(c, now)
	delete(p.contacts, c.id)
	p.order = slices.DeleteFunc(p.order, func(x int64) bool { return x == c.id })
}

func (p *Portal) changed(c *contact, now time.Time) { p.index.put(c, now.Add(p.lag)) }

func sortedNames(m map[string]bool) []string { return slices.Sorted(maps.Keys(m)) }

func sortedKeys(m map[string]string) []string { return slices.Sorted(maps.Keys(m)) }
