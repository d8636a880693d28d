package transport

import (
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/tandem-sync/tandem/fault"
)

const (
	// maxRetryAfter caps what a server may ask us to wait, unless Classify says
	// otherwise.
	maxRetryAfter = time.Hour
	// maxRefusal is how much of a refusal's body is read, in bytes.
	maxRefusal = 256 << 10
)

// Classify says what an answer outside of 200 to 299 means where the remote says
// it in a way of its own: in the body, in headers, by statuses of its own. body
// is the beginning of the answer's, up to 256 KiB. nil leaves the answer to the
// transport's own rule, and so does every zero field of the error for that field:
//
//   - Class, Code and Hint are taken as they are.
//   - Err is what a person is told of the answer, in place of its body.
//   - RetryAfter is the wait; it may be longer than the hour that a Retry-After
//     is obeyed for otherwise. A wait longer than Patience ends the call: it is
//     never repeated before its time.
//
// Its texts may quote the body: credentials are masked and long texts cut later.
// Redirects do not come here. It must be safe for concurrent use.
type Classify func(status int, header http.Header, body []byte) *fault.Error

// statusError classes an answer outside of 200 to 299.
func (h *HTTP) statusError(r Request, u *url.URL, hr *http.Response) error {
	// The beginning is enough; what breaks off or never ends changes nothing.
	body, _ := io.ReadAll(io.LimitReader(hr.Body, maxRefusal))
	rule := ownRule(hr.StatusCode)
	answer := statusText(hr.StatusCode) + h.excerpt(body)
	told := answer
	if r.Classify != nil {
		if by := r.Classify(hr.StatusCode, hr.Header, body); by != nil {
			rule = merge(rule, by)
			if by.Err != nil {
				told = statusText(hr.StatusCode) + h.excerpt([]byte(by.Err.Error()))
			}
		}
	}
	e := h.errorf(rule.Class, rule.Code, r, u, "%s", told)
	if hr.StatusCode == http.StatusUnauthorized {
		e.Err = marked{e.Err, errUnauthorized}
	}
	e.Answer, e.Hint, e.RetryAfter = answer, h.mask.Text(rule.Hint), rule.RetryAfter
	if e.RetryAfter <= 0 && (e.Class == fault.Retryable || e.Class == fault.RateLimited) {
		e.RetryAfter = RetryAfter(hr.Header, h.clock.Now(), maxRetryAfter)
	}
	h.hold.note(h.clock.Now(), e)
	return e
}

// merge gives own with the fields that by fills.
func merge(own, by *fault.Error) *fault.Error {
	out := *own
	if by.Class != fault.Unknown {
		out.Class = by.Class
	}
	if by.Code != "" {
		out.Code = by.Code
	}
	if by.Hint != "" {
		out.Hint = by.Hint
	}
	out.RetryAfter = by.RetryAfter
	return &out
}

// marked is an error that is also another one, without its text.
type marked struct {
	error
	also error
}

// Is reports whether target is the other one.
func (m marked) Is(target error) bool { return target == m.also } //nolint:errorlint // a mark is one value

func statusText(code int) string {
	return strings.TrimSpace(strconv.Itoa(code) + " " + http.StatusText(code))
}

// ownRule says what a status means where nobody knows better.
func ownRule(status int) *fault.Error {
	rule := func(class fault.Class, code, hint string) *fault.Error {
		return &fault.Error{Class: class, Code: code, Hint: hint}
	}
	switch {
	case status == http.StatusUnauthorized:
		return rule(fault.Permanent, fault.CodeAuth, "the credential is missing, wrong or has expired: check transport.token or transport.auth")
	case status == http.StatusForbidden:
		return rule(fault.Permanent, fault.CodeAuth, "the credential is known but may not do this: check its permissions")
	case status == http.StatusNotFound || status == http.StatusGone:
		return rule(fault.Permanent, fault.CodeNotFound, "check base_url and the path")
	case status == http.StatusTooManyRequests:
		return rule(fault.RateLimited, codeRateLimit, "lower transport.rate_limit or transport.concurrency")
	case status == http.StatusRequestTimeout || status == http.StatusTooEarly:
		return rule(fault.Retryable, fault.CodeUnreachable, "the remote asks to try later: is it slow or overloaded?")
	case status >= 500:
		return rule(fault.Retryable, fault.CodeUnreachable, "the remote has trouble of its own: see its status or its logs; the next run goes on from here")
	}
	return rule(fault.Permanent, "refused", "the remote does not accept the request: check the path, the query and the body")
}

// RetryAfter reads the Retry-After of an answer: seconds, or a date that is
// compared with the server's own clock, else with ours. It is at most most; 0
// when there is none or it is nonsense.
func RetryAfter(header http.Header, ours time.Time, most time.Duration) time.Duration {
	v := strings.TrimSpace(header.Get("Retry-After"))
	if v == "" {
		return 0
	}
	if secs, err := strconv.ParseFloat(v, 64); err == nil {
		if !(secs > 0) {
			return 0
		}
		return time.Duration(min(secs, most.Seconds()) * float64(time.Second))
	}
	at, err := http.ParseTime(v)
	if err != nil {
		return 0
	}
	now, err := http.ParseTime(header.Get("Date"))
	if err != nil {
		now = ours
	}
	return max(0, min(at.Sub(now), most))
}
