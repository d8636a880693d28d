package rest

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"strconv"
	"strings"

	"github.com/tandem-sync/tandem/fault"
)

// fill holds what the placeholders of one request stand for.
type fill struct {
	time   string // "" on a first or full run
	token  string // "" on the first page
	page   int64
	offset int64
	size   int
	params map[string]string
}

// placeholders are all that a template may hold; other braces are left alone,
// because filters and JSON are full of them.
var placeholders = regexp.MustCompile(`\{(time|token|page|offset|size|param\.[A-Za-z0-9_-]+)\}`)

// value gives what a placeholder (without braces) stands for.
func (f fill) value(name string) (string, error) {
	switch name {
	case "time":
		return f.time, nil
	case "token":
		return f.token, nil
	case "page":
		return strconv.FormatInt(f.page, 10), nil
	case "offset":
		return strconv.FormatInt(f.offset, 10), nil
	case "size":
		return strconv.Itoa(f.size), nil
	}
	v, ok := f.params[strings.TrimPrefix(name, "param.")]
	if !ok {
		name = strings.TrimPrefix(name, "param.")
		return "", fault.New(fault.Permanent, fault.CodeUsage, "", "the listing needs the parameter %q", name).
			WithHint("give it with --param " + name + "=VALUE")
	}
	return v, nil
}

// text fills a template; quote is applied to each value.
func (f fill) text(template string, quote func(string) string) (string, error) {
	if !strings.Contains(template, "{") {
		return template, nil
	}
	var failed error
	out := placeholders.ReplaceAllStringFunc(template, func(m string) string {
		v, err := f.value(m[1 : len(m)-1])
		if err != nil {
			failed = err
		}
		return quote(v)
	})
	return out, failed
}

func plain(s string) string { return s }

// jsonInner gives s as the inside of a JSON text.
func jsonInner(s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		return ""
	}
	return string(b[1 : len(b)-1])
}

// fillBody makes the body of a request. since, when given, is laid over list:
// key by key where both are mappings, else it takes its place. extra are the
// paging parameters that no template mentions.
func fillBody(list, since *bodyTemplate, f fill, extra map[string]any) ([]byte, error) {
	if since != nil && (since.object == nil || list == nil) {
		list, since = since, nil
	}
	if list != nil && list.object == nil {
		text, err := f.text(list.text, jsonInner)
		return []byte(text), err
	}
	out := map[string]any{}
	merged := map[string]json.RawMessage{}
	if list != nil {
		maps.Copy(merged, list.object)
	}
	if since != nil {
		maps.Copy(merged, since.object)
	}
	for k, raw := range merged {
		v, keep, err := f.json(raw)
		if err != nil {
			return nil, err
		}
		if keep {
			out[k] = v
		}
	}
	maps.Copy(out, extra)
	b, err := json.Marshal(out)
	if err != nil {
		return nil, fmt.Errorf("body: %w", err)
	}
	return b, nil
}

// json fills the texts inside of raw. A text that is one placeholder becomes
// the value in its own type: {page}, {offset} and {size} numbers, and an empty
// {token} leaves its key out.
func (f fill) json(raw json.RawMessage) (v any, keep bool, err error) {
	dec := json.NewDecoder(strings.NewReader(string(raw)))
	dec.UseNumber()
	if err := dec.Decode(&v); err != nil {
		return nil, false, fmt.Errorf("body: %w", err)
	}
	return f.walk(v)
}

func (f fill) walk(v any) (any, bool, error) {
	switch v := v.(type) {
	case string:
		switch {
		case v == "{token}" && f.token == "":
			return nil, false, nil
		case v == "{page}":
			return f.page, true, nil
		case v == "{offset}":
			return f.offset, true, nil
		case v == "{size}":
			return f.size, true, nil
		}
		s, err := f.text(v, plain)
		return s, true, err
	case []any:
		out := make([]any, 0, len(v))
		for _, item := range v {
			x, keep, err := f.walk(item)
			if err != nil {
				return nil, false, err
			}
			if keep {
				out = append(out, x)
			}
		}
		return out, true, nil
	case map[string]any:
		out := make(map[string]any, len(v))
		for k, item := range v {
			x, keep, err := f.walk(item)
			if err != nil {
				return nil, false, err
			}
			if keep {
				out[k] = x
			}
		}
		return out, true, nil
	}
	return v, true, nil
}
