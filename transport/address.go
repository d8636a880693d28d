package transport

import (
	"net/url"
	"strings"

	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/internal/redact"
)

// address gives the full address of r without credentials.
func (h *HTTP) address(r Request) (*url.URL, error) {
	base := h.cfg.BaseURL
	u := r.URL
	if u == nil {
		path, query, _ := strings.Cut(r.Path, "?")
		if path != "" && !strings.HasPrefix(path, "/") {
			path = "/" + path
		}
		joined, err := url.Parse(strings.TrimSuffix(base.Scheme+"://"+base.Host+base.EscapedPath(), "/") + path)
		if err != nil {
			return nil, fault.New(fault.Permanent, fault.CodeConfig, r.Op, "the path is not valid: %s", strip(err))
		}
		joined.RawQuery = query
		u = joined
	}
	if err := h.CheckOrigin(r.Op, u); err != nil {
		return nil, err
	}
	c := *u
	c.Fragment = ""
	if len(r.Query) > 0 {
		c.RawQuery = setQuery(c.RawQuery, r.Query)
	}
	return &c, nil
}

// setQuery replaces the keys of add in query and leaves the rest as written.
func setQuery(query string, add url.Values) string {
	var kept []string
	for pair := range strings.SplitSeq(query, "&") {
		name, _, _ := strings.Cut(pair, "=")
		plain, err := url.QueryUnescape(name)
		if pair == "" || err == nil && add.Has(plain) {
			continue
		}
		kept = append(kept, pair)
	}
	if more := add.Encode(); more != "" {
		kept = append(kept, more)
	}
	return strings.Join(kept, "&")
}

// WithoutCredential gives u without the credential of auth type query, so that
// it can be stored: servers repeat it in the addresses of next pages.
func (h *HTTP) WithoutCredential(u *url.URL) *url.URL {
	c := *u
	c.User = nil
	if h.cfg.Auth.Kind == AuthQuery {
		c.RawQuery = setQuery(u.RawQuery, url.Values{h.cfg.Auth.Name: nil})
	}
	return &c
}

// CheckOrigin refuses an address the server supplied that leads elsewhere than
// to the base address's origin: Permanent with code other_origin.
func (h *HTTP) CheckOrigin(op string, u *url.URL) error {
	if SameOrigin(h.cfg.BaseURL, u) && u.User == nil {
		return nil
	}
	return fault.New(fault.Permanent, "other_origin", op, "the server supplied an address on another origin: %s", h.mask.Text(redact.URL(u))).
		WithHint("only addresses of " + h.cfg.BaseURL.Scheme + "://" + h.cfg.BaseURL.Host + " are followed; set base_url to the address the server names")
}

// Resolve gives the full address of path and query on the base address's origin.
func (h *HTTP) Resolve(requestURI string) (*url.URL, error) {
	u, err := url.ParseRequestURI(requestURI)
	if err != nil || u.Host != "" {
		return nil, fault.New(fault.Permanent, fault.CodeConflict, "", "a stored address is not valid")
	}
	u.Scheme, u.Host = h.cfg.BaseURL.Scheme, h.cfg.BaseURL.Host
	return u, nil
}
