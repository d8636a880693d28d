package demo

import (
	"encoding/json"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tandem-sync/tandem/internal/clock"
)

// Options shape a Remote. The zero value is the demo's: 2,000 contacts, 7 of
// them broken, a 429 for every 9th call.
type Options struct {
	Contacts int   // good contacts; 0 means 2,000
	Broken   int   // broken contacts among them; 0 means 7, negative none
	Refuse   int   // every n-th call is answered 429; 0 means 9, negative never
	Seed     int64 // of the made-up data
	// Delay is how long an answer takes, as it does over a network; 0 none.
	Delay time.Duration
	// Now is the remote's clock; nil means time.Now.
	Now func() time.Time
}

// Remote is the emulated service. It is safe for concurrent use.
type Remote struct {
	refuse int
	delay  atomic.Int64 // nanoseconds
	now    func() time.Time

	mu       sync.Mutex
	rnd      *rand.Rand
	next     int // number of the next new contact
	contacts map[string]*Contact
	broken   map[string]string // by id: what is wrong with it
	deleted  []tombstone
	calls    int
	refused  int
}

type tombstone struct {
	ID string    `json:"id"`
	At time.Time `json:"at"`
}

// New makes a remote whose contacts were changed over the past year.
func New(o Options) *Remote {
	if o.Contacts == 0 {
		o.Contacts = 2000
	}
	if o.Broken == 0 {
		o.Broken = brokenKinds
	}
	if o.Refuse == 0 {
		o.Refuse = 9
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	r := &Remote{
		refuse:   o.Refuse,
		now:      o.Now,
		rnd:      rand.New(rand.NewPCG(uint64(o.Seed), 2)), //nolint:gosec // made-up data, no secret
		contacts: make(map[string]*Contact, o.Contacts),
		broken:   map[string]string{},
	}
	r.delay.Store(int64(o.Delay))
	start, step := r.now().UTC().Add(-365*24*time.Hour), 360*24*time.Hour/time.Duration(o.Contacts)
	for n := 1; n <= o.Contacts; n++ {
		at := start.Add(time.Duration(n) * step).Truncate(time.Millisecond)
		c := person(n, r.rnd, at)
		r.contacts[c.ID] = &c
	}
	r.next = o.Contacts + 1
	for i := range max(o.Broken, 0) {
		id := contactID(o.Contacts * (i + 1) / (o.Broken + 1))
		r.broken[id] = spoil(r.contacts[id], i)
	}
	return r
}

// ServeHTTP answers
//
//	GET /contacts?page=N&per_page=N[&updated_since=TIME]   {"items":[…],"total":N}
//	GET /contacts/{id}                                     one contact or 404
//	GET /contacts/deleted?page=N&per_page=N[&updated_since=TIME]   {"ids":[{"id":…}],"total":N}
func (r *Remote) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	if req.Method != http.MethodGet {
		http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
		return
	}
	if err := (clock.System{}).Sleep(req.Context(), time.Duration(r.delay.Load())); err != nil {
		return // the client has gone
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.calls++
	if r.refuse > 0 && r.calls%r.refuse == 0 {
		r.refused++
		w.Header().Set("Retry-After", "1")
		answer(w, http.StatusTooManyRequests, map[string]string{"error": "too many requests, wait a second"})
		return
	}
	rest, ok := strings.CutPrefix(req.URL.Path, "/contacts")
	switch {
	case !ok:
		http.NotFound(w, req)
	case rest == "":
		r.list(w, req)
	case rest == "/deleted":
		r.listDeleted(w, req)
	default:
		r.get(w, strings.TrimPrefix(rest, "/"))
	}
}

func (r *Remote) list(w http.ResponseWriter, req *http.Request) {
	since, ok := sinceOf(w, req)
	if !ok {
		return
	}
	all := make([]*Contact, 0, len(r.contacts))
	for _, c := range r.contacts {
		if !c.Updated.Before(since) {
			all = append(all, c)
		}
	}
	slices.SortFunc(all, func(a, b *Contact) int {
		if d := a.Updated.Compare(b.Updated); d != 0 {
			return d
		}
		return strings.Compare(a.ID, b.ID)
	})
	from, to := pageOf(req, len(all))
	answer(w, http.StatusOK, map[string]any{"items": all[from:to], "total": len(all)})
}

func (r *Remote) listDeleted(w http.ResponseWriter, req *http.Request) {
	since, ok := sinceOf(w, req)
	if !ok {
		return
	}
	all := make([]tombstone, 0, len(r.deleted))
	for _, t := range r.deleted {
		if !t.At.Before(since) {
			all = append(all, t)
		}
	}
	from, to := pageOf(req, len(all))
	answer(w, http.StatusOK, map[string]any{"ids": all[from:to], "total": len(all)})
}

func (r *Remote) get(w http.ResponseWriter, id string) {
	c, ok := r.contacts[id]
	if !ok {
		answer(w, http.StatusNotFound, map[string]string{"error": "no such contact"})
		return
	}
	answer(w, http.StatusOK, c)
}

// sinceOf reads updated_since; a malformed one is answered 400.
func sinceOf(w http.ResponseWriter, req *http.Request) (time.Time, bool) {
	s := req.URL.Query().Get("updated_since")
	if s == "" {
		return time.Time{}, true
	}
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		answer(w, http.StatusBadRequest, map[string]string{"error": "updated_since: want RFC 3339"})
		return t, false
	}
	return t, true
}

// pageOf cuts the asked page out of n records; pages have at most 100.
func pageOf(req *http.Request, n int) (from, to int) {
	q := req.URL.Query()
	page, size := number(q.Get("page"), 1), min(number(q.Get("per_page"), 50), 100)
	from = min((page-1)*size, n)
	return from, min(from+size, n)
}

func number(s string, otherwise int) int {
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 || n > 1_000_000 {
		return otherwise
	}
	return n
}

func answer(w http.ResponseWriter, status int, body any) {
	b, err := json.Marshal(body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(b) // a client that left needs no answer
}
