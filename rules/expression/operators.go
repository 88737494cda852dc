package expression

import (
	"fmt"
	"math"

	"github.com/expr-lang/expr/ast"
)

// moduloName is the function that % is compiled to.
const moduloName = "@modulo"

// moduloFunc is % on expr's VM.
func moduloFunc(args ...any) (any, error) {
	a, ok := scalar(args[0])
	b, ok2 := scalar(args[1])
	if ok && ok2 {
		if v, ok := modulo(a, b); ok {
			return v.any(), nil
		}
	}
	return nil, fmt.Errorf("invalid operation: %v %% %v", args[0], args[1])
}

// modulo is the remainder of two numbers, an integer if both are. The
// remainder of an integer by 0 fails, of a float it is NaN.
func modulo(a, b value) (value, bool) {
	if a.kind == vInt && b.kind == vInt {
		switch b.int() {
		case 0:
			return value{}, false
		case -1:
			return intOf(0), true
		}
		return intOf(a.int() % b.int()), true
	}
	x, ok := a.number()
	y, ok2 := b.number()
	return floatOf(math.Mod(x, y)), ok && ok2
}

func negate(v value) (value, bool) {
	switch v.kind {
	case vFloat:
		return floatOf(-v.float()), true
	case vInt:
		return intOf(-v.int()), true
	}
	return value{}, false
}

func add(a, b value) (value, bool) {
	switch {
	case a.kind == vFloat && b.kind == vFloat:
		return floatOf(a.float() + b.float()), true
	case a.kind == vInt && b.kind == vInt:
		return intOf(a.int() + b.int()), true
	case a.kind == vText && b.kind == vText:
		return textOf(a.str + b.str), true
	}
	x, ok := a.number()
	y, ok2 := b.number()
	return floatOf(x + y), ok && ok2
}

func subtract(a, b value) (value, bool) {
	if a.kind == vInt && b.kind == vInt {
		return intOf(a.int() - b.int()), true
	}
	x, ok := a.number()
	y, ok2 := b.number()
	return floatOf(x - y), ok && ok2
}

func multiply(a, b value) (value, bool) {
	if a.kind == vInt && b.kind == vInt {
		return intOf(a.int() * b.int()), true
	}
	x, ok := a.number()
	y, ok2 := b.number()
	return floatOf(x * y), ok && ok2
}

func divide(a, b value) (value, bool) {
	x, ok := a.number()
	y, ok2 := b.number()
	return floatOf(x / y), ok && ok2
}

// equal is ==: numbers by their value, the rest by kind and content.
func equal(a, b *value) bool {
	if a.kind == b.kind {
		switch a.kind {
		case vFloat:
			return a.float() == b.float()
		case vText:
			return a.str == b.str
		}
		return a.num == b.num
	}
	x, ok := a.number()
	y, ok2 := b.number()
	return ok && ok2 && x == y
}

// compare is <, >, <= and >= of two numbers or two texts; anything else fails.
func compare(op string, a, b *value) Result {
	switch {
	case a.kind == vInt && b.kind == vInt:
		return ordered2(op, a.int(), b.int())
	case a.kind == vText && b.kind == vText:
		return ordered2(op, a.str, b.str)
	}
	x, ok := a.number()
	y, ok2 := b.number()
	if !ok || !ok2 {
		return Failed
	}
	return ordered2(op, x, y)
}

func ordered2[T int64 | float64 | string](op string, a, b T) Result {
	switch op {
	case "<":
		return result(a < b)
	case ">":
		return result(a > b)
	case "<=":
		return result(a <= b)
	}
	return result(a >= b)
}

// ordering compiles <, >, <= and >=. The threshold, a name against a number,
// has closures of its own.
func (c *closures) ordering(n *ast.BinaryNode) condition {
	op := n.Operator
	if i, ok := c.slotOf(n.Left); ok {
		if k, ok := c.fixed(n.Right); ok {
			return threshold(op, i, k)
		}
	}
	if i, ok := c.slotOf(n.Right); ok {
		if k, ok := c.fixed(n.Left); ok {
			return threshold(map[string]string{"<": ">", ">": "<", "<=": ">=", ">=": "<="}[op], i, k)
		}
	}
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
		if !ok {
			return Failed
		}
		return compare(op, &v, &w)
	}
}

func threshold(op string, i int32, k value) condition {
	limit, ok := k.number()
	if !ok {
		return func(s *Scope) Result { return compare(op, &s.slots[i].value, &k) }
	}
	switch op {
	case "<":
		return func(s *Scope) Result {
			if v := &s.slots[i].value; v.kind == vFloat {
				return result(v.float() < limit)
			}
			return compare(op, &s.slots[i].value, &k)
		}
	case ">":
		return func(s *Scope) Result {
			if v := &s.slots[i].value; v.kind == vFloat {
				return result(v.float() > limit)
			}
			return compare(op, &s.slots[i].value, &k)
		}
	case "<=":
		return func(s *Scope) Result {
			if v := &s.slots[i].value; v.kind == vFloat {
				return result(v.float() <= limit)
			}
			return compare(op, &s.slots[i].value, &k)
		}
	}
	return func(s *Scope) Result {
		if v := &s.slots[i].value; v.kind == vFloat {
			return result(v.float() >= limit)
		}
		return compare(op, &s.slots[i].value, &k)
	}
}
