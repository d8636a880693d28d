package demo

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/tandem-sync/tandem/emulate/hubspot"
)

// AccountOptions shape an Account. The zero value is the demo's: 1,200 contacts,
// 5 of them broken, one call in six that goes wrong.
type AccountOptions struct {
	Contacts int           // 0 means 1,200
	Broken   int           // broken contacts among them; 0 means 5, negative none
	Trouble  int           // every n-th call goes wrong; 0 means 6, negative never
	Seed     int64         // of the made-up data
	Lag      time.Duration // of the search index
}

// Account is an emulated HubSpot account with some records that no local table
// takes. It is safe for concurrent use.
type Account struct {
	portal *hubspot.Portal

	mu     sync.Mutex
	rnd    *rand.Rand
	broken map[string]string // by id: what is wrong with it
}

// NewAccount makes an account whose contacts were changed over the past year.
func NewAccount(o AccountOptions) *Account {
	if o.Contacts == 0 {
		o.Contacts = 1200
	}
	if o.Broken == 0 {
		o.Broken = len(spoiled)
	}
	if o.Trouble == 0 {
		o.Trouble = 6
	}
	a := &Account{
		portal: hubspot.New(hubspot.Config{IndexLag: o.Lag}),
		rnd:    rand.New(rand.NewPCG(uint64(o.Seed), 9)), //nolint:gosec // made-up data, no secret
		broken: map[string]string{},
	}
	now := a.portal.Now()
	// Broken from the beginning: an edit would make them new.
	ids := a.portal.Populate(o.Contacts, now.AddDate(-1, 0, 0), now.AddDate(0, 0, -2), o.Seed)
	for i := range max(o.Broken, 0) {
		s := spoiled[i%len(spoiled)]
		id := ids[o.Contacts*(i+1)/(o.Broken+1)]
		a.portal.Spoil(id, s.property, s.value)
		a.broken[id] = s.what
	}
	a.portal.Trouble(max(o.Trouble, 0),
		hubspot.TooMany(hubspot.PolicyBurst, time.Second), hubspot.HTML(), hubspot.TooMany(hubspot.PolicyBurst, time.Second), hubspot.Truncated())
	return a
}

// spoiled are ways in which contacts are broken.
var spoiled = []struct{ property, value, what string }{
	{"birthday", "1987-02-31", "the birthday is a day that does not exist"},
	{hubspot.PropOrders, "about a dozen", "the number of orders is a sentence"},
	{"email", "", "the e-mail address is empty, the table refuses that"},
	{"birthday", "last spring", "the birthday is no date"},
	{hubspot.PropOrders, "12.5", "the number of orders is no whole number"},
}

// Token is what the account lets in.
func (a *Account) Token() string { return hubspot.DefaultToken }

// ServeHTTP answers as HubSpot does.
func (a *Account) ServeHTTP(w http.ResponseWriter, r *http.Request) { a.portal.ServeHTTP(w, r) }

// Calls says how many calls were answered and how many of them with 429.
func (a *Account) Calls() (calls, refused int) {
	return a.portal.Calls(hubspot.OpAny), a.portal.Answered(http.StatusTooManyRequests)
}

// Edit changes the account as Remote.Edit changes the other remote. Deleted
// contacts are archived, purged ones vanish without a trace.
func (a *Account) Edit(want Edits) Edits {
	a.mu.Lock()
	defer a.mu.Unlock()
	var did Edits
	good := a.goodIDs()
	a.rnd.Shuffle(len(good), func(i, j int) { good[i], good[j] = good[j], good[i] })
	take := func(n int) []string {
		n = min(n, len(good))
		ids := good[:n]
		good = good[n:]
		return ids
	}
	for _, id := range take(want.Edited) {
		a.portal.Edit(map[string]string{"city": "Paris", "phone": a.phone(id)}, id)
		did.Edited++
	}
	gone := take(want.Deleted)
	a.portal.Archive(gone...)
	did.Deleted = len(gone)
	gone = take(want.Purged)
	a.portal.Purge(gone...)
	did.Purged = len(gone)
	now := a.portal.Now()
	did.Created = len(a.portal.Populate(want.Created, now, now, int64(a.rnd.Uint32())))
	broken := slices.Sorted(maps.Keys(a.broken))
	for _, id := range broken[:min(want.Repaired, len(broken))] {
		a.portal.Edit(map[string]string{"email": "repaired" + id + "@example.com", "birthday": "1987-02-28", hubspot.PropOrders: "12"}, id)
		delete(a.broken, id)
		did.Repaired++
	}
	return did
}

// phone makes a number that the contact does not have, so that an edit changes
// something.
func (a *Account) phone(id string) string {
	for {
		c, _ := a.portal.Contact(id)
		if s := fmt.Sprintf("+33 1 %08d", a.rnd.IntN(100_000_000)); s != c.Properties["phone"] {
			return s
		}
	}
}

func (a *Account) goodIDs() []string {
	return slices.DeleteFunc(a.portal.IDs(), func(id string) bool { return a.broken[id] != "" })
}

// Good gives the good contacts by id as the local side must hold them.
func (a *Account) Good() map[string]Fields {
	a.mu.Lock()
	defer a.mu.Unlock()
	out := map[string]Fields{}
	for _, id := range a.goodIDs() {
		c, _ := a.portal.Contact(id)
		p := c.Properties
		out[id] = Fields{
			Email: p["email"], Name: p["firstname"] + " " + p["lastname"], Phone: p["phone"],
			City: p["city"], Birthday: p["birthday"], Orders: p[hubspot.PropOrders],
		}
	}
	return out
}

// Broken gives the broken contacts by id with what is wrong with each.
func (a *Account) Broken() map[string]string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return maps.Clone(a.broken)
}
