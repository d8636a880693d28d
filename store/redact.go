package store

import (
	"net/url"
	"strings"
)

// redact gives err's text without the password of u, in clear or escaped.
func redact(err error, u *url.URL) string {
	text := err.Error()
	secrets := []string{u.Query().Get("password")}
	if pw, ok := u.User.Password(); ok {
		secrets = append(secrets, pw, url.QueryEscape(pw), url.PathEscape(pw))
		if _, escaped, ok := strings.Cut(u.User.String(), ":"); ok {
			secrets = append(secrets, escaped)
		}
	}
	for _, s := range secrets {
		if s != "" {
			text = strings.ReplaceAll(text, s, "xxxxx")
		}
	}
	return text
}
