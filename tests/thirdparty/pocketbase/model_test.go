package pocketbase

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"
)

// side is where an edit was made.
type side int

const (
	here  side = iota // in the local table
	there             // in PocketBase
)

func (s side) String() string { return [...]string{"here", "there"}[s] }

// claim is a value that somebody gave a field.
type claim struct {
	value  string
	at     time.Time
	unsure bool // its transaction's answer was lost
}

// person is what is known of one contact from having edited it.
type person struct {
	created [2]bool
	deleted [2]bool
	unsure  bool // whether it was created or deleted is not known for certain
	anew    bool // its row was deleted and made again: the pair may have started anew
	claims  map[string]*[2][]claim
	latest  [2]time.Time // of any field
}

// model is what both sides were told, by the number in a contact's company,
// which nobody edits. From it follows what both sides must hold in the end.
type model struct {
	mu      sync.Mutex
	people  map[int]*person
	edits   [2]int
	creates [2]int
	deletes [2]int
}

func newModel() *model { return &model{people: map[int]*person{}} }

func (m *model) person(n int) *person {
	p := m.people[n]
	if p == nil {
		p = &person{claims: map[string]*[2][]claim{}}
		m.people[n] = p
	}
	return p
}

// created notes a new contact. Fields that were left empty claim nothing: a side
// that is empty takes the other's value when two contacts turn out to be one.
func (m *model) created(s side, n int, fields values, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.creates[s]++
	p := m.person(n)
	p.created[s] = true
	p.unsure = p.unsure || err != nil
	for f, v := range fields {
		if v != "" || f == "score" || f == "active" { // 0 and false are values
			p.claim(s, f, claim{v, time.Now(), err != nil})
		}
	}
}

func (m *model) edited(s side, n int, fields values, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.edits[s]++
	p := m.person(n)
	for f, v := range fields {
		p.claim(s, f, claim{v, time.Now(), err != nil})
	}
}

// replaced notes that a row was deleted and made again with other values.
func (m *model) replaced(n int, fields values, err error) {
	m.edited(here, n, fields, err)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.people[n].anew = true
}

func (m *model) removed(s side, n int, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.deletes[s]++
	p := m.person(n)
	p.deleted[s] = p.deleted[s] || err == nil
	p.unsure = p.unsure || err != nil
}

// claim notes a value. A certain one takes the place of those before it.
func (p *person) claim(s side, field string, c claim) {
	both := p.claims[field]
	if both == nil {
		both = &[2][]claim{}
		p.claims[field] = both
	}
	if !c.unsure {
		both[s] = both[s][:0]
	}
	both[s] = append(both[s], c)
	p.latest[s] = c.at
}

// apart is how far apart two edits of a field must be for the later one to have
// to win: more than a process on a loaded machine needs to be told of an edit.
const apart = 5 * time.Second

// allowed gives the values that a field may have in the end; nil is anything,
// for a contact of which nothing is known.
func (p *person) allowed(field string) []string {
	both := p.claims[field]
	if both == nil {
		return []string{""}
	}
	l, r := both[here], both[there]
	if len(l) == 1 && len(r) == 1 && !p.anew && !l[0].unsure && !r[0].unsure {
		// The date of a record in PocketBase is that of its latest edit.
		twice := p.created[here] && p.created[there]
		switch {
		case l[0].at.Sub(p.latest[there]) > apart && (!twice || l[0].value != ""):
			return []string{l[0].value}
		case r[0].at.Sub(l[0].at) > apart && (!twice || r[0].value != ""):
			return []string{r[0].value}
		}
	}
	var out []string
	for _, c := range slices.Concat(l, r) {
		out = append(out, c.value)
	}
	if p.anew || (len(l) == 0 || l[0].unsure) && (len(r) == 0 || r[0].unsure) {
		out = append(out, "")
	}
	return out
}

// values are fields in one form for both sides: what is empty is "".
type values map[string]string

// fieldNames are the mapped fields beside the company.
var fieldNames = []string{"email", "first_name", "last_name", "phone", "score", "active", "birthday", "tags"}

// found is a contact as one side holds it.
type found struct {
	id      string
	updated string // in PocketBase
	fields  values
}

// number reads a contact's number from its company.
func number(company string) (int, error) {
	var n int
	if _, err := fmt.Sscanf(company, "no-%d", &n); err != nil {
		return 0, fmt.Errorf("company %q: %w", company, err)
	}
	return n, nil
}

func company(n int) string { return "no-" + strconv.Itoa(n) }

// verdict is what comparing the sides with each other and with the model found.
type verdict struct {
	differ     []string // contacts that the sides do not agree on
	lost       []string // edits, creates and deletes that are not there
	duplicates []string
	held       int // rows that were edited here while their record was deleted there
}

func (v *verdict) clean() bool { return len(v.differ)+len(v.lost)+len(v.duplicates) == 0 }

// judge compares two snapshots. gone tells which rows are known to have lost
// their record.
func (m *model) judge(h, t map[int][]found, gone map[string]bool) *verdict {
	m.mu.Lock()
	defer m.mu.Unlock()
	v := &verdict{}
	for n := range maps.Keys(union(h, t, m.people)) {
		a, b := h[n], t[n]
		if len(a) > 1 || len(b) > 1 {
			v.duplicates = append(v.duplicates, fmt.Sprintf("%d: %v here, %v there", n, a, b))
			continue
		}
		p := m.person(n)
		switch {
		case len(a) != len(b):
			if len(a) == 1 && p.deleted[there] && p.touched(here) && gone[a[0].id] {
				v.held++ // the edit keeps the row, the deletion stands there
				continue
			}
			v.differ = append(v.differ, fmt.Sprintf("%d: here %v, there %v (deleted %v, created %v)", n, a, b, p.deleted, p.created))
		case len(a) == 0:
			if !p.deleted[here] && !p.deleted[there] && !p.unsure {
				v.lost = append(v.lost, fmt.Sprintf("%d was created and is nowhere", n))
			}
		case (p.deleted[here] || p.deleted[there]) && !p.unsure:
			v.lost = append(v.lost, fmt.Sprintf("%d was deleted (here, there: %v) and is on both sides", n, p.deleted))
		default:
			v.compare(n, p, a[0], b[0])
		}
	}
	return v
}

func (p *person) touched(s side) bool {
	for _, both := range p.claims {
		if len(both[s]) > 0 {
			return true
		}
	}
	return false
}

func (v *verdict) compare(n int, p *person, a, b found) {
	for _, f := range fieldNames {
		if a.fields[f] != b.fields[f] {
			v.differ = append(v.differ, fmt.Sprintf("%d.%s: here %q (row %s), there %q (record %s)", n, f, a.fields[f], a.id, b.fields[f], b.id))
			continue
		}
		if ok := p.allowed(f); !slices.Contains(ok, a.fields[f]) {
			v.lost = append(v.lost, fmt.Sprintf("%d.%s is %q on both sides and should be one of %q (row %s, record %s; here %v, there %v)",
				n, f, a.fields[f], ok, a.id, b.id, p.claims[f][here], p.claims[f][there]))
		}
	}
}

func union(h, t map[int][]found, people map[int]*person) map[int]bool {
	all := map[int]bool{}
	for n := range h {
		all[n] = true
	}
	for n := range t {
		all[n] = true
	}
	for n := range people {
		all[n] = true
	}
	return all
}
