package mapping

import (
	"errors"
	"fmt"

	"github.com/expr-lang/expr/ast"
)

// maxPattern is the longest pattern of `matches` in bytes. Patterns take linear
// time, but compiling one takes memory by its length, and one may come from a
// record.
const maxPattern = 1000

// patternName is the function that bounds a pattern which is not written down.
const patternName = "tandem_pattern"

var errPattern = fmt.Errorf("a pattern is longer than %d bytes", maxPattern)

// patterns keeps patterns short: err says that one in the expression is not, and
// one that an expression works out is looked at when it is used.
type patterns struct{ err error }

// Visit implements ast.Visitor.
func (p *patterns) Visit(node *ast.Node) {
	n, ok := (*node).(*ast.BinaryNode)
	if !ok || n.Operator != "matches" {
		return
	}
	text, ok := n.Right.(*ast.StringNode)
	switch {
	case !ok:
		n.Right = &ast.CallNode{Callee: &ast.IdentifierNode{Value: patternName}, Arguments: []ast.Node{n.Right}}
	case len(text.Value) > maxPattern:
		at := n.Right.Location()
		p.err = errors.Join(p.err, fmt.Errorf("%w (at byte %d)", errPattern, at.From))
	}
}

// shortPattern gives a pattern that is short enough.
func shortPattern(v any) any {
	if s, ok := v.(string); ok && len(s) > maxPattern {
		panic(errPattern)
	}
	return v
}
