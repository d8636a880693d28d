package transport

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/internal/redact"
)

// errorf makes an error that names the call and its address, with every known
// secret masked.
func (h *HTTP) errorf(class fault.Class, code string, r Request, u *url.URL, format string, args ...any) *fault.Error {
	text := fmt.Sprintf(format, args...)
	return &fault.Error{
		Class: class, Code: code, Op: r.Op,
		Err: errors.New(h.mask.Text(methodOf(r) + " " + redact.URL(u) + ": " + text)),
	}
}

func methodOf(r Request) string {
	if r.Method == "" {
		return http.MethodGet
	}
	return r.Method
}

func cancelled(op string, err error) error {
	return fault.Wrap(fault.Retryable, fault.CodeCancelled, op, err)
}

// strip gives an error's text without the address that net/url and net/http
// put around it: it holds the query with its keys, or a password.
func strip(err error) string {
	var ue *url.Error
	for errors.As(err, &ue) {
		err = ue.Err
		ue = nil
	}
	return err.Error()
}

// sendError classes what happened before an answer's header arrived.
func (h *HTTP) sendError(outer, limited context.Context, r Request, u *url.URL, err error) error {
	if outer.Err() != nil {
		return cancelled(r.Op, outer.Err())
	}
	if f, ok := guardRefused(err); ok {
		return h.errorf(fault.Permanent, fault.CodeNetwork, r, u, "%s", f.Error()).WithHint(f.Hint)
	}
	if limited.Err() != nil || timedOut(err) {
		return h.errorf(fault.Retryable, fault.CodeUnreachable, r, u, "no answer within %s", h.cfg.Timeout).
			WithHint("is the remote slow or down? transport.timeout is the limit of one call").After(Patience + time.Second)
	}
	var dns *net.DNSError
	switch {
	case errors.As(err, &dns):
		return h.errorf(fault.Retryable, fault.CodeUnreachable, r, u, "the name %s cannot be resolved: %s", dns.Name, dns.Err).
			WithHint("check the host in base_url and the DNS of this machine")
	case isTLS(err):
		return h.errorf(fault.Permanent, "tls", r, u, "TLS: %s", strip(err)).WithHint(tlsHint(err))
	}
	if strings.Contains(err.Error(), "server gave HTTP response to HTTPS client") {
		return h.errorf(fault.Permanent, "tls", r, u, "TLS: the remote speaks plain http on this port").
			WithHint("is the port of base_url right? if the remote has no TLS, base_url begins with http://")
	}
	return h.errorf(fault.Retryable, fault.CodeUnreachable, r, u, "%s", short(h.mask.Text(strip(err)))).
		WithHint("is the remote running, and is base_url right?")
}

func timedOut(err error) bool {
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout()
}

func isTLS(err error) bool {
	var (
		verify *tls.CertificateVerificationError
		alert  tls.AlertError
		host   x509.HostnameError
		auth   x509.UnknownAuthorityError
		bad    x509.CertificateInvalidError
	)
	return errors.As(err, &verify) || errors.As(err, &alert) || errors.As(err, &host) || errors.As(err, &auth) ||
		errors.As(err, &bad) || strings.Contains(err.Error(), "tls: ")
}

func tlsHint(err error) string {
	var bad x509.CertificateInvalidError
	var auth x509.UnknownAuthorityError
	var host x509.HostnameError
	switch {
	case errors.As(err, &bad) && bad.Reason == x509.Expired:
		return "the remote's certificate has expired or is not valid yet; renew it, or check this machine's clock"
	case errors.As(err, &auth):
		return "add the authority that signed the remote's certificate to this machine's trust store (or SSL_CERT_FILE)"
	case errors.As(err, &host):
		return "use the host name the certificate is made for"
	}
	return "the remote must offer TLS 1.2 or newer with a valid certificate"
}

// readBody reads the whole answer within the cap.
func (h *HTTP) readBody(outer, limited context.Context, r Request, u *url.URL, hr *http.Response) ([]byte, error) {
	if enc := hr.Header.Get("Content-Encoding"); enc != "" && !strings.EqualFold(enc, "identity") {
		return nil, h.errorf(fault.Permanent, fault.CodeBadAnswer, r, u, "content encoding %q is not supported", short(enc))
	}
	if hr.ContentLength > MaxBody {
		return nil, h.tooLarge(r, u)
	}
	buf := bytes.NewBuffer(make([]byte, 0, sizeHint(hr.ContentLength)))
	n, err := buf.ReadFrom(io.LimitReader(hr.Body, MaxBody+1))
	switch {
	case n > MaxBody:
		return nil, h.tooLarge(r, u)
	case err == nil:
		return buf.Bytes(), nil
	case outer.Err() != nil:
		return nil, cancelled(r.Op, outer.Err())
	case limited.Err() != nil || timedOut(err):
		return nil, h.errorf(fault.Retryable, fault.CodeUnreachable, r, u, "the answer did not end within %s (%d bytes read)", h.cfg.Timeout, n).
			WithHint("ask for smaller pages, or raise transport.timeout").After(Patience + time.Second)
	}
	return nil, h.errorf(fault.Retryable, fault.CodeBadAnswer, r, u, "the answer broke off after %d bytes: %s", n, short(h.mask.Text(strip(err)))).
		WithHint("the remote or a proxy before it cut the answer off: see their logs, or ask for smaller pages")
}

// sizeHint is the first buffer for a body: its length with room for the read
// that finds the end, or 16 KiB. A length is only believed up to 1 MiB.
func sizeHint(length int64) int {
	if length < 0 {
		return 16 << 10
	}
	return int(min(length, 1<<20)) + bytes.MinRead
}

func (h *HTTP) tooLarge(r Request, u *url.URL) error {
	return h.errorf(fault.Permanent, "page_too_large", r, u, "the answer is larger than %d MiB", MaxBody>>20).
		WithHint("ask for smaller pages")
}

// redirect gives where a redirect leads: only GET, only within the origin.
func (h *HTTP) redirect(r Request, u *url.URL, hr *http.Response) (*url.URL, error) {
	location := hr.Header.Get("Location")
	if methodOf(r) != http.MethodGet || location == "" || hr.StatusCode == http.StatusNotModified {
		return nil, h.errorf(fault.Permanent, "redirect", r, u, "answered %s", statusText(hr.StatusCode)).
			WithHint("only GET follows redirects: use the final address in base_url and path")
	}
	next, err := u.Parse(location)
	if err != nil {
		return nil, h.errorf(fault.Permanent, "redirect", r, u, "redirects to an address that is not valid")
	}
	if !SameOrigin(h.cfg.BaseURL, next) || next.User != nil {
		return nil, h.errorf(fault.Permanent, "redirect", r, u, "redirects to another origin: %s", redact.URL(next)).
			WithHint("credentials do not follow to another origin; if it is right, set base_url to it")
	}
	return next, nil
}

// excerpt gives the beginning of an error's body as one printable line.
func (h *HTTP) excerpt(body []byte) string {
	if len(body) == 0 {
		return ""
	}
	// Masked before it is cut, so that no half of a secret stays.
	return ": " + short(h.mask.Text(string(body)))
}

// short gives at most 200 printable characters.
func short(s string) string {
	s = strings.Join(strings.FieldsFunc(s, func(r rune) bool { return unicode.IsSpace(r) || !unicode.IsPrint(r) || r == utf8.RuneError }), " ")
	n := 0
	for i := range s {
		if n++; n > 200 {
			return s[:i] + "…"
		}
	}
	return s
}
