package hubspot

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/mail"
	"strconv"
	"time"
)

type oneBody struct {
	Properties map[string]string `json:"properties"`
}

// rowProblem is why one write is refused; the zero value is none.
type rowProblem struct {
	status   int
	category string
	message  string
}

// checkWrite finds what is wrong with values for c, nil for a new contact.
func (p *Portal) checkWrite(props map[string]string, c *contact) rowProblem {
	for _, name := range sortedKeys(props) {
		if !p.known[name] {
			return rowProblem{http.StatusBadRequest, "VALIDATION_ERROR", fmt.Sprintf("Property values were not valid: property %q does not exist", name)}
		}
		if name == propID || name == propCreated || name == propModified {
			return rowProblem{http.StatusBadRequest, "VALIDATION_ERROR", fmt.Sprintf("Property values were not valid: %q is a read only property", name)}
		}
	}
	email := props["email"]
	if email == "" {
		return rowProblem{}
	}
	if a, err := mail.ParseAddress(email); err != nil || a.Address != email {
		return rowProblem{http.StatusBadRequest, "VALIDATION_ERROR", fmt.Sprintf("Property values were not valid: email address %q is invalid", email)}
	}
	if other := p.find(email, "email", false); other != nil && other != c {
		return rowProblem{http.StatusConflict, "CONFLICT", fmt.Sprintf("Contact already exists. Existing ID: %d", other.id)}
	}
	return rowProblem{}
}

func (p *Portal) refusal(x rowProblem) answer { return p.problem(x.status, x.category, x.message) }

func (p *Portal) written(status int, c *contact) answer {
	v := c.view()
	return answer{status: status, body: v.append(nil, v.allNames(), nil, p.known)}
}

// allNames are the properties an answer to a write shows.
func (v *view) allNames() []string {
	return append(sortedKeys(v.props), propCreated, propID, propModified)
}

func (p *Portal) createOne(q *request, now time.Time) answer {
	var in oneBody
	if err := json.Unmarshal(q.body, &in); err != nil {
		return p.invalid("Invalid input JSON: %s", err)
	}
	if x := p.checkWrite(in.Properties, nil); x.status != 0 {
		return p.refusal(x)
	}
	return p.written(http.StatusCreated, p.create(in.Properties, now, SourceIntegration))
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
	return p.written(http.StatusOK, c)
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
	if winner == nil || loser == nil || winner == loser {
		return p.problem(http.StatusNotFound, "OBJECT_NOT_FOUND", "resource not found")
	}
	p.merge(winner, loser, now)
	return p.written(http.StatusOK, winner)
}

// batchWrite creates, updates or upserts. Rows that fail do not stop the others;
// only a batch create without trace ids fails as a whole.
func (p *Portal) batchWrite(q *request, now time.Time) answer {
	var in batchBody
	if err := json.Unmarshal(q.body, &in); err != nil {
		return p.invalid("Invalid input JSON: %s", err)
	}
	if problem, ok := p.checkInputs(in.Inputs, q.op == OpBatchUpdate); !ok {
		return problem
	}
	if q.op == OpBatchCreate && !traced(in.Inputs) {
		for _, input := range in.Inputs {
			if x := p.checkWrite(input.Properties, nil); x.status != 0 {
				return p.refusal(x)
			}
		}
	}
	rows := []byte(`"results":[`)
	var errs []any
	done := 0
	for _, input := range in.Inputs {
		c, made, x := p.writeRow(q.op, input, now)
		if x.status != 0 {
			context := map[string][]string{"ids": {input.ID}}
			if input.Trace != "" {
				context["objectWriteTraceId"] = []string{input.Trace}
			}
			errs = append(errs, rowError(x.category, x.message, context))
			continue
		}
		if done++; done > 1 {
			rows = append(rows, ',')
		}
		v := c.view()
		rows = v.append(rows, v.allNames(), nil, p.known)
		if q.op == OpBatchUpsert {
			rows = append(rows[:len(rows)-1], `,"new":`+strconv.FormatBool(made)+`}`...)
		}
	}
	status := http.StatusOK
	if q.op == OpBatchCreate {
		status = http.StatusCreated
	}
	return p.batchAnswer(status, now, append(rows, ']'), errs)
}

// traced reports whether each input has a trace id of its own.
func traced(inputs []batchInput) bool {
	seen := map[string]bool{}
	for _, x := range inputs {
		if x.Trace == "" || seen[x.Trace] {
			return false
		}
		seen[x.Trace] = true
	}
	return true
}

func (p *Portal) writeRow(op Op, input batchInput, now time.Time) (c *contact, made bool, x rowProblem) {
	if op != OpBatchCreate {
		c = p.find(input.ID, input.By, false)
	}
	if op == OpBatchUpdate && c == nil {
		return nil, false, rowProblem{http.StatusNotFound, "OBJECT_NOT_FOUND", "no contact " + input.ID}
	}
	props := input.Properties
	if op == OpBatchUpsert && c == nil {
		if input.By != "email" {
			return nil, false, rowProblem{http.StatusBadRequest, "VALIDATION_ERROR", "an upsert needs a unique property: email"}
		}
		props = map[string]string{"email": input.ID}
		for name, value := range input.Properties {
			props[name] = value
		}
	}
	if x := p.checkWrite(props, c); x.status != 0 {
		return nil, false, x
	}
	if c == nil {
		return p.create(props, now, SourceIntegration), true, rowProblem{}
	}
	p.edit(c, props, now, SourceIntegration)
	return c, false, rowProblem{}
}

func (p *Portal) batchArchive(q *request, now time.Time) answer {
	var in batchBody
	if err := json.Unmarshal(q.body, &in); err != nil {
		return p.invalid("Invalid input JSON: %s", err)
	}
	if problem, ok := p.checkInputs(in.Inputs, true); !ok {
		return problem
	}
	for _, input := range in.Inputs {
		if c := p.find(input.ID, "", false); c != nil {
			p.archive(c, now)
		}
	}
	return answer{status: http.StatusNoContent}
}
