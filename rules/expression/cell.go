package expression

import (
	"strings"

	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/parser"
)

// Call is a call of a function whose value depends on more than the current
// event, as Options.Cell is given it.
type Call struct {
	Name   string
	Args   []Arg
	Offset int    // byte of the source at which it begins
	Text   string // in a canonical form: equal calls have equal texts
}

// Arg is an argument of a Call.
type Arg struct {
	Offset int    // byte of the source at which it begins
	Source string // in a canonical form

	call *resolver
	node ast.Node
}

// CellRef says what stands for a Call.
type CellRef struct {
	Identity string // equal for calls that always have the same value
	Number   int32  // what Scope.Cells is asked for
	Kind     CellKind
}

// CellKind is the type of a cell's value.
type CellKind uint8

// The types of cells. Each may be nil instead.
const (
	AnyCell CellKind = iota
	NumberCell
	BoolCell
)

// Literal returns the text of an argument that is a text in quotes.
func (a *Arg) Literal() (string, bool) {
	s, ok := a.node.(*ast.StringNode)
	if !ok {
		return "", false
	}
	return s.Value, true
}

// Number returns the value of an argument that is a number, or a calculation
// with numbers such as 24*60*60.
func (a *Arg) Number() (float64, bool) {
	switch n := a.node.(type) {
	case *ast.IntegerNode:
		return float64(n.Value), true
	case *ast.FloatNode:
		return n.Value, true
	case *ast.UnaryNode:
		inner := Arg{node: n.Node}
		if f, ok := inner.Number(); ok && n.Operator == "-" {
			return -f, true
		}
	case *ast.BinaryNode:
		left, right := Arg{node: n.Left}, Arg{node: n.Right}
		l, ok := left.Number()
		r, also := right.Number()
		if !ok || !also {
			break
		}
		switch n.Operator {
		case "+":
			return l + r, true
		case "-":
			return l - r, true
		case "*":
			return l * r, true
		case "/":
			return l / r, r != 0
		}
	}
	return 0, false
}

// Negated returns the operand of an argument written not X, or !X.
func (a *Arg) Negated() (*Arg, bool) {
	n, ok := a.node.(*ast.UnaryNode)
	if !ok || n.Operator != "not" && n.Operator != "!" {
		return nil, false
	}
	return a.call.arg(n.Node), true
}

// Compile compiles the argument as an expression over the current event. It
// can be called once.
func (a *Arg) Compile(condition bool) (*Program, []*Error) {
	o := *a.call.options
	o.Condition = condition
	o.Cell, o.Functions, o.Beside = nil, nil, nil
	o.Reserved = map[string]string{}
	for _, name := range a.call.options.Functions {
		o.Reserved[name] = "such functions cannot be put into one another: record the inner one, and use the recording"
	}
	for name, why := range a.call.options.Reserved {
		o.Reserved[name] = why
	}
	tree := &parser.Tree{Node: a.node, Source: a.call.tree}
	p, errs := compile(a.call.source, tree, newConfig(), &o)
	if p != nil {
		p.source = a.Source
	}
	return p, errs
}

func (r *resolver) arg(n ast.Node) *Arg {
	return &Arg{Offset: leftmost(r.source, n), Source: n.String(), call: r, node: n}
}

// leftmost returns the byte at which a node begins: operators are located at
// themselves, not at their left side.
func leftmost(source string, n ast.Node) int {
	for {
		switch m := n.(type) {
		case *ast.BinaryNode:
			n = m.Left
			continue
		case *ast.MemberNode:
			n = m.Node
			continue
		case *ast.CallNode:
			n = m.Callee
			continue
		}
		return byteOffset(source, n.Location().From)
	}
}

// cell replaces a call by the reference that stands for it.
func (r *resolver) cell(n *ast.CallNode, name string) ast.Node {
	if done, ok := r.cells[n]; ok {
		return done
	}
	c := &Call{Name: name, Offset: byteOffset(r.source, n.Callee.Location().From), Text: n.String()}
	for _, a := range n.Arguments {
		c.Args = append(c.Args, *r.arg(a))
	}
	ref, errs := r.options.Cell(c)
	if len(errs) > 0 {
		for _, e := range errs {
			if len(r.errs) < maxErrors {
				r.errs = append(r.errs, e)
			}
		}
		return n
	}
	out := r.ref(n.Callee, Ref{Origin: Cell, Name: ref.Identity, Cell: ref.Number, Text: c.Text})
	if r.cells == nil {
		r.cells, r.kinds = map[*ast.CallNode]ast.Node{}, map[string]kind{}
	}
	r.cells[n] = out
	r.kinds[out.(*ast.IdentifierNode).Value] = [...]kind{AnyCell: kAny, NumberCell: kNumber, BoolCell: kBool}[ref.Kind]
	return out
}

// cellText returns how the cell of a key is written.
func (in *inference) cellText(key string) string {
	for _, ref := range in.refs {
		if ref.key() == key {
			return ref.Text
		}
	}
	return strings.TrimPrefix(key, string(mark))
}

// Comparison is a cell that an expression compares with a number.
type Comparison struct {
	Cell   int32
	Number float64
}

// Comparisons returns the comparisons of cells with numbers that stand in the
// expression.
func (p *Program) Comparisons() []Comparison {
	v := &comparisons{of: p}
	ast.Walk(&p.node, v)
	return v.found
}

type comparisons struct {
	of    *Program
	found []Comparison
}

// Visit implements ast.Visitor.
func (v *comparisons) Visit(n *ast.Node) {
	b, ok := (*n).(*ast.BinaryNode)
	if !ok {
		return
	}
	for _, side := range [][2]ast.Node{{b.Left, b.Right}, {b.Right, b.Left}} {
		ref, ok := v.of.RefOf(side[0])
		if !ok || ref.Origin != Cell {
			continue
		}
		if number, ok := (&Arg{node: side[1]}).Number(); ok {
			v.found = append(v.found, Comparison{ref.Cell, number})
		}
	}
}
