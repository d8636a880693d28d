// Package redact keeps credentials out of what people and logs get to see.
package redact

import (
	"encoding/base64"
	"net/url"
	"slices"
	"strings"
)

// Mask stands where a secret was.
const Mask = "***"

// Secret is a text that prints itself as Mask in every form: fmt verbs, JSON
// and loggers that use either. string(s) gives the clear text. The zero value
// is "no secret".
type Secret string

// String gives Mask, or "" for an empty secret.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return Mask
}

// GoString gives what String gives, for %#v.
func (s Secret) GoString() string { return s.String() }

// MarshalText gives what String gives, for encoders.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// URL gives scheme, host, path and the names of the query's keys; userinfo,
// fragment and every query value are left out. nil gives "".
func URL(u *url.URL) string {
	if u == nil {
		return ""
	}
	var b strings.Builder
	if u.Scheme != "" {
		b.WriteString(u.Scheme + "://")
	}
	b.WriteString(u.Host)
	b.WriteString(u.EscapedPath())
	for i, name := range names(u.RawQuery) {
		if i == 0 {
			b.WriteByte('?')
		} else {
			b.WriteByte('&')
		}
		b.WriteString(name + "=" + Mask)
	}
	return b.String()
}

func names(query string) []string {
	var out []string
	for pair := range strings.SplitSeq(query, "&") {
		name, _, _ := strings.Cut(pair, "=")
		if name != "" && !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	return out
}

// URLText is URL for an address that is still text. One that cannot be parsed
// gives a fixed sentence: the parser's own error would repeat its password.
func URLText(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return "(an address that cannot be parsed)"
	}
	return URL(u)
}

// Masker replaces known secrets in any text. The zero value replaces nothing.
type Masker struct{ r *strings.Replacer }

// NewMasker knows the secrets as they are, URL-encoded and in base64. Secrets
// shorter than four characters are not replaced: they would tear holes into
// ordinary words without hiding anything.
func NewMasker(secrets ...string) Masker {
	forms := map[string]bool{}
	for _, s := range secrets {
		if len(s) < 4 {
			continue
		}
		for _, f := range []string{
			s, url.QueryEscape(s), url.PathEscape(s),
			base64.StdEncoding.EncodeToString([]byte(s)), base64.RawURLEncoding.EncodeToString([]byte(s)),
		} {
			forms[f] = true
		}
	}
	if len(forms) == 0 {
		return Masker{}
	}
	// Longest first: the replacer takes the first match at a position.
	sorted := make([]string, 0, len(forms))
	for f := range forms {
		sorted = append(sorted, f)
	}
	slices.SortFunc(sorted, func(a, b string) int {
		if len(a) != len(b) {
			return len(b) - len(a)
		}
		return strings.Compare(a, b)
	})
	pairs := make([]string, 0, 2*len(sorted))
	for _, f := range sorted {
		pairs = append(pairs, f, Mask)
	}
	return Masker{strings.NewReplacer(pairs...)}
}

// Text gives s with every known secret replaced by Mask.
func (m Masker) Text(s string) string {
	if m.r == nil {
		return s
	}
	return m.r.Replace(s)
}
