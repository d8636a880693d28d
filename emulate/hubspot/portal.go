// Package hubspot is a stateful emulator of the part of HubSpot's API that deals
// with contacts: the CRM v3 objects API with its property history, its search
// index that lags behind, its limits and its errors. A Portal is an
// http.Handler; what happens inside of it is controlled by its methods.
//
// It is written from what HubSpot documents and from how its API is reported to
// behave, in our own words; it holds nothing of HubSpot's.
package hubspot

import (
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
	_ "time/tzdata" // time zones must load on machines without a zone database
)

// DefaultToken is the access token of a portal whose configuration names none.
const DefaultToken = "pat-emulated-00000000-0000-0000-0000-000000000000" //nolint:gosec // opens nothing but the emulator

// Scopes a token can have.
const (
	ScopeRead  = "crm.objects.contacts.read"
	ScopeWrite = "crm.objects.contacts.write"
)

// Config describes a portal. The zero value is a portal with HubSpot's limits of
// a small account and an index that does not lag.
type Config struct {
	// Token is the access token that is accepted; "" is DefaultToken.
	Token string
	// App signs in by OAuth2, beside Token; without a client id it is DefaultApp.
	App App
	// Now is the portal's clock; nil is the machine's. Advance moves it ahead.
	Now func() time.Time
	// IndexLag is how long a change takes to show up in searches.
	IndexLag time.Duration
	// Limits are the account's limits.
	Limits Limits
	// Window is how many rows of one search can be reached; 0 is 10,000.
	Window int
	// ID is the account's number; 0 is 1234567.
	ID int64
	// TimeZone is the account's; "" is UTC. An unknown one counts as UTC.
	TimeZone string
	// MergeAnew makes a merge give a contact with an id of its own, to which those
	// of both lead, as newer accounts do. Otherwise the winner keeps its id.
	MergeAnew bool
}

// Portal is one emulated account. Safe for concurrent use.
type Portal struct {
	private string // the private app's token
	app     access
	window  int
	anew    bool
	id      int64
	zone    *time.Location
	base    func() time.Time

	mu       sync.Mutex
	ahead    time.Duration
	lag      time.Duration
	scopes   map[string]bool
	revoked  bool
	limits   meter
	faults   []Fault
	trouble  trouble
	hook     func(Op)
	calls    map[Op]int
	answered map[int]int

	known    map[string]bool // property names
	contacts map[int64]*contact
	order    []int64 // of all contacts that were ever made and not purged
	merged   map[int64]int64
	claims   claims
	lastID   int64
	index    index
	serial   int64 // of answers, for their correlation ids
}

// New makes an empty portal.
func New(c Config) *Portal {
	if c.Token == "" {
		c.Token = DefaultToken
	}
	if c.Window == 0 {
		c.Window = 10_000
	}
	if c.ID == 0 {
		c.ID = 1234567
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	zone, err := time.LoadLocation(c.TimeZone)
	if err != nil {
		zone = time.UTC
	}
	p := &Portal{
		private: c.Token, app: newAccess(c.App), window: c.Window, id: c.ID, zone: zone, base: c.Now, lag: c.IndexLag,
		scopes: map[string]bool{ScopeRead: true, ScopeWrite: true}, calls: map[Op]int{}, answered: map[int]int{},
		known: map[string]bool{}, contacts: map[int64]*contact{}, merged: map[int64]int64{}, claims: newClaims(), anew: c.MergeAnew,
		lastID: firstID, index: newIndex(), limits: newMeter(c.Limits),
	}
	for _, name := range standard {
		p.known[name] = true
	}
	return p
}

// standard are the properties every portal has.
var standard = []string{
	"email", "firstname", "lastname", "phone", "mobilephone", "company", "address", "city", "state", "zip", "country",
	"website", "jobtitle", "lifecyclestage", "birthday", propCreated, propModified, propID, propMerged, propMoreEmails,
}

// Now is the portal's time, in whole milliseconds.
func (p *Portal) Now() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.now()
}

func (p *Portal) now() time.Time { return p.base().Add(p.ahead).UTC().Truncate(time.Millisecond) }

// Advance moves the portal's clock ahead.
func (p *Portal) Advance(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ahead += d
}

// SetIndexLag changes how long changes from now on take to show up in searches.
func (p *Portal) SetIndexLag(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lag = d
}

// SetLimits changes the limits and forgets what was used of them.
func (p *Portal) SetLimits(l Limits) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.limits = newMeter(l)
}

// SetScopes replaces what the token may do.
func (p *Portal) SetScopes(scopes ...string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.scopes = map[string]bool{}
	for _, s := range scopes {
		p.scopes[s] = true
	}
}

// Revoke makes the token invalid; Restore makes it valid again.
func (p *Portal) Revoke(revoked bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.revoked = revoked
}

// OnCall sets what is called before each answer is made, without a lock held, so
// that it can change the portal between the pages of a listing.
func (p *Portal) OnCall(f func(Op)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.hook = f
}

// Calls is how often an operation was asked for; OpAny counts all.
func (p *Portal) Calls(op Op) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.calls[op]
}

// Answered is how many answers had the status.
func (p *Portal) Answered(status int) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.answered[status]
}

// Op is an operation of the API.
type Op string

// The operations.
const (
	OpAny         Op = "" // of Calls and faults: whichever
	OpList        Op = "list"
	OpArchived    Op = "list archived"
	OpGet         Op = "get"
	OpSearch      Op = "search"
	OpCreate      Op = "create"
	OpUpdate      Op = "update"
	OpArchive     Op = "archive"
	OpMerge       Op = "merge"
	OpBatchRead   Op = "batch read"
	OpBatchCreate Op = "batch create"
	OpBatchUpdate Op = "batch update"
	OpBatchUpsert Op = "batch upsert"
	OpBatchRemove Op = "batch archive"
	OpAccount     Op = "account"
	OpUsage       Op = "usage"
	OpProperties  Op = "properties"
	OpToken       Op = "token"
	OpUnknown     Op = "unknown"
)

const contactsPath = "/crm/v3/objects/contacts"

// operation gives what r asks for, and the id in its path.
func operation(r *http.Request) (Op, string) {
	path := r.URL.Path
	if r.Method == http.MethodPost && slices.Contains(tokenPaths, path) {
		return OpToken, ""
	}
	switch r.Method + " " + path {
	case "GET " + contactsPath:
		if r.URL.Query().Get("archived") == "true" {
			return OpArchived, ""
		}
		return OpList, ""
	case "POST " + contactsPath:
		return OpCreate, ""
	case "POST " + contactsPath + "/search":
		return OpSearch, ""
	case "POST " + contactsPath + "/merge":
		return OpMerge, ""
	case "POST " + contactsPath + "/batch/read":
		return OpBatchRead, ""
	case "POST " + contactsPath + "/batch/create":
		return OpBatchCreate, ""
	case "POST " + contactsPath + "/batch/update":
		return OpBatchUpdate, ""
	case "POST " + contactsPath + "/batch/upsert":
		return OpBatchUpsert, ""
	case "POST " + contactsPath + "/batch/archive":
		return OpBatchRemove, ""
	case "GET /account-info/v3/details":
		return OpAccount, ""
	case "GET /account-info/v3/api-usage/daily/private-apps":
		return OpUsage, ""
	case "GET /crm/v3/properties/contacts":
		return OpProperties, ""
	}
	if id, ok := strings.CutPrefix(path, contactsPath+"/"); ok && id != "" && !strings.Contains(id, "/") {
		switch r.Method {
		case http.MethodGet:
			return OpGet, id
		case http.MethodPatch:
			return OpUpdate, id
		case http.MethodDelete:
			return OpArchive, id
		}
	}
	return OpUnknown, ""
}
