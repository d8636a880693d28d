package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// FieldChange is one field that differs between two configurations of the same
// thing. Old and New are JSON, nil where the field is missing. The values of a
// Secret are never given: only whether it is there.
type FieldChange struct {
	Field  string          `json:"field"` // "connectors[contacts].mapping[email].type"
	Old    json.RawMessage `json:"old"`
	New    json.RawMessage `json:"new"`
	Secret bool            `json:"secret,omitempty"`
}

// secretText stands for the value of a secret.
var secretText = json.RawMessage(`"(secret)"`)

// DiffChannel compares two configurations of a channel, their secrets in clear,
// field by field; old nil is a channel that is not there yet. Connectors are told
// apart by name and mapped fields by their column, so that one more of them is
// one change.
func DiffChannel(old, now *Channel) ([]FieldChange, error) {
	var was flat
	var err error
	if old != nil {
		if was, err = flattenChannel(old); err != nil {
			return nil, err
		}
	}
	is, err := flattenChannel(now)
	if err != nil {
		return nil, err
	}
	return diff(was, is), nil
}

// DiffEntity compares two configurations of an entity; see DiffChannel.
func DiffEntity(old, now *Entity) ([]FieldChange, error) {
	var was flat
	if old != nil {
		raw, err := old.MarshalStored()
		if err != nil {
			return nil, err
		}
		if was, err = flatten(raw); err != nil {
			return nil, err
		}
	}
	raw, err := now.MarshalStored()
	if err != nil {
		return nil, err
	}
	is, err := flatten(raw)
	return diff(was, is), err
}

func flattenChannel(c *Channel) (flat, error) {
	raw, err := c.MarshalStored(func(_, plain string) (string, error) { return plain, nil })
	if err != nil {
		return nil, err
	}
	return flatten(raw)
}

// flat is a configuration as its fields, in order.
type flat []flatField

type flatField struct {
	path   string
	value  json.RawMessage
	secret bool
	// group is the mapped field or declared column that this is a part of, item
	// the whole of it.
	group string
	item  json.RawMessage
}

func (f flat) get(path string) *flatField {
	for i := range f {
		if f[i].path == path {
			return &f[i]
		}
	}
	return nil
}

// has reports whether a group is there.
func (f flat) has(group string) bool {
	return slices.ContainsFunc(f, func(x flatField) bool { return x.group == group })
}

func diff(was, is flat) []FieldChange {
	var out []FieldChange
	said := map[string]bool{} // groups that came or went as a whole
	for _, n := range is {
		o := was.get(n.path)
		switch {
		case n.group != "" && !was.has(n.group):
			if !said[n.group] {
				said[n.group] = true
				out = append(out, FieldChange{Field: n.group, New: n.item})
			}
		case o == nil && strings.HasSuffix(n.path, inOrder), o != nil && strings.HasSuffix(n.path, inOrder) && sameOrder(o.value, n.value):
			// What came and went is told by the fields themselves.
		case o == nil:
			out = append(out, FieldChange{n.path, nil, n.shown(), n.secret})
		case !bytes.Equal(o.value, n.value):
			out = append(out, FieldChange{n.path, o.shown(), n.shown(), n.secret || o.secret})
		}
	}
	for _, o := range was {
		if o.group != "" && !is.has(o.group) {
			if !said[o.group] {
				said[o.group] = true
				out = append(out, FieldChange{Field: o.group, Old: o.item})
			}
			continue
		}
		if is.get(o.path) == nil && !strings.HasSuffix(o.path, inOrder) {
			out = append(out, FieldChange{o.path, o.shown(), nil, o.secret})
		}
	}
	return out
}

// inOrder ends the field that holds the order of a list's names.
const inOrder = " in order"

// sameOrder reports whether the names that two lists share stand in the same
// order in both.
func sameOrder(a, b json.RawMessage) bool {
	var x, y []string
	if json.Unmarshal(a, &x) != nil || json.Unmarshal(b, &y) != nil {
		return false
	}
	x = slices.DeleteFunc(x, func(s string) bool { return !slices.Contains(y, s) })
	y = slices.DeleteFunc(y, func(s string) bool { return !slices.Contains(x, s) })
	return slices.Equal(x, y)
}

func (f *flatField) shown() json.RawMessage {
	if f.secret {
		return secretText
	}
	return f.value
}

// flatten gives the fields of a stored form. Lists of things with names become
// fields by name and, where there is more than one, a field with their order.
func flatten(raw json.RawMessage) (flat, error) {
	var f flat
	dec := jsontext.NewDecoder(bytes.NewReader(raw))
	err := f.add(dec, "")
	return f, err
}

func (f *flat) add(dec *jsontext.Decoder, path string) error {
	switch kind := dec.PeekKind(); {
	case kind == '{' && !whole(path):
		return f.members(dec, path)
	case kind == '[' && (path == "connectors" || path == "operations" || path == "create" || strings.HasSuffix(path, "].mapping")):
		return f.named(dec, path)
	}
	v, err := dec.ReadValue()
	if err != nil {
		return err
	}
	v = slices.Clone(v)
	if err := v.Compact(); err != nil {
		return err
	}
	*f = append(*f, flatField{path: path, value: json.RawMessage(v), secret: secretPath("channels[0]." + path)})
	return nil
}

// whole reports whether a field is shown in one piece: a constant.
func whole(path string) bool {
	return strings.HasSuffix(path, ".default") || strings.Contains(path, "].set.local.") || strings.Contains(path, "].set.remote.")
}

func (f *flat) members(dec *jsontext.Decoder, path string) error {
	if _, err := dec.ReadToken(); err != nil {
		return err
	}
	n := len(*f)
	for dec.PeekKind() != '}' {
		key, err := dec.ReadToken()
		if err != nil {
			return err
		}
		if err := f.add(dec, join(path, key.String())); err != nil {
			return err
		}
	}
	if n == len(*f) && path != "" {
		*f = append(*f, flatField{path: path, value: json.RawMessage("{}")})
	}
	_, err := dec.ReadToken()
	return err
}

// named adds the members of a list under their names.
func (f *flat) named(dec *jsontext.Decoder, path string) error {
	var items []json.RawMessage
	v, err := dec.ReadValue()
	if err == nil {
		err = json.Unmarshal(v, &items)
	}
	if err != nil {
		return err
	}
	order := make([]string, 0, len(items))
	for _, item := range items {
		name := f.nameOf(item, order)
		order = append(order, name)
		n, at := len(*f), fmt.Sprintf("%s[%s]", path, name)
		if err := f.add(jsontext.NewDecoder(bytes.NewReader(item)), at); err != nil {
			return err
		}
		if path == "connectors" {
			continue // a whole connector is too much for one line
		}
		for i := n; i < len(*f); i++ {
			(*f)[i].group, (*f)[i].item = at, item
		}
	}
	if len(order) > 1 {
		raw, err := encode(order)
		if err != nil {
			return err
		}
		*f = append(*f, flatField{path: path + inOrder, value: raw})
	}
	return nil
}

// nameOf gives an item's name, or that of its column; a name that is taken
// already gets a number.
func (f *flat) nameOf(item json.RawMessage, taken []string) string {
	var it struct{ Name, Local, Remote string }
	_ = json.Unmarshal(item, &it) //nolint:errcheck // it was written by us; without a name it has a number
	name := it.Name
	if name == "" {
		name = it.Local
	}
	if name == "" {
		name = it.Remote
	}
	for n, base := 2, name; name == "" || slices.Contains(taken, name); n++ {
		name = fmt.Sprintf("%s#%d", base, n)
	}
	return name
}
