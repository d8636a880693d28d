package mapping

import (
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/sync/record"
)

// Ref is a field whose value is the id of another connector's record: its key in
// the canonical local form, its remote id remotely. The manual only marks it;
// whoever knows the links translates.
type Ref struct {
	Field     int    // ordinal
	Connector string // of the same channel
}

// Refs gives the fields that are ids of other connectors, in order. The caller
// must not change them.
func (m *Manual) Refs() []Ref { return m.refs }

// RefLocal gives the canonical local value of ref field i for the key of the row
// that it refers to: what CanonLocal gives for a column that holds it.
func (m *Manual) RefLocal(i int, key string) record.Value {
	return convertRaw(m.plans[i].kind, record.T(key))
}

// Writes reports whether any field travels to the remote.
func (m *Manual) Writes() bool {
	for i := range m.plans {
		if m.plans[i].out {
			return true
		}
	}
	return false
}

// SetRemote gives the constants that are sent on create only: remote paths in
// order of name and their values. The caller must not change them.
func (m *Manual) SetRemote() (paths []string, vals []record.Value) { return m.setPaths, m.setOut }

// ScopeLocal and ScopeRemote give the scopes; nil is every record.
func (m *Manual) ScopeLocal() *Scope { return m.scopeLocal }

// ScopeRemote gives the scope of remote records; nil is all of them.
func (m *Manual) ScopeRemote() *Scope { return m.scopeRemote }

// ToRemote gives what the remote is told of the canonical local values, in dst,
// which has the manual's length: values of the fields that travel to the remote,
// the others absent. They have the canonical remote form and JSON's natural
// kinds: numbers as Number, booleans as Bool, dates and times as Text, lists and
// JSON as JSON. Absent stays absent and null stays null, unless the field has a
// default, which stands in for null and the empty text. An expression sees the
// value in that form, null as nil; its result is sent as it is, and it gives null
// when it fails on null. The value of a ref is the remote's id, as text. What
// cannot be sent in the field's type is an error, Permanent with code bad_record,
// that names the field; dst is then partly filled.
func (m *Manual) ToRemote(local, dst []record.Value) error {
	if len(local) != len(m.fields) || len(dst) != len(m.fields) {
		return lengthError("ToRemote", len(local), len(m.fields))
	}
	var env *environment
	if m.outTransforms {
		env = m.outEnvironment(local)
	}
	for i := range dst {
		var err error
		if dst[i], err = m.remoteValue(env, i, local[i]); err != nil {
			return err
		}
	}
	return nil
}

// remoteValue gives what the remote is told of field i. env may be nil when no
// field has an expression.
func (m *Manual) remoteValue(env *environment, i int, v record.Value) (record.Value, error) {
	p := &m.plans[i]
	if !p.out || v.Kind == record.Absent {
		return record.Value{}, nil
	}
	out, bad := p.encode(v)
	if bad != "" {
		return v, m.badLocal(i, v, bad)
	}
	if p.outExpr == nil {
		return out, nil
	}
	out, err := p.outExpr.run(env, out)
	if err != nil {
		return v, fault.New(fault.Permanent, fault.CodeBadRecord, "", "field %s: transform to_remote: %w", m.local[i], err).
			WithWhere(m.local[i])
	}
	if out, bad = natural(out); bad != "" {
		return v, m.badLocal(i, out, bad)
	}
	return out, nil
}

// outEnvironment makes the variables of the expressions to the remote: record
// holds the row by column, its values as they would be sent.
func (m *Manual) outEnvironment(local []record.Value) *environment {
	env := newEnvironment()
	if !m.outRecords {
		return env
	}
	vals := make([]record.Value, len(local))
	for i := range local {
		out, bad := m.plans[i].encode(local[i])
		if bad != "" {
			out = record.T(strings.ToValidUTF8(local[i].Text, "\uFFFD"))
		}
		vals[i] = out
	}
	env.fill(m.local, vals)
	return env
}

// encode brings a canonical local value into the remote's natural kind, default
// included. bad says why the value cannot be had in the field's type; it never
// quotes the value.
func (p *plan) encode(v record.Value) (out record.Value, bad string) {
	if v.Kind == record.Absent {
		return v, ""
	}
	if p.def.Kind != record.Absent && v.Empty() {
		v = p.def
	}
	if v.Kind <= record.Null {
		return v, ""
	}
	if !utf8.ValidString(v.Text) {
		return v, "is not valid UTF-8"
	}
	if v.Kind == record.Text && strings.IndexByte(v.Text, 0) >= 0 {
		return v, "holds a NUL character"
	}
	switch {
	case p.ref:
		return convert(p.wire, v)
	case p.kind == typeBit:
		return convert(TypeBoolean, v)
	case p.kind == TypeJSON:
		return encodeJSON(v)
	}
	return convert(p.kind, v)
}

// encodeJSON sends a plain value as itself. An empty text is null on this way as
// it is on the other, or it would not come back the same.
func encodeJSON(v record.Value) (out record.Value, bad string) {
	out = v
	if v.Kind == record.JSON {
		if out, bad = plainJSON(v.Text); bad != "" {
			return v, bad
		}
	}
	switch {
	case out.Kind == record.Text && strings.TrimSpace(out.Text) == "":
		return record.NullValue, ""
	case v.Kind != record.JSON:
		return v, "is no valid JSON"
	}
	return out, ""
}

// refID takes an id as a remote gives it: text, or a number.
func refID(v record.Value) (out record.Value, bad string) {
	switch v.Kind {
	case record.Bool, record.JSON:
		return v, "is no id"
	case record.Number:
		return record.T(v.Text), ""
	case record.Text:
		if strings.TrimSpace(v.Text) == "" {
			return record.NullValue, ""
		}
		return convertText(v)
	case record.Absent, record.Null:
	}
	return v, ""
}

// plainJSON reads JSON: arrays and objects stay JSON, a plain value becomes the
// value that a remote would be read to say.
func plainJSON(s string) (record.Value, string) {
	c, ok := canonJSON(s)
	if !ok {
		return record.J(s), "is no valid JSON"
	}
	switch c[0] {
	case '{', '[':
		return record.J(c), ""
	case 'n':
		return record.NullValue, ""
	case 't', 'f':
		return record.B(c[0] == 't'), ""
	case '"':
		b, err := jsontext.AppendUnquote(nil, c)
		if err != nil {
			return record.J(s), "is no valid JSON"
		}
		return record.T(string(b)), ""
	}
	n, ok := canonDecimal(c)
	if !ok {
		return record.J(s), "is no number that can be kept exactly"
	}
	return record.N(n), ""
}

// RequiredMissingRemote names the first required field that travels to the
// remote and whose value, as ToRemote gave it, is absent, null or empty.
func (m *Manual) RequiredMissingRemote(remote []record.Value) (field string, missing bool) {
	for i := range m.fields {
		if m.fields[i].Required && m.plans[i].out && remote[i].Empty() {
			return m.fields[i].Local, true
		}
	}
	return "", false
}

// RemoteIdentity is Identity of canonical remote values, as the remote said them
// or as ToRemote gave them, whichever way their fields travel: equal strings mean the same
// thing. With it a remote record is found for a row that is not linked yet.
func (m *Manual) RemoteIdentity(alt int, remote []record.Value) (string, bool) {
	return m.identity(alt, remote, m.remoteIdentityPart)
}

func (m *Manual) remoteIdentityPart(i int, v record.Value) string {
	if out, bad := convert(m.plans[i].kind, v); bad == "" {
		return m.identityPart(i, out)
	}
	return foldText(v.Text)
}

// RoundTrip reports whether the canonical local value v of field i comes back as
// v when it is sent and then read again, so that the two sides can agree on it. A
// field that travels one way only has no way back and is always true; expressions
// see a record with no other value. It is false for what cannot be sent or read.
func (m *Manual) RoundTrip(i int, v record.Value) bool {
	p := &m.plans[i]
	if !p.in || !p.out || p.ref {
		return true
	}
	rec := record.Record{Values: make([]record.Value, len(m.fields))}
	local, back := make([]record.Value, len(m.fields)), make([]record.Value, len(m.fields))
	local[i] = v
	if m.ToRemote(local, rec.Values) != nil || m.ToLocal(&rec, back) != nil {
		return false
	}
	return back[i] == v
}
