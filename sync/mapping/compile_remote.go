package mapping

import (
	"fmt"
	"maps"
	"slices"
	"unicode/utf8"

	"github.com/tandem-sync/tandem/sync/record"
)

// expressionFix says what a transform may use.
const expressionFix = "it may use the variables value and record and the functions of expr-lang.org"

// transforms compiles a field's expressions. One for a way that the field does
// not travel would never be called, so it is refused.
func (c *compiler) transforms(at string, f *Field, p *plan) {
	if f.ToLocalExpr != "" {
		p.expr = c.expression(at+".transform.to_local", f.ToLocalExpr, p.in, "local")
	}
	if f.ToRemoteExpr != "" {
		p.outExpr = c.expression(at+".transform.to_remote", f.ToRemoteExpr, p.out, "the remote")
	}
	if p.expr != nil {
		c.m.transforms = true
		c.m.records = c.m.records || p.expr.record
	}
	if p.outExpr != nil {
		c.m.outTransforms = true
		c.m.outRecords = c.m.outRecords || p.outExpr.record
	}
}

func (c *compiler) expression(at, src string, travels bool, side string) *expression {
	e, err := compileExpression(src)
	switch {
	case err != nil:
		c.problem(at, "the expression does not compile: "+err.Error(), expressionFix)
	case !travels:
		c.problem(at, "the field does not travel to "+side+", so the expression would never be used", "leave it out, or change the field's direction")
	}
	return e
}

// ref settles a field whose value is the id of another connector's record. Its
// column decides how the local key is kept, its declared type how the remote
// writes ids.
func (c *compiler) ref(at string, i int, f *Field, p *plan) {
	p.ref, p.wire, p.kind = true, f.Type, TypeAuto
	switch f.Type {
	case TypeAuto:
		p.wire = TypeText
	case TypeText, TypeInteger:
	default:
		c.problem(at+".type", string(f.Type)+" is no type of an id", "use text or integer: how the remote writes its ids")
	}
	if f.Default.Has() {
		c.problem(at+".default", "a field with ref takes no default", "leave default out")
	}
	c.m.refs = append(c.m.refs, Ref{Field: i, Connector: f.Ref})
}

// holdsKeys reports whether a column of type t can hold a key.
func holdsKeys(t Type) bool {
	return t.textual() || t == TypeInteger || t == TypeDecimal
}

// remoteSide checks what is written to the remote as a whole, and the scopes.
func (c *compiler) remoteSide() {
	for i := range c.m.fields {
		f := &c.m.fields[i]
		if f.ToRemote() && badPath(f.Remote) == "" {
			c.outOnce(fmt.Sprintf("mapping[%d].remote", i), f.Remote, i)
		}
	}
	c.remoteConstants()
	c.m.scopeLocal = c.scope("scope.local", c.spec.ScopeLocal)
	c.m.scopeRemote = c.scope("scope.remote", c.spec.ScopeRemote)
	if c.m.scopeLocal == nil || c.cols == nil {
		return
	}
	for _, name := range c.m.scopeLocal.Names() {
		if _, ok := c.cols(name); !ok {
			c.problem("scope.local", fmt.Sprintf("the table has no column %q", name), "name columns of the entity's table")
		}
	}
}

// outOnce refuses a remote path that an earlier field writes already; before
// bounds the fields that are looked at.
func (c *compiler) outOnce(at, path string, before int) bool {
	for i := range c.m.fields[:before] {
		f := &c.m.fields[i]
		if f.ToRemote() && badPath(f.Remote) == "" && overlaps(f.Remote, path) {
			c.problem(at, fmt.Sprintf("%q is written by mapping[%d] already", path, i), "write each remote field once")
			return false
		}
	}
	return true
}

func (c *compiler) remoteConstants() {
	paths := slices.Sorted(maps.Keys(c.spec.SetRemote))
	for n, path := range paths {
		at := "set.remote." + path
		if why := badPath(path); why != "" {
			c.problem(at, "the path "+why, "use a path such as status or address.country")
			continue
		}
		if !c.outOnce(at, path, len(c.m.fields)) {
			continue
		}
		if k := slices.IndexFunc(paths[:n], func(p string) bool { return badPath(p) == "" && overlaps(p, path) }); k >= 0 {
			c.problem(at, fmt.Sprintf("%q is set already as %q", path, paths[k]), "write each remote field once")
		}
		v, bad := natural(c.spec.SetRemote[path])
		if bad != "" {
			c.problem(at, "the value "+bad, "give a text, a number, true, false, null, a list or a mapping")
		}
		c.m.setPaths, c.m.setOut = append(c.m.setPaths, path), append(c.m.setOut, v)
	}
}

// natural brings a value into the form in which a remote is told it: numbers in
// one exact spelling, JSON compact, and JSON that is a plain value as that value.
func natural(v record.Value) (record.Value, string) {
	switch v.Kind {
	case record.Text:
		if !utf8.ValidString(v.Text) {
			return v, "is not valid UTF-8"
		}
	case record.Number:
		c, ok := canonDecimal(v.Text)
		if !ok {
			return v, "is no number that can be kept exactly"
		}
		return record.N(c), ""
	case record.JSON:
		return plainJSON(v.Text)
	case record.Absent, record.Null, record.Bool:
	}
	return v, ""
}

func (c *compiler) scope(at, src string) *Scope {
	if src == "" {
		return nil
	}
	s, err := CompileScope(src)
	if err != nil {
		c.problem(at, "the expression does not compile: "+err.Error(),
			`it names fields, as status or record["address.city"], and may use the functions of expr-lang.org`)
		return nil
	}
	return s
}
