package expression

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/expr-lang/expr/ast"
)

// kind is what is known about the type of a node before anything is read.
type kind uint8

const (
	kAny kind = iota
	kNumber
	kText
	kBool
	kNil
	kOther // a time, a list, ...
)

// String names the kind in messages.
func (k kind) String() string {
	return [...]string{"anything", "a number", "text", "true or false", "nil", "a time, a list or a map"}[k]
}

// use is the first use of a name that says what it must be.
type use struct {
	kind kind
	at   int // byte offset
}

// uses is what the parts of an expression say about the kinds of names.
type uses struct {
	must  map[string]use // by key: what another operator than == needs
	equal []equality     // of names with literals
	loose bool           // the expression asks for types itself
}

// equality is a name that is compared with a literal by ==, != or in. That says
// what the name may be, but not that it can be nothing else.
type equality struct {
	key string
	use
}

// inference finds what expr's checker can't, because it knows nothing about
// names: that one is used as a number here and as text there, or that a sum
// stands where a condition must. It reports through its resolver.
type inference struct {
	*resolver
	uses
}

// check reports what is wrong with the types of an expression.
func (in *inference) check(n ast.Node, condition bool) {
	t := in.infer(n)
	switch {
	case !condition || t == kBool:
	case t == kAny:
		if !in.options.Accepted {
			in.require(n, kBool)
		}
	default:
		in.fail(n, "compare it with something, e.g. temperature > 30", "this must be true or false, but it is %s", t)
	}
	if in.loose || in.options.Accepted {
		return
	}
	for _, e := range in.equal {
		if first, ok := in.must[e.key]; ok && first.kind != e.kind {
			in.failAt(e.at, eitherHint(e.key), "%s is compared with %s here, but must be %s in %q", nameOf(e.key), e.kind, first.kind, snippet(in.source, first.at))
		}
	}
	if p := in.options.Beside; p != nil && !p.uses.loose {
		in.beside(p)
	}
}

// beside refuses names that p, another expression of the same rule, needs to be
// of another kind.
func (in *inference) beside(p *Program) {
	where := func(u use) string { return fmt.Sprintf("in %s, %q", in.options.BesideName, snippet(p.source, u.at)) }
	for _, key := range slices.Sorted(maps.Keys(in.must)) {
		u := in.must[key]
		if other, ok := p.uses.must[key]; ok && other.kind != u.kind {
			in.failAt(u.at, eitherHint(key), "%s must be %s here, but %s %s", nameOf(key), u.kind, other.kind, where(other))
			continue
		}
		for _, e := range p.uses.equal {
			if e.key == key && e.kind != u.kind {
				in.failAt(u.at, eitherHint(key), "%s must be %s here, but is compared with %s %s", nameOf(key), u.kind, e.kind, where(e.use))
				break
			}
		}
	}
	for _, e := range in.equal {
		if other, ok := p.uses.must[e.key]; ok && other.kind != e.kind {
			in.failAt(e.at, eitherHint(e.key), "%s is compared with %s here, but must be %s %s", nameOf(e.key), e.kind, other.kind, where(other))
		}
	}
}

func nameOf(key string) string { return strings.TrimPrefix(key, string(mark)) }

// eitherHint is what to do if devices send a name with values of several kinds.
func eitherHint(key string) string {
	return fmt.Sprintf(`if devices send both, ask which it is: type(%s) == "string"`, nameOf(key))
}

func kindOf(n ast.Node) kind {
	if n.Nature().Nil {
		return kNil
	}
	switch t := n.Type(); t.Kind() {
	case reflect.Interface, reflect.Invalid:
		return kAny
	case reflect.Bool:
		return kBool
	case reflect.String:
		return kText
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Uint, reflect.Uint8, reflect.Uint16,
		reflect.Uint32, reflect.Uint64, reflect.Float32, reflect.Float64:
		return kNumber
	case reflect.Int64: // time.Duration
		if t.PkgPath() != "" {
			return kOther
		}
		return kNumber
	}
	return kOther
}

func (in *inference) infer(n ast.Node) kind {
	switch n := n.(type) {
	case *ast.IdentifierNode:
		if k, ok := in.kinds[n.Value]; ok {
			return k
		}
	case *ast.UnaryNode:
		t := in.infer(n.Node)
		if n.Operator == "not" || n.Operator == "!" {
			in.require(n.Node, kBool)
			return kBool
		}
		if t == kAny {
			in.require(n.Node, kNumber)
			return kNumber
		}
		return t
	case *ast.BinaryNode:
		return in.binary(n)
	case *ast.ConditionalNode:
		in.infer(n.Cond)
		in.require(n.Cond, kBool)
		return join(in.infer(n.Exp1), in.infer(n.Exp2))
	case *ast.CallNode:
		for _, a := range n.Arguments {
			in.infer(a)
		}
		if id, ok := n.Callee.(*ast.IdentifierNode); ok && id.Value == moduloName {
			in.require(n.Arguments[0], kNumber)
			in.require(n.Arguments[1], kNumber)
			return kNumber
		}
	case *ast.BuiltinNode:
		if n.Name == "type" {
			in.loose = true
		}
		for i, a := range n.Arguments {
			in.lists(n, i, in.infer(a))
		}
	case *ast.VariableDeclaratorNode:
		in.infer(n.Value)
		return in.infer(n.Expr)
	case *ast.SequenceNode:
		t := kAny
		for _, c := range n.Nodes {
			t = in.infer(c)
		}
		return t
	case *ast.ArrayNode:
		for _, c := range n.Nodes {
			in.infer(c)
		}
	case *ast.PredicateNode:
		in.infer(n.Node)
	case *ast.MemberNode:
		in.within(n.Node)
	case *ast.ChainNode:
		in.within(n.Node)
	case *ast.SliceNode:
		in.within(n.Node)
	}
	return kindOf(n)
}

// within looks at what an element is taken of. Earlier versions did not.
func (in *inference) within(n ast.Node) {
	if !in.options.Accepted {
		in.infer(n)
	}
}

func (in *inference) binary(n *ast.BinaryNode) kind {
	l, r := in.infer(n.Left), in.infer(n.Right)
	switch n.Operator {
	case "and", "&&", "or", "||":
		in.require(n.Left, kBool)
		in.require(n.Right, kBool)
		return kBool
	case "<", ">", "<=", ">=":
		in.order(n, l, r)
		in.order(n, r, l)
		in.agree(n, l, r)
		return kBool
	case "+":
		return in.agree(n, l, r)
	case "-", "*":
		if l == kOther || r == kOther {
			return kindOf(n)
		}
		in.require(n.Left, kNumber)
		in.require(n.Right, kNumber)
		return kNumber
	case "/", "**", "^":
		in.require(n.Left, kNumber)
		in.require(n.Right, kNumber)
		return kNumber
	case "contains", "startsWith", "endsWith", "matches":
		in.require(n.Left, kText)
		in.require(n.Right, kText)
		return kBool
	case "==", "!=":
		in.equals(n.Left, n.Right)
		in.equals(n.Right, n.Left)
		return kBool
	case "in":
		in.equals(n.Left, n.Right)
		return kBool
	case "??":
		return join(l, r)
	}
	return kindOf(n)
}

// equals notes that a name is compared with a literal, or with a list of
// literals that are all of one kind, and refuses it of a cell that can't be so.
func (in *inference) equals(n, with ast.Node) {
	id, ok := n.(*ast.IdentifierNode)
	k := literal(with)
	if !ok || id.Value[0] != mark || k == kAny {
		return
	}
	if is, ok := in.kinds[id.Value]; ok {
		if is != kAny && is != k && !in.options.Accepted {
			in.fail(n, "", "%s is %s, but is compared with %s", in.cellText(id.Value), is, k)
		}
		return
	}
	in.equal = append(in.equal, equality{id.Value, use{k, byteOffset(in.source, n.Location().From)}})
}

// literal returns the kind of a literal, kAny if n is none.
func literal(n ast.Node) kind {
	switch n := n.(type) {
	case *ast.IntegerNode, *ast.FloatNode:
		return kNumber
	case *ast.StringNode:
		return kText
	case *ast.BoolNode:
		return kBool
	case *ast.UnaryNode:
		if n.Operator == "-" || n.Operator == "+" {
			return literal(n.Node)
		}
	case *ast.ArrayNode:
		if len(n.Nodes) == 0 {
			return kAny
		}
		k := literal(n.Nodes[0])
		for _, m := range n.Nodes {
			if literal(m) != k {
				return kAny
			}
		}
		return k
	}
	return kAny
}

// order refuses the order of something with a text that stands in the
// expression: it is nearly always a slip.
func (in *inference) order(n *ast.BinaryNode, a, b kind) {
	if a != kAny || b != kText {
		return
	}
	name, text := n.Left, n.Right
	if _, ok := text.(*ast.StringNode); !ok {
		name, text = text, name
	}
	if s, ok := text.(*ast.StringNode); ok {
		what := in.describe(name)
		in.fail(n, "write a number without quotes; if the alphabet's order is meant, write string("+what+")",
			"%s %s %q compares with a text, not with a number", what, n.Operator, s.Value)
	}
}

// agree requires that both sides are of the kind that one of them is known to have.
func (in *inference) agree(n *ast.BinaryNode, l, r kind) kind {
	switch {
	case l == kAny && (r == kNumber || r == kText):
		in.require(n.Left, r)
		return r
	case r == kAny && (l == kNumber || l == kText):
		in.require(n.Right, l)
		return l
	case (l == kNumber && r == kText) || (l == kText && r == kNumber), l == kBool && (r == kNumber || r == kText), r == kBool && (l == kNumber || l == kText):
		in.fail(n, "", "%s needs two numbers or two texts, but has %s and %s", n.Operator, l, r)
		return l
	case l == r:
		return l
	}
	return kindOf(n)
}

// require notes that n must be of kind k, and refuses what it can't be or what
// another part of the expression needs it not to be.
func (in *inference) require(n ast.Node, k kind) {
	switch n := n.(type) {
	case *ast.ConditionalNode:
		in.require(n.Exp1, k)
		in.require(n.Exp2, k)
		return
	case *ast.BinaryNode:
		if n.Operator == "??" {
			in.require(n.Left, k)
			in.require(n.Right, k)
			return
		}
	case *ast.IdentifierNode:
		if n.Value[0] != mark {
			return
		}
		at := byteOffset(in.source, n.Location().From)
		if is, ok := in.kinds[n.Value]; ok {
			if is != kAny && is != k {
				in.fail(n, "", "%s is %s where %s is needed", in.cellText(n.Value), is, k)
			}
			return
		}
		first, ok := in.must[n.Value]
		if !ok {
			in.must[n.Value] = use{k, at}
		} else if first.kind != k && !in.loose {
			in.fail(n, "", "%s must be %s here, but %s in %q", in.describe(n), k, first.kind, snippet(in.source, first.at))
			return
		}
	}
	if t := kindOf(n); t != kAny && t != k {
		in.fail(n, "", "this is %s where %s is needed", t, k)
	}
}

func (in *inference) describe(n ast.Node) string {
	if id, ok := n.(*ast.IdentifierNode); ok {
		return strings.TrimPrefix(id.Value, string(mark))
	}
	return "the left side"
}

// snippet is a few characters of the source around an offset.
func snippet(source string, at int) string {
	rest := []rune(source[at:])
	if len(rest) > 24 {
		return string(rest[:24]) + "…"
	}
	return string(rest)
}

func join(a, b kind) kind {
	switch {
	case a == b:
		return a
	case a == kNil:
		return b
	case b == kNil:
		return a
	}
	return kAny
}
