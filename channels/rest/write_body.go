package rest

import (
	"fmt"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/tandem-sync/tandem/channels"
	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/sync/record"
)

// target gives the members that lead to what path writes.
func target(path string) ([]string, error) {
	if path == keyPath {
		return nil, fmt.Errorf("the remote path %s cannot be written: it is a record's name in a listing", keyPath)
	}
	segs, err := parsePath(path)
	if err != nil {
		return nil, err
	}
	keys := make([]string, len(segs))
	for i, s := range segs {
		if s.index >= 0 {
			return nil, fmt.Errorf("the remote path %q cannot be written: it points into a list", path)
		}
		keys[i] = s.key
	}
	return keys, nil
}

// targets gives the target of each path. Two paths of which one lies inside of
// the other cannot be written both.
func targets(paths []string) ([][]string, error) {
	out := make([][]string, len(paths))
	for i, p := range paths {
		var err error
		if out[i], err = target(p); err != nil {
			return nil, err
		}
		for j := range i {
			if n := min(len(out[i]), len(out[j])); len(out[i]) != len(out[j]) && slices.Equal(out[i][:n], out[j][:n]) {
				return nil, fmt.Errorf("the remote paths %q and %q cannot both be written: one is inside of the other", paths[j], p)
			}
		}
	}
	return out, nil
}

// branch is one member of the object that is sent, in the order of writing.
type branch struct {
	key  string
	kids []*branch
	text []byte // its JSON when it is a leaf
}

// put places JSON at keys; what is there already stays when keep is set.
func (b *branch) put(keys []string, text []byte, keep bool) {
	at := b
	for _, key := range keys {
		i := slices.IndexFunc(at.kids, func(k *branch) bool { return k.key == key })
		if i < 0 {
			at.kids = append(at.kids, &branch{key: key})
			i = len(at.kids) - 1
		}
		at = at.kids[i]
	}
	if len(at.kids) > 0 || keep && at.text != nil {
		return
	}
	at.text = text
}

func (b *branch) append(dst []byte) ([]byte, error) {
	if b.text != nil {
		return append(dst, b.text...), nil
	}
	dst = append(dst, '{')
	for i, k := range b.kids {
		if i > 0 {
			dst = append(dst, ',')
		}
		var err error
		if dst, err = jsontext.AppendQuote(dst, k.key); err != nil {
			return nil, err
		}
		if dst, err = k.append(append(dst, ':')); err != nil {
			return nil, err
		}
	}
	return append(dst, '}'), nil
}

// body makes what an order sends, and reports whether there is anything in it.
// A value that is not valid JSON is an error about the record.
func (p *writePlan) body(wrap string, o channels.Order) (body []byte, something bool, err error) {
	var root branch
	at := &root
	if wrap != "" {
		at = &branch{key: wrap}
		root.kids = []*branch{at}
	}
	for i, v := range o.Values {
		if !v.Has() || i >= len(p.targets) {
			continue
		}
		text, err := valueJSON(v)
		if err != nil {
			return nil, false, badValue(p.fields[i], err)
		}
		at.put(p.targets[i], text, false)
	}
	for _, c := range o.Set {
		if o.Op != channels.OrderCreate || !c.Value.Has() {
			continue
		}
		keys, err := target(c.Path)
		if err != nil {
			return nil, false, badValue(c.Path, err)
		}
		text, err := valueJSON(c.Value)
		if err != nil {
			return nil, false, badValue(c.Path, err)
		}
		at.put(keys, text, true)
	}
	body, err = root.append(nil)
	return body, len(at.kids) > 0, err
}

func badValue(path string, err error) error {
	return fault.New(fault.Permanent, fault.CodeBadRecord, "", "field %s cannot be sent: %w", path, err)
}

// valueJSON writes a value as JSON. Numbers are sent as they are written.
func valueJSON(v record.Value) ([]byte, error) {
	switch v.Kind {
	case record.Null:
		return []byte("null"), nil
	case record.Bool:
		if v.Text != "true" && v.Text != "false" {
			return nil, fmt.Errorf("it is not a boolean")
		}
		return []byte(v.Text), nil
	case record.Number:
		if raw := jsontext.Value(v.Text); strings.TrimSpace(v.Text) == v.Text && raw.Kind() == '0' && raw.IsValid() {
			return raw, nil
		}
		return nil, fmt.Errorf("it is not a number that JSON can hold")
	case record.JSON:
		if raw := jsontext.Value(v.Text); raw.IsValid() {
			return raw, nil
		}
		return nil, fmt.Errorf("it is not valid JSON")
	case record.Text:
		text, err := jsontext.AppendQuote(nil, v.Text)
		if err != nil {
			return nil, fmt.Errorf("it is not valid UTF-8")
		}
		return text, nil
	case record.Absent:
	}
	return nil, fmt.Errorf("it has no value")
}
