package mapping

import (
	"fmt"
	"unicode/utf8"

	"github.com/cespare/xxhash/v2"

	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/sync/record"
)

// Manual is a compiled mapping. It is immutable and safe for concurrent use.
// The zero value maps nothing; Compile makes useful ones.
type Manual struct {
	fields  []Field
	plans   []plan
	remote  []string
	local   []string
	match   [][]int
	setCols []string
	setVals []record.Value
	// setPaths and setOut are the remote constants; refs the fields that are ids
	// of other connectors.
	setPaths                []string
	setOut                  []record.Value
	refs                    []Ref
	scopeLocal, scopeRemote *Scope
	version                 uint64
	// transforms says whether any field has one to local; records says whether
	// one of them looks at the whole record. outTransforms and outRecords are the
	// same of the way to the remote.
	transforms, records, outTransforms, outRecords bool
}

// plan is what the hot path needs to know of a field.
type plan struct {
	kind    Type // settled: never TypeAuto
	maxLen  int
	notNull bool
	def     record.Value // canonical local; Absent none
	expr    *expression  // nil none
	in, out bool         // the value travels to local, to the remote
	outExpr *expression  // nil none
	ref     bool         // the value is an id that others translate
	wire    Type         // of a ref: the type of the remote's ids
}

// Fields gives the fields in order. The caller must not change them.
func (m *Manual) Fields() []Field { return m.fields }

// Len is the number of fields: the length of every slice of values.
func (m *Manual) Len() int { return len(m.fields) }

// RemotePaths gives the remote path of each field, in order: what a reader is
// asked for. The caller must not change it.
func (m *Manual) RemotePaths() []string { return m.remote }

// LocalColumns gives the column of each field, in order. The caller must not
// change it.
func (m *Manual) LocalColumns() []string { return m.local }

// Version changes whenever a change of the manual could change a result. It is
// part of every hash, so that a new manual makes all records differ once.
func (m *Manual) Version() uint64 { return m.version }

// Match gives the identity alternatives as field ordinals. The caller must not
// change it.
func (m *Manual) Match() [][]int { return m.match }

// Type gives the type in which field i is kept locally, never TypeAuto. A
// boolean in an integer column is TypeInteger: its values are 0 and 1.
func (m *Manual) Type(i int) Type {
	if m.plans[i].kind == typeBit {
		return TypeInteger
	}
	return m.plans[i].kind
}

// SetLocal gives the constants that are written on create only: columns in
// order of name and their canonical local values. The caller must not change
// them.
func (m *Manual) SetLocal() (cols []string, vals []record.Value) { return m.setCols, m.setVals }

// CanonRemote brings the values a remote gave into their comparable form, in
// place: numbers in one exact spelling, JSON compact with sorted members. It
// applies no transform and no default. An error is Permanent with code
// bad_record; the values are then partly changed.
func (m *Manual) CanonRemote(vals []record.Value) error {
	if len(vals) != len(m.fields) {
		return lengthError("CanonRemote", len(vals), len(m.fields))
	}
	for i := range vals {
		v := &vals[i]
		var bad string
		switch v.Kind {
		case record.Absent, record.Null, record.Bool:
			continue
		case record.Text:
			if !utf8.ValidString(v.Text) {
				bad = "is not valid UTF-8"
			}
		case record.Number:
			if c, ok := canonDecimal(v.Text); ok {
				v.Text = c
			} else {
				bad = "is no number that can be kept exactly"
			}
		case record.JSON:
			if c, ok := canonJSON(v.Text); ok {
				v.Text = c
			} else {
				bad = "is no valid JSON"
			}
		}
		if bad != "" {
			return m.badRemote(i, *v, bad)
		}
	}
	return nil
}

// Hash is a 64-bit hash of canonical remote values and of Version: equal hashes
// mean that nothing the manual looks at has changed.
func (m *Manual) Hash(remote []record.Value) int64 {
	var d xxhash.Digest
	d.ResetWithSeed(m.version)
	var head [9]byte
	for i := range remote {
		v := &remote[i]
		n := uint64(len(v.Text))
		head = [9]byte{byte(v.Kind), byte(n), byte(n >> 8), byte(n >> 16), byte(n >> 24), byte(n >> 32), byte(n >> 40), byte(n >> 48), byte(n >> 56)}
		_, _ = d.Write(head[:])      // a Digest's Write never fails
		_, _ = d.WriteString(v.Text) // nor does this
	}
	return int64(d.Sum64()) //nolint:gosec // the bits are what counts
}

// ToLocal gives the canonical local values of a record in dst, which has the
// manual's length. Fields that travel to the remote only are absent. A ref's
// value is the remote's id as text, to be translated and given to RefLocal.
// Absent stays absent unless the field has a default; an
// expression sees null as nil, is not called on an absent value, and gives null
// when it fails on null. A value that cannot be had in the field's type is an
// error, Permanent with code bad_record, that names the field.
func (m *Manual) ToLocal(rec *record.Record, dst []record.Value) error {
	if len(rec.Values) != len(m.fields) || len(dst) != len(m.fields) {
		return lengthError("ToLocal", len(rec.Values), len(m.fields))
	}
	var env *environment
	if m.transforms {
		env = newEnvironment()
		if m.records {
			env.fill(m.remote, rec.Values)
		}
	}
	for i := range m.plans {
		p := &m.plans[i]
		if !p.in {
			dst[i] = record.Value{}
			continue
		}
		v := rec.Values[i]
		if p.expr != nil && v.Kind != record.Absent {
			var err error
			if v, err = p.expr.run(env, v); err != nil {
				return m.badExpression(i, err)
			}
		}
		if p.def.Kind != record.Absent && v.Empty() {
			dst[i] = p.def
			continue
		}
		if p.ref {
			out, bad := refID(v)
			if bad != "" {
				return m.badLocal(i, v, bad)
			}
			dst[i] = out
			continue
		}
		out, bad := convert(p.kind, v)
		if bad != "" {
			return m.badLocal(i, v, bad)
		}
		if tooLong(out.Text, p.maxLen) {
			return m.badLocal(i, out, fmt.Sprintf("has %d characters, the column takes %d",
				utf8.RuneCountInString(out.Text), p.maxLen))
		}
		dst[i] = out
	}
	return nil
}

// CanonLocal gives the canonical local values of a row in dst. raw holds the
// mapped columns' values as the database's text, or Null. A value that does not
// fit its field's type (SQLite lets columns hold anything) becomes text and so
// differs from every canonical value. Only wrong lengths are an error.
func (m *Manual) CanonLocal(raw, dst []record.Value) error {
	if len(raw) != len(m.fields) || len(dst) != len(m.fields) {
		return lengthError("CanonLocal", len(raw), len(m.fields))
	}
	for i := range raw {
		dst[i] = convertRaw(m.plans[i].kind, raw[i])
	}
	return nil
}

// RequiredMissing names the first required field that travels to local and whose
// value is absent, null or empty.
func (m *Manual) RequiredMissing(local []record.Value) (field string, missing bool) {
	for i := range m.fields {
		if m.fields[i].Required && m.plans[i].in && local[i].Empty() {
			return m.fields[i].Local, true
		}
	}
	return "", false
}

// NullRefused names the first field whose value is null although its column
// refuses NULL: a create would fail. Absent fields are the column's default.
func (m *Manual) NullRefused(local []record.Value) (field string, refused bool) {
	for i := range m.plans {
		if m.plans[i].notNull && local[i].Kind == record.Null {
			return m.fields[i].Local, true
		}
	}
	return "", false
}

func lengthError(op string, got, want int) error {
	return fault.New(fault.Permanent, fault.CodeFailed, "mapping: "+op, "%d values for %d fields", got, want)
}

// shown is the longest part of a value that an error quotes, in characters.
const shown = 40

// quote shortens a value for an error.
func quote(v record.Value) string {
	n := 0
	for i := range v.Text {
		if n == shown {
			return fmt.Sprintf("%q…", v.Text[:i])
		}
		n++
	}
	return fmt.Sprintf("%q", v.Text)
}

func (m *Manual) badRemote(i int, v record.Value, why string) error {
	return fault.New(fault.Permanent, fault.CodeBadRecord, "", "field %s: value %s %s", m.remote[i], quote(v), why).
		WithWhere(m.remote[i])
}

func (m *Manual) badLocal(i int, v record.Value, why string) error {
	return fault.New(fault.Permanent, fault.CodeBadRecord, "", "field %s: value %s %s", m.local[i], quote(v), why).
		WithWhere(m.local[i])
}

func (m *Manual) badExpression(i int, err error) error {
	return fault.New(fault.Permanent, fault.CodeBadRecord, "", "field %s: transform: %w", m.local[i], err).
		WithWhere(m.local[i])
}
