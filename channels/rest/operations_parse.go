package rest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"github.com/tandem-sync/tandem/channels"
	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/transport/settings"
)

const (
	maxOperations = 200
	maxParams     = 50
)

var (
	operationName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_-]{0,62}$`)
	paramName     = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_-]{0,62}$`)
)

// parseOperations reads a channel's operations and reports every problem.
func parseOperations(raw json.RawMessage, problems *[]settings.Problem) []operation {
	var list []json.RawMessage
	if len(raw) == 0 || string(raw) == "null" {
		return nil
	}
	if err := json.Unmarshal(raw, &list); err != nil || len(list) > maxOperations {
		*problems = append(*problems, settings.Problem{
			Field: "operations", Message: fmt.Sprintf("must be a list of at most %d operations", maxOperations),
			Fix: "operations: [{name: ping, path: /ping}]",
		})
		return nil
	}
	var out []operation
	for i, item := range list {
		o := settings.Parse(fmt.Sprintf("operations[%d]", i), item, problems)
		op := parseOperation(o)
		if slices.ContainsFunc(out, func(x operation) bool { return x.Name == op.Name && op.Name != "" }) {
			o.Report("name", "give each operation a name of its own", "the name %q is taken", op.Name)
		}
		out = append(out, op)
	}
	slices.SortStableFunc(out, func(a, b operation) int { return strings.Compare(a.Name, b.Name) })
	return out
}

func parseOperation(o settings.Object) operation {
	defer o.Done()
	op := operation{path: checkedURL(o, "path", true), answer: checkedPath(o, "answer", "", false)}
	op.Name = o.String("name", "")
	if !operationName.MatchString(op.Name) {
		message := "is missing"
		if op.Name != "" {
			message = "must begin with a letter and hold letters, digits, _ and - only"
		}
		o.Report("name", "name: find_contact", "%s", message)
	}
	op.Summary = o.String("summary", "")
	op.Method = o.Choice("method", http.MethodGet, http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete)
	op.Repeats = idempotent(op.Method)
	for _, q := range o.Pairs("query") {
		op.query = append(op.query, queryEntry{q.Name, q.Value})
	}
	if o.Has("body") {
		dec := json.NewDecoder(strings.NewReader(string(o.Raw("body"))))
		dec.UseNumber()
		if err := dec.Decode(&op.body); err != nil {
			o.Report("body", "write a mapping", "is not JSON")
		}
		if op.Method == http.MethodGet || op.Method == http.MethodDelete {
			o.Report("body", "add method: POST, PUT or PATCH", "is not sent with method %s", op.Method)
		}
	}
	op.Params = parseParams(o)
	op.checkParams(o)
	return op
}

func parseParams(o settings.Object) []channels.OperationParam {
	out := []channels.OperationParam{}
	raw := o.Raw("params")
	if raw == nil {
		return out
	}
	var list []json.RawMessage
	if err := json.Unmarshal(raw, &list); err != nil || len(list) > maxParams {
		o.Report("params", "params: [{name: id, required: true}]", "must be a list of at most %d parameters", maxParams)
		return out
	}
	for i, item := range list {
		p := o.Item("params", i, item)
		one := channels.OperationParam{
			Name: p.String("name", ""), Required: p.Choice("required", "false", "true", "false") == "true",
			Type: p.Choice("type", channels.ParamText, channels.ParamText, channels.ParamNumber, channels.ParamBoolean, channels.ParamJSON),
		}
		if !paramName.MatchString(one.Name) {
			p.Report("name", "name: id", "must begin with a letter and hold letters, digits, _ and - only")
		}
		if slices.ContainsFunc(out, func(x channels.OperationParam) bool { return x.Name == one.Name }) {
			p.Report("name", "give each parameter a name of its own", "the name %q is taken", one.Name)
		}
		if p.Has("default") {
			v := p.String("default", "")
			if one.Default = &v; one.Required {
				p.Report("default", "keep one of them", "cannot stand beside required")
			} else if _, err := (channels.Operation{Params: []channels.OperationParam{one}}).Fill(nil); err != nil {
				p.Report("default", fault.HintOf(err), "is not of type %s", one.Type)
			}
		}
		p.Done()
		out = append(out, one)
	}
	return out
}

// checkParams compares the templates with the declared parameters.
func (o operation) checkParams(at settings.Object) {
	for _, m := range parameter.FindAllStringSubmatch(o.path, -1) {
		i := slices.IndexFunc(o.Params, func(p channels.OperationParam) bool { return p.Name == m[1] })
		switch {
		case i < 0:
			at.Report("path", "params: [{name: "+m[1]+", required: true}]", "holds {%s}, which is not in params", m[1])
		case !o.Params[i].Required && o.Params[i].Default == nil:
			at.Report(fmt.Sprintf("params[%d]", i), "add required: true, or a default", "%s stands in the path and can be left out", m[1])
		}
	}
	for i, p := range o.Params {
		if p.Name != "" && !o.uses(p.Name) {
			at.Report(fmt.Sprintf("params[%d].name", i), "put {"+p.Name+"} into path, query or body, or remove it", "%s is not used", p.Name)
		}
	}
}

func (o operation) uses(name string) bool {
	if slices.Contains(o.mentioned(o.path), name) {
		return true
	}
	for _, q := range o.query {
		if slices.Contains(o.mentioned(q.template), name) {
			return true
		}
	}
	return o.inBody(o.body, name)
}

func (o operation) inBody(v any, name string) bool {
	switch v := v.(type) {
	case string:
		return slices.Contains(o.mentioned(v), name)
	case []any:
		return slices.ContainsFunc(v, func(x any) bool { return o.inBody(x, name) })
	case map[string]any:
		for _, x := range v {
			if o.inBody(x, name) {
				return true
			}
		}
	}
	return false
}
