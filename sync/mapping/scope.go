package mapping

import (
	"errors"
	"fmt"
	"slices"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/vm"

	"github.com/tandem-sync/tandem/fault"
	"github.com/tandem-sync/tandem/sync/record"
)

// Scope is a compiled expression that says which records belong to a connector.
// It is immutable and safe for concurrent use. A nil Scope holds every record.
type Scope struct {
	program *vm.Program
	names   []string
}

// scopeEnvironment is what a scope sees: record, and the budgets' functions.
type scopeEnvironment struct {
	Record map[string]any `expr:"record"`
	Step   func() bool    `expr:"tandem_step"`
	Bound  func(any) any  `expr:"tandem_bound"`
}

// CompileScope compiles the expression of a scope. A bare name is a field, a
// column or a remote path: status is short for record.status; one with other
// characters is written record["address.city"]. The error names the position as
// line:column.
func CompileScope(src string) (*Scope, error) {
	f := &fieldNames{taken: map[ast.Node]bool{}, let: map[string]bool{}}
	program, err := expr.Compile(src, expr.Env(&scopeEnvironment{}), expr.MaxNodes(maxNodes),
		expr.Patch(f), expr.Patch(bareNames{f}), expr.Patch(budget{}))
	if err != nil {
		return nil, placed(err)
	}
	if f.records != f.named {
		return nil, errors.New(`record must be followed by a name, as in record.status or record["address.city"]`)
	}
	slices.Sort(f.names)
	return &Scope{program: program, names: slices.Compact(f.names)}, nil
}

// Names gives the columns or remote paths that the expression looks at, in
// order: what Holds wants to be given.
func (s *Scope) Names() []string {
	if s == nil {
		return nil
	}
	return s.names
}

// Holds reports whether a record is in the scope. rec holds its values by column
// or remote path; a missing one is absent, which the expression sees as nil like
// null. An expression that fails because of a value that is not there is false,
// and so is one whose result is nil. Any other failure, and a result that is no
// boolean, is an error, Permanent with code bad_record.
func (s *Scope) Holds(rec map[string]record.Value) (bool, error) {
	if s == nil {
		return true, nil
	}
	budgets := newEnvironment()
	env := &scopeEnvironment{Record: make(map[string]any, len(s.names)), Step: budgets.Step, Bound: budgets.Bound}
	missing := false
	for _, name := range s.names {
		v := rec[name]
		missing = missing || v.Kind <= record.Null
		env.Record[name] = toAny(v)
	}
	out, err := budgets.vm.Run(s.program, env)
	if err != nil {
		if missing {
			return false, nil
		}
		return false, fault.New(fault.Permanent, fault.CodeBadRecord, "", "scope: %w", placed(err)).WithWhere("scope")
	}
	switch out := out.(type) {
	case bool:
		return out, nil
	case nil:
		return false, nil
	}
	return false, fault.New(fault.Permanent, fault.CodeBadRecord, "", "scope: %w", fmt.Errorf("the result is a %T; want true or false", out)).
		WithWhere("scope")
}

// fieldNames notes which names of fields a scope uses, and which identifiers are
// no fields: functions that are called and names that let declares.
type fieldNames struct {
	names          []string
	taken          map[ast.Node]bool
	let            map[string]bool
	records, named int // uses of record, and those with a name behind it
}

// Visit implements ast.Visitor.
func (f *fieldNames) Visit(node *ast.Node) {
	switch n := (*node).(type) {
	case *ast.CallNode:
		f.taken[n.Callee] = true
	case *ast.VariableDeclaratorNode:
		f.let[n.Name] = true
	case *ast.IdentifierNode:
		if n.Value == recordName || n.Value == "$env" {
			f.records++
		}
	case *ast.MemberNode:
		id, is := n.Node.(*ast.IdentifierNode)
		if name, constant := n.Property.(*ast.StringNode); is && constant && id.Value == recordName {
			f.named++
			f.names = append(f.names, name.Value)
		}
	}
}

// recordName is the variable that holds all values.
const recordName = "record"

// bareNames makes status of record.status.
type bareNames struct{ *fieldNames }

// Visit implements ast.Visitor.
func (b bareNames) Visit(node *ast.Node) {
	id, is := (*node).(*ast.IdentifierNode)
	if !is || b.taken[id] || b.let[id.Value] || id.Value == recordName || id.Value == "$env" {
		return
	}
	b.names = append(b.names, id.Value)
	at := id.Location()
	ast.Patch(node, &ast.MemberNode{Node: &ast.IdentifierNode{Value: recordName}, Property: &ast.StringNode{Value: id.Value}})
	(*node).SetLocation(at)
}
