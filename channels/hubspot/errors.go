package hubspot

import (
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/transport"
)

// The codes beside fault's own and transport's.
const (
	codeDaily     = "daily_limit"   // the day's calls are used up
	codeBusy      = "remote_locked" // 423: too much is going on at the account
	codeMigrating = "migrating"     // 477: the account moves between data centres
	codeRow       = "remote_row"    // a row of a batch failed on HubSpot's side
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

// statusMigrating is HubSpot's own status of an account on the move.
const statusMigrating = 477

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
		return trouble{message: string(body)}
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

// text is what a person is told; nil where the body says nothing.
func (t trouble) text() error {
	var parts []string
	for _, s := range []string{t.category, t.message} {
		if s != "" {
			parts = append(parts, s)
		}
	}
	if parts == nil {
		return nil
	}
	return errors.New(strings.Join(parts, ": "))
}

// classify says what a refusal of HubSpot's means; it is the transport's
// Classify. What it leaves out is as for every remote.
func (c *client) classify(status int, header http.Header, body []byte) *fault.Error {
	t := readTrouble(body)
	e := &fault.Error{Err: t.text()}
	after := transport.RetryAfter(header, c.clock.Now(), maxWait)
	switch status {
	case http.StatusUnauthorized:
		e.Hint = c.hint("the token is wrong, revoked or expired: copy the access token of the private app into transport.token",
			"HubSpot does not accept a token that it has just given out: is the app still installed in the account?")
	case http.StatusForbidden:
		e.Hint = c.hint("the private app", "the app") + " lacks a scope: reading contacts needs crm.objects.contacts.read, writing them crm.objects.contacts.write"
		if len(t.scopes) > 0 {
			e.Hint = c.hint("add to the private app: ", "add to the app, and install it again: ") + short(strings.Join(t.scopes, ", "))
		}
	case http.StatusNotFound, http.StatusGone:
		e.Hint = "check base_url"
	case http.StatusTooManyRequests:
		c.limited(e, t, after, header)
	case http.StatusLocked:
		e.Class, e.Code, e.RetryAfter = fault.RateLimited, codeBusy, max(after, lockedWait)
		e.Hint = "HubSpot is working through many changes of this account"
	case statusMigrating:
		e.Class, e.Code, e.RetryAfter = fault.RateLimited, codeMigrating, after
		e.Hint = "HubSpot is moving this account between data centres; it can take a day"
		if after == 0 {
			e.RetryAfter = migrateWait
		}
	case 522, 525, 526:
		e.Hint = "HubSpot's edge cannot reach its API; if it lasts, check base_url and ask HubSpot's support"
	default:
		if status < 500 && status != http.StatusRequestTimeout && status != http.StatusTooEarly {
			e.Hint = "HubSpot does not accept the request: check the mapped property names"
		}
	}
	return e
}

// hint chooses by the kind of credential.
func (c *client) hint(private, app string) string {
	if c.app {
		return app
	}
	return private
}

// limited fills the error of a 429 by the policy that was broken. It always names
// a wait, so that the call is not repeated before it can succeed.
func (c *client) limited(e *fault.Error, t trouble, after time.Duration, h http.Header) {
	message := strings.ToUpper(t.message)
	e.Class, e.Hint = fault.RateLimited, "lower transport.rate_limit; the account's limit is shared by all its apps"
	switch {
	case t.policy == "DAILY" || t.policy == "" && strings.Contains(message, "DAILY LIMIT"):
		e.Code, e.Hint = codeDaily, "the account's daily limit is used up; it begins anew at midnight in the account's time zone"
		if after == 0 {
			after = c.untilReset(h)
		}
	case after > 0:
	case t.policy == "SECONDLY" || t.policy == "" && strings.Contains(message, "SECONDLY LIMIT") && !strings.Contains(message, "TEN"):
		after = secondlyWait
	default:
		after = burstWait
	}
	e.RetryAfter = after
}

func (c *client) remoteNow(h http.Header) time.Time {
	if t, err := http.ParseTime(h.Get("Date")); err == nil {
		return t
	}
	return c.clock.Now()
}
