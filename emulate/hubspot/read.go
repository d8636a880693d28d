package hubspot

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Maxima of one call.
const (
	maxList    = 100
	maxHistory = 50
	maxBatch   = 100
	maxSearch  = 200
	maxAddress = 16 << 10
)

// names reads a list parameter, which may be repeated or separated by commas.
func names(q url.Values, key string) []string {
	var out []string
	for _, v := range q[key] {
		for n := range strings.SplitSeq(v, ",") {
			if n = strings.TrimSpace(n); n != "" {
				out = append(out, n)
			}
		}
	}
	return out
}

func (p *Portal) list(q *request, archived bool) answer {
	query := q.URL.Query()
	if len(q.URL.RequestURI()) > maxAddress {
		return answer{status: http.StatusRequestURITooLong, body: []byte("<html>URI too long</html>")}.with("Content-Type", "text/html")
	}
	histories := names(query, "propertiesWithHistory")
	limit, most := 10, maxList
	if len(histories) > 0 {
		most = maxHistory
	}
	if v := query.Get("limit"); v != "" {
		n, err := strconv.Atoi(v)
		if err != nil || n < 1 || n > most {
			return p.invalid("limit must be between 1 and %d, was %q", most, v)
		}
		limit = n
	}
	after := int64(0)
	if v := query.Get("after"); v != "" {
		n, err := strconv.ParseInt(v, 10, 64)
		if err != nil || n < 0 {
			return p.invalid("the cursor %q is not valid", v)
		}
		after = n
	}
	at, _ := slices.BinarySearch(p.order, after)
	views := make([]view, 0, limit)
	next := int64(0)
	for ; at < len(p.order); at++ {
		c := p.contacts[p.order[at]]
		if c.archived != archived {
			continue
		}
		if len(views) == limit {
			next = c.id
			break
		}
		views = append(views, c.view())
	}
	body := append([]byte{'{'}, results(views, names(query, "properties"), histories, p.known)...)
	if next != 0 {
		s := strconv.FormatInt(next, 10)
		body = append(body, `,"paging":{"next":{"after":"`+s+`","link":"https://api.hubapi.com`+contactsPath+`?after=`+s+`"}}`...)
	}
	return answer{status: http.StatusOK, body: append(body, '}')}
}

func (p *Portal) getOne(q *request) answer {
	query := q.URL.Query()
	c := p.find(q.id, query.Get("idProperty"), query.Get("archived") == "true")
	if c == nil {
		return p.problem(http.StatusNotFound, "OBJECT_NOT_FOUND", "resource not found")
	}
	v := c.view()
	return answer{status: http.StatusOK, body: v.append(nil, names(query, "properties"), names(query, "propertiesWithHistory"), p.known)}
}

// find gives a contact by its id or a unique property. Ids of merged contacts
// lead to the contact that is left.
func (p *Portal) find(id, by string, archived bool) *contact {
	n := number(id)
	if p.claims.unique(by) {
		n = p.claims.by(by, id)
	} else if to, ok := p.merged[n]; ok {
		n = to
	}
	if c := p.contacts[n]; c != nil && c.archived == archived {
		return c
	}
	return nil
}

// batchInput is one row of any batch.
type batchInput struct {
	ID         string            `json:"id"`
	By         string            `json:"idProperty"`
	Properties map[string]string `json:"properties"`
	Trace      string            `json:"objectWriteTraceId"`
}

type batchBody struct {
	Inputs     []batchInput    `json:"inputs"`
	Properties json.RawMessage `json:"properties"`
	History    []string        `json:"propertiesWithHistory"`
	By         string          `json:"idProperty"`
}

func (p *Portal) batchRead(q *request, now time.Time) answer {
	var in batchBody
	var props []string
	if err := json.Unmarshal(q.body, &in); err != nil {
		return p.invalid("Invalid input JSON: %s", err)
	}
	if in.Properties != nil {
		if err := json.Unmarshal(in.Properties, &props); err != nil {
			return p.invalid("Invalid input JSON: properties: %s", err)
		}
	}
	if len(in.History) > 0 && len(in.Inputs) > maxHistory {
		return p.invalid("The maximum number of inputs of a batch with property histories is %d, were %d", maxHistory, len(in.Inputs))
	}
	if problem, ok := p.checkInputs(in.Inputs, in.By == ""); !ok {
		return problem
	}
	archived := q.URL.Query().Get("archived") == "true"
	var views []view
	var lost []string
	var errs []any
	for _, input := range in.Inputs {
		c := p.find(input.ID, in.By, archived)
		fault := slices.IndexFunc(q.rows, func(f Fault) bool { return f.row == input.ID })
		switch {
		case fault >= 0 && q.rows[fault].category == "":
		case fault >= 0:
			errs = append(errs, rowError(q.rows[fault].category, q.rows[fault].rowTells, map[string][]string{"ids": {input.ID}}))
		case c == nil:
			lost = append(lost, input.ID)
		case !slices.ContainsFunc(views, func(v view) bool { return v.id == c.id }):
			views = append(views, c.view())
		}
	}
	if len(lost) > 0 {
		errs = append(errs, rowError("OBJECT_NOT_FOUND", "Some contacts could not be read: they may be deleted or may never have been.", map[string][]string{"ids": lost}))
	}
	return p.batchAnswer(http.StatusOK, now, results(views, props, in.History, p.known), errs)
}

// checkInputs refuses a batch as a whole.
func (p *Portal) checkInputs(inputs []batchInput, numbers bool) (answer, bool) {
	if len(inputs) == 0 || len(inputs) > maxBatch {
		return p.invalid("a batch has 1 to %d inputs, not %d", maxBatch, len(inputs)), false
	}
	seen := map[string]bool{}
	for _, x := range inputs {
		if x.ID == "" {
			continue
		}
		if numbers && x.By == "" && number(x.ID) < 0 {
			return p.invalid("id must be a number, was %q", x.ID), false
		}
		if seen[x.ID] {
			return p.invalid("Duplicate IDs found in batch input: [%s]", x.ID), false
		}
		seen[x.ID] = true
	}
	return answer{}, true
}

func rowError(category, message string, context map[string][]string) map[string]any {
	return map[string]any{
		"status": "error", "category": category, "message": message, "context": context, "errors": []any{}, "links": map[string]string{},
	}
}

// batchAnswer is a batch's answer: 207 as soon as a row failed.
func (p *Portal) batchAnswer(status int, now time.Time, rows []byte, errs []any) answer {
	body := append([]byte(`{"status":"COMPLETE",`), rows...)
	body = append(body, `,"startedAt":"`+stamp(now)+`","completedAt":"`+stamp(now)+`"`...)
	if len(errs) > 0 {
		status = http.StatusMultiStatus
		b, err := json.Marshal(errs)
		if err != nil { // maps and texts only
			panic(err)
		}
		body = append(append(body, `,"numErrors":`+strconv.Itoa(len(errs))+`,"errors":`...), b...)
	}
	return answer{status: status, body: append(body, '}')}
}
