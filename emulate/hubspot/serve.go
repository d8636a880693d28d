package hubspot

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const maxBody = 4 << 20

// request is a call as the handlers see it.
type request struct {
	*http.Request
	op   Op
	id   string // of the path
	body []byte
	rows []Fault // row faults that apply to this call
	app  bool    // it came with an app's access token
}

// answer is what a handler gives.
type answer struct {
	status int
	header http.Header
	body   []byte
}

func (a answer) with(name, value string) answer {
	if a.header == nil {
		a.header = http.Header{}
	}
	a.header.Set(name, value)
	return a
}

// ServeHTTP answers as HubSpot does.
func (p *Portal) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	op, id := operation(r)
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		http.Error(w, "the request is too large", http.StatusRequestEntityTooLarge)
		return
	}
	p.mu.Lock()
	hook := p.hook
	p.mu.Unlock()
	if hook != nil {
		hook(op)
	}
	a, spoil := p.handle(&request{Request: r, op: op, id: id, body: body})
	for name, values := range a.header {
		w.Header()[name] = values
	}
	if spoil != nil {
		spoil(w, r, a)
		return
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(a.body)))
	w.WriteHeader(a.status)
	_, _ = w.Write(a.body)
}

// handle makes the answer and, where a fault wants it sent in its own way, how.
func (p *Portal) handle(q *request) (answer, func(http.ResponseWriter, *http.Request, answer)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.serial++
	p.calls[OpAny]++
	p.calls[q.op]++
	now := p.now()
	p.index.catchUp(now)
	a, spoil := p.decide(q, now)
	p.answered[a.status]++
	a = a.with("Date", now.Format(http.TimeFormat)).with("X-Hubspot-Correlation-Id", p.correlation())
	if a.header.Get("Content-Type") == "" {
		a = a.with("Content-Type", "application/json;charset=utf-8")
	}
	if q.op != OpSearch && q.op != OpToken { // searches are limited apart, and tell nothing
		p.limits.tell(a.header, now, p.zone)
	}
	if q.app { // apps are not told of a daily limit
		a.header.Del("X-Hubspot-Ratelimit-Daily")
		a.header.Del("X-Hubspot-Ratelimit-Daily-Remaining")
	}
	return a, spoil
}

func (p *Portal) decide(q *request, now time.Time) (answer, func(http.ResponseWriter, *http.Request, answer)) {
	if problem, ok := p.authorize(q, now); !ok {
		return problem, nil
	}
	f, ok := p.fault(q)
	if ok && f.answer != nil {
		return f.answer(p), f.spoil
	}
	if q.op != OpToken {
		if policy := p.limits.take(q.op, now, p.zone); policy != "" {
			return p.tooMany(policy), nil
		}
	}
	a := p.dispatch(q, now)
	if ok {
		return a, f.spoil
	}
	return a, nil
}

func (p *Portal) authorize(q *request, now time.Time) (answer, bool) {
	if q.op == OpToken {
		return answer{}, true
	}
	token, bearer := strings.CutPrefix(q.Header.Get("Authorization"), "Bearer ")
	if !bearer || token == "" {
		return p.problem(http.StatusUnauthorized, "INVALID_AUTHENTICATION", "Authentication credentials not found."), false
	}
	ok, app, category, message := p.accepts(token, now)
	if q.app = app; !ok {
		return p.problem(http.StatusUnauthorized, category, message), false
	}
	scope := ScopeRead
	switch q.op {
	case OpAccount, OpUsage, OpProperties, OpToken, OpUnknown:
		return answer{}, true
	case OpCreate, OpUpdate, OpArchive, OpMerge, OpBatchCreate, OpBatchUpdate, OpBatchUpsert, OpBatchRemove:
		scope = ScopeWrite
	case OpAny, OpList, OpArchived, OpGet, OpSearch, OpBatchRead:
	}
	if p.scopes[scope] {
		return answer{}, true
	}
	return p.errorAnswer(http.StatusForbidden, map[string]any{
		"category": "MISSING_SCOPES", "message": "The app has not been granted all scopes that this call needs.",
		"errors": []any{map[string]any{"message": "One of these scopes is needed.", "context": map[string]any{"requiredGranularScopes": []string{scope}}}},
		"links":  map[string]string{"scopes": "https://developers.hubspot.com/scopes"},
	}), false
}

func (p *Portal) dispatch(q *request, now time.Time) answer {
	switch q.op {
	case OpList:
		return p.list(q, false)
	case OpArchived:
		return p.list(q, true)
	case OpGet:
		return p.getOne(q)
	case OpSearch:
		return p.search(q)
	case OpCreate:
		return p.createOne(q, now)
	case OpUpdate:
		return p.updateOne(q, now)
	case OpArchive:
		return p.archiveOne(q, now)
	case OpMerge:
		return p.mergeTwo(q, now)
	case OpBatchRead:
		return p.batchRead(q, now)
	case OpBatchCreate, OpBatchUpdate, OpBatchUpsert:
		return p.batchWrite(q, now)
	case OpBatchRemove:
		return p.batchArchive(q, now)
	case OpAccount:
		return p.account(now)
	case OpUsage:
		return p.usage(now)
	case OpProperties:
		return p.properties(now)
	case OpToken:
		return p.token(q, now)
	case OpAny, OpUnknown:
	}
	return p.problem(http.StatusNotFound, "OBJECT_NOT_FOUND", "resource not found")
}

// correlation is the present answer's id, in the shape of a UUID.
func (p *Portal) correlation() string {
	return fmt.Sprintf("%08x-0000-4000-8000-%012x", p.id&0xffffffff, p.serial)
}

// problem is an error's answer.
func (p *Portal) problem(status int, category, message string) answer {
	return p.errorAnswer(status, map[string]any{"category": category, "message": message})
}

func (p *Portal) invalid(format string, args ...any) answer {
	return p.problem(http.StatusBadRequest, "VALIDATION_ERROR", fmt.Sprintf(format, args...))
}

func (p *Portal) errorAnswer(status int, body map[string]any) answer {
	body["status"], body["correlationId"] = "error", p.correlation()
	return jsonAnswer(status, body)
}

func jsonAnswer(status int, v any) answer {
	b, err := json.Marshal(v)
	if err != nil { // maps, texts and numbers only
		panic(err)
	}
	return answer{status: status, body: b}
}

// tooMany is the answer to a call over a limit.
func (p *Portal) tooMany(policy string) answer {
	return p.errorAnswer(http.StatusTooManyRequests, map[string]any{
		"message":   "You have reached your " + strings.ToLower(policy) + " limit.",
		"errorType": "RATE_LIMIT", "category": "RATE_LIMITS", "policyName": policy, "requestId": p.correlation(),
	})
}

func (p *Portal) account(now time.Time) answer {
	_, offset := now.In(p.zone).Zone()
	return jsonAnswer(http.StatusOK, map[string]any{
		"portalId": p.id, "accountType": "STANDARD", "timeZone": p.zone.String(), "companyCurrency": "EUR", "additionalCurrencies": []string{},
		"utcOffset": now.In(p.zone).Format("-07:00"), "utcOffsetMilliseconds": offset * 1000,
		"uiDomain": "app.hubspot.com", "dataHostingLocation": "eu1",
	})
}

func (p *Portal) usage(now time.Time) answer {
	return jsonAnswer(http.StatusOK, map[string]any{"results": []any{map[string]any{
		"name": "private-apps-api-calls-daily", "usageLimit": p.limits.Daily, "currentUsage": p.limits.usedToday(now, p.zone),
		"collectedAt": stamp(now), "fetchStatus": "SUCCESS", "resetsAt": stamp(midnight(now, p.zone)),
	}}})
}

func (p *Portal) properties(now time.Time) answer {
	results := []any{}
	for _, name := range sortedNames(p.known) {
		kind, field := "string", "text"
		if name == propCreated || name == propModified {
			kind, field = "datetime", "date"
		}
		results = append(results, map[string]any{
			"name": name, "label": name, "hasUniqueValue": p.claims.unique(name), "description": "", "groupName": "contactinformation", "type": kind, "fieldType": field, "options": []any{},
			"createdAt": stamp(now), "updatedAt": stamp(now), "archived": false,
		})
	}
	return jsonAnswer(http.StatusOK, map[string]any{"results": results})
}
