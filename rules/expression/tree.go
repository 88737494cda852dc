package expression

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/compiler"
	"github.com/expr-lang/expr/parser"
)

// Tree evaluates the parts of an expression one by one, to show how its value
// comes about. It runs on expr's VM and is for people who ask, not for every
// event. It is immutable.
type Tree struct {
	program *Program
	root    *part
}

// part is a node of the syntax tree that has a value of its own.
type part struct {
	text    string
	program *Program // nil: it can't be evaluated by itself
	ref     *Ref     // of a name
	op      string   // and, or, ??, ?: decide which operands count
	of      []*part  // without literals
}

// Node is a part of an expression and its value.
type Node struct {
	Text   string  `json:"expr"`
	Value  any     `json:"value"`            // nil for nil, and if there is an Error
	Error  string  `json:"error,omitempty"`  // why it has no value
	From   string  `json:"from,omitempty"`   // of a name: field, tag, attribute, or missing
	Unused bool    `json:"unused,omitempty"` // the value of the whole was decided without it
	Of     []*Node `json:"of,omitempty"`     // operands, without literals
}

// Tree returns the parts of the program.
func (p *Program) Tree() *Tree {
	t := &Tree{program: p}
	t.root = t.part(p.node)
	t.root.text = strings.TrimSpace(p.source)
	return t
}

// Eval evaluates all parts on the current event.
func (t *Tree) Eval(s *Scope) *Node {
	s.load(t.program)
	return t.root.eval(s, false)
}

// part returns a node with its operands, nil for a literal.
func (t *Tree) part(n ast.Node) *part {
	p := &part{text: t.text(n)}
	c := &closures{}
	var operands []ast.Node
	switch n := n.(type) {
	case *ast.IdentifierNode:
		if ref, ok := t.program.RefOf(n); ok {
			p.ref = &ref
		}
	case *ast.UnaryNode:
		operands = []ast.Node{n.Node}
	case *ast.BinaryNode:
		p.op, operands = n.Operator, []ast.Node{n.Left, n.Right}
	case *ast.ConditionalNode:
		p.op, operands = "?:", []ast.Node{n.Cond, n.Exp1, n.Exp2}
	case *ast.CallNode:
		operands = n.Arguments
	case *ast.BuiltinNode:
		operands = n.Arguments
	case *ast.MemberNode:
		operands = []ast.Node{n.Node}
	case *ast.ChainNode:
		operands = []ast.Node{n.Node}
	}
	for i, o := range operands {
		switch o.(type) {
		case *ast.PredicateNode, *ast.ArrayNode, *ast.MapNode:
			continue // of the whole only
		}
		if _, literal := c.fixed(o); literal && p.op != "?:" && (i > 0 || !p.decides()) {
			continue
		}
		p.of = append(p.of, t.part(o))
	}
	p.program = t.alone(n)
	return p
}

// decides reports whether the first operand decides if the others count.
func (p *part) decides() bool {
	switch p.op {
	case "and", "&&", "or", "||", "??":
		return true
	}
	return false
}

// alone compiles a part by itself; nil if it stands for something only within
// the whole, as a variable does.
func (t *Tree) alone(n ast.Node) (p *Program) {
	defer func() {
		if recover() != nil { // expr's compiler met a node out of its place
			p = nil
		}
	}()
	v := &places{of: t.program}
	ast.Walk(&n, v)
	if v.bound {
		return nil
	}
	run, err := compiler.Compile(&parser.Tree{Node: n}, newConfig())
	if err != nil {
		return nil
	}
	return &Program{refs: t.program.refs, slots: t.program.slots, env: t.program.env, vm: run}
}

// places finds out whether a node refers to what is declared outside of it.
type places struct {
	of       *Program
	declared []string
	bound    bool
}

// Visit implements ast.Visitor. Operands are visited before their node.
func (v *places) Visit(n *ast.Node) {
	switch n := (*n).(type) {
	case *ast.VariableDeclaratorNode:
		v.declared = append(v.declared, n.Name)
		v.bound = false // what it declares is used within it
	case *ast.PredicateNode:
		v.bound = false
	case *ast.PointerNode:
		v.bound = true
	case *ast.IdentifierNode:
		if n.Value == moduloName || slices.Contains(v.declared, n.Value) {
			return
		}
		if _, ok := v.of.RefOf(n); !ok {
			v.bound = true
		}
	}
}

func (p *part) eval(s *Scope, unused bool) *Node {
	n := &Node{Text: p.text, Unused: unused}
	if p.ref != nil {
		n.From = s.origin(*p.ref)
	}
	if p.program != nil {
		v, err := s.run(p.program)
		if err != nil {
			n.Error = checkError("", err).Msg
		} else {
			n.Value = shown(v)
		}
	}
	for i, o := range p.of {
		skip := unused
		if i > 0 {
			skip = skip || p.decided(i, n.Of[0])
		}
		n.Of = append(n.Of, o.eval(s, skip))
	}
	return n
}

// decided reports whether the first operand makes operand i of no account.
func (p *part) decided(i int, first *Node) bool {
	switch p.op {
	case "and", "&&":
		return first.Value != true
	case "or", "||":
		return first.Value != false
	case "??":
		return first.Value != nil || first.Error != ""
	case "?:":
		return first.Value != (i == 1)
	}
	return first.Error != ""
}

// shown returns a value as JSON can hold it.
func shown(v any) any {
	switch v := v.(type) {
	case float64:
		if x := floatOf(v); v-v != 0 { // NaN and infinities
			e := x.event()
			return e.String()
		}
	case time.Time:
		return v.UTC().Format(time.RFC3339Nano)
	case time.Duration:
		return v.String()
	case string:
		return strings.Clone(v)
	}
	return v
}

// origin says where the current event has a name. load must have been called.
func (s *Scope) origin(r Ref) string {
	i, ok := s.table.index[r.key()]
	if !ok || r.Origin == Cell || r.Origin == Variable {
		return ""
	}
	switch s.slots[i].found {
	case nowhere:
		return "missing"
	case inFields:
		return "field"
	}
	switch r.Origin {
	case Open, Field:
		if _, ok := s.event.Tag(r.Name); ok && r.Origin == Open {
			return "tag"
		}
		return "attribute"
	case Tag:
		return "tag"
	case Attribute:
		return "attribute"
	}
	return ""
}

// text returns a node as people write it.
func (t *Tree) text(n ast.Node) string {
	text := n.String()
	if !strings.ContainsRune(text, mark) {
		return text
	}
	refs := slices.Clone(t.program.refs)
	slices.SortFunc(refs, func(a, b Ref) int { return cmp.Compare(len(b.key()), len(a.key())) })
	var b strings.Builder
	for text != "" {
		if q, err := strconv.QuotedPrefix(text); err == nil { // what a text holds is left alone
			b.WriteString(q)
			text = text[len(q):]
			continue
		}
		if text[0] == mark {
			if i := slices.IndexFunc(refs, func(r Ref) bool { return strings.HasPrefix(text, r.key()) }); i >= 0 {
				b.WriteString(refs[i].String())
				text = text[len(refs[i].key()):]
				continue
			}
			text = text[1:] // a function of ours
			continue
		}
		b.WriteByte(text[0])
		text = text[1:]
	}
	return b.String()
}
