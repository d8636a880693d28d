// Package transporttest has real local servers for tests: one that misbehaves
// in every way a remote can, and a small collection of records that can be
// listed by every kind of paging.
package transporttest

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/tandem-sync/tandem/transport"
)

// Step answers one request.
type Step func(w http.ResponseWriter, r *http.Request)

// Seen is one request as the server got it.
type Seen struct {
	Method string
	Path   string
	Query  string
	Host   string
	Header http.Header
	Body   string
}

// Server is a local server whose answers a test scripts. Safe for concurrent use.
type Server struct {
	*httptest.Server
	mu     sync.Mutex
	inject []Step
	routes map[string][]Step
	rest   http.Handler
	seen   []Seen
}

// New starts a plain HTTP server on 127.0.0.1 that ends with the test. What no
// step answers goes to rest; nil answers 404.
func New(tb testing.TB, rest http.Handler) *Server {
	tb.Helper()
	s := newServer(rest)
	s.Server = httptest.NewServer(s)
	tb.Cleanup(s.Close)
	return s
}

func newServer(rest http.Handler) *Server {
	if rest == nil {
		rest = http.NotFoundHandler()
	}
	return &Server{routes: map[string][]Step{}, rest: rest}
}

// Guard allows loopback, where these servers are.
func Guard() transport.Guard {
	return transport.Guard{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}
}

// Inject makes the next requests, whatever they ask, get these answers.
func (s *Server) Inject(steps ...Step) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.inject = append(s.inject, steps...)
}

// Handle scripts the answers of a path: each request takes the next step, and
// the last step stays.
func (s *Server) Handle(path string, steps ...Step) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.routes[path] = steps
}

// Seen gives the requests so far, in order.
func (s *Server) Seen() []Seen {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.seen)
}

// ServeHTTP answers with the next step.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	if err != nil {
		http.Error(w, "unreadable body", http.StatusBadRequest)
		return
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	step := s.take(r, string(body))
	if step == nil {
		s.rest.ServeHTTP(w, r)
		return
	}
	step(w, r)
}

func (s *Server) take(r *http.Request, body string) Step {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen = append(s.seen, Seen{
		Method: r.Method, Path: r.URL.Path, Query: r.URL.RawQuery, Host: r.Host, Header: r.Header.Clone(), Body: body,
	})
	if len(s.inject) > 0 {
		step := s.inject[0]
		s.inject = s.inject[1:]
		return step
	}
	steps := s.routes[r.URL.Path]
	if len(steps) == 0 {
		return nil
	}
	if len(steps) > 1 {
		s.routes[r.URL.Path] = steps[1:]
	}
	return steps[0]
}

// Leaks reports the requests whose address, header or body holds secret.
func (s *Server) Leaks(secret string) []Seen {
	var out []Seen
	for _, r := range s.Seen() {
		text := r.Query + r.Body + r.Path
		for k, v := range r.Header {
			text += k + strings.Join(v, " ")
		}
		if strings.Contains(text, secret) {
			out = append(out, r)
		}
	}
	return out
}
