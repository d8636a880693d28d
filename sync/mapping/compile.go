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
const layout = 1

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
	c.unsupported(at, f)
	p := plan{kind: f.Type}
	if !f.Type.known() {
		c.problem(at+".type", fmt.Sprintf("%q is no type", string(f.Type)), "use one of "+typeList())
		p.kind = TypeText
	}
	if col, ok := c.column(at+".local", f.Local); ok {
		p.maxLen, p.notNull = col.MaxLen, col.NotNull
		kind, fits := settle(p.kind, col.Type)
		if !fits {
			c.problem(at+".type", fmt.Sprintf("%s does not fit the column %s of type %s", f.Type, f.Local, col.describe()),
				"leave type out, or use "+string(col.Type))
		}
		p.kind = kind
	}
	if p.kind == TypeAuto {
		p.kind = TypeText
	}
	p.def = c.constant(at+".default", f.Default, p.kind, p.maxLen)
	if f.ToLocalExpr != "" {
		e, err := compileExpression(f.ToLocalExpr)
		if err != nil {
			c.problem(at+".transform.to_local", "the expression does not compile: "+err.Error(),
				"it may use the variables value and record and the functions of expr-lang.org")
		} else {
			p.expr = e
			c.m.transforms = true
			c.m.records = c.m.records || e.record
		}
	}
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

// unsupported refuses what needs the way to the remote, so that it is never
// silently left undone.
func (c *compiler) unsupported(at string, f *Field) {
	const only = "this version reads only (remote to local)"
	switch f.Direction {
	case Both, ToRemote:
		c.problem(at+".direction", only, "leave direction out, or use to_local")
	case ToLocal:
	}
	if f.Ref != "" {
		c.problem(at+".ref", "this version cannot translate references", "leave ref out and map the remote id as it is")
	}
	if f.ToRemoteExpr != "" {
		c.problem(at+".transform.to_remote", only, "leave to_remote out")
	}
}

// column looks up a column that is going to be written.
func (c *compiler) column(at, name string) (Column, bool) {
	if c.cols == nil || name == "" {
		return Column{}, false
	}
	col, ok := c.cols(name)
	switch {
	case !ok:
		c.problem(at, fmt.Sprintf("the table has no column %q", name), "name a column of the entity's table")
	case col.Generated:
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
		if col, ok := c.column(at, name); ok {
			kind, _ = settle(TypeAuto, col.Type)
			maxLen = col.MaxLen
		}
		c.m.setVals = append(c.m.setVals, c.constant(at, c.spec.SetLocal[name], kind, maxLen))
	}
	c.m.setCols = cols
	if len(c.spec.SetRemote) > 0 {
		c.problem("set.remote", "this version reads only (remote to local)", "leave set.remote out")
	}
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
// limits, and the constants.
func (c *compiler) version() uint64 {
	b := []byte{layout}
	str := func(s string) {
		b = binary.AppendUvarint(b, uint64(len(s)))
		b = append(b, s...)
	}
	for i := range c.m.fields {
		f, p := &c.m.fields[i], &c.m.plans[i]
		str(f.Local)
		str(f.Remote)
		str(string(p.kind))
		b = append(b, byte(f.On), bit(f.Required), bit(p.notNull), byte(p.def.Kind))
		str(p.def.Text)
		str(f.ToLocalExpr)
		b = binary.AppendVarint(b, int64(p.maxLen))
	}
	for _, alt := range c.m.match {
		b = binary.AppendUvarint(b, uint64(len(alt)))
		for _, i := range alt {
			b = binary.AppendVarint(b, int64(i))
		}
	}
	return xxhash.Sum64(b)
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

// badPath says what is wrong with a remote path, or "". The channel type gives
// it its meaning; here only its shape is checked: names with dots between them,
// [0] for a place in a list, ["a.b"] for a name that holds a dot.
func badPath(p string) string {
	switch {
	case p == "":
		return "is missing"
	case strings.TrimSpace(p) != p:
		return "has blanks at its ends"
	}
	for rest := p; rest != ""; {
		next, ok := pathStep(rest)
		if !ok {
			return fmt.Sprintf("%q has an empty part or a malformed index", p)
		}
		rest = next
		if dotted, cut := strings.CutPrefix(rest, "."); cut {
			if rest = dotted; rest == "" {
				return fmt.Sprintf("%q ends with a dot", p)
			}
		}
	}
	return ""
}

// pathStep reads one step of a path and gives what follows.
func pathStep(p string) (rest string, ok bool) {
	if quoted, is := strings.CutPrefix(p, `["`); is {
		_, rest, ok = strings.Cut(quoted, `"]`)
		return rest, ok
	}
	if index, is := strings.CutPrefix(p, "["); is {
		number, rest, closed := strings.Cut(index, "]")
		return rest, closed && number != "" && strings.Trim(number, "0123456789") == ""
	}
	end := strings.IndexAny(p, ".[]")
	if end < 0 {
		return "", true
	}
	return p[end:], end > 0 && p[end] != ']'
}
