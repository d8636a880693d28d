package channels

import (
	"context"
	"encoding/json"
	"strings"

	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/transport/settings"
)

// CapabilityOperations is the capability of types whose channels declare
// operations in their configuration.
const CapabilityOperations = "operations"

// Operator is implemented by channels that offer operations: named calls
// through the transport, with its guard, limits and redaction. An operation is
// never part of a sync.
type Operator interface {
	// Operations lists what can be called, in order of name.
	Operations() []Operation
	// Call makes a call. params must have come through Operation.Fill. What only
	// reads or may be repeated without harm is repeated after a failure that may
	// pass; everything else is sent once, and a failure without an answer leaves
	// open what became of it. The answer is JSON, null when there is none.
	Call(ctx context.Context, name string, params map[string]string) (json.RawMessage, error)
}

// Operation describes one operation.
type Operation struct {
	Name    string           `json:"name"`
	Summary string           `json:"summary" doc:"What it does, in one line; may be empty"`
	Method  string           `json:"method" doc:"The HTTP method it is sent with; empty where it is more than one call"`
	Repeats bool             `json:"repeats" doc:"Whether it is repeated by itself after a failure that may pass"`
	Params  []OperationParam `json:"params"`
}

// OperationParam is one parameter of an operation. A parameter that is not given
// and has no default is left out of the call.
type OperationParam struct {
	Name     string  `json:"name"`
	Type     string  `json:"type" enum:"text,number,boolean,json"`
	Required bool    `json:"required"`
	Default  *string `json:"default" doc:"Used when it is not given; null none"`
}

// MaxParam is the longest value of a parameter, in bytes.
const MaxParam = 8 << 10

// FindOperation gives the operation of that name; an unknown one is an error
// with code not_found that names the ones there are.
func FindOperation(list []Operation, name string) (Operation, error) {
	names := make([]string, len(list))
	for i, o := range list {
		if o.Name == name {
			return o, nil
		}
		names[i] = o.Name
	}
	hint := "the channel has no operations; `operations:` of the channel declares them"
	if near := settings.Nearest(name, names); near != "" {
		hint = "did you mean " + near + "?"
	} else if len(names) > 0 {
		hint = "its operations: " + strings.Join(names, ", ")
	}
	return Operation{}, fault.New(fault.Permanent, fault.CodeNotFound, "", "no operation %q", name).WithHint(hint)
}

// Fill checks given against the operation's parameters and adds the defaults.
// What is wrong is an error with code usage.
func (o Operation) Fill(given map[string]string) (map[string]string, error) {
	out := make(map[string]string, len(o.Params))
	names := make([]string, len(o.Params))
	for i, p := range o.Params {
		names[i] = p.Name
		v, ok := given[p.Name]
		switch {
		case ok:
			out[p.Name] = v
		case p.Default != nil:
			out[p.Name] = *p.Default
		case p.Required:
			return nil, o.usage("the parameter "+p.Name+" is missing", "give it with --param "+p.Name+"=VALUE")
		}
		if v, ok := out[p.Name]; ok && !p.fits(v) {
			return nil, o.usage("the parameter "+p.Name+" is not of type "+p.Type, p.example())
		}
		if len(v) > MaxParam {
			return nil, o.usage("the parameter "+p.Name+" is longer than 8 KiB", "shorten it")
		}
		if strings.ContainsRune(v, 0) || strings.ToValidUTF8(v, "") != v {
			return nil, o.usage("the parameter "+p.Name+" is not a text", "give valid UTF-8 without NUL")
		}
	}
	for name := range given {
		if _, ok := out[name]; ok {
			continue
		}
		hint := "it has no parameters"
		if near := settings.Nearest(name, names); near != "" {
			hint = "did you mean " + near + "?"
		} else if len(names) > 0 {
			hint = "its parameters: " + strings.Join(names, ", ")
		}
		return nil, o.usage("there is no parameter "+strings.ToValidUTF8(name, "?"), hint)
	}
	return out, nil
}

// The types of parameters.
const (
	ParamText    = "text"
	ParamNumber  = "number"
	ParamBoolean = "boolean"
	ParamJSON    = "json"
)

// fits reports whether v is of the parameter's type.
func (p OperationParam) fits(v string) bool {
	switch p.Type {
	case ParamNumber:
		return v != "" && (v[0] == '-' || v[0] >= '0' && v[0] <= '9') && json.Valid([]byte(v))
	case ParamBoolean:
		return v == "true" || v == "false"
	case ParamJSON:
		return json.Valid([]byte(v))
	}
	return true
}

func (p OperationParam) example() string {
	switch p.Type {
	case ParamNumber:
		return "for example 42"
	case ParamBoolean:
		return "true or false"
	}
	return `for example {"a":1}`
}

func (o Operation) usage(message, hint string) error {
	return fault.New(fault.Permanent, fault.CodeUsage, "operation "+o.Name, "%s", message).WithHint(hint)
}
