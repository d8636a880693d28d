package transporttest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"
)

// OAuth is a local authorization server (RFC 6749) with a resource that takes
// its tokens: /token, and everything else. Its fields may be set before the first
// request.
type OAuth struct {
	*httptest.Server
	ClientID, ClientSecret string
	// Refresh is the refresh token that is good now. Each renewal replaces it and
	// uses it up, unless Keep is set.
	Refresh string
	Keep    bool
	// Life is what expires_in says; 0 leaves it out.
	Life time.Duration
	// InBody takes the client's credential in the body only.
	InBody bool
	// Delay is how long a renewal takes.
	Delay time.Duration
	// Resource answers requests with a good token; nil answers {"ok":true}.
	Resource http.Handler

	mu       sync.Mutex
	access   map[string]bool
	issued   int
	asked    int
	refused  int
	lose     int
	statuses []int
	forms    []map[string]string
}

// NewOAuth starts the server; it ends with the test.
func NewOAuth(tb testing.TB) *OAuth {
	tb.Helper()
	o := &OAuth{ClientID: "tandem", ClientSecret: "s3cret-of-the-client", Refresh: "refresh-token-0", Life: time.Hour, access: map[string]bool{}}
	o.Server = httptest.NewServer(o)
	tb.Cleanup(o.Close)
	return o
}

// Lose makes the next n renewals happen without their answer arriving.
func (o *OAuth) Lose(n int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.lose = n
}

// Fail makes the next requests for a token get these statuses.
func (o *OAuth) Fail(statuses ...int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.statuses = append(o.statuses, statuses...)
}

// Revoke ends every access token that was issued.
func (o *OAuth) Revoke() {
	o.mu.Lock()
	defer o.mu.Unlock()
	clear(o.access)
}

// Counts gives how many tokens were asked for and issued, and how many requests
// to the resource came without a good one.
func (o *OAuth) Counts() (asked, issued, refused int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.asked, o.issued, o.refused
}

// Forms gives the requests for tokens in order.
func (o *OAuth) Forms() []map[string]string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return append([]map[string]string(nil), o.forms...)
}

// ServeHTTP answers.
func (o *OAuth) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/token" {
		o.token(w, r)
		return
	}
	o.mu.Lock()
	good := o.access[r.Header.Get("Authorization")]
	if !good {
		o.refused++
	}
	o.mu.Unlock()
	switch {
	case !good:
		w.Header().Set("WWW-Authenticate", `Bearer error="invalid_token"`)
		w.WriteHeader(http.StatusUnauthorized)
		// It repeats what it was sent, as some do in their errors.
		_, _ = fmt.Fprintf(w, `{"message":%q}`, "no good token: "+r.Header.Get("Authorization")) // #nosec G705 -- a test server that echoes on purpose
	case o.Resource != nil:
		o.Resource.ServeHTTP(w, r)
	default:
		JSON(`{"ok":true}`)(w, r)
	}
}

func (o *OAuth) token(w http.ResponseWriter, r *http.Request) {
	time.Sleep(o.Delay)
	o.mu.Lock()
	defer o.mu.Unlock()
	o.asked++
	form := map[string]string{}
	if err := r.ParseForm(); err == nil {
		for k := range r.PostForm {
			form[k] = r.PostForm.Get(k)
		}
	}
	o.forms = append(o.forms, form)
	if len(o.statuses) > 0 {
		Status(o.statuses[0], "Retry-After", "1")(w, r)
		o.statuses = o.statuses[1:]
		return
	}
	id, secret, basic := r.BasicAuth()
	if o.InBody {
		id, secret, basic = form["client_id"], form["client_secret"], false
	}
	if id != o.ClientID || secret != o.ClientSecret || o.InBody && basic {
		refuse(w, http.StatusUnauthorized, "invalid_client")
		return
	}
	if form["grant_type"] == "refresh_token" && form["refresh_token"] != o.Refresh {
		refuse(w, http.StatusBadRequest, "invalid_grant")
		return
	}
	o.issue(w, r, form["grant_type"] == "refresh_token")
}

func refuse(w http.ResponseWriter, status int, code string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = fmt.Fprintf(w, `{"error":%q,"error_description":"told by the server"}`, code)
}

func (o *OAuth) issue(w http.ResponseWriter, r *http.Request, refreshed bool) {
	o.issued++
	answer := map[string]any{"access_token": fmt.Sprintf("access-token-%d", o.issued), "token_type": "Bearer"}
	o.access[fmt.Sprintf("Bearer access-token-%d", o.issued)] = true
	if o.Life > 0 {
		answer["expires_in"] = int(o.Life.Seconds())
	}
	if refreshed && !o.Keep {
		o.Refresh = fmt.Sprintf("refresh-token-%d", o.issued)
		answer["refresh_token"] = o.Refresh
	}
	if o.lose > 0 {
		o.lose--
		Reset()(w, r)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(answer)
}
