package web

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"
)

// A session is a cookie that holds when it ends and a MAC of that under the
// API's token: no process remembers anything, all processes with the same token
// accept it, a new token ends it, and the token itself is not in it.
const (
	sessionLife = 12 * time.Hour
	onceLife    = 15 * time.Minute
)

func (p *Pages) mac(parts ...string) string {
	m := hmac.New(sha256.New, []byte(p.cfg.Token))
	m.Write([]byte("tandem pages\x00" + strings.Join(parts, "\x00")))
	return hex.EncodeToString(m.Sum(nil))
}

// cookieName differs by token: cookies do not know ports, and two services on
// one machine must not sign each other's people out.
func (p *Pages) cookieName() string { return "tandem_" + p.mac("name")[:12] }

func (p *Pages) newSession() string {
	end := strconv.FormatInt(p.clock.Now().Add(sessionLife).Unix(), 10)
	return end + "." + p.mac("session", end)
}

// valid reports whether a cookie is a session that has not ended.
func (p *Pages) valid(session string) bool {
	end, mac, ok := strings.Cut(session, ".")
	if !ok || !hmac.Equal([]byte(mac), []byte(p.mac("session", end))) {
		return false
	}
	at, err := strconv.ParseInt(end, 10, 64)
	return err == nil && p.clock.Now().Before(time.Unix(at, 0))
}

func (p *Pages) knows(r *http.Request) bool {
	if p.cfg.Token == "" {
		return true
	}
	c, err := r.Cookie(p.cookieName())
	return err == nil && p.valid(c.Value)
}

// signedIn lets only people through who have signed in.
func (p *Pages) signedIn(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if p.knows(r) {
			next.ServeHTTP(w, r)
			return
		}
		to := "/login"
		if r.Method == http.MethodGet && r.URL.Path != "/" {
			to += "?next=" + url.QueryEscape(r.URL.RequestURI())
		}
		http.Redirect(w, r, to, http.StatusSeeOther)
	})
}

func (p *Pages) setCookie(w http.ResponseWriter, r *http.Request, value string, age time.Duration) {
	http.SetCookie(w, &http.Cookie{ //nolint:gosec // without TLS, on loopback, a Secure cookie would never come back
		Name: p.cookieName(), Value: value, Path: "/", MaxAge: int(age.Seconds()), HttpOnly: true, SameSite: http.SameSiteLaxMode,
		Secure: r.TLS != nil || strings.EqualFold(r.Header.Get("X-Forwarded-Proto"), "https"),
	})
}

// loginPage shows the form, or signs in whoever brings a one-time code.
func (p *Pages) loginPage(w http.ResponseWriter, r *http.Request) {
	next := localPath(r.FormValue("next"))
	if code := r.FormValue("once"); code != "" && p.once.use(code, p.clock.Now()) {
		p.setCookie(w, r, p.newSession(), sessionLife)
		http.Redirect(w, r, next, http.StatusSeeOther) //nolint:gosec // localPath lets nothing lead elsewhere
		return
	} else if code != "" {
		p.showLogin(w, r, next, "This link has been used or is too old. Sign in with the API token.", http.StatusForbidden)
		return
	}
	if p.knows(r) {
		http.Redirect(w, r, next, http.StatusSeeOther) //nolint:gosec // localPath lets nothing lead elsewhere
		return
	}
	p.showLogin(w, r, next, "", http.StatusOK)
}

// login checks the token.
func (p *Pages) login(w http.ResponseWriter, r *http.Request) {
	next := localPath(r.PostFormValue("next"))
	if !p.tries.allow(p.clock.Now()) {
		w.Header().Set("Retry-After", "60")
		p.showLogin(w, r, next, "Too many attempts. Wait a minute.", http.StatusTooManyRequests)
		return
	}
	got, want := sha256.Sum256([]byte(strings.TrimSpace(r.PostFormValue("token")))), sha256.Sum256([]byte(p.cfg.Token))
	if p.cfg.Token == "" || subtle.ConstantTimeCompare(got[:], want[:]) != 1 {
		p.showLogin(w, r, next, "This is not the API token.", http.StatusForbidden)
		return
	}
	p.setCookie(w, r, p.newSession(), sessionLife)
	http.Redirect(w, r, next, http.StatusSeeOther) //nolint:gosec // localPath lets nothing lead elsewhere
}

func (p *Pages) logout(w http.ResponseWriter, r *http.Request) {
	p.setCookie(w, r, "", -time.Second)
	http.Redirect(w, r, "/login", http.StatusSeeOther)
}

type loginData struct{ Next, Problem string }

func (p *Pages) showLogin(w http.ResponseWriter, r *http.Request, next, problem string, status int) {
	p.show(w, r, answer{view: "login", status: status, page: page{Title: "Sign in", Nav: "none", Data: loginData{next, problem}}})
}

// localPath gives a path of this server, "/" for anything that could lead
// elsewhere.
func localPath(s string) string {
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "" || u.Host != "" || u.User != nil || !strings.HasPrefix(s, "/") ||
		strings.HasPrefix(s, "//") || strings.ContainsAny(s, "\\\r\n\t") || strings.HasPrefix(u.Path, "/login") {
		return "/"
	}
	return s
}

// onceCodes are codes that sign in once.
type onceCodes struct {
	mu    sync.Mutex
	codes map[[32]byte]time.Time // hash of the code → until when
}

// OnceLink gives a path that signs in whoever opens it first within a quarter
// of an hour; "/" where nobody needs to sign in.
func (p *Pages) OnceLink() string {
	if p.cfg.Token == "" {
		return "/"
	}
	b := make([]byte, 24)
	_, _ = rand.Read(b) // never fails
	code := base64.RawURLEncoding.EncodeToString(b)
	p.once.mu.Lock()
	defer p.once.mu.Unlock()
	if p.once.codes == nil {
		p.once.codes = map[[32]byte]time.Time{}
	}
	p.once.codes[sha256.Sum256([]byte(code))] = p.clock.Now().Add(onceLife)
	return "/login?once=" + code
}

// use reports whether the code is good, and forgets it.
func (o *onceCodes) use(code string, now time.Time) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	key := sha256.Sum256([]byte(code))
	until, ok := o.codes[key]
	delete(o.codes, key)
	return ok && now.Before(until)
}

// attempts bounds how often a token may be tried: ten at once, ten a minute.
// One bucket for all: a person needs one try, and whoever spends the rest only
// makes people wait for the minute to pass.
type attempts struct {
	mu   sync.Mutex
	left float64
	at   time.Time
}

const attemptsPerMinute = 10

func newAttempts() *attempts { return &attempts{left: attemptsPerMinute} }

func (a *attempts) allow(now time.Time) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.at.IsZero() {
		a.left = min(attemptsPerMinute, a.left+now.Sub(a.at).Minutes()*attemptsPerMinute)
	}
	a.at = now
	if a.left < 1 {
		return false
	}
	a.left--
	return true
}
