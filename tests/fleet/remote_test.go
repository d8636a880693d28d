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
	from    int           // pages of the listing from this number on wait; 0 none
	release chan struct{} // closed when they may go on
	waiting int           // requests that wait now
	pages   map[int]int   // how often each page of the listing was asked for
	tokens  []string      // the Authorization headers seen
}

func newRemote(t *testing.T, o demo.Options) *remote {
	t.Helper()
	if o.Refuse == 0 {
		o.Refuse = -1
	}
	if o.Broken == 0 {
		o.Broken = -1
	}
	r := &remote{Remote: demo.New(o), pages: map[int]int{}, release: make(chan struct{})}
	close(r.release)
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
	listing := req.URL.Path == "/contacts"
	r.mu.Lock()
	release, hold := r.release, listing && r.from > 0 && page >= r.from
	r.tokens = append(r.tokens, req.Header.Get("Authorization"))
	if listing {
		r.pages[page]++
	}
	if hold {
		r.waiting++
	}
	r.mu.Unlock()
	if hold {
		select {
		case <-release:
		case <-req.Context().Done():
		}
		r.mu.Lock()
		r.waiting--
		r.mu.Unlock()
	}
	r.Remote.ServeHTTP(w, req)
}

// holdFrom makes the pages from this number on wait for letGo.
func (r *remote) holdFrom(page int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.from, r.release = page, make(chan struct{})
}

// letGo answers what waits and holds nothing back any more.
func (r *remote) letGo() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.from > 0 {
		close(r.release)
	}
	r.from = 0
}

// holdLater answers what waits and holds back the pages from a later one on.
func (r *remote) holdLater(page int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	close(r.release)
	r.from, r.release = page, make(chan struct{})
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
