package hubspot

import "strings"

// propEmail is the one property that is unique in every portal.
const propEmail = "email"

// claims are the values of unique properties with the contacts that have them.
type claims map[string]map[string]int64

func newClaims() claims { return claims{propEmail: {}} }

// AddUniqueProperty makes properties known whose values no two contacts share:
// contacts can be found and upserted by them.
func (p *Portal) AddUniqueProperty(names ...string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, n := range names {
		p.known[n] = true
		if p.claims[n] == nil {
			p.claims[n] = map[string]int64{}
		}
	}
}

// unique reports whether a property is.
func (c claims) unique(name string) bool { return c[name] != nil }

// by gives the contact that has the value; 0 none.
func (c claims) by(name, value string) int64 { return c[name][normal(name, value)] }

// normal is a value as HubSpot keeps it: e-mail addresses in lower case.
func normal(name, value string) string {
	if name == propEmail {
		return strings.ToLower(value)
	}
	return value
}

// set makes value, "" none, the one that id has instead of old.
func (c claims) set(name string, id int64, old, value string) {
	if !c.unique(name) {
		return
	}
	if c.by(name, old) == id {
		delete(c[name], normal(name, old))
	}
	if value != "" {
		c[name][normal(name, value)] = id
	}
}

// free gives up all values of a contact.
func (c claims) free(x *contact) {
	for name := range c {
		c.set(name, x.id, x.props[name], "")
	}
	for _, email := range x.moreEmails() {
		c.set(propEmail, x.id, email, "")
	}
}

// take claims all values of a contact that nobody else has meanwhile.
func (c claims) take(x *contact) {
	for name := range c {
		if v := x.props[name]; v != "" && c.by(name, v) == 0 {
			c.set(name, x.id, "", v)
		}
	}
	for _, email := range x.moreEmails() {
		if c.by(propEmail, email) == 0 {
			c.set(propEmail, x.id, "", email)
		}
	}
}

// moreEmails are the addresses a contact has beside its own: those of contacts
// that were merged into it. It is found by them, too.
func (c *contact) moreEmails() []string {
	var out []string
	for e := range strings.SplitSeq(c.props[propMoreEmails], ";") {
		if e != "" {
			out = append(out, e)
		}
	}
	return out
}
