package transport

import (
	"encoding/json"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/tandem-sync/tandem/internal/redact"
	"github.com/tandem-sync/tandem/transport/settings"
)

// AuthKind is how calls prove who they come from.
type AuthKind string

// The kinds of authentication.
const (
	AuthNone   AuthKind = "none"
	AuthBearer AuthKind = "bearer" // Authorization: Bearer TOKEN
	AuthBasic  AuthKind = "basic"  // Authorization: Basic
	AuthHeader AuthKind = "header" // a header of the given name
	AuthQuery  AuthKind = "query"  // a query key of the given name
	AuthOAuth2 AuthKind = "oauth2" // Authorization: Bearer, with a token that is got and renewed
)

// Auth is a credential. The zero value is none.
type Auth struct {
	Kind     AuthKind
	Token    redact.Secret // bearer; oauth2: the refresh token to begin with, "" for client credentials
	Username string        // basic
	Password redact.Secret // basic
	Name     string        // header, query
	Value    redact.Secret // header, query

	TokenURL     *url.URL      // oauth2
	ClientID     string        // oauth2
	ClientSecret redact.Secret // oauth2; "" for a client that has none
	Scopes       []string      // oauth2; nil asks for none
}

// Header is an extra header of every call; its value may be a secret.
type Header struct {
	Name  string
	Value redact.Secret
}

// HTTPConfig says how to talk to one remote by HTTP.
type HTTPConfig struct {
	BaseURL     *url.URL
	Auth        Auth
	Headers     []Header
	Timeout     time.Duration // of one whole request with its answer; 0 is 20 s
	Rate        Rate
	Concurrency int // calls at a time; 0 is 4
}

// Defaults and bounds of the settings.
const (
	DefaultTimeout     = 20 * time.Second
	DefaultConcurrency = 4
	maxConcurrency     = 64
)

// hopHeaders cannot be set by a configuration: the client owns them.
var hopHeaders = []string{
	"Host", "Connection", "Content-Length", "Transfer-Encoding", "Te", "Trailer", "Upgrade", "Accept-Encoding", "Keep-Alive",
}

// ParseHTTP reads the transport settings that every HTTP channel type shares
// and reports all problems to o: base_url, token, auth, headers, timeout,
// rate_limit, concurrency. It does not call o.Done.
func ParseHTTP(o settings.Object, g Guard) HTTPConfig {
	c := HTTPConfig{
		BaseURL:     parseBase(o, g),
		Auth:        parseAuth(o, g),
		Timeout:     o.Duration("timeout", DefaultTimeout, 100*time.Millisecond, 55*time.Second),
		Concurrency: o.Int("concurrency", DefaultConcurrency, 1, maxConcurrency),
	}
	for _, h := range o.Pairs("headers") {
		if checkHeader(o, "headers."+h.Name, h.Name, h.Value) {
			c.Headers = append(c.Headers, Header{h.Name, redact.Secret(h.Value)})
		}
		if c.Auth.Kind != AuthNone && strings.EqualFold(h.Name, "Authorization") && c.Auth.Kind != AuthHeader {
			o.Report("headers."+h.Name, "keep one of them", "is set by auth already")
		}
	}
	if o.Has("rate_limit") {
		r, err := ParseRate(o.String("rate_limit", ""))
		if err != nil {
			o.Report("rate_limit", "for example 90/10s", "%s", err)
		}
		c.Rate = r
	}
	return c
}

func parseBase(o settings.Object, g Guard) *url.URL {
	raw := o.String("base_url", "")
	if raw == "" {
		o.Report("base_url", "for example https://api.example.com", "is missing")
		return nil
	}
	u, err := url.Parse(strings.TrimSpace(raw))
	if err != nil {
		// The parser's error repeats the address with its password.
		o.Report("base_url", "for example https://api.example.com", "is not a valid address")
		return nil
	}
	if message, fix := g.CheckURL(u); message != "" {
		o.Report("base_url", fix, "%s", message)
	}
	return u
}

func parseAuth(o settings.Object, g Guard) Auth {
	token := o.String("token", "")
	if o.Has("token") {
		checkSecret(o, "token", token)
		if o.Has("auth") {
			o.Report("auth", "keep one of them", "token already means auth type bearer")
		}
	}
	if !o.Has("auth") {
		if o.Has("token") {
			return Auth{Kind: AuthBearer, Token: redact.Secret(token)}
		}
		return Auth{Kind: AuthNone}
	}
	return parseAuthObject(o.Object("auth"), g)
}

func parseAuthObject(o settings.Object, g Guard) Auth {
	defer o.Done()
	if !o.Has("type") {
		o.Keys() // one problem is enough
		o.Report("type", "one of none, bearer, basic, header, query, oauth2", "is missing")
		return Auth{Kind: AuthNone}
	}
	kind := AuthKind(o.Choice("type", "none", "none", "bearer", "basic", "header", "query", "oauth2"))
	a := Auth{Kind: kind}
	used := []string{}
	need := func(key string) string {
		used = append(used, key)
		v := o.String(key, "")
		if v == "" {
			o.Report(key, "write it, or use ${NAME} of the environment", "is missing for auth type %s", kind)
			return ""
		}
		checkSecret(o, key, v)
		return v
	}
	switch kind {
	case AuthBearer:
		a.Token = redact.Secret(need("token"))
	case AuthBasic:
		a.Username = need("username")
		used = append(used, "password")
		a.Password = redact.Secret(o.String("password", ""))
		checkSecret(o, "password", string(a.Password))
		if strings.Contains(a.Username, ":") {
			o.Report("username", "a colon separates it from the password", "must not hold a colon")
		}
	case AuthHeader:
		a.Name, a.Value = need("name"), redact.Secret(need("value"))
		checkHeader(o, "name", a.Name, "")
	case AuthQuery:
		a.Name, a.Value = need("name"), redact.Secret(need("value"))
	case AuthOAuth2:
		a.TokenURL = parseTokenURL(o, g, need("token_url"))
		a.ClientID = need("client_id")
		used = append(used, "client_secret", "token", "scopes")
		a.ClientSecret, a.Token = redact.Secret(o.String("client_secret", "")), redact.Secret(o.String("token", ""))
		checkSecret(o, "client_secret", string(a.ClientSecret))
		checkSecret(o, "token", string(a.Token))
		a.Scopes = parseScopes(o)
		switch {
		case a.ClientSecret != "" || a.Token != "":
		case o.Has("token") || !o.Has("client_secret"):
			o.Report("client_secret", "write it, or use ${NAME} of the environment; or give a refresh token as token", "is missing for auth type oauth2")
		default:
			o.Report("client_secret", "set the environment variable it comes from", "is empty")
		}
	case AuthNone:
	}
	for _, key := range []string{"token", "username", "password", "name", "value", "token_url", "client_id", "client_secret", "scopes"} {
		if o.Has(key) && !slices.Contains(used, key) {
			o.Report(key, "remove it, or change auth.type", "is not used by auth type %s", kind)
		}
	}
	return a
}

// parseTokenURL reads the address of the token endpoint, which the guard must
// let through like base_url.
func parseTokenURL(o settings.Object, g Guard, raw string) *url.URL {
	const example = "for example https://login.example.com/oauth/token"
	if raw == "" {
		return nil
	}
	u, err := url.Parse(raw)
	if err != nil {
		o.Report("token_url", example, "is not a valid address")
		return nil
	}
	if message, fix := g.CheckURL(u); message != "" {
		if u.RawQuery != "" || u.Fragment != "" {
			fix = example
		}
		o.Report("token_url", fix, "%s", message)
	}
	return u
}

// parseScopes reads a list of scopes, or one text with blanks between them.
func parseScopes(o settings.Object) []string {
	raw := o.Raw("scopes")
	if raw == nil {
		return nil
	}
	var list []string
	if s, ok := settings.Scalar(raw); ok {
		list = strings.Fields(s)
	} else if err := json.Unmarshal(raw, &list); err != nil {
		o.Report("scopes", "scopes: [contacts.read, contacts.write]", "must be a list of texts")
		return nil
	}
	for _, s := range list {
		if s == "" || strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' || r == '"' || r == '\\' }) {
			o.Report("scopes", "scopes: [contacts.read, contacts.write]", "%q is not a scope", s)
		}
	}
	return list
}

// checkSecret finds the line break that a secret file or a here-document often
// leaves behind.
func checkSecret(o settings.Object, key, v string) {
	if strings.ContainsAny(v, "\r\n\x00") {
		o.Report(key, "remove the line break at its end", "holds a line break")
	} else if strings.TrimSpace(v) != v {
		o.Report(key, "remove the blanks", "begins or ends with a blank")
	}
}

// checkHeader reports a header that cannot be sent.
func checkHeader(o settings.Object, key, name, value string) bool {
	canonical := strings.ToLower(name)
	switch {
	case name == "":
		return false
	case strings.ContainsFunc(name, func(r rune) bool { return !tokenRune(r) }):
		o.Report(key, "letters, digits and hyphens", "%q is not a header name", name)
	case slices.ContainsFunc(hopHeaders, func(h string) bool { return strings.ToLower(h) == canonical }):
		o.Report(key, "remove it", "header %s is set by the client itself", name)
	case strings.ContainsFunc(value, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }):
		o.Report(key, "remove the line break", "the value holds a control character")
	default:
		return true
	}
	return false
}

func tokenRune(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("!#$%&'*+-.^_`|~", r)
}
