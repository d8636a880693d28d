package mapping

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/file"
	"github.com/expr-lang/expr/vm"

	"github.com/tandem-sync/tandem/sync/record"
)

// The budgets of one evaluation. They are far above what a field's value needs
// and far below what would hurt a worker.
const (
	maxNodes  = 1000      // nodes of one expression
	maxMemory = 1_000_000 // elements that its lists may take together
	maxSteps  = 1_000_000 // rounds of all its loops together
	maxText   = 1 << 20   // bytes of a text that it goes on working with
)

// Names of the functions that the budgets add to an expression.
const (
	stepName  = "tandem_step"
	boundName = "tandem_bound"
)

var (
	errSteps = errors.New("too many loop rounds")
	errText  = errors.New("a text grew too long")
)

// expression is one compiled transform; safe for concurrent use.
type expression struct {
	program *vm.Program
	record  bool // it looks at the variable record
}

// environment is what the expressions of one record see.
type environment struct {
	Value  any            `expr:"value"`
	Record map[string]any `expr:"record"`
	Step   func() bool    `expr:"tandem_step"`
	Bound  func(any) any  `expr:"tandem_bound"`
	Short  func(any) any  `expr:"tandem_pattern"`
	vm     vm.VM
	steps  int
}

// compileExpression compiles src. The error names the position as line:column.
func compileExpression(src string) (*expression, error) {
	uses, short := &usesRecord{}, &patterns{}
	program, err := expr.Compile(src, expr.Env(&environment{}), expr.MaxNodes(maxNodes),
		expr.Patch(uses), expr.Patch(budget{}), expr.Patch(short))
	if err == nil {
		err = short.err
	}
	if err != nil {
		return nil, placed(err)
	}
	return &expression{program: program, record: uses.found}, nil
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}

// usesRecord notes whether the tree mentions the variable record.
type usesRecord struct{ found bool }

// Visit implements ast.Visitor.
func (u *usesRecord) Visit(node *ast.Node) {
	if id, ok := (*node).(*ast.IdentifierNode); ok && (id.Value == "record" || id.Value == "$env") {
		u.found = true
	}
}

// budget makes loops count their rounds and keeps texts from doubling without
// end, neither of which the library's memory budget sees.
type budget struct{}

// Visit implements ast.Visitor.
func (budget) Visit(node *ast.Node) {
	switch n := (*node).(type) {
	case *ast.PredicateNode:
		step := &ast.CallNode{Callee: &ast.IdentifierNode{Value: stepName}}
		n.Node = &ast.ConditionalNode{Cond: step, Exp1: n.Node, Exp2: &ast.NilNode{}}
	case *ast.BinaryNode:
		if n.Operator == "+" {
			n.Left, n.Right = bounded(n.Left), bounded(n.Right)
		}
	}
}

// bounded wraps an operand that can be a text.
func bounded(n ast.Node) ast.Node {
	switch n.(type) {
	case *ast.StringNode, *ast.IntegerNode, *ast.FloatNode:
		return n
	}
	if t := n.Type(); t != nil && t.Kind() != reflect.String && t.Kind() != reflect.Interface {
		return n
	}
	return &ast.CallNode{Callee: &ast.IdentifierNode{Value: boundName}, Arguments: []ast.Node{n}}
}

// newEnvironment makes the budgets of a record's expressions. The variable
// record is empty.
func newEnvironment() *environment {
	env := &environment{}
	env.vm.MemoryBudget = maxMemory
	env.Short = shortPattern
	env.Step = func() bool {
		if env.steps++; env.steps > maxSteps {
			panic(errSteps)
		}
		return true
	}
	env.Bound = func(v any) any {
		if s, ok := v.(string); ok && len(s) > maxText {
			panic(errText)
		}
		return v
	}
	return env
}

// fill makes the variable record of the values that are there.
func (env *environment) fill(names []string, vals []record.Value) {
	env.Record = make(map[string]any, len(vals))
	for i, v := range vals {
		if v.Kind != record.Absent {
			env.Record[names[i]] = toAny(v)
		}
	}
}

// run evaluates the expression for v. A failure on null gives null, so that
// "trim(value)" does not cost every record without a value.
func (e *expression) run(env *environment, v record.Value) (record.Value, error) {
	env.Value = toAny(v)
	env.steps = 0
	out, err := env.vm.Run(e.program, env)
	if err != nil {
		if v.Kind == record.Null {
			return record.NullValue, nil
		}
		return v, placed(err)
	}
	return fromAny(out)
}

// placed gives an error of an expression with its position as line:column, in
// one line.
func placed(err error) error {
	var at *file.Error
	if errors.As(err, &at) {
		return fmt.Errorf("%s (at %d:%d)", at.Message, at.Line, at.Column+1)
	}
	return fmt.Errorf("%s", firstLine(err.Error()))
}

// toAny gives a value as expressions see it: numbers as int or float64 when
// these hold them exactly, else as their decimal text.
func toAny(v record.Value) any {
	switch v.Kind {
	case record.Text:
		return v.Text
	case record.Bool:
		return v.Text == "true"
	case record.Number:
		return numberAny(v.Text)
	case record.JSON:
		return jsonAny(v.Text)
	case record.Absent, record.Null:
	}
	return nil
}

func numberAny(s string) any {
	if n, err := strconv.Atoi(s); err == nil {
		return n
	}
	c, ok := canonDecimal(s)
	if !ok {
		return s
	}
	if f, err := strconv.ParseFloat(c, 64); err == nil && floatText(f) == c {
		return f
	}
	return c
}

// floatText is the canonical spelling of f.
func floatText(f float64) string {
	c, _ := canonDecimal(strconv.FormatFloat(f, 'g', -1, 64))
	return c
}

// jsonAny decodes JSON with numbers as numberAny gives them.
func jsonAny(s string) any {
	dec := json.NewDecoder(strings.NewReader(s))
	dec.UseNumber()
	var out any
	if dec.Decode(&out) != nil {
		return s
	}
	return exactNumbers(out)
}

func exactNumbers(v any) any {
	switch v := v.(type) {
	case json.Number:
		return numberAny(v.String())
	case []any:
		for i := range v {
			v[i] = exactNumbers(v[i])
		}
	case map[string]any:
		for k := range v {
			v[k] = exactNumbers(v[k])
		}
	}
	return v
}

// fromAny takes an expression's result back.
func fromAny(v any) (record.Value, error) {
	switch v := v.(type) {
	case nil:
		return record.NullValue, nil
	case string:
		return record.T(strings.ToValidUTF8(v, "\uFFFD")), nil
	case bool:
		return record.B(v), nil
	case int:
		return record.N(strconv.Itoa(v)), nil
	case float64:
		return fromFloat(v)
	case time.Time:
		return record.T(v.UTC().Format(time.RFC3339Nano)), nil
	case time.Duration:
		return record.Value{}, errors.New("the result is a duration; want text, a number, a boolean, a time, a list or null")
	}
	r := reflect.ValueOf(v)
	switch {
	case r.CanInt():
		return record.N(strconv.FormatInt(r.Int(), 10)), nil
	case r.CanUint():
		return record.N(strconv.FormatUint(r.Uint(), 10)), nil
	case r.CanFloat():
		return fromFloat(r.Float())
	case r.Kind() == reflect.Slice, r.Kind() == reflect.Map:
		b, err := json.Marshal(v)
		if err != nil {
			return record.Value{}, fmt.Errorf("the result is no JSON: %w", err)
		}
		return record.J(string(b)), nil
	}
	return record.Value{}, fmt.Errorf("the result is a %T; want text, a number, a boolean, a time, a list or null", v)
}

func fromFloat(f float64) (record.Value, error) {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return record.Value{}, errors.New("the result is not a finite number")
	}
	return record.N(floatText(f)), nil
}
