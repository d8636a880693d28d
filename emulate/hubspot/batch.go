package hubspot

import (
	"cmp"
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"
)

// row is a row of a batch that was carried out.
type row struct {
	c    *contact
	in   batchInput
	made bool
}

// batchWrite creates, updates or upserts. Where every input has a trace id of its
// own, rows fail one by one. Otherwise a value that is refused refuses the batch,
// and nothing of it is done; only contacts that an update does not find never stop
// the others. Results come in an order of the portal's own: none is promised.
func (p *Portal) batchWrite(q *request, now time.Time) answer {
	var in batchBody
	if err := json.Unmarshal(q.body, &in); err != nil {
		return p.invalid("Invalid input JSON: %s", err)
	}
	if problem, ok := p.checkInputs(in.Inputs, q.op == OpBatchUpdate); !ok {
		return problem
	}
	single := traced(in.Inputs)
	if !single {
		if x := p.checkBatch(q, in.Inputs); x.status != 0 {
			return p.refusal(x)
		}
	}
	var done []row
	var lost []string
	var errs []any
	for _, input := range in.Inputs {
		f, faulty := rowFault(q, input)
		x := rowProblem{}
		if faulty && f.category != "" {
			x = f.problem()
		} else {
			var r row
			if r, x = p.writeRow(q.op, input, now); x.status == 0 && !faulty {
				done = append(done, r)
			}
		}
		switch {
		case x.status == 0:
		case x.status == http.StatusNotFound && !single:
			lost = append(lost, input.ID)
		default:
			errs = append(errs, rowErrorOf(x, input))
		}
	}
	if len(lost) > 0 {
		errs = append(errs, rowError("OBJECT_NOT_FOUND", "Some contacts could not be written: they may be deleted or may never have been.", map[string][]string{"ids": lost}))
	}
	status := http.StatusOK
	if q.op == OpBatchCreate {
		status = http.StatusCreated
	}
	return p.batchAnswer(status, now, p.writtenRows(q.op, done), errs)
}

// writtenRows writes the results member.
func (p *Portal) writtenRows(op Op, done []row) []byte {
	slices.SortFunc(done, func(a, b row) int { return cmp.Compare(scramble(a.c.id), scramble(b.c.id)) })
	b := []byte(`"results":[`)
	for i, r := range done {
		if i > 0 {
			b = append(b, ',')
		}
		more := traceOf(r.in.Trace)
		if op == OpBatchUpsert {
			more["new"] = r.made
		}
		b = p.written(b, r.c, r.in.values(op), more)
	}
	return append(b, ']')
}

// rowErrorOf is the entry of a multi-status answer for one input.
func rowErrorOf(x rowProblem, in batchInput) map[string]any {
	context := map[string][]string{}
	if in.ID != "" {
		context["ids"] = []string{in.ID}
	}
	if in.Trace != "" {
		context["objectWriteTraceId"] = []string{in.Trace}
	}
	e := rowError(x.category, x.text(), context)
	e["errors"] = x.details()
	return e
}

// rowFault is the injected fault of an input: by its id, its trace id or one of
// its values.
func rowFault(q *request, in batchInput) (Fault, bool) {
	for _, f := range q.rows {
		if f.row == in.ID || f.row == in.Trace || slices.Contains(slices.Collect(maps.Values(in.Properties)), f.row) {
			return f, true
		}
	}
	return Fault{}, false
}

// problem is what a fault of one row says.
func (f Fault) problem() rowProblem {
	x := rowProblem{status: http.StatusBadRequest, category: f.category, message: f.rowTells}
	switch f.category {
	case "OBJECT_NOT_FOUND":
		x.status = http.StatusNotFound
	case "CONFLICT":
		x.status = http.StatusConflict
	case "INTERNAL_ERROR":
		x.status = http.StatusInternalServerError
	}
	return x
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

// checkBatch finds the first input that refuses the batch as a whole: one that
// would be refused alone, or that wants the unique value of another input.
func (p *Portal) checkBatch(q *request, inputs []batchInput) rowProblem {
	wanted := map[[2]string]bool{}
	for _, in := range inputs {
		if f, ok := rowFault(q, in); ok && f.category != "" && f.category != "OBJECT_NOT_FOUND" {
			return f.problem()
		}
		c, x := p.target(q.op, in)
		if x.status == http.StatusNotFound {
			continue
		}
		if x.status == 0 {
			x = p.checkWrite(in.values(q.op), c)
		}
		if x.status != 0 {
			return x
		}
		for name, value := range in.values(q.op) {
			key := [2]string{name, normal(name, value)}
			if value == "" || !p.claims.unique(name) {
				continue
			}
			if wanted[key] && q.op == OpBatchCreate {
				return rowProblem{status: http.StatusConflict, category: "CONFLICT", message: "Contact already exists."}
			}
			wanted[key] = true
		}
	}
	return rowProblem{}
}

// values are the properties an input writes: with an upsert also the one that it
// names the contact by.
func (in batchInput) values(op Op) map[string]string {
	if op != OpBatchUpsert || in.By == "" {
		return in.Properties
	}
	out := map[string]string{in.By: in.ID}
	maps.Copy(out, in.Properties)
	return out
}

// target gives the contact an input is about; nil a new one.
func (p *Portal) target(op Op, in batchInput) (*contact, rowProblem) {
	if op == OpBatchCreate {
		return nil, rowProblem{}
	}
	if in.By != "" && in.By != propID && !p.claims.unique(in.By) {
		return nil, rowProblem{status: http.StatusBadRequest, category: "VALIDATION_ERROR", message: "The property " + in.By + " is not unique: it cannot name a contact."}
	}
	c := p.find(in.ID, in.By, false)
	switch {
	case c != nil:
		return c, rowProblem{}
	case op == OpBatchUpdate || in.By == "" || in.By == propID:
		return nil, rowProblem{status: http.StatusNotFound, category: "OBJECT_NOT_FOUND", message: "no contact " + in.ID}
	}
	return nil, rowProblem{}
}

func (p *Portal) writeRow(op Op, in batchInput, now time.Time) (row, rowProblem) {
	c, x := p.target(op, in)
	values := in.values(op)
	if x.status == 0 {
		x = p.checkWrite(values, c)
	}
	switch {
	case x.status != 0:
		return row{}, x
	case c == nil:
		return row{p.create(values, now, SourceIntegration), in, true}, rowProblem{}
	}
	if op == OpBatchUpsert && strings.EqualFold(values[propEmail], in.ID) {
		values = maps.Clone(values)
		delete(values, propEmail) // it is what the contact was found by, perhaps one of several
	}
	p.edit(c, values, now, SourceIntegration)
	return row{c, in, false}, rowProblem{}
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
		if c := p.find(input.ID, input.By, false); c != nil {
			p.archive(c, now)
		}
	}
	return answer{status: http.StatusNoContent}
}
