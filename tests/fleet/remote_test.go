package fleet

import (
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"testing"

	"github.com/tandem-sync/tandem/internal/demo"
)

// pageSize is what the configuration of these tests asks for.
const pageSize = 100

// remote is a service with contacts that can hold its pages back, so that a
// fault meets a run exactly where the test wants it.
type remote struct {
	*demo.Remote
	url string

	mu      sync.Mutex
	gate    *gate       // what holds pages back; nil nothing
	waiting int         // requests that wait now
	pages   map[int]int // how often each page of the listing was asked for
}

// gate holds back the pages of the listing from a number on until it is opened;
// then it answers them, or refuses them with 401.
type gate struct {
	from int
	open chan struct{}
	deny bool // read once it is open
}

func newRemote(t *testing.T, o demo.Options) *remote {
	t.Helper()
	if o.Refuse == 0 {
		o.Refuse = -1
	}
	if o.Broken == 0 {
		o.Broken = -1
	}
	r := &remote{Remote: demo.New(o), pages: map[int]int{}}
	srv := httptest.NewServer(r)
	t.Cleanup(func() {
		r.letGo()
		srv.CloseClientConnections()
		srv.Close()
	})
	r.url = srv.URL
	return r
}

func (r *remote) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	page, _ := strconv.Atoi(req.URL.Query().Get("page"))
	if req.URL.Path == "/contacts" && !r.pass(req, page) {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	r.Remote.ServeHTTP(w, req)
}

// pass counts a request for a page and holds it back at the gate; false refuses
// it.
func (r *remote) pass(req *http.Request, page int) bool {
	r.mu.Lock()
	r.pages[page]++
	g := r.gate
	if g == nil || page < g.from {
		r.mu.Unlock()
		return true
	}
	r.waiting++
	r.mu.Unlock()
	defer func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.waiting--
	}()
	select {
	case <-g.open:
		return !g.deny
	case <-req.Context().Done():
		return false
	}
}

// holdFrom makes the pages from this number on wait for letGo.
func (r *remote) holdFrom(page int) { r.replace(&gate{from: page, open: make(chan struct{})}, false) }

// letGo answers what waits and holds nothing back any more.
func (r *remote) letGo() { r.replace(nil, false) }

// holdLater answers what waits, or refuses it, and holds back the pages from a
// later one on.
func (r *remote) holdLater(page int, deny bool) {
	r.replace(&gate{from: page, open: make(chan struct{})}, deny)
}

func (r *remote) replace(next *gate, deny bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.gate != nil {
		r.gate.deny = deny
		close(r.gate.open)
	}
	r.gate = next
}

// held reports whether a request waits.
func (r *remote) held() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.waiting > 0
}

// asked says how often a page of the listing was asked for.
func (r *remote) asked(page int) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.pages[page]
}
