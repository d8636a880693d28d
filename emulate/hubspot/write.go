package hubspot

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/mail"
	"slices"
	"time"
)

// A writing call answers with the properties that it wrote and those that the
// portal keeps itself, not with all of the contact's.

type oneBody struct {
	Properties map[string]string `json:"properties"`
	Trace      string            `json:"objectWriteTraceId"`
}

// rowProblem is why one write is refused; the zero value is none.
type rowProblem struct {
	status   int
	category string
	message  string
	code     string // of a property's value
	property string
}

// badValue is the refusal of a property's value.
func badValue(code, property, format string, args ...any) rowProblem {
	return rowProblem{
		status: http.StatusBadRequest, category: "VALIDATION_ERROR", code: code, property: property, message: fmt.Sprintf(format, args...),
	}
}

// text is the message of the whole refusal.
func (x rowProblem) text() string {
	if x.code == "" {
		return x.message
	}
	// HubSpot puts JSON into the sentence.
	b, err := json.Marshal([]any{map[string]any{"isValid": false, "message": x.message, "error": x.code, "name": x.property}})
	if err != nil { // texts only
		panic(err)
	}
	return "Property values were not valid: " + string(b)
}

// details are the single errors of a refusal.
func (x rowProblem) details() []any {
	if x.code == "" {
		return []any{}
	}
	return []any{map[string]any{"message": x.message, "code": x.code, "context": map[string]any{"propertyName": []string{x.property}}}}
}

// checkWrite finds what is wrong with values for c, nil for a new contact.
func (p *Portal) checkWrite(props map[string]string, c *contact) rowProblem {
	for _, name := range sortedKeys(props) {
		if !p.known[name] {
			return badValue("PROPERTY_DOESNT_EXIST", name, "Property %q does not exist", name)
		}
		switch name {
		case propID, propCreated, propModified, propMerged:
			return badValue("READ_ONLY_VALUE", name, "%q is a read only property; its value cannot be set", name)
		}
	}
	if email := props[propEmail]; email != "" {
		if a, err := mail.ParseAddress(email); err != nil || a.Address != email {
			return badValue("INVALID_EMAIL", propEmail, "Email address %s is invalid", email)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(p.claims)) {
		other := p.find(props[name], name, false)
		switch {
		case props[name] == "" || other == nil || other == c:
		case name == propEmail:
			return rowProblem{status: http.StatusConflict, category: "CONFLICT", message: fmt.Sprintf("Contact already exists. Existing ID: %d", other.id)}
		default:
			return rowProblem{status: http.StatusBadRequest, category: "VALIDATION_ERROR", message: fmt.Sprintf("Cannot set %s to %q. %d already has that value.", name, props[name], other.id)}
		}
	}
	return rowProblem{}
}

func (p *Portal) refusal(x rowProblem) answer {
	body := map[string]any{"category": x.category, "message": x.text()}
	if d := x.details(); len(d) > 0 {
		body["errors"] = d
	}
	return p.errorAnswer(x.status, body)
}

// written writes the contact as the answer to a call that wrote props.
func (p *Portal) written(b []byte, c *contact, props map[string]string, more map[string]any) []byte {
	v := c.view()
	names := append(sortedKeys(props), propCreated, propID, propModified)
	b = v.append(b, names, nil, p.known)
	for _, name := range slices.Sorted(maps.Keys(more)) {
		value, err := json.Marshal(more[name])
		if err != nil { // texts and booleans only
			panic(err)
		}
		b = append(append(append(quote(append(b[:len(b)-1], ','), name), ':'), value...), '}')
	}
	return b
}

// traceOf is the trace id as an answer repeats it.
func traceOf(id string) map[string]any {
	if id == "" {
		return map[string]any{}
	}
	return map[string]any{"objectWriteTraceId": id}
}

func (p *Portal) createOne(q *request, now time.Time) answer {
	var in oneBody
	if err := json.Unmarshal(q.body, &in); err != nil {
		return p.invalid("Invalid input JSON: %s", err)
	}
	if x := p.checkWrite(in.Properties, nil); x.status != 0 {
		return p.refusal(x)
	}
	c := p.create(in.Properties, now, SourceIntegration)
	return answer{status: http.StatusCreated, body: p.written(nil, c, in.Properties, traceOf(in.Trace))}
}

func (p *Portal) updateOne(q *request, now time.Time) answer {
	var in oneBody
	if err := json.Unmarshal(q.body, &in); err != nil {
		return p.invalid("Invalid input JSON: %s", err)
	}
	c := p.find(q.id, q.URL.Query().Get("idProperty"), false)
	if c == nil {
		return p.problem(http.StatusNotFound, "OBJECT_NOT_FOUND", "resource not found")
	}
	if x := p.checkWrite(in.Properties, c); x.status != 0 {
		return p.refusal(x)
	}
	p.edit(c, in.Properties, now, SourceIntegration)
	return answer{status: http.StatusOK, body: p.written(nil, c, in.Properties, traceOf(in.Trace))}
}

// archiveOne answers 204 also for what is not there, as HubSpot does.
func (p *Portal) archiveOne(q *request, now time.Time) answer {
	if c := p.find(q.id, "", false); c != nil {
		p.archive(c, now)
	}
	return answer{status: http.StatusNoContent}
}

func (p *Portal) mergeTwo(q *request, now time.Time) answer {
	var in struct {
		Primary string `json:"primaryObjectId"`
		Other   string `json:"objectIdToMerge"`
	}
	if err := json.Unmarshal(q.body, &in); err != nil {
		return p.invalid("Invalid input JSON: %s", err)
	}
	winner, loser := p.find(in.Primary, "", false), p.find(in.Other, "", false)
	switch {
	case winner == nil || loser == nil:
		return p.problem(http.StatusNotFound, "OBJECT_NOT_FOUND", "resource not found")
	case winner == loser:
		return p.invalid("a contact cannot be merged with itself")
	}
	left := p.merge(winner, loser, now)
	return answer{status: http.StatusOK, body: p.written(nil, left, left.props, nil)}
}
