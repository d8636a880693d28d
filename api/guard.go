package api

import (
	"crypto/sha256"
	"crypto/subtle"
	"math"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
)

// maxBody bounds a request's body, in bytes.
const maxBody = 1 << 20

// guard checks every request before it reaches a route.
type guard struct {
	loopback bool
	token    string
	pages    bool
	limits   *limits
	next     http.Handler
}

// ServeHTTP refuses a foreign Host or Origin on loopback, a missing or wrong
// token below /api/, and cuts bodies off at the limit.
func (g *guard) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	if g.loopback && !loopbackHost(r.Host) {
		// A foreign name that resolves to this machine is how a web page
		// reaches services on loopback (DNS rebinding).
		refuse(w, http.StatusForbidden, CodeForbidden, "the Host header does not name this machine's loopback", "use http://127.0.0.1 or http://localhost")
		return
	}
	if wait := g.limits.wait(r); wait > 0 {
		h.Set("Retry-After", strconv.Itoa(int(math.Ceil(wait.Seconds()))))
		refuse(w, http.StatusTooManyRequests, CodeTooMany, "too many requests from this address", "wait as long as Retry-After says")
		return
	}
	if !sameOrigin(r) && (!g.pages || !isVisit(r)) {
		refuse(w, http.StatusForbidden, CodeForbidden, "the request comes from a page of another origin", "")
		return
	}
	if g.token != "" && g.protected(r.URL.Path) && !g.authorized(r) {
		refuse(w, http.StatusUnauthorized, CodeUnauthorized, "a bearer token is needed",
			"Authorization: Bearer TOKEN; the token is in the lock file beside the SQLite database, or is TANDEM_API_TOKEN")
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	g.next.ServeHTTP(w, r)
}

// protected reports whether the path needs the token: all of the API but its
// description, and the metrics where others than this machine can ask for them.
// The pages ask for themselves.
func (g *guard) protected(path string) bool {
	if path == "/metrics" {
		return !g.loopback
	}
	return strings.HasPrefix(path, "/api/") && !strings.HasPrefix(path, "/api/v1/openapi")
}

// isVisit reports whether somebody goes to a page, perhaps by a link elsewhere:
// it changes nothing, and the page that holds the link cannot read the answer.
func isVisit(r *http.Request) bool {
	return (r.Method == http.MethodGet || r.Method == http.MethodHead) && isPage(r.URL.Path) &&
		r.Header.Get("Sec-Fetch-Mode") == "navigate" && r.Header.Get("Sec-Fetch-Dest") == "document"
}

// isPage reports whether the path is none of the API's.
func isPage(path string) bool {
	for _, prefix := range []string{"/api/", "/hooks/", "/healthz", "/readyz", "/metrics"} {
		if strings.HasPrefix(path, prefix) {
			return false
		}
	}
	return true
}

// pagesOr serves pages, if there are any, and nothing else.
func pagesOr(pages, nothing http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if pages == nil || !isPage(r.URL.Path) {
			nothing.ServeHTTP(w, r)
			return
		}
		pages.ServeHTTP(w, r)
	})
}

func (g *guard) authorized(r *http.Request) bool {
	scheme, token, ok := strings.Cut(r.Header.Get("Authorization"), " ")
	if !ok || !strings.EqualFold(scheme, "Bearer") {
		return false
	}
	// Hashes, so that the comparison does not depend on the length either.
	got, want := sha256.Sum256([]byte(strings.TrimSpace(token))), sha256.Sum256([]byte(g.token))
	return subtle.ConstantTimeCompare(got[:], want[:]) == 1
}

// loopbackHost reports whether a Host header names this machine's loopback.
func loopbackHost(host string) bool {
	name := host
	if h, _, err := net.SplitHostPort(host); err == nil {
		name = h
	}
	name = strings.ToLower(strings.TrimSuffix(strings.Trim(name, "[]"), "."))
	if name == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(name)
	return err == nil && ip.Unmap().IsLoopback()
}

// sameOrigin reports whether the request comes from no page at all or from one
// of this server.
func sameOrigin(r *http.Request) bool {
	if site := r.Header.Get("Sec-Fetch-Site"); site != "" && site != "same-origin" && site != "none" {
		return false
	}
	origin := r.Header.Get("Origin")
	if origin == "" {
		return true
	}
	u, err := url.Parse(origin)
	return err == nil && u.Host != "" && strings.EqualFold(u.Host, r.Host)
}
