// Package settings reads a settings object key by key and collects every
// problem with its exact path, so that a person sees all of them at once.
package settings

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tandem-sync/tandem/internal/spelling"
)

// Problem is one fault: where, what is wrong, and what to do about it.
type Problem struct {
	Field   string // path, such as "transport.auth.type"
	Message string
	Fix     string
}

// Object is one settings object. A key counts as known once it was asked for;
// Done reports the others. Reading a key of the wrong type reports a problem
// and gives the default.
type Object struct {
	path  string
	value map[string]json.RawMessage
	known map[string]bool
	out   *[]Problem
}

// Parse reads raw, the object at path. Nothing or null is an empty object;
// anything else than an object is a problem and counts as empty.
func Parse(path string, raw json.RawMessage, out *[]Problem) Object {
	o := Object{path: path, known: map[string]bool{}, out: out}
	if empty(raw) {
		return o
	}
	if err := json.Unmarshal(raw, &o.value); err != nil {
		*out = append(*out, Problem{path, "must be a mapping of keys and values", "write the keys below it, indented"})
		o.value = nil
	}
	return o
}

func empty(raw json.RawMessage) bool {
	t := bytes.TrimSpace(raw)
	return len(t) == 0 || bytes.Equal(t, []byte("null"))
}

// Path gives the path of a key of this object.
func (o Object) Path(key string) string {
	switch {
	case key == "":
		return o.path
	case o.path == "":
		return key
	}
	return o.path + "." + key
}

// Report adds a problem about key ("" is the object itself).
func (o Object) Report(key, fix, format string, args ...any) {
	*o.out = append(*o.out, Problem{o.Path(key), fmt.Sprintf(format, args...), fix})
}

// Has reports whether key is given and not null.
func (o Object) Has(key string) bool {
	o.known[key] = true
	raw, ok := o.value[key]
	return ok && !empty(raw)
}

// Keys gives the keys that are given, sorted. It makes all of them known.
func (o Object) Keys() []string {
	keys := make([]string, 0, len(o.value))
	for k := range o.value {
		o.known[k] = true
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// Raw gives the value of key as JSON, nil when it is missing.
func (o Object) Raw(key string) json.RawMessage {
	if !o.Has(key) {
		return nil
	}
	return o.value[key]
}

// Object gives the object at key, an empty one when it is missing.
func (o Object) Object(key string) Object { return Parse(o.Path(key), o.Raw(key), o.out) }

// Scalar gives a text, number or boolean as text.
func Scalar(raw json.RawMessage) (string, bool) {
	t := bytes.TrimSpace(raw)
	if len(t) == 0 {
		return "", false
	}
	switch t[0] {
	case '"':
		var s string
		err := json.Unmarshal(t, &s)
		return s, err == nil
	case '{', '[', 'n':
		return "", false
	}
	return string(t), true
}

// String gives a text; numbers and booleans count as their text, because a
// token of digits only is a number in YAML.
func (o Object) String(key, def string) string {
	if !o.Has(key) {
		return def
	}
	s, ok := Scalar(o.value[key])
	if !ok {
		o.Report(key, "write one value", "must be a text")
		return def
	}
	return s
}

// Choice gives a text out of the allowed ones.
func (o Object) Choice(key, def string, allowed ...string) string {
	s := o.String(key, def)
	if slices.Contains(allowed, s) {
		return s
	}
	fix := "one of " + strings.Join(allowed, ", ")
	if near := Nearest(s, allowed); near != "" {
		fix = "did you mean " + near + "? " + fix
	}
	o.Report(key, fix, "%q is unknown", s)
	return def
}

// Int gives a whole number between low and high.
func (o Object) Int(key string, def, low, high int) int {
	if !o.Has(key) {
		return def
	}
	s, _ := Scalar(o.value[key])
	n, err := strconv.Atoi(strings.TrimSpace(s))
	if err != nil || n < low || n > high {
		o.Report(key, "for example "+strconv.Itoa(max(def, low)), "must be a whole number from %d to %d", low, high)
		return def
	}
	return n
}

// Duration gives a length of time between low and high.
func (o Object) Duration(key string, def, low, high time.Duration) time.Duration {
	if !o.Has(key) {
		return def
	}
	s, _ := Scalar(o.value[key])
	d, err := time.ParseDuration(s)
	if err != nil || d < low || d > high {
		o.Report(key, "for example "+def.String(), "must be a duration from %s to %s", low, high)
		return def
	}
	return d
}

// Pair is one key of a mapping of texts.
type Pair struct{ Name, Value string }

// Pairs gives a mapping of texts in order of name. A list of texts gives one
// pair per item.
func (o Object) Pairs(key string) []Pair {
	sub := o.Object(key)
	var out []Pair
	for _, name := range sub.Keys() {
		raw := sub.value[name]
		var list []json.RawMessage
		if json.Unmarshal(raw, &list) != nil || empty(raw) {
			list = []json.RawMessage{raw}
		}
		for _, item := range list {
			s, ok := Scalar(item)
			if !ok {
				sub.Report(name, "write one value, or a list of values", "must be a text")
				break
			}
			out = append(out, Pair{name, s})
		}
	}
	return out
}

// Done reports every key that nobody asked for, with the nearest known one.
func (o Object) Done() {
	known := make([]string, 0, len(o.known))
	for k := range o.known {
		known = append(known, k)
	}
	slices.Sort(known)
	unknown := make([]string, 0, len(o.value))
	for k := range o.value {
		if !o.known[k] {
			unknown = append(unknown, k)
		}
	}
	slices.Sort(unknown)
	for _, k := range unknown {
		fix := "known keys: " + strings.Join(known, ", ")
		if near := Nearest(k, known); near != "" {
			fix = "did you mean " + near + "?"
		}
		o.Report(k, fix, "unknown key")
	}
}

// Nearest gives the known word that is at most two edits (one for words of up
// to four letters) away, or "".
func Nearest(word string, known []string) string {
	best, limit := "", 3
	if len(word) <= 4 {
		limit = 2
	}
	for _, k := range known {
		if d := spelling.Distance(word, k); d < limit {
			best, limit = k, d
		}
	}
	return best
}

// Item gives the object that is the item at index of the list at key.
func (o Object) Item(key string, index int, raw json.RawMessage) Object {
	return Parse(fmt.Sprintf("%s[%d]", o.Path(key), index), raw, o.out)
}
