package hubspot

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/internal/redact"
)

// The codes beside fault's own.
const (
	codeRateLimit = "rate_limit"    // too many calls in some seconds
	codeDaily     = "daily_limit"   // the day's calls are used up
	codeBusy      = "remote_locked" // 423: too much is going on at the account
	codeMigrating = "migrating"     // 477: the account moves between data centres
	codeRefused   = "refused"
	codeRow       = "remote_row" // a row of a batch failed on HubSpot's side
)

// The waits where HubSpot names none.
const (
	burstWait    = 10 * time.Second
	secondlyWait = time.Second
	lockedWait   = 2 * time.Second // what HubSpot asks for at least
	migrateWait  = 5 * time.Minute
	dailyWait    = time.Hour // the reset is not known
	maxWait      = 24 * time.Hour
	midnightSlip = time.Minute // clocks differ
)

// errorf makes an error that names the call, with the credential masked.
func (c *client) errorf(class fault.Class, code string, k call, format string, args ...any) *fault.Error {
	where := *c.base
	where.User, where.RawQuery = nil, k.query.Encode()
	where.Path = strings.TrimSuffix(where.Path, "/") + k.path
	where.RawPath = ""
	return &fault.Error{
		Class: class, Code: code, Op: k.op,
		Err: errors.New(c.mask.Text(k.method() + " " + redact.URL(&where) + ": " + fmt.Sprintf(format, args...))),
	}
}

func cancelled(op string, err error) error {
	return fault.Wrap(fault.Retryable, fault.CodeCancelled, op, err)
}

// strip gives an error's text without the address that net/http puts around it.
func strip(err error) string {
	var ue *url.Error
	for errors.As(err, &ue) {
		err, ue = ue.Err, nil
	}
	return short(err.Error())
}

// short gives at most 200 printable characters.
func short(s string) string {
	s = strings.Join(strings.FieldsFunc(s, func(r rune) bool { return unicode.IsSpace(r) || !unicode.IsPrint(r) }), " ")
	n := 0
	for i := range s {
		if n++; n > 200 {
			return s[:i] + "…"
		}
	}
	return s
}

// trouble is what an error's body says; every part may be missing.
type trouble struct {
	message, category, policy string
	scopes                    []string
}

func readTrouble(body []byte) trouble {
	// Members of other types than expected must not hide the rest.
	var m map[string]json.RawMessage
	if json.Unmarshal(body, &m) != nil {
		return trouble{message: string(body[:min(len(body), 64<<10)])}
	}
	text := func(name string) (s string) {
		_ = json.Unmarshal(m[name], &s)
		return s
	}
	t := trouble{message: text("message"), category: text("category"), policy: text("policyName")}
	var errs []struct {
		Context map[string][]string `json:"context"`
	}
	_ = json.Unmarshal(m["errors"], &errs)
	for _, e := range errs {
		for _, name := range []string{"requiredGranularScopes", "requiredScopes", "missingScopes"} {
			t.scopes = append(t.scopes, e.Context[name]...)
		}
	}
	slices.Sort(t.scopes)
	t.scopes = slices.Compact(t.scopes)
	return t
}

// refused classes an answer outside of 200 to 299.
func (c *client) refused(k call, hr *http.Response, body []byte) error {
	t := readTrouble(body)
	status := strings.TrimSpace(strconv.Itoa(hr.StatusCode) + " " + http.StatusText(hr.StatusCode))
	text := status
	if t.category != "" {
		text += " " + short(c.mask.Text(t.category))
	}
	if t.message != "" {
		text += ": " + short(c.mask.Text(t.message))
	}
	class, code, hint := classify(hr.StatusCode)
	if len(t.scopes) > 0 && hr.StatusCode == http.StatusForbidden {
		hint = "add to the private app: " + short(c.mask.Text(strings.Join(t.scopes, ", ")))
	}
	e := c.errorf(class, code, k, "%s", text).WithHint(hint)
	after := c.retryAfter(hr.Header)
	switch hr.StatusCode {
	case http.StatusTooManyRequests:
		return c.limited(e, t, after, hr.Header)
	case http.StatusLocked:
		return e.After(max(after, lockedWait))
	case statusMigrating:
		if after == 0 {
			after = migrateWait
		}
		e = e.After(after)
		c.gate.shut(c.clock.Now().Add(after), e)
		return e
	}
	if class == fault.Retryable && after > 0 {
		e = e.After(after)
	}
	return e
}

// limited fills the error of a 429 by the policy that was broken.
func (c *client) limited(e *fault.Error, t trouble, after time.Duration, h http.Header) error {
	message := strings.ToUpper(t.message)
	switch {
	case t.policy == "DAILY" || t.policy == "" && strings.Contains(message, "DAILY LIMIT"):
		e.Code = codeDaily
		if after == 0 {
			after = c.untilReset(h)
		}
		e = e.WithHint("the account's daily limit is used up; it begins anew at midnight in the account's time zone")
	case after > 0:
	case t.policy == "SECONDLY" || t.policy == "" && strings.Contains(message, "SECONDLY LIMIT") && !strings.Contains(message, "TEN"):
		after = secondlyWait
	default:
		after = burstWait
	}
	e = e.After(after)
	c.gate.shut(c.clock.Now().Add(after), e)
	return e
}

// statusMigrating is HubSpot's own status of an account on the move.
const statusMigrating = 477

func classify(status int) (class fault.Class, code, hint string) {
	switch status {
	case http.StatusUnauthorized:
		return fault.Permanent, fault.CodeAuth, "the token is wrong, revoked or expired: copy the access token of the private app into transport.token"
	case http.StatusForbidden:
		return fault.Permanent, fault.CodeAuth, "the private app lacks a scope: reading contacts needs crm.objects.contacts.read"
	case http.StatusNotFound, http.StatusGone:
		return fault.Permanent, fault.CodeNotFound, "check base_url"
	case http.StatusTooManyRequests:
		return fault.RateLimited, codeRateLimit, "lower transport.rate_limit; the account's limit is shared by all its apps"
	case http.StatusLocked:
		return fault.RateLimited, codeBusy, "HubSpot is working through many changes of this account"
	case statusMigrating:
		return fault.RateLimited, codeMigrating, "HubSpot is moving this account between data centres; it can take a day"
	case http.StatusRequestTimeout, http.StatusTooEarly:
		return fault.Retryable, fault.CodeUnreachable, ""
	case 522, 525, 526:
		return fault.Retryable, fault.CodeUnreachable, "HubSpot's edge cannot reach its API; if it lasts, check base_url and ask HubSpot's support"
	}
	if status >= 500 {
		return fault.Retryable, fault.CodeUnreachable, ""
	}
	if status >= 300 && status < 400 {
		return fault.Permanent, "redirect", "use the final address in base_url"
	}
	return fault.Permanent, codeRefused, "HubSpot does not accept the request: check the mapped property names"
}

// retryAfter reads Retry-After: seconds, or a date by the server's own clock.
func (c *client) retryAfter(h http.Header) time.Duration {
	v := strings.TrimSpace(h.Get("Retry-After"))
	if secs, err := strconv.ParseFloat(v, 64); err == nil {
		if !(secs > 0) {
			return 0
		}
		return time.Duration(min(secs, maxWait.Seconds()) * float64(time.Second))
	}
	at, err := http.ParseTime(v)
	if err != nil {
		return 0
	}
	return max(0, min(at.Sub(c.remoteNow(h)), maxWait))
}

func (c *client) remoteNow(h http.Header) time.Time {
	if t, err := http.ParseTime(h.Get("Date")); err == nil {
		return t
	}
	return c.clock.Now()
}
