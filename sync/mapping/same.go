package mapping

import "github.com/tandem-sync/tandem/sync/record"

// Same gives a comparison of two values of field i that come from one side: they
// are the same when they mean the same in the field's type, as the number 5 and
// the text "5" do for an integer. nil for a field with an expression, whose
// meaning only the expression knows: such values are compared as they are.
func (m *Manual) Same(i int) func(a, b record.Value) bool {
	p := &m.plans[i]
	if p.expr != nil || m.fields[i].ToRemoteExpr != "" {
		return nil
	}
	kind := p.kind
	return func(a, b record.Value) bool {
		x, badX := convert(kind, a)
		y, badY := convert(kind, b)
		return badX == "" && badY == "" && x == y
	}
}
