package hubspot

import (
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// App is an app of the developer platform that is installed in the account and
// signs in by OAuth2.
type App struct {
	ClientID, ClientSecret string
	// RefreshToken is what the installation gave; it stays the same. "" is an app
	// that can only sign in as itself (client credentials).
	RefreshToken string
	// Life is how long an access token lasts; 0 is HubSpot's half hour.
	Life time.Duration
}

// DefaultApp is the app of a portal whose configuration names none.
//
//nolint:gosec // opens nothing but the emulator
var DefaultApp = App{ClientID: "emulated-app", ClientSecret: "emulated-app-secret", RefreshToken: "emulated-refresh-token"}

const tokenLife = 30 * time.Minute

// tokenPaths are where tokens are given out: the present version and those before
// it. The oldest takes parameters in the address, too.
var tokenPaths = []string{"/oauth/2026-03/token", "/oauth/v3/token", oldTokenPath}

const oldTokenPath = "/oauth/v1/token" //nolint:gosec // an address

// access is the access tokens of an app with their ends.
type access struct {
	App
	good   map[string]time.Time
	issued int
}

func newAccess(a App) access {
	if a.ClientID == "" {
		a.ClientID, a.ClientSecret, a.RefreshToken = DefaultApp.ClientID, DefaultApp.ClientSecret, DefaultApp.RefreshToken
	}
	if a.Life == 0 {
		a.Life = tokenLife
	}
	return access{App: a, good: map[string]time.Time{}}
}

// Issued is how many access tokens the app has got.
func (p *Portal) Issued() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.app.issued
}

// ExpireTokens ends every access token of the app before its time.
func (p *Portal) ExpireTokens() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for token := range p.app.good {
		p.app.good[token] = p.now()
	}
}

// Uninstall takes the app out of the account, or puts it back with another
// refresh token; "" takes it out. Access tokens end with it.
func (p *Portal) Uninstall(next string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.app.RefreshToken = next
	clear(p.app.good)
}

// tokenProblem is a refusal in the two forms that HubSpot writes at a time: its
// own and the one of RFC 6749.
func (p *Portal) tokenProblem(status int, code, standard, message string) answer {
	a := p.errorAnswer(status, map[string]any{"message": message, "error": standard, "error_description": message, "requestId": p.correlation()})
	// Here, and only here, the status is the code.
	a.body = []byte(strings.Replace(string(a.body), `"status":"error"`, fmt.Sprintf(`"status":%q`, code), 1))
	return a
}

// token gives an access token.
func (p *Portal) token(q *request, now time.Time) answer {
	form, err := url.ParseQuery(string(q.body))
	if err != nil || !strings.HasPrefix(q.Header.Get("Content-Type"), "application/x-www-form-urlencoded") {
		return p.tokenProblem(http.StatusUnsupportedMediaType, "BAD_REQUEST", "invalid_request", "the body must be a form")
	}
	if q.URL.Path == oldTokenPath {
		for name, values := range q.URL.Query() {
			form[name] = append(form[name], values...)
		}
	}
	if id := form.Get("client_id"); id == "" || id != p.app.ClientID {
		return p.tokenProblem(http.StatusBadRequest, "BAD_CLIENT_ID", "invalid_client", "missing or unknown client id")
	}
	if form.Get("client_secret") != p.app.ClientSecret {
		return p.tokenProblem(http.StatusBadRequest, "BAD_CLIENT_SECRET", "invalid_client", "missing or invalid client secret")
	}
	given := map[string]any{}
	switch form.Get("grant_type") {
	case "refresh_token":
		if t := form.Get("refresh_token"); t == "" || t != p.app.RefreshToken {
			return p.tokenProblem(http.StatusBadRequest, "BAD_REFRESH_TOKEN", "invalid_grant", "missing or invalid refresh token")
		}
		given["refresh_token"], given["user_id"] = p.app.RefreshToken, 1
	case "client_credentials":
	default:
		return p.tokenProblem(http.StatusBadRequest, "BAD_GRANT_TYPE", "unsupported_grant_type", "missing or unknown grant type")
	}
	p.app.issued++
	token := fmt.Sprintf("emulated-access-%d-%d", p.id, p.app.issued)
	p.app.good[token] = now.Add(p.app.Life)
	given["access_token"], given["token_type"], given["expires_in"] = token, "bearer", int(p.app.Life.Seconds())
	given["hub_id"], given["scopes"] = p.id, slices.Sorted(maps.Keys(p.scopes))
	return jsonAnswer(http.StatusOK, given)
}

// accepts reports whether a token is accepted; app says it is an app's, and why is
// the category of the refusal.
func (p *Portal) accepts(token string, now time.Time) (ok, app bool, category, message string) {
	if token == p.private && !p.revoked {
		return true, false, "", ""
	}
	end, given := p.app.good[token]
	switch {
	case given && now.Before(end):
		return true, true, "", ""
	case given:
		return false, true, "EXPIRED_AUTHENTICATION", "The OAuth token used to make this call expired " + now.Sub(end).String() + " ago."
	}
	return false, false, "INVALID_AUTHENTICATION", "The access token is invalid or has been revoked."
}
