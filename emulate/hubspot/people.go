package hubspot

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"strconv"
	"time"
)

// PropOrders is a property of its own kind that Populate adds: a whole number.
const PropOrders = "orders"

// Populate makes n made-up contacts, one after the other between from and to,
// and gives their ids. The same n and seed give the same contacts. A time ahead
// of the portal's clock becomes visible to searches when it is reached.
func (p *Portal) Populate(n int, from, to time.Time, seed int64) []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	rnd := rand.New(rand.NewPCG(uint64(seed), 5)) //nolint:gosec // made-up data, no secret
	ids := make([]string, n)
	step := to.Sub(from) / time.Duration(max(n, 1))
	for i := range n {
		at := from.Add(time.Duration(i) * step).UTC().Truncate(time.Millisecond)
		ids[i] = strconv.FormatInt(p.create(Person(int(p.lastID-firstID)/idStep+1, rnd), at, SourceUser).id, 10)
	}
	return ids
}

var (
	givenNames = []string{
		"Ada", "Alan", "Barbara", "Carol", "Donald", "Emmy", "Frances", "Grace", "Hedy", "İpek", "Joan", "Ken", "Łukasz", "Mary", "Noor", "Zoë",
	}
	familyNames = []string{
		"Allen", "Bartik", "Church", "Dijkstra", "Estrin", "Floyd", "Goldberg", "Hamilton", "Iverson", "Jääskeläinen", "Knuth", "Liskov", "Müller", "O'Neil", "Sørensen",
	}
	towns     = []string{"Amsterdam", "Berlin", "Genève", "København", "Kraków", "Leeds", "Lyon", "München", "Oslo", "Porto", "Tallinn", "Zürich"}
	companies = []string{"Analytical Engines Ltd", "Brücke & Söhne", "Compilers SA", "Difference Co.", "Enigma BV"}
	stages    = []string{"subscriber", "lead", "opportunity", "customer"}
)

// Person makes the properties of a contact; n makes its e-mail address its own.
func Person(n int, rnd *rand.Rand) map[string]string {
	one := func(list []string) string { return list[rnd.IntN(len(list))] }
	return map[string]string{
		"email": fmt.Sprintf("person%05d@example.com", n), "firstname": one(givenNames), "lastname": one(familyNames),
		"phone": fmt.Sprintf("+44 20 %07d", rnd.IntN(10_000_000)), "city": one(towns), "company": one(companies),
		"lifecyclestage": one(stages), "birthday": fmt.Sprintf("%04d-%02d-%02d", 1950+rnd.IntN(55), 1+rnd.IntN(12), 1+rnd.IntN(28)),
		PropOrders: strconv.Itoa(rnd.IntN(60)),
	}
}

// Spoil gives a property another value as if it had been there from the
// beginning: no time changes, and nothing is checked. "" takes the property away.
func (p *Portal) Spoil(id, property, value string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.must(id)
	p.known[property] = true
	props, past := maps.Clone(c.props), maps.Clone(c.history)
	p.claims.set(property, c.id, props[property], value)
	props[property], past[property] = value, []entry{{value, c.modified, SourceUser}}
	if value == "" {
		delete(props, property)
		delete(past, property)
	}
	c.props, c.history = props, past
	p.changed(c, c.modified)
}
