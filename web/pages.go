package web

import (
	"net/http"

	"go.uber.org/zap"

	"github.com/tandem-sync/tandem/api"
	"github.com/tandem-sync/tandem/internal/clock"
)

// Config is what the pages need. Backend is required.
type Config struct {
	Backend api.Backend
	// Token is what a person signs in with: the API's. "" asks for none.
	Token string
	// Version is the program's, for the foot of every page.
	Version string
	// Logger takes what an answer must not tell; nil drops it.
	Logger *zap.Logger
	// Clock nil is the machine's.
	Clock clock.Clock
}

// Pages serves the pages. It is safe for concurrent use.
type Pages struct {
	cfg     Config
	log     *zap.Logger
	clock   clock.Clock
	once    onceCodes
	tries   *attempts
	views   views
	handler http.Handler
}

// New makes the pages.
func New(cfg Config) *Pages {
	p := &Pages{cfg: cfg, log: cfg.Logger, clock: cfg.Clock, tries: newAttempts(), views: parseViews()}
	if p.log == nil {
		p.log = zap.NewNop()
	}
	if p.clock == nil {
		p.clock = clock.System{}
	}
	mux := http.NewServeMux()
	page := func(pattern string, fn func(*http.Request) (answer, error)) {
		mux.Handle(pattern, p.signedIn(p.answering(fn)))
	}
	page("GET /{$}", p.overview)
	page("GET /channels", p.channels)
	page("GET /channels/{name}", p.channel)
	page("POST /channels/{name}/sync", p.sync)
	page("POST /channels/{name}/test", p.test)
	page("POST /channels/{name}/enable", p.switchChannel(cfg.Backend.EnableChannel))
	page("POST /channels/{name}/disable", p.switchChannel(cfg.Backend.DisableChannel))
	page("GET /runs", p.runs)
	page("GET /runs/{id}", p.run)
	page("POST /runs/{id}/cancel", p.cancel)
	page("GET /parked", p.parked)
	page("GET /parked/{id}", p.parkedItem)
	page("POST /parked/{id}/retry", p.retry)
	page("POST /parked/{id}/skip", p.skip)
	page("POST /parked", p.chosen)
	p.peoplePages(page)
	page("/", p.nothing)
	mux.HandleFunc("GET /login", p.loginPage)
	mux.HandleFunc("POST /login", p.login)
	mux.HandleFunc("POST /logout", p.logout)
	mux.HandleFunc("GET /assets/{file}", p.asset)
	// Forms carry no token: a browser says itself which site a request comes from.
	p.handler = http.NewCrossOriginProtection().Handler(mux)
	return p
}

// policy allows a page its own files and nothing else, not even a style or a
// script in the page itself.
const policy = "default-src 'self'; base-uri 'none'; object-src 'none'; form-action 'self'; frame-ancestors 'none'"

// maxForm bounds the body of a form, in bytes.
const maxForm = 64 << 10

// ServeHTTP answers with a page.
func (p *Pages) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Content-Type-Options", "nosniff")
	// Not no-referrer: with that a browser sends forms of our own with Origin null.
	h.Set("Referrer-Policy", "same-origin")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	p.handler.ServeHTTP(w, r)
}

// answer is what a page's function gives: a page to show or a place to go to.
type answer struct {
	view   string // name of the template
	page   page
	goTo   string // see other; "" shows the view
	status int    // 0 means 200
}

// answering turns what fn gives into an answer, an error into a page.
func (p *Pages) answering(fn func(*http.Request) (answer, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a, err := fn(r)
		switch {
		case err != nil:
			p.fail(w, r, err)
		case a.goTo != "":
			http.Redirect(w, r, a.goTo, http.StatusSeeOther)
		default:
			p.show(w, r, a)
		}
	})
}
