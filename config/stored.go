package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/tandem-sync/tandem/sync/mapping"
	"github.com/tandem-sync/tandem/sync/record"
)

// The stored form of a channel is JSON with the keys of the file, members in a
// fixed order. The secrets of the transport are sealed one by one, everything
// else stays readable.

type storedChannel struct {
	Type       string            `json:"type"`
	Transport  json.RawMessage   `json:"transport,omitempty"`
	Schedule   string            `json:"schedule,omitempty"`
	Conflict   string            `json:"conflict"`
	Connectors []storedConnector `json:"connectors"`
	Operations json.RawMessage   `json:"operations,omitempty"`
}

type storedConnector struct {
	Name      string          `json:"name"`
	Entity    string          `json:"entity"`
	Direction string          `json:"direction"`
	Create    string          `json:"create"`
	Match     [][]string      `json:"match,omitempty"`
	Scope     *storedPair     `json:"scope,omitempty"`
	Set       *storedSet      `json:"set,omitempty"`
	Delete    storedPair      `json:"delete"`
	Overlap   string          `json:"overlap"`
	Full      string          `json:"full"`
	Limit     int             `json:"limit,omitempty"`
	Mapping   []storedField   `json:"mapping"`
	Remote    json.RawMessage `json:"remote,omitempty"`
}

type storedPair struct {
	Local  string `json:"local,omitempty"`
	Remote string `json:"remote,omitempty"`
}

type storedSet struct {
	Local  map[string]json.RawMessage `json:"local,omitempty"`
	Remote map[string]json.RawMessage `json:"remote,omitempty"`
}

type storedField struct {
	Local     string           `json:"local"`
	Remote    string           `json:"remote"`
	Direction string           `json:"direction"`
	Type      string           `json:"type,omitempty"`
	On        string           `json:"on"`
	Required  bool             `json:"required,omitempty"`
	Default   json.RawMessage  `json:"default,omitempty"`
	Ref       string           `json:"ref,omitempty"`
	Transform *storedTransform `json:"transform,omitempty"`
}

type storedTransform struct {
	ToLocal  string `json:"to_local,omitempty"`
	ToRemote string `json:"to_remote,omitempty"`
}

// MarshalStored gives the channel as it is stored, without its name. seal
// replaces each secret; its field is a path such as transport.auth.password.
// The JSON is stable as long as seal is.
func (c *Channel) MarshalStored(seal func(field, plain string) (string, error)) (json.RawMessage, error) {
	s := storedChannel{
		Type: c.Type, Schedule: c.Schedule, Conflict: c.Conflict,
		Connectors: make([]storedConnector, 0, len(c.Connectors)),
	}
	var err error
	if s.Transport, err = replaceSecrets(c.Transport, seal); err != nil {
		return nil, fmt.Errorf("channel %s: %w", c.Name, err)
	}
	if s.Operations, err = sorted(c.Operations); err != nil {
		return nil, fmt.Errorf("channel %s: operations: %w", c.Name, err)
	}
	for i := range c.Connectors {
		k, err := storeConnector(&c.Connectors[i])
		if err != nil {
			return nil, fmt.Errorf("channel %s: connector %s: %w", c.Name, c.Connectors[i].Name, err)
		}
		s.Connectors = append(s.Connectors, k)
	}
	return encode(s)
}

// encode is json.Marshal without the escapes that HTML needs.
func encode(v any) (json.RawMessage, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// sorted gives compact JSON with sorted members.
func sorted(raw json.RawMessage) (json.RawMessage, error) {
	if len(raw) == 0 {
		return nil, nil
	}
	return jsontext.AppendFormat(nil, raw, jsontext.ReorderRawObjects(true))
}

func storeConnector(k *Connector) (storedConnector, error) {
	s := storedConnector{
		Name: k.Name, Entity: k.Entity, Direction: k.Direction, Create: k.Create, Match: k.Match,
		Delete: storedPair{k.DeleteLocal, k.DeleteRemote}, Overlap: k.Overlap.String(), Full: k.Full, Limit: k.Limit,
		Mapping: make([]storedField, 0, len(k.Mapping)),
	}
	if k.Scope != (Scope{}) {
		s.Scope = &storedPair{k.Scope.Local, k.Scope.Remote}
	}
	if len(k.SetLocal)+len(k.SetRemote) > 0 {
		s.Set = &storedSet{storeConstants(k.SetLocal), storeConstants(k.SetRemote)}
	}
	for _, f := range k.Mapping {
		s.Mapping = append(s.Mapping, storeField(f))
	}
	var err error
	s.Remote, err = sorted(k.Remote)
	return s, err
}

func storeConstants(in map[string]record.Value) map[string]json.RawMessage {
	if len(in) == 0 {
		return nil
	}
	out := make(map[string]json.RawMessage, len(in))
	for k, v := range in {
		out[k] = storeValue(v)
	}
	return out
}

// storeValue writes a constant as the JSON value that it is; nil for Absent.
func storeValue(v record.Value) json.RawMessage {
	switch v.Kind {
	case record.Absent:
		return nil
	case record.Null:
		return json.RawMessage("null")
	case record.Number, record.Bool, record.JSON:
		return json.RawMessage(v.Text)
	case record.Text:
	}
	return quoteJSON(v.Text)
}

func loadValue(raw json.RawMessage) (record.Value, error) {
	raw = bytes.TrimSpace(raw)
	if len(raw) == 0 {
		return record.Value{}, nil
	}
	switch raw[0] {
	case 'n':
		return record.NullValue, nil
	case 't', 'f':
		return record.B(raw[0] == 't'), nil
	case '[', '{':
		return record.J(string(raw)), nil
	case '"':
		var s string
		err := json.Unmarshal(raw, &s)
		return record.T(s), err
	}
	return record.N(string(raw)), nil
}

func storeField(f mapping.Field) storedField {
	s := storedField{
		Local: f.Local, Remote: f.Remote, Type: string(f.Type), Required: f.Required,
		Direction: word(directions, f.Direction), On: word(times, f.On),
		Default: storeValue(f.Default), Ref: f.Ref,
	}
	if f.ToLocalExpr != "" || f.ToRemoteExpr != "" {
		s.Transform = &storedTransform{f.ToLocalExpr, f.ToRemoteExpr}
	}
	return s
}

// word gives the configuration's word for a value.
func word[V comparable](words map[string]V, v V) string {
	for _, w := range slices.Sorted(maps.Keys(words)) {
		if words[w] == v {
			return w
		}
	}
	return ""
}

// UnmarshalStored reads what MarshalStored wrote. open undoes seal.
func UnmarshalStored(name string, b []byte, open func(field, sealed string) (string, error)) (*Channel, error) {
	var s storedChannel
	if err := strict(b, &s); err != nil {
		return nil, fmt.Errorf("stored channel %s: %w", name, err)
	}
	c := &Channel{Name: name, Type: s.Type, Schedule: s.Schedule, Conflict: s.Conflict, Operations: s.Operations}
	var err error
	if c.Transport, err = replaceSecrets(s.Transport, open); err != nil {
		return nil, fmt.Errorf("stored channel %s: %w", name, err)
	}
	for _, sk := range s.Connectors {
		k, err := loadConnector(sk)
		if err != nil {
			return nil, fmt.Errorf("stored channel %s: connector %s: %w", name, sk.Name, err)
		}
		c.Connectors = append(c.Connectors, k)
	}
	return c, nil
}

// strict decodes JSON and refuses members that this version does not know.
func strict(b []byte, to any) error {
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	return dec.Decode(to)
}

func loadConnector(s storedConnector) (Connector, error) {
	k := Connector{
		Name: s.Name, Entity: s.Entity, Direction: s.Direction, Create: s.Create, Match: s.Match,
		DeleteLocal: s.Delete.Local, DeleteRemote: s.Delete.Remote, Full: s.Full, Limit: s.Limit, Remote: s.Remote,
	}
	var err error
	if k.Overlap, err = time.ParseDuration(s.Overlap); err != nil {
		return k, fmt.Errorf("overlap: %w", err)
	}
	if s.Scope != nil {
		k.Scope = Scope{s.Scope.Local, s.Scope.Remote}
	}
	if s.Set != nil {
		if k.SetLocal, err = loadConstants(s.Set.Local); err != nil {
			return k, err
		}
		if k.SetRemote, err = loadConstants(s.Set.Remote); err != nil {
			return k, err
		}
	}
	for _, sf := range s.Mapping {
		f, err := loadField(sf)
		if err != nil {
			return k, fmt.Errorf("mapping of %s: %w", sf.Local, err)
		}
		k.Mapping = append(k.Mapping, f)
	}
	return k, nil
}

func loadConstants(in map[string]json.RawMessage) (map[string]record.Value, error) {
	if len(in) == 0 {
		return nil, nil
	}
	out := make(map[string]record.Value, len(in))
	for name, raw := range in {
		v, err := loadValue(raw)
		if err != nil {
			return nil, fmt.Errorf("set %s: %w", name, err)
		}
		out[name] = v
	}
	return out, nil
}

func loadField(s storedField) (mapping.Field, error) {
	f := mapping.Field{
		Local: s.Local, Remote: s.Remote, Direction: directions[s.Direction], Type: mapping.Type(s.Type),
		On: times[s.On], Required: s.Required, Ref: s.Ref,
	}
	if _, ok := times[s.On]; !ok || f.Direction == 0 {
		return f, fmt.Errorf("unknown direction %q or on %q", s.Direction, s.On)
	}
	if s.Transform != nil {
		f.ToLocalExpr, f.ToRemoteExpr = s.Transform.ToLocal, s.Transform.ToRemote
	}
	var err error
	f.Default, err = loadValue(s.Default)
	return f, err
}

// replaceSecrets gives the transport with each secret text replaced and its
// members sorted; nil stays nil.
func replaceSecrets(raw json.RawMessage, replace func(field, text string) (string, error)) (json.RawMessage, error) {
	if len(raw) == 0 {
		return nil, nil
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var tree any
	if err := dec.Decode(&tree); err != nil {
		return nil, fmt.Errorf("transport: %w", err)
	}
	tree, err := walkSecrets("transport", tree, replace)
	if err != nil {
		return nil, err
	}
	return encode(tree)
}

func walkSecrets(path string, v any, replace func(field, text string) (string, error)) (any, error) {
	var err error
	switch t := v.(type) {
	case string:
		if !secretPath("channels[0]." + path) {
			return t, nil
		}
		if t, err = replace(path, t); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		return t, nil
	case map[string]any:
		for _, k := range slices.Sorted(maps.Keys(t)) {
			if t[k], err = walkSecrets(path+"."+k, t[k], replace); err != nil {
				return nil, err
			}
		}
	case []any:
		for i := range t {
			if t[i], err = walkSecrets(fmt.Sprintf("%s[%d]", path, i), t[i], replace); err != nil {
				return nil, err
			}
		}
	}
	return v, nil
}

// SealedFields gives the sealed texts of a stored channel by field. Whoever
// seals a channel anew can keep what still holds the same secret, so that an
// unchanged channel keeps its stored text although sealing never gives the same
// text twice.
func SealedFields(b []byte) (map[string]string, error) {
	var s storedChannel
	if err := json.Unmarshal(b, &s); err != nil {
		return nil, fmt.Errorf("stored channel: %w", err)
	}
	out := map[string]string{}
	_, err := replaceSecrets(s.Transport, func(field, sealed string) (string, error) {
		out[field] = sealed
		return sealed, nil
	})
	return out, err
}

// storedEntity is an entity as it is stored.
type storedEntity struct {
	Table    string         `json:"table"`
	Key      []string       `json:"key"`
	Modified string         `json:"modified,omitempty"`
	Deleted  string         `json:"deleted,omitempty"`
	Capture  string         `json:"capture"`
	Create   []storedColumn `json:"create,omitempty"`
}

type storedColumn struct {
	Name string `json:"name"`
	Type string `json:"type"`
}

// MarshalStored gives the entity as it is stored, without its name.
func (e Entity) MarshalStored() (json.RawMessage, error) {
	s := storedEntity{Table: e.Table, Key: e.Key, Modified: e.Modified, Deleted: e.Deleted, Capture: e.Capture}
	for _, c := range e.Create {
		s.Create = append(s.Create, storedColumn(c))
	}
	return encode(s)
}

// UnmarshalEntity reads what Entity.MarshalStored wrote.
func UnmarshalEntity(name string, b []byte) (Entity, error) {
	var s storedEntity
	if err := strict(b, &s); err != nil {
		return Entity{}, fmt.Errorf("stored entity %s: %w", strings.TrimSpace(name), err)
	}
	e := Entity{Name: name, Table: s.Table, Key: s.Key, Modified: s.Modified, Deleted: s.Deleted, Capture: s.Capture}
	for _, c := range s.Create {
		e.Create = append(e.Create, ColumnDecl(c))
	}
	return e, nil
}
