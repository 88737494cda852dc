package expression

import (
	"math"
	"regexp"
	"strings"

	"github.com/expr-lang/expr/ast"
)

// operand computes a value; false means that it fails, as the VM would.
type operand func(*Scope) (value, bool)

// condition computes True, False or Failed.
type condition func(*Scope) Result

// closures compiles a checked syntax tree to closures. What it does not know
// gives nil, and the whole expression runs on the VM. It must do exactly what
// the VM does, failures included: a differential test compares them.
type closures struct{ table *Table }

func result(b bool) Result {
	if b {
		return True
	}
	return False
}

func constant(v value) operand { return func(*Scope) (value, bool) { return v, true } }

// fixed returns the value of a node that reads nothing.
func (c *closures) fixed(n ast.Node) (value, bool) {
	switch n := n.(type) {
	case *ast.NilNode:
		return value{}, true
	case *ast.IntegerNode:
		return intOf(int64(n.Value)), true
	case *ast.FloatNode:
		return floatOf(n.Value), true
	case *ast.BoolNode:
		return boolOf(n.Value), true
	case *ast.StringNode:
		return textOf(n.Value), true
	case *ast.UnaryNode:
		v, ok := c.fixed(n.Node)
		if ok && n.Operator == "-" {
			return negate(v)
		}
		return v, ok && n.Operator == "+"
	}
	return value{}, false
}

// slotOf returns the slot of a node that is a name.
func (c *closures) slotOf(n ast.Node) (int32, bool) {
	id, ok := n.(*ast.IdentifierNode)
	if !ok {
		return 0, false
	}
	i, ok := c.table.index[id.Value]
	if !ok || c.table.refs[i].Origin == Time || c.table.refs[i].Origin == Received {
		return 0, false // points in time are the VM's
	}
	return i, true
}

func (c *closures) operand(n ast.Node) operand {
	if v, ok := c.fixed(n); ok {
		return constant(v)
	}
	if i, ok := c.slotOf(n); ok {
		return func(s *Scope) (value, bool) { return s.slots[i].value, true }
	}
	switch n := n.(type) {
	case *ast.UnaryNode:
		if n.Operator == "not" || n.Operator == "!" {
			return fromCondition(c.condition(n))
		}
		x := c.operand(n.Node)
		if x == nil || n.Operator == "+" { // + does nothing, to anything
			return x
		}
		return func(s *Scope) (value, bool) {
			v, ok := x(s)
			if !ok {
				return v, false
			}
			return negate(v)
		}
	case *ast.BinaryNode:
		return c.binary(n)
	case *ast.CallNode:
		if id, ok := n.Callee.(*ast.IdentifierNode); ok && id.Value == moduloName {
			return c.arithmetic(modulo, n.Arguments[0], n.Arguments[1])
		}
	case *ast.ConditionalNode:
		when, then, otherwise := c.condition(n.Cond), c.operand(n.Exp1), c.operand(n.Exp2)
		if when == nil || then == nil || otherwise == nil {
			return nil
		}
		return func(s *Scope) (value, bool) {
			switch when(s) {
			case True:
				return then(s)
			case False:
				return otherwise(s)
			}
			return value{}, false
		}
	}
	return nil
}

func (c *closures) binary(n *ast.BinaryNode) operand {
	switch n.Operator {
	case "+":
		return c.arithmetic(add, n.Left, n.Right)
	case "-":
		return c.arithmetic(subtract, n.Left, n.Right)
	case "*":
		return c.arithmetic(multiply, n.Left, n.Right)
	case "/":
		return c.arithmetic(divide, n.Left, n.Right)
	case "**", "^":
		return c.arithmetic(power, n.Left, n.Right)
	case "and", "&&", "or", "||":
		return c.junction(n)
	case "??":
		a, b := c.operand(n.Left), c.operand(n.Right)
		if a == nil || b == nil {
			return nil
		}
		return func(s *Scope) (value, bool) {
			if v, ok := a(s); !ok || v.kind != vNil {
				return v, ok
			}
			return b(s)
		}
	}
	return fromCondition(c.condition(n))
}

// junction is and and or where a value is wanted: the right side is not asked
// for its type.
func (c *closures) junction(n *ast.BinaryNode) operand {
	a, b := c.condition(n.Left), c.operand(n.Right)
	if a == nil || b == nil {
		return nil
	}
	decides := True
	if n.Operator == "and" || n.Operator == "&&" {
		decides = False
	}
	return func(s *Scope) (value, bool) {
		switch a(s) {
		case Failed:
			return value{}, false
		case decides:
			return boolOf(decides == True), true
		}
		return b(s)
	}
}

func fromCondition(c condition) operand {
	if c == nil {
		return nil
	}
	return func(s *Scope) (value, bool) {
		switch c(s) {
		case True:
			return value{kind: vBool, num: 1}, true
		case False:
			return value{kind: vBool}, true
		}
		return value{}, false
	}
}

func (c *closures) arithmetic(op func(a, b value) (value, bool), left, right ast.Node) operand {
	a, b := c.operand(left), c.operand(right)
	if a == nil || b == nil {
		return nil
	}
	if k, ok := c.fixed(right); ok {
		return func(s *Scope) (value, bool) {
			v, ok := a(s)
			if !ok {
				return v, false
			}
			return op(v, k)
		}
	}
	return func(s *Scope) (value, bool) {
		v, ok := a(s)
		if !ok {
			return v, false
		}
		w, ok := b(s)
		if !ok {
			return w, false
		}
		return op(v, w)
	}
}

// condition compiles a node where true or false is wanted: anything else fails.
func (c *closures) condition(n ast.Node) condition {
	switch n := n.(type) {
	case *ast.UnaryNode:
		if n.Operator == "not" || n.Operator == "!" {
			x := c.condition(n.Node)
			if x == nil {
				return nil
			}
			return func(s *Scope) Result {
				r := x(s)
				if r == Failed {
					return Failed
				}
				return r ^ 1
			}
		}
	case *ast.BinaryNode:
		switch n.Operator {
		case "and", "&&", "or", "||":
			return c.logical(n)
		case "<", ">", "<=", ">=":
			return c.ordering(n)
		case "==", "!=":
			return c.equality(n)
		case "in":
			return c.membership(n)
		case "contains":
			return c.text(n, strings.Contains)
		case "startsWith":
			return c.text(n, strings.HasPrefix)
		case "endsWith":
			return c.text(n, strings.HasSuffix)
		case "matches":
			return c.matches(n)
		}
	}
	x := c.operandOnly(n)
	if x == nil {
		return nil
	}
	return func(s *Scope) Result {
		v, ok := x(s)
		if !ok || v.kind != vBool {
			return Failed
		}
		return Result(v.num)
	}
}

// operandOnly is operand for nodes that condition does not handle itself, so
// that the two can't call each other for ever.
func (c *closures) operandOnly(n ast.Node) operand {
	if b, ok := n.(*ast.BinaryNode); ok {
		switch b.Operator {
		case "+", "-", "*", "/", "**", "^", "??":
		default:
			return nil
		}
	}
	return c.operand(n)
}

func (c *closures) logical(n *ast.BinaryNode) condition {
	a, b := c.condition(n.Left), c.condition(n.Right)
	if a == nil || b == nil {
		return nil
	}
	if n.Operator == "and" || n.Operator == "&&" {
		return func(s *Scope) Result {
			if r := a(s); r != True {
				return r
			}
			return b(s)
		}
	}
	return func(s *Scope) Result {
		if r := a(s); r != False {
			return r
		}
		return b(s)
	}
}

func (c *closures) equality(n *ast.BinaryNode) condition {
	want := True
	if n.Operator == "!=" {
		want = False
	}
	a, b := c.operand(n.Left), c.operand(n.Right)
	if a == nil || b == nil {
		return nil
	}
	if i, ok := c.slotOf(n.Left); ok {
		if k, ok := c.fixed(n.Right); ok {
			return func(s *Scope) Result { return result(equal(&s.slots[i].value, &k)) ^ want ^ 1 }
		}
	}
	return func(s *Scope) Result {
		v, ok := a(s)
		if !ok {
			return Failed
		}
		w, ok := b(s)
		if !ok {
			return Failed
		}
		return result(equal(&v, &w)) ^ want ^ 1
	}
}

// membership is x in [literals].
func (c *closures) membership(n *ast.BinaryNode) condition {
	list, ok := n.Right.(*ast.ArrayNode)
	x := c.operand(n.Left)
	if !ok || x == nil {
		return nil
	}
	values := make([]value, len(list.Nodes))
	for i, e := range list.Nodes {
		if values[i], ok = c.fixed(e); !ok {
			return nil
		}
	}
	return func(s *Scope) Result {
		v, ok := x(s)
		if !ok {
			return Failed
		}
		for i := range values {
			if equal(&values[i], &v) {
				return True
			}
		}
		return False
	}
}

func (c *closures) text(n *ast.BinaryNode, test func(s, part string) bool) condition {
	a, b := c.operand(n.Left), c.operand(n.Right)
	if a == nil || b == nil {
		return nil
	}
	return func(s *Scope) Result {
		v, ok := a(s)
		if !ok {
			return Failed
		}
		w, ok := b(s)
		switch {
		case !ok:
			return Failed
		case v.kind == vNil || w.kind == vNil:
			return False
		case v.kind != vText || w.kind != vText:
			return Failed
		}
		return result(test(v.str, w.str))
	}
}

func (c *closures) matches(n *ast.BinaryNode) condition {
	pattern, ok := n.Right.(*ast.StringNode)
	x := c.operand(n.Left)
	if !ok || x == nil {
		return nil
	}
	re, err := regexp.Compile(pattern.Value)
	if err != nil {
		return nil
	}
	return func(s *Scope) Result {
		v, ok := x(s)
		switch {
		case !ok:
			return Failed
		case v.kind == vNil:
			return False
		case v.kind != vText:
			return Failed
		}
		return result(re.MatchString(v.str))
	}
}

func power(a, b value) (value, bool) {
	x, ok := a.number()
	y, ok2 := b.number()
	return floatOf(math.Pow(x, y)), ok && ok2
}
