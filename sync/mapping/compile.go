package mapping

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"github.com/cespare/xxhash/v2"

	"github.com/tandem-sync/tandem/sync/record"
)

// Problem is one fault of a mapping. Field is a path below the connector, as
// the configuration spells it: "mapping[2].local", "match[0][1]",
// "set.local.status".
type Problem struct {
	Field   string
	Message string
	Fix     string
}

// layout is part of every Version: it changes when this package's canonical
// forms do.
const layout = 2

// Compile makes the manual of a connector. cols tells the table's columns; nil
// is offline: fields keep their declared types, text where none is declared.
// With problems the manual is nil.
func Compile(spec Spec, cols func(name string) (Column, bool)) (*Manual, []Problem) {
	c := compiler{spec: spec, cols: cols, m: &Manual{fields: slices.Clone(spec.Fields)}, byLocal: map[string]int{}}
	if len(spec.Fields) == 0 {
		c.problem("mapping", "maps no field", "add at least one {local: column, remote: path}")
	}
	for i := range c.m.fields {
		c.field(i)
	}
	c.matches()
	c.constants()
	c.remoteSide()
	if len(c.problems) > 0 {
		return nil, c.problems
	}
	c.m.version = c.version()
	return c.m, nil
}

type compiler struct {
	spec     Spec
	cols     func(string) (Column, bool)
	m        *Manual
	byLocal  map[string]int
	problems []Problem
}

func (c *compiler) problem(field, message, fix string) {
	c.problems = append(c.problems, Problem{Field: field, Message: message, Fix: fix})
}

func (c *compiler) field(i int) {
	f := &c.m.fields[i]
	at := fmt.Sprintf("mapping[%d]", i)
	c.names(at, i, f)
	p := plan{kind: f.Type, in: f.ToLocal(), out: f.ToRemote()}
	if !f.Type.known() {
		c.problem(at+".type", fmt.Sprintf("%q is no type", string(f.Type)), "use one of "+typeList())
		p.kind = TypeText
	}
	if f.Ref != "" {
		c.ref(at, i, f, &p)
	}
	if col, ok := c.column(at+".local", f.Local, p.in); ok {
		p.maxLen, p.notNull = col.MaxLen, col.NotNull
		kind, fits := settle(p.kind, col.Type)
		if !fits {
			c.problem(at+".type", fmt.Sprintf("%s does not fit the column %s of type %s", f.Type, f.Local, col.describe()),
				"leave type out, or use "+string(col.Type))
		}
		p.kind = kind
		if p.ref && !holdsKeys(kind) {
			c.problem(at+".ref", fmt.Sprintf("the column %s of type %s cannot hold the key of another row", f.Local, col.describe()), "map a column of the key's type")
		}
	}
	if p.kind == TypeAuto {
		p.kind = TypeText
	}
	p.def = c.constant(at+".default", f.Default, p.kind, p.maxLen)
	c.transforms(at, f, &p)
	c.m.plans = append(c.m.plans, p)
	c.m.remote = append(c.m.remote, f.Remote)
	c.m.local = append(c.m.local, f.Local)
}

// names checks a field's two ends.
func (c *compiler) names(at string, i int, f *Field) {
	if f.Local == "" {
		c.problem(at+".local", "is missing", "name the column")
	} else if first, taken := c.byLocal[f.Local]; taken {
		c.problem(at+".local", fmt.Sprintf("column %q is mapped already by mapping[%d]", f.Local, first), "map each column once")
	} else {
		c.byLocal[f.Local] = i
	}
	if why := badPath(f.Remote); why != "" {
		c.problem(at+".remote", why, `use a path such as email, address.city or tags[0]`)
	}
}

// column looks up a column that is going to be read and, if written, written.
func (c *compiler) column(at, name string, written bool) (Column, bool) {
	if c.cols == nil || name == "" {
		return Column{}, false
	}
	col, ok := c.cols(name)
	switch {
	case !ok:
		c.problem(at, fmt.Sprintf("the table has no column %q", name), "name a column of the entity's table")
	case written && col.Generated:
		c.problem(at, fmt.Sprintf("column %q is computed by the database", name), "name a column that can be written")
	case col.array():
		c.problem(at, fmt.Sprintf("column %q has the array type %s", name, col.describe()), "use a json, jsonb or text column")
	default:
		return col, true
	}
	return Column{}, false
}

// constant brings a configured value into the canonical form of a column.
func (c *compiler) constant(at string, v record.Value, kind Type, maxLen int) record.Value {
	out, bad := convert(kind, v)
	if bad == "" && tooLong(out.Text, maxLen) {
		bad = fmt.Sprintf("is longer than the column's %d characters", maxLen)
	}
	if bad != "" {
		c.problem(at, "the value "+bad, "give a value of type "+string(kind))
	}
	return out
}

func (c *compiler) matches() {
	for a, alt := range c.spec.Match {
		at := fmt.Sprintf("match[%d]", a)
		if len(alt) == 0 {
			c.problem(at, "names no column", "name the columns that identify a row together")
		}
		ordinals := make([]int, 0, len(alt))
		for k, name := range alt {
			if i, ok := c.matchColumn(fmt.Sprintf("%s[%d]", at, k), name, ordinals); ok {
				ordinals = append(ordinals, i)
			}
		}
		c.m.match = append(c.m.match, ordinals)
	}
}

func (c *compiler) matchColumn(at, name string, before []int) (int, bool) {
	i, ok := c.byLocal[name]
	switch {
	case !ok:
		c.problem(at, fmt.Sprintf("column %q is not mapped", name), "match by mapped columns only; "+c.mapped())
		return 0, false
	case slices.Contains(before, i):
		c.problem(at, fmt.Sprintf("column %q is named twice", name), "name it once")
		return 0, false
	}
	if c.m.plans[i].ref {
		c.problem(at, fmt.Sprintf("column %q is translated by ref, so it cannot identify a record before that is linked", name), "match by a plain value")
		return 0, false
	}
	if k := c.m.plans[i].kind; k == TypeList || k == TypeJSON {
		c.problem(at, fmt.Sprintf("column %q holds a %s, which cannot identify a row", name, k), "match by a plain value")
		return 0, false
	}
	return i, true
}

func (c *compiler) mapped() string {
	names := make([]string, 0, len(c.byLocal))
	for n := range c.byLocal {
		names = append(names, n)
	}
	slices.Sort(names)
	return "mapped are: " + strings.Join(names, ", ")
}

func (c *compiler) constants() {
	cols := make([]string, 0, len(c.spec.SetLocal))
	for name := range c.spec.SetLocal {
		cols = append(cols, name)
	}
	slices.Sort(cols)
	for _, name := range cols {
		at := "set.local." + name
		if i, ok := c.byLocal[name]; ok {
			c.problem(at, fmt.Sprintf("column %q is mapped by mapping[%d] too", name, i), "use that field's default, or drop one")
		}
		kind, maxLen := guess(c.spec.SetLocal[name]), 0
		if col, ok := c.column(at, name, true); ok {
			kind, _ = settle(TypeAuto, col.Type)
			maxLen = col.MaxLen
		}
		c.m.setVals = append(c.m.setVals, c.constant(at, c.spec.SetLocal[name], kind, maxLen))
	}
	c.m.setCols = cols
}

// guess gives the type of a constant whose column is not known.
func guess(v record.Value) Type {
	switch v.Kind {
	case record.Number:
		return TypeDecimal
	case record.Bool:
		return TypeBoolean
	case record.JSON:
		return TypeJSON
	case record.Absent, record.Null, record.Text:
	}
	return TypeText
}

// version hashes what changes a result: the fields, their settled types and
// limits, the ways they travel, the constants and the scopes.
func (c *compiler) version() uint64 {
	h := versionHash{layout}
	for i := range c.m.fields {
		f, p := &c.m.fields[i], &c.m.plans[i]
		h.str(f.Local)
		h.str(f.Remote)
		h.str(string(p.kind))
		h = append(h, byte(f.On), bit(f.Required), bit(p.notNull), bit(p.in), bit(p.out))
		h.value(p.def)
		h.str(f.ToLocalExpr)
		h.str(f.ToRemoteExpr)
		h.str(f.Ref)
		h.str(string(p.wire))
		h = binary.AppendVarint(h, int64(p.maxLen))
	}
	for _, alt := range c.m.match {
		h = binary.AppendUvarint(h, uint64(len(alt)))
		for _, i := range alt {
			h = binary.AppendVarint(h, int64(i))
		}
	}
	h.constants(c.m.setCols, c.m.setVals)
	h.constants(c.m.setPaths, c.m.setOut)
	h.str(c.spec.ScopeLocal)
	h.str(c.spec.ScopeRemote)
	return xxhash.Sum64(h)
}

// versionHash is what a version is the hash of: every part with its length, so
// that no two manuals give the same bytes.
type versionHash []byte

func (h *versionHash) str(s string) {
	*h = append(binary.AppendUvarint(*h, uint64(len(s))), s...)
}

func (h *versionHash) value(v record.Value) {
	*h = append(*h, byte(v.Kind))
	h.str(v.Text)
}

func (h *versionHash) constants(names []string, vals []record.Value) {
	*h = binary.AppendUvarint(*h, uint64(len(names)))
	for i, n := range names {
		h.str(n)
		h.value(vals[i])
	}
}

func bit(v bool) byte {
	if v {
		return 1
	}
	return 0
}

func typeList() string {
	names := make([]string, 0, len(Types()))
	for _, t := range Types() {
		names = append(names, string(t))
	}
	return strings.Join(names, ", ")
}
