package rest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/tandem-sync/tandem/channels"
	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/transport"
)

// operation is one entry of a channel's operations.
type operation struct {
	channels.Operation
	path   string
	query  []queryEntry
	body   any // decoded JSON with placeholders in its texts; nil none
	answer string
}

type queryEntry struct{ name, template string }

// parameter finds {name}; whether it is one is decided by the declared names.
var parameter = regexp.MustCompile(`\{([A-Za-z][A-Za-z0-9_-]*)\}`)

// idempotent says which methods may be sent again: they leave the same state.
func idempotent(method string) bool {
	switch method {
	case http.MethodGet, http.MethodPut, http.MethodDelete:
		return true
	}
	return false
}

// Operations lists the channel's operations in order of name.
func (c *channel) Operations() []channels.Operation {
	out := make([]channels.Operation, len(c.operations))
	for i, o := range c.operations {
		out[i] = o.Operation
	}
	return out
}

// Call makes the call.
func (c *channel) Call(ctx context.Context, name string, params map[string]string) (json.RawMessage, error) {
	i := slices.IndexFunc(c.operations, func(o operation) bool { return o.Name == name })
	if i < 0 {
		_, err := channels.FindOperation(c.Operations(), name)
		return nil, err
	}
	o := c.operations[i]
	r, err := o.request(params)
	if err != nil {
		return nil, err
	}
	resp, err := c.http.Do(ctx, r)
	if err != nil {
		return nil, o.failed(err)
	}
	answer, err := o.read(r.Op, resp)
	if err != nil {
		return nil, err
	}
	// A remote that repeats what it was sent must not tell a credential.
	if masked := json.RawMessage(c.http.Redact(string(answer))); json.Valid(masked) {
		return masked, nil
	}
	return nil, fault.New(fault.Permanent, fault.CodeBadAnswer, r.Op, "the answer holds the channel's credential and cannot be shown")
}

// failed says of a call that was sent once that its outcome is open.
func (o operation) failed(err error) error {
	var f *fault.Error
	if o.Repeats || fault.Of(err) != fault.Retryable || !errors.As(err, &f) {
		return err
	}
	return f.WithHint("a " + o.Method + " is sent once: whether the remote carried it out is not known; look there before you repeat it")
}

// request fills the operation's templates.
func (o operation) request(params map[string]string) (transport.Request, error) {
	r := transport.Request{Op: "rest: call " + o.Name, Method: o.Method, Safe: o.Repeats}
	path, query, hasQuery := strings.Cut(o.path, "?")
	for _, name := range o.mentioned(path) {
		if v := params[name]; v == "" || v == "." || v == ".." {
			return r, fault.New(fault.Permanent, fault.CodeUsage, "operation "+o.Name, "the value %q of %s cannot be part of a path", v, name).
				WithHint("give a value that is neither empty nor . nor ..")
		}
	}
	r.Path, _ = o.fill(path, params, url.PathEscape)
	if hasQuery {
		q, _ := o.fill(query, params, url.QueryEscape)
		r.Path += "?" + q
	}
	for _, q := range o.query {
		if v, ok := o.fill(q.template, params, plain); ok {
			if r.Query == nil {
				r.Query = url.Values{}
			}
			r.Query.Add(q.name, v)
		}
	}
	if o.body == nil {
		return r, nil
	}
	v, keep := o.walk(o.body, params)
	if !keep {
		return r, nil
	}
	var err error
	r.Body, err = json.Marshal(v)
	if err != nil {
		return r, fmt.Errorf("operation %s: body: %w", o.Name, err)
	}
	return r, nil
}

// mentioned gives the declared parameters that a template holds.
func (o operation) mentioned(template string) []string {
	var out []string
	for _, m := range parameter.FindAllStringSubmatch(template, -1) {
		if o.declares(m[1]) {
			out = append(out, m[1])
		}
	}
	return out
}

func (o operation) declares(name string) bool {
	return slices.ContainsFunc(o.Params, func(p channels.OperationParam) bool { return p.Name == name })
}

// fill replaces the declared parameters; ok is false when one of them is not
// given.
func (o operation) fill(template string, params map[string]string, quote func(string) string) (text string, ok bool) {
	ok = true
	text = parameter.ReplaceAllStringFunc(template, func(m string) string {
		name := m[1 : len(m)-1]
		if !o.declares(name) {
			return m
		}
		v, given := params[name]
		ok = ok && given
		return quote(v)
	})
	return text, ok
}

// walk fills the texts inside of v. A text that is one parameter becomes a value
// of the parameter's type; one whose parameter is not given is left out.
func (o operation) walk(v any, params map[string]string) (any, bool) {
	switch v := v.(type) {
	case string:
		if m := parameter.FindString(v); m == v && m != "" && o.declares(v[1:len(v)-1]) {
			return o.typed(v[1:len(v)-1], params)
		}
		return o.fill(v, params, plain)
	case []any:
		out := make([]any, 0, len(v))
		for _, item := range v {
			if x, keep := o.walk(item, params); keep {
				out = append(out, x)
			}
		}
		return out, true
	case map[string]any:
		out := make(map[string]any, len(v))
		for k, item := range v {
			if x, keep := o.walk(item, params); keep {
				out[k] = x
			}
		}
		return out, true
	}
	return v, true
}

func (o operation) typed(name string, params map[string]string) (any, bool) {
	v, given := params[name]
	if !given {
		return nil, false
	}
	i := slices.IndexFunc(o.Params, func(p channels.OperationParam) bool { return p.Name == name })
	if o.Params[i].Type == channels.ParamText {
		return v, true
	}
	return json.RawMessage(v), true // Fill has checked it
}

// read gives the part of the answer that the operation is after.
func (o operation) read(op string, resp *transport.Response) (json.RawMessage, error) {
	body := bytes.TrimSpace(resp.Body)
	if len(body) == 0 {
		return json.RawMessage("null"), nil
	}
	if !json.Valid(body) {
		head := strings.ToLower(string(body[:min(len(body), 64)]))
		if o.answer != "" || strings.HasPrefix(head, "<") || strings.Contains(resp.Header.Get("Content-Type"), "html") {
			return nil, badAnswer(op, resp, errors.New("not JSON"))
		}
		return json.Marshal(strings.ToValidUTF8(string(body), "\uFFFD"))
	}
	if o.answer == "" {
		return bytes.ToValidUTF8(body, []byte("\uFFFD")), nil
	}
	segs, err := parsePath(o.answer)
	if err != nil {
		return nil, fault.Wrap(fault.Permanent, fault.CodeConfig, op, err)
	}
	at, ok := dig(body, segs)
	if !ok {
		return nil, fault.New(fault.Permanent, fault.CodeBadAnswer, op, "the answer has nothing at %q", o.answer).
			WithHint("check the operation's answer; the answer has: " + keysOf(body))
	}
	return bytes.ToValidUTF8(at, []byte("\uFFFD")), nil
}

// dig follows a path. Numbers stay as they are written.
func dig(raw json.RawMessage, segs []segment) (json.RawMessage, bool) {
	for _, s := range segs {
		if s.index >= 0 {
			var list []json.RawMessage
			if json.Unmarshal(raw, &list) != nil || s.index >= len(list) {
				return nil, false
			}
			raw = list[s.index]
			continue
		}
		var m map[string]json.RawMessage
		if json.Unmarshal(raw, &m) != nil {
			return nil, false
		}
		next, ok := m[s.key]
		if !ok {
			return nil, false
		}
		raw = next
	}
	return raw, true
}
