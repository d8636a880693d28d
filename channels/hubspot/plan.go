package hubspot

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tandem-sync/tandem/fault"
)

// property is one property that is asked for, with the places its value goes to.
type property struct {
	name     string
	slots    []int
	modified bool
	merged   bool // it tells the ids of contacts that were merged into this one
}

// plan says which properties are read and where they go. Immutable; safe for
// concurrent use.
type plan struct {
	fields int
	props  map[string]*property
	names  []string // of all properties to ask for, in order of first use
	mapped []string // those among them that fields name
	times  bool     // history is asked for
}

// newPlan makes the plan that reads fields, which are property names.
func newPlan(fields []string, times bool) *plan {
	p := &plan{fields: len(fields), props: map[string]*property{}, times: times}
	for i, f := range fields {
		q := p.props[f]
		if q == nil {
			q = &property{name: f, modified: f == modifiedProperty}
			p.props[f] = q
			p.names = append(p.names, f)
		}
		q.slots = append(q.slots, i)
	}
	p.mapped = slices.Clone(p.names)
	if p.props[modifiedProperty] == nil {
		p.props[modifiedProperty] = &property{name: modifiedProperty, modified: true}
		p.names = append(p.names, modifiedProperty)
	}
	if len(fields) == 0 {
		return p
	}
	for _, name := range mergedProperties {
		q := p.props[name]
		if q == nil {
			q = &property{name: name}
			p.props[name] = q
			p.names = append(p.names, name)
		}
		q.merged = true
	}
	return p
}

// long reports whether the names are too many for an address.
func (p *plan) long() bool {
	n := 0
	for _, name := range p.names {
		n += len(name) + 3 // with its escaped comma
	}
	if p.times {
		n *= 2
	}
	return n > longNames
}

// withHistory reports whether there is a property whose history is asked for.
func (p *plan) withHistory() bool { return p.times && len(p.mapped) > 0 }

// checkFields refuses names that cannot be a property's.
func checkFields(op string, fields []string) error {
	for _, f := range fields {
		if f == "" || len(f) > 200 || strings.ContainsFunc(f, func(r rune) bool {
			return r != '_' && r != '-' && r != '.' && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
		}) {
			return fault.New(fault.Permanent, fault.CodeConfig, op, "%s is not the name of a HubSpot property", fmt.Sprintf("%q", f)).
				WithHint("use the property's internal name, such as firstname; the contact's id is " + idProperty)
		}
	}
	return nil
}
